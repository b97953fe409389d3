"""HBaseLookup: rows of a table, such as a device registry, added to elements by Beam's Enrichment transform."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from thriftpy2.thrift import TException

from thingbeam.io.enriching import CachedLookup
from thingbeam.io.errors import ConnectorError
from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.hbase.encoding import Fault, RowDecoder
from thingbeam.io.hbase.errors import meaning_of
from thingbeam.io.hbase.layout import TableLayout
from thingbeam.io.hbase.pool import ConnectionPool
from thingbeam.io.hbase.tables import check_table
from thingbeam.schemas.durations import Duration

__all__ = ["HBaseLookup"]


class HBaseLookup(CachedLookup):
    """The handler for `Enrichment` that finds rows of HBase by their key.

    Takes and gives what `CachedLookup` says: `beam.Row`s with the fields of `add` beside their own, None where there is
    no such row. What was found is taken for true for `keep`.

    Args:
        address: `host:port` of the Thrift gateway; or an `HBaseConfig`.
        table: its name.
        layout: of its rows.
        key: the element's field that has the value of the row key; or a function of the element, which for a key of
            several parts gives a tuple of them. None looks nothing up.
        add: fields of the layout to add; with a mapping, by the names that they get.
        keep: how long what was found is taken for true.
        keep_absent: how long it is taken for true that there is nothing.
        most: entries of the cache.
        connect_timeout: how long the first answer of HBase is waited for.

    Raises:
        ValueError: nothing to add, no such column.
    """

    def __init__(
        self,
        address: str | HBaseConfig,
        table: str,
        layout: TableLayout,
        key: str | Callable[[Any], Hashable | None],
        add: Sequence[str] | Mapping[str, str],
        *,
        keep: Duration = "5m",
        keep_absent: Duration = "30s",
        most: int = 10_000,
        connect_timeout: Duration = "60s",
    ) -> None:
        super().__init__(key, add, keep=keep, keep_absent=keep_absent, most=most)
        self._config = address if isinstance(address, HBaseConfig) else HBaseConfig(address)
        self._table = table
        self._layout = layout
        self._fields = frozenset(add)
        self._columns = layout.wire_names(sorted(self._fields))
        self._connect_timeout = connect_timeout

    def open(self) -> None:
        """Connect, and see that the table may be read.

        Raises:
            ConnectorError: no answer, no such table, no permission.
        """
        check_table(self._config, self._table, patience=self._connect_timeout)
        self._pool = ConnectionPool(self._config)
        self._decoder = RowDecoder(self._layout, self._fields)

    def find(self, key: Any) -> Mapping[str, Any] | None:
        """The row of a key; None if there is none, or no row can have that key.

        Raises:
            Throttled: too many at once.
            Again: it may do the next time.
            ConnectorError: what trying again will not mend; a row that is not of the layout.
        """
        parts = key if isinstance(key, tuple) else (key,)
        if len(parts) != len(self._layout.key.parts):
            raise ConnectorError(f"table {self._table} has row keys of {', '.join(self._layout.key.fields)}")
        if parts[0] == "" or None in parts:
            return None
        row_key = self._layout.key.of(parts)
        try:
            with self._pool.connection() as gateway:
                row = gateway.get(self._table, [row_key], self._columns).get(row_key)
        except (TException, OSError, EOFError) as error:
            raise meaning_of(error, self._table, self._config.address) from None
        if row is None:
            return None
        found = self._decoder.record(row)
        if isinstance(found, Fault):
            raise ConnectorError(f"table {self._table}, row {row_key.hex()}: {found.reason}")
        return dict(found)

    def close(self) -> None:
        """Let the connections go."""
        if hasattr(self, "_pool"):
            self._pool.close()
