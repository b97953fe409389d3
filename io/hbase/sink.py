"""WriteToHBase: a bundle ends when all its rows are in HBase."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa

from thingbeam.io.hbase.client import require_client
from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.hbase.encoding import Fault, Outgoing, RowEncoder
from thingbeam.io.hbase.layout import TableLayout
from thingbeam.io.hbase.rows import LARGEST_CELL, HBaseRow
from thingbeam.io.writing import BatchedWrite, BatchPolicy, RetryPolicy, Store, WriteResults
from thingbeam.io.writing.payloads import payload_of
from thingbeam.schemas.durations import Duration

__all__ = ["NAMESPACE", "WriteToHBase"]

NAMESPACE: Final = "thingbeam.io.hbase"


class WriteToHBase(beam.PTransform[Any, Any]):
    """Records, dicts, Arrow batches or ready rows into a table of HBase: puts, and deletes of what is a tombstone.

    Guarantee: at least once. A bundle ends only when each of its rows is acknowledged by HBase, or is a dead letter.
    Where the layout has a revision, each row is there once and as its newest revision, however often and in whatever
    order rows come: a cell's timestamp is its row's revision, and HBase shows the highest; a tombstone hides what is
    older than it. A row is written whole and atomically, with a cell for each column.

    Of what HBase and the gateway answer: a full region or queue slows all writers of this process down; a region that
    moves, a gateway that is gone or silent is tried again with full jitter until `retry.deadline`, and only what
    failed; then the bundle fails, and the runner tries it again. A missing table or family, a disabled table and a lack
    of permission fail the pipeline with one line: before the first row, as far as HBase shows them then.

    Takes a PCollection of: records (NamedTuples), dicts, `pyarrow.RecordBatch` with the record's columns (as
    `DeviceHistory(batches=True)` gives; hundreds as one element, the fastest), (name, RecordBatch), or `HBaseRow`.

    Args:
        address: `host:port` of the Thrift gateway; or an `HBaseConfig`.
        table: its name, `namespace:name` or `name`.
        layout: how elements become rows. Not needed for `HBaseRow`s.
        families: for `HBaseRow`s without a layout: the families of their columns, and what a delete empties.
        batch: how much in one call, how many calls at once; at most 1,000 rows or 2 MiB.
        retry: how long what failed is tried again.
        largest_cell: bytes of a cell with its key that HBase takes (hbase.server.keyvalue.maxsize); larger ones are
            dead letters.
        connect_timeout: how long the first answer of HBase is waited for.
        redact: blanks secrets in the payloads of dead letters.

    Raises:
        ValueError: neither layout nor families; settings that cannot be.
        ModuleNotFoundError: happybase is not installed.

    In the pipeline: `UnreachableError`, `MissingError`, `AuthenticationError`, `WriteError`, of thingbeam.io.errors.
    """

    def __init__(
        self,
        address: str | HBaseConfig,
        table: str,
        layout: TableLayout | None = None,
        *,
        families: tuple[str, ...] = (),
        batch: BatchPolicy | None = None,
        retry: RetryPolicy | None = None,
        largest_cell: int = LARGEST_CELL,
        connect_timeout: Duration = "60s",
        redact: Callable[[bytes], bytes] | None = None,
    ) -> None:
        super().__init__()
        require_client("WriteToHBase")
        config = address if isinstance(address, HBaseConfig) else HBaseConfig(address)
        if layout is None and not families:
            raise ValueError("give the layout of the table, or for HBaseRow the families=")
        if not table:
            raise ValueError("name the table")
        wanted = families or tuple(family.name for family in (layout.families if layout is not None else ()))
        batch = batch or BatchPolicy()
        if batch.in_flight > config.connections:
            raise ValueError(f"{batch.in_flight} calls at once, and {config.connections} connections: allow as many")
        self._open = functools.partial(_open, config, table, wanted, largest_cell, connect_timeout)
        self._arguments: dict[str, Any] = {"batch": batch, "retry": retry, "redact": redact}
        self._source = f"hbase://{config.address}/{table}"
        self._layout = layout

    def expand(self, elements: Any) -> WriteResults:
        """Write."""
        write = BatchedWrite(
            self._open,
            _ToRows(self._layout),
            self._source,
            payload=_payload,
            position=_position,
            namespace=NAMESPACE,
            **self._arguments,
        )
        results: WriteResults = elements | self.label >> write
        return results


def _open(
    config: HBaseConfig, table: str, families: tuple[str, ...], largest_cell: int, patience: Duration
) -> Store[Outgoing]:
    from thingbeam.io.hbase.store import HBaseStore

    return HBaseStore(config, table, families, largest_cell, patience)


class _ToRows:
    """An element's rows. Travels pickled, so what the layout compiles is made on the worker."""

    def __init__(self, layout: TableLayout | None) -> None:
        self._layout = layout
        self._encoder: RowEncoder | None = None

    def __reduce__(self) -> tuple[type[_ToRows], tuple[TableLayout | None]]:
        return _ToRows, (self._layout,)

    def __call__(self, element: Any) -> Iterator[Outgoing]:
        if isinstance(element, HBaseRow):
            yield Outgoing(element, None, element)
            return
        if self._encoder is None:
            if self._layout is None:
                raise TypeError(f"WriteToHBase without a layout takes HBaseRow, not {type(element).__name__}")
            self._encoder = RowEncoder(self._layout)
        if type(element) is tuple and len(element) == 2:
            element = element[1]
        if isinstance(element, pa.RecordBatch):
            for number, row in enumerate(self._encoder.rows(element)):
                yield _outgoing(row, element, number)
            return
        yield _outgoing(self._encoder.row(element), element, -1)


def _outgoing(row: HBaseRow | Fault, origin: Any, number: int) -> Outgoing:
    return Outgoing(None, row, origin, number) if isinstance(row, Fault) else Outgoing(row, None, origin, number)


def _payload(row: Any) -> bytes:
    """What a row was made of, as JSON."""
    if not isinstance(row, Outgoing):
        return payload_of(row)
    if row.number >= 0:
        return payload_of(row.origin.slice(row.number, 1).to_pylist()[0])
    return payload_of(row.origin)


def _position(row: Outgoing) -> str:
    return "" if row.row is None else f"row={row.row.key.hex()}"
