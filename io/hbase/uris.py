"""hbase:// URIs: a table, the gateway before it, and the arguments of the transforms by their names.

    hbase://HOST:PORT/TABLE?interface=2&batch_rows=500
    hbase://HOST:PORT/NAMESPACE:TABLE

HBase's Thrift gateways ask nobody who they are, so there is no secret.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.query import Readers, boolean, count, read_options
from thingbeam.io.writing.policies import BatchPolicy, RetryPolicy

__all__ = ["HBaseUri", "parse_hbase_uri"]


class HBaseUri(NamedTuple):
    """An `hbase://` URI, taken apart."""

    shown: str
    """The URI without what is after the `?`: for a person."""
    config: HBaseConfig
    table: str
    """`NAMESPACE:TABLE` or `TABLE`; what the names of an application's tables begin with."""
    options: dict[str, Any]
    """The arguments of ReadFromHBase or WriteToHBase that it gives; `tables`, the address of a second gateway."""


_CONFIG: Final[Readers] = {
    "interface": count, "framed": boolean, "timeout": str, "connections": count,
}  # fmt: skip
_READ: Final[Readers] = {
    "where": str, "limit": count, "batch_rows": count, "connect_timeout": str, "event_time": str,
}  # fmt: skip
_WRITE: Final[Readers] = {
    "largest_cell": count, "connect_timeout": str, "rows": count, "bytes": count, "in_flight": count,
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
    query: dict[str, str] = {}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name in query:
            raise ValueError(f"{where}: {name} is given twice")
        if name not in known:
            raise ValueError(f"{where}: {name}: no such option; there are {', '.join(sorted(known))}")
        query[name] = text
    found = read_options(where, query, known)
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
