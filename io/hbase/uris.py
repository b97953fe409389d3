"""hbase:// URIs: a table, the gateway before it, and the arguments of the transforms by their names.

    hbase://HOST:PORT/TABLE?interface=2&batch_rows=500
    hbase://HOST:PORT/NAMESPACE:TABLE

HBase's Thrift gateways ask nobody who they are, so there is no secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.writing.policies import BatchPolicy, RetryPolicy

__all__ = ["HBaseUri", "parse_hbase_uri"]

_BOOLS: Final = {"true": True, "false": False}


class HBaseUri(NamedTuple):
    """An `hbase://` URI, taken apart."""

    shown: str
    """The URI without what is after the `?`: for a person."""
    config: HBaseConfig
    table: str
    """`NAMESPACE:TABLE` or `TABLE`; what the names of an application's tables begin with."""
    options: dict[str, Any]
    """The arguments of ReadFromHBase or WriteToHBase that it gives; `tables`, the address of a second gateway."""


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLS:
        raise ValueError("true or false")
    return _BOOLS[text.lower()]


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError("a whole number from 1")
    return int(text)


_CONFIG: Final[Mapping[str, Callable[[str], Any]]] = {
    "interface": _count, "framed": _boolean, "timeout": str, "connections": _count,
}  # fmt: skip
_READ: Final[Mapping[str, Callable[[str], Any]]] = {
    "where": str, "limit": _count, "batch_rows": _count, "connect_timeout": str, "event_time": str,
}  # fmt: skip
_WRITE: Final[Mapping[str, Callable[[str], Any]]] = {
    "largest_cell": _count, "connect_timeout": str, "rows": _count, "bytes": _count, "in_flight": _count,
    "deadline": str, "tables": str,
}  # fmt: skip


def parse_hbase_uri(uri: str, *, write: bool = False) -> HBaseUri:
    """An `hbase://` URI as configuration, table and arguments.

    What a query can say: `interface=1` or `2`, `framed=`, `timeout=`, `connections=` of HBaseConfig; of an input
    `where=`, `limit=`, `batch_rows=`, `event_time=`; of an output `largest_cell=`, `rows=`, `bytes=` and `in_flight=`
    of each batch, `deadline=` of retries, and `tables=HOST:PORT`, a gateway of the second interface that makes tables;
    of both `connect_timeout=`.

    Args:
        uri: percent-encoded where needed.
        write: whether it is an output.

    Raises:
        ValueError: one line that says what is wrong.

    >>> parsed = parse_hbase_uri("hbase://127.0.0.1:9090/usage?interface=2&in_flight=2", write=True)
    >>> parsed.config.interface, parsed.table, parsed.options["batch"].in_flight
    (2, 'usage', 2)
    """
    parts = urlsplit(uri)
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if parts.scheme.lower() != "hbase":
        raise ValueError(f"{where}: hbase://HOST:PORT/TABLE is expected")
    if "@" in parts.netloc:
        raise ValueError(f"{where}: no user or password before the @: HBase's Thrift gateways take none")
    if parts.fragment:
        raise ValueError(f"{where}: what is after the # means nothing; write %23 for a #")
    table = unquote(parts.path).strip("/")
    if not table or "/" in table:
        raise ValueError(f"{where}: name one table: hbase://HOST:PORT/TABLE")
    known = {**_CONFIG, **(_WRITE if write else _READ)}
    found: dict[str, Any] = {}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name in found:
            raise ValueError(f"{where}: {name} is given twice")
        if name not in known:
            raise ValueError(f"{where}: {name}: no such option; there are {', '.join(sorted(known))}")
        try:
            found[name] = known[name](text)
        except ValueError as error:
            raise ValueError(f"{where}: {name}={text}: {error}") from None
    try:
        config = HBaseConfig(parts.netloc, **{name: found.pop(name) for name in _CONFIG if name in found})
        if "tables" in found:
            found["tables"] = HBaseConfig(found["tables"], 2)
        batch = {name: found.pop(name) for name in ("rows", "bytes", "in_flight") if name in found}
        if batch:
            found["batch"] = BatchPolicy(**batch)
        if "deadline" in found:
            found["retry"] = RetryPolicy(found.pop("deadline"))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return HBaseUri(where, config, table, found)
