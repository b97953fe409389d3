"""HBase as the sink base sees it: rows in, what each answer means out."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

from thriftpy2.thrift import TException

from thingbeam.io.errors import MissingError
from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.hbase.encoding import Fault, Outgoing
from thingbeam.io.hbase.errors import meaning_of
from thingbeam.io.hbase.keys import LONGEST_KEY
from thingbeam.io.hbase.pool import ConnectionPool
from thingbeam.io.hbase.tables import check_table
from thingbeam.io.writing.store import Failure, Limits, Refused
from thingbeam.schemas import codes
from thingbeam.schemas.durations import Duration

__all__ = ["HBaseStore"]

_CELL_OVERHEAD: Final = 24
"""Lengths, timestamp and type of a cell, and what Thrift adds."""
_ROWS: Final = 1_000
_BYTES: Final = 2 << 20
_FRAMED_BYTES: Final = 1 << 20
_LARGEST_ROW: Final = 64 << 20
_LARGEST_FRAME: Final = (2 << 20) - (64 << 10)
"""A gateway's frames are 2 MiB: hbase.regionserver.thrift.framed.max_frame_size_in_mb."""


class HBaseStore:
    """One table, for one worker process.

    Args:
        config: of the gateway.
        table: its name.
        families: that rows are put into and deletes empty.
        largest_cell: bytes.
        patience: how long the first answer is waited for.

    Raises:
        UnreachableError: no answer.
        MissingError: no such table or family, or it is disabled.
        AuthenticationError: the gateway's user may not see or write it.
    """

    def __init__(
        self, config: HBaseConfig, table: str, families: Sequence[str], largest_cell: int, patience: Duration
    ) -> None:
        check_table(config, table, families, writing=True, patience=patience)
        self._config = config
        self._table = table
        self._families = list(families)
        self._largest_cell = largest_cell
        self._largest_row = _LARGEST_FRAME if config.framed else _LARGEST_ROW
        self._pool = ConnectionPool(config)

    def limits(self) -> Limits:
        """A thousand rows or 2 MiB; half of that for a framed gateway."""
        return Limits(_ROWS, _FRAMED_BYTES if self._config.framed else _BYTES)

    def measure(self, row: Outgoing) -> int:
        """Bytes of the cells, each with its key, as HBase stores them.

        Raises:
            Refused: it is no row; its key is empty or too long; a cell, or all of it, is too large.
        """
        if row.row is None:
            fault = row.fault or Fault(codes.REFUSED, "no row")
            raise Refused(fault.code, fault.reason)
        key, cells, revision, _ = row.row
        if not key:
            raise Refused(codes.MISSING_FIELD, "the row key is empty")
        if len(key) > LONGEST_KEY:
            raise Refused(codes.TOO_LARGE, f"a row key of {len(key)} bytes; HBase takes {LONGEST_KEY}")
        if revision is not None and revision < 0:
            raise Refused(codes.WRONG_TYPE, "HBase has no negative timestamps")
        each = len(key) + _CELL_OVERHEAD
        total = each
        for name, value in cells.items():
            size = each + len(name) + len(value)
            total += size
            if size > self._largest_cell:
                shown = name.decode(errors="replace")
                raise Refused(codes.TOO_LARGE, f"{shown}: a cell of {size} bytes; HBase takes {self._largest_cell}")
        if total > self._largest_row:
            raise Refused(codes.TOO_LARGE, f"a row of {total} bytes; one call takes {self._largest_row}")
        return total

    def key(self, row: Outgoing) -> Hashable | None:
        """The row key."""
        return None if row.row is None else row.row.key

    def revision(self, row: Outgoing) -> int:
        """The timestamp; for rows without one all are equally new, and the later one is written."""
        return 0 if row.row is None else row.row.revision or 0

    def write(self, rows: Sequence[Outgoing]) -> Sequence[Failure]:
        """Store them all, or raise what the answer means. Some may then be there: to write them again changes nothing.

        Raises:
            Throttled: a region has no room, or a server's queue.
            Again: no answer, no connection, a region that moves.
            RefusedBatch: the gateway takes some row for impossible.
            ConnectorError: no table, no family, no permission.
        """
        ready = [one.row for one in rows if one.row is not None]
        try:
            with self._pool.connection() as gateway:
                gateway.write(self._table, ready, self._families)
        except TimeoutError as error:
            # For a table that was disabled the gateway tries again until nobody listens.
            self._see_enabled()
            raise meaning_of(error, self._table, self._config.address) from None
        except (TException, OSError, EOFError) as error:
            raise meaning_of(error, self._table, self._config.address) from None
        return ()

    def close(self) -> None:
        """Let the connections go."""
        self._pool.close()

    def _see_enabled(self) -> None:
        try:
            with self._pool.connection() as gateway:
                enabled = gateway.is_enabled(self._table)
        except (TException, OSError, EOFError) as error:
            raise meaning_of(error, self._table, self._config.address) from None
        if not enabled:
            raise MissingError(f"table {self._table} is disabled: enable it")
