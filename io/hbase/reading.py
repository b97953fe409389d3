"""Rows of a range of keys, in order, whatever happens to the connection. No Beam in it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, TypeVar

from apache_beam.utils.timestamp import Timestamp
from thriftpy2.thrift import TException

from thingbeam.io.errors import ConnectorError, UnreachableError
from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.hbase.encoding import Fault, RowDecoder
from thingbeam.io.hbase.errors import meaning_of
from thingbeam.io.hbase.layout import TableLayout
from thingbeam.io.hbase.pool import ConnectionPool
from thingbeam.io.hbase.rows import HBaseRow
from thingbeam.io.hbase.selection import Selection
from thingbeam.io.writing.policies import RetryPolicy
from thingbeam.io.writing.store import Again, Throttled

__all__ = ["HBaseReader", "newest"]

T = TypeVar("T")

LOGGER: Final = logging.getLogger("thingbeam.io.hbase")


class HBaseReader:
    """Reads one table; several threads may.

    Guarantee: each row that is there during all of the read is given once, in the order of keys. A read that is cut off
    goes on behind the last row that it gave. It sees no snapshot: of rows that are written meanwhile some may be there.

    Args:
        config: of a gateway.
        table: its name.
        selection: what of it.
        retry: how long a call that fails is tried again.
    """

    def __init__(
        self, config: HBaseConfig, table: str, selection: Selection | None = None, retry: RetryPolicy | None = None
    ) -> None:
        self._table = table
        self._selection = selection or Selection()
        self._retry = retry or RetryPolicy()
        self._pool = ConnectionPool(config)

    def regions(self) -> list[tuple[bytes, bytes]]:
        """The first key of each region, and the first one beyond.

        Raises:
            ConnectorError: no answer, no such table, no permission.
        """

        def look() -> list[tuple[bytes, bytes]]:
            with self._pool.connection() as gateway:
                return gateway.regions(self._table)

        return self._until_answered(look)

    def rows(self, start: bytes, stop: bytes, limit: int = 0) -> Generator[HBaseRow]:
        """The rows from `start` to before `stop` (empty: to the end), at most `limit` (0: all).

        Raises:
            ConnectorError: no answer within the deadline, no such table, no permission, a wrong filter.
        """
        selection, given, failures, until = self._selection, 0, 0, 0.0
        while True:
            try:
                with self._pool.connection() as gateway:
                    left = limit - given if limit else 0
                    batches = gateway.scan(
                        self._table, start, stop, selection.columns, selection.where, selection.rows, left
                    )
                    with contextlib.closing(batches):
                        for batch in batches:
                            failures = 0
                            for row in batch:
                                # The smallest key that is larger.
                                start, given = row.key + b"\0", given + 1
                                yield row
                return
            except (TException, OSError, EOFError) as error:
                if not failures:
                    until = time.monotonic() + self._retry.deadline_seconds
                failures += 1
                self._wait(error, failures, until)
                if (limit and given >= limit) or (stop and start >= stop):
                    return

    def get(self, keys: Sequence[bytes]) -> dict[bytes, HBaseRow]:
        """The rows of these keys that are there.

        Raises:
            ConnectorError: no answer within the deadline, no such table, no permission.
        """

        def ask() -> dict[bytes, HBaseRow]:
            with self._pool.connection() as gateway:
                return gateway.get(self._table, keys, self._selection.columns)

        return self._until_answered(ask)

    def close(self) -> None:
        """Let the connections go."""
        self._pool.close()

    def _until_answered(self, call: Callable[[], T]) -> T:
        failures, until = 0, time.monotonic() + self._retry.deadline_seconds
        while True:
            try:
                return call()
            except (TException, OSError, EOFError) as error:
                failures += 1
                self._wait(error, failures, until)

    def _wait(self, error: Exception, failures: int, until: float) -> None:
        config = self._pool.config
        meaning = meaning_of(error, self._table, config.address)
        if isinstance(meaning, ConnectorError):
            raise meaning from None
        if not isinstance(meaning, (Again, Throttled)):
            where = self._selection.where
            about = f"filter {where!r}" if where else "the read"
            raise ConnectorError(f"{about} of table {self._table}: {getattr(meaning, 'reason', meaning)}") from None
        pause = self._retry.pause(failures)
        if time.monotonic() + pause > until:
            raise UnreachableError(f"table {self._table} gave no rows: {meaning}") from None
        LOGGER.warning("reading table %s goes on after %s", self._table, meaning)
        time.sleep(pause)


def newest(
    config: HBaseConfig,
    table: str,
    layout: TableLayout,
    count: int,
    fields: Mapping[str, Any],
    *,
    since: Timestamp | None = None,
    until: Timestamp | None = None,
    retry: RetryPolicy | None = None,
) -> list[Any]:
    """The first rows of a range: with a key that is newest first, the last `count` of a device.

    Args:
        config: of a gateway.
        table: its name.
        layout: of the table.
        count: at most so many.
        fields: values of the first parts of the key: `{"device_id": "d1"}`.
        since: only from then, by the time that is the next part of the key.
        until: only before then.
        retry: how long a call that fails is tried again.

    Returns:
        Records of the layout.

    Raises:
        ValueError: fields that are not the first of the key, or a row that is no record of the layout.
        ConnectorError: no answer, no such table, no permission.
    """
    decoder, reader = RowDecoder(layout), HBaseReader(config, table, Selection(rows=max(1, min(count, 1_000))), retry)
    try:
        found = [decoder.record(row) for row in reader.rows(*layout.key.range(fields, since, until), limit=count)]
    finally:
        reader.close()
    for record in found:
        if isinstance(record, Fault):
            raise ValueError(f"table {table}: {record.reason}")
    return found
