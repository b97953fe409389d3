"""HBase, native: typed records into tables and out of them. Importing this imports no client."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.hbase.keys import KeyPart, RowKey
from thingbeam.io.hbase.layout import Column, Family, TableLayout
from thingbeam.io.hbase.layouts import layout_of
from thingbeam.io.hbase.rows import HBaseRow
from thingbeam.io.hbase.sink import WriteToHBase
from thingbeam.io.hbase.source import ReadFromHBase, RecordsFromHBase

if TYPE_CHECKING:
    from thingbeam.io.hbase.lookup import HBaseLookup
    from thingbeam.io.hbase.reading import newest
    from thingbeam.io.hbase.tables import check_table, create_table, delete_table, shell_command

__all__ = [
    "Column",
    "Family",
    "HBaseConfig",
    "HBaseLookup",
    "HBaseRow",
    "KeyPart",
    "ReadFromHBase",
    "RecordsFromHBase",
    "RowKey",
    "TableLayout",
    "WriteToHBase",
    "check_table",
    "create_table",
    "delete_table",
    "layout_of",
    "newest",
    "shell_command",
]

_LAZY: Final = {
    "HBaseLookup": "lookup", "check_table": "tables", "create_table": "tables", "delete_table": "tables",
    "newest": "reading", "shell_command": "tables",
}  # fmt: skip
_CLIENTS: Final = ("happybase", "thriftpy2")


def __getattr__(name: str) -> Any:
    """Import what needs the client when it is asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_LAZY[name]}")
    except ModuleNotFoundError as error:
        if error.name not in _CLIENTS:
            raise
        raise ModuleNotFoundError(f"{name} needs happybase: pip install 'thingbeam[hbase]'", name=error.name) from error
    return getattr(module, name)
