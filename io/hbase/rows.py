"""Rows of HBase as they are on the wire: a key, cells, and the timestamp of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from thingbeam.schemas.coders import register_rows

__all__ = ["LARGEST_CELL", "HBaseRow"]


LARGEST_CELL: Final = 10 << 20
"""Bytes of a cell with its key: the default of hbase.client.keyvalue.maxsize and hbase.server.keyvalue.maxsize."""


class HBaseRow(NamedTuple):
    """One row, to be written or as it was read.

    >>> row = HBaseRow(b"device-1", {b"d:state": b"on"}, revision=7)
    >>> row.cells[b"d:state"], row.deleted
    (b'on', False)
    """

    key: bytes
    cells: Mapping[bytes, bytes]
    """Values by `family:qualifier`."""
    revision: int | None = None
    """The timestamp of its cells; None for the server's clock. Of a row that was read: its newest cell's."""
    deleted: bool = False
    """Delete it instead: all that has this revision or an older one."""


register_rows(HBaseRow)
