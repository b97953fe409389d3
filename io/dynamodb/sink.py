"""WriteToDynamoDB: a bundle ends when its rows are in the table."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, Literal

import apache_beam as beam

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.dynamodb.layout import TableLayout
from thingbeam.io.dynamodb.rows import Row, RowMaker, payload_of_row, position_of_row
from thingbeam.io.dynamodb.store import DynamoDbStore, Mode
from thingbeam.io.dynamodb.tables import check_table
from thingbeam.io.writing import BatchedWrite, BatchPolicy, RetryPolicy, WriteResults
from thingbeam.schemas.durations import Duration, micros_of_duration

__all__ = ["WriteToDynamoDB"]

NAMESPACE: Final = "thingbeam.io.dynamodb"
_MOST_IN_TRANSACTION: Final = 100
_IN_FLIGHT: Final = {"replace": 4, "upsert": 16}


class WriteToDynamoDB(beam.PTransform[Any, Any]):
    """Rows into a table of DynamoDB.

    Takes a PCollection of records (NamedTuples), of dicts, of `pyarrow.RecordBatch`, or of (name, RecordBatch) as
    `DeviceHistory(batches=True)` gives; batches are the fastest. Gives `WriteResults`: `written`, each element with
    what became of its rows, once they are stored; and `dead_letters`.

    Guarantee: at least once, and each row is in the table once, since it is there under its key. A bundle ends only
    when each of its rows is stored, or the table has a newer one, or it is a dead letter. With `mode="upsert"` an older
    revision never wins over a newer one, whoever writes it and however late. With `mode="replace"` the row that is
    written last wins; rows of one key are written in the order in which a worker has them, the newest of those that it
    has at once.

    Dead letters: an item over 400 KB, a key that is missing, empty, too long or of another type, a number that is not
    finite or has more than 38 digits, a text that is no Unicode, and what DynamoDB itself refuses.

    Args:
        layout: of the table.
        config: where, and who we are; by default what boto3 finds on the worker.
        mode: `upsert` by a conditional PutItem for each row, or `replace` by BatchWriteItem, 25 rows a call. By
            default `upsert` where the layout has a revision. Right for `replace`: rows that are written once, loads
            into an empty table, and results that come in the order of their revisions by key, where a moment's older
            row does no harm.
        rows_per_transaction: for `upsert`, how many rows share one TransactWriteItems, to 100. More than twice as fast
            as one by one, for twice the write capacity units.
        tombstones: `keep` writes a row that is `deleted` as an item of its key, revision and `deleted` alone, so that
            an older row that comes late finds it; readers pass over it. `delete` removes the item. By default `keep`
            with `upsert`, `delete` with `replace`.
        keep_tombstones: how long, where the layout has a TTL; else they stay.
        batch: how much in one call, how many calls at once.
        retry: how long what failed is tried again.
        redact: blanks secrets in the payloads of dead letters.
        check: whether the table is looked at as the pipeline is built, and again on each worker; needs
            dynamodb:DescribeTable.

    Raises:
        ValueError: what cannot be, as the pipeline is built.
        ConnectorError: with `check`, the table is not there, has another key, is not ours to use, or does not answer.
    """

    def __init__(
        self,
        layout: TableLayout,
        config: AwsConfig | None = None,
        *,
        mode: Mode | None = None,
        rows_per_transaction: int = 1,
        tombstones: Literal["keep", "delete"] | None = None,
        keep_tombstones: Duration = "35d",
        batch: BatchPolicy | None = None,
        retry: RetryPolicy | None = None,
        redact: Callable[[bytes], bytes] | None = None,
        check: bool = True,
    ) -> None:
        super().__init__()
        mode = mode or ("replace" if layout.revision is None else "upsert")
        if mode not in _IN_FLIGHT:
            raise ValueError(f"mode {mode!r}: upsert or replace")
        if mode == "upsert" and layout.revision is None:
            raise ValueError(f'table {layout.name}: mode="upsert" needs a revision to compare; the layout has none')
        if not 1 <= rows_per_transaction <= _MOST_IN_TRANSACTION:
            raise ValueError(f"rows_per_transaction {rows_per_transaction}: 1 to {_MOST_IN_TRANSACTION}")
        if mode == "replace" and rows_per_transaction > 1:
            raise ValueError('rows_per_transaction is for mode="upsert"')
        tombstones = tombstones or ("keep" if mode == "upsert" else "delete")
        if tombstones not in ("keep", "delete"):
            raise ValueError(f"tombstones {tombstones!r}: keep or delete")
        self._config = config or AwsConfig()
        self._layout = layout
        self._mode: Mode = mode
        self._transaction = rows_per_transaction
        kept = micros_of_duration(keep_tombstones, "keep_tombstones") // 1_000_000
        self._rows = RowMaker(layout, kept if tombstones == "keep" else None)
        one_by_one = mode == "upsert" and rows_per_transaction == 1
        self._batch = batch or BatchPolicy(in_flight=_IN_FLIGHT["upsert" if one_by_one else "replace"])
        self._retry = retry
        self._redact = redact
        self._check = check
        if check:
            check_table(self._config, layout)

    def expand(self, elements: Any) -> WriteResults:
        """Write."""
        write: BatchedWrite[Row] = BatchedWrite(
            functools.partial(
                DynamoDbStore, self._config, self._layout, self._mode, self._transaction, check=self._check
            ),
            self._rows,
            f"dynamodb://{self._layout.name}",
            batch=self._batch,
            retry=self._retry,
            redact=self._redact,
            payload=payload_of_row,
            position=position_of_row,
            namespace=NAMESPACE,
            step=self.label,
        )
        results: WriteResults = elements | "Batched" >> write
        return results
