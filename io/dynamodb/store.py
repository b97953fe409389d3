"""Rows into a table: in batches that replace, or with a condition under which an older revision never wins."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.aws.errors import code_of, connector_error, kind_of, kind_of_code, message_of
from thingbeam.io.dynamodb.layout import TableLayout
from thingbeam.io.dynamodb.rows import Row
from thingbeam.io.dynamodb.tables import check_table, shown
from thingbeam.io.errors import UnreachableError
from thingbeam.io.writing.policies import RetryPolicy
from thingbeam.io.writing.store import Again, Failure, Limits, RefusedBatch, Throttled
from thingbeam.schemas import codes

__all__ = ["DynamoDbStore", "Mode"]

Mode = Literal["upsert", "replace"]

_PATIENCE_S: Final = 60.0
_BATCH: Final = Limits(25, 16 << 20)
_TRANSACTION: Final = Limits(100, 4 << 20)
_JSON_SHARE: Final = 2
"""How many times larger than it counts an item may be as JSON."""
_NEEDS: Final = {
    "BatchWriteItem": "dynamodb:BatchWriteItem",
    "PutItem": "dynamodb:PutItem",
    "DeleteItem": "dynamodb:DeleteItem",
    "TransactWriteItems": "dynamodb:PutItem and dynamodb:DeleteItem",
}
_ROW_CODES: Final = frozenset(
    {"ValidationException", "ValidationError", "ItemCollectionSizeLimitExceeded",
     "ItemCollectionSizeLimitExceededException", "SerializationException", "RequestEntityTooLarge"}
)  # fmt: skip
"""Errors that are about a row, not about the table or us."""


class DynamoDbStore:
    """A table, as the sink base wants it.

    Args:
        config: where, and who we are.
        layout: of the table.
        mode: `replace` puts whatever comes, 25 rows a call; `upsert` puts a row unless the table has a newer revision
            of it.
        rows_per_transaction: for `upsert`, 1 for a call each, or how many share one transaction.
        check: whether the table is looked at first.

    Raises:
        ConnectorError: the table is not there or has another key, or we may not use it.
    """

    def __init__(
        self, config: AwsConfig, layout: TableLayout, mode: Mode, rows_per_transaction: int = 1, *, check: bool = True
    ) -> None:
        self._layout = layout
        self._mode = mode
        self._transaction = rows_per_transaction
        self._where = shown(config, layout.name)
        if check:
            _check_patiently(config, layout)
        self._client = config.client("dynamodb", attempts=1, checked=False)
        self._condition, self._names = _condition(layout)

    def limits(self) -> Limits:
        """25 rows a batch; as many in a transaction as were asked for."""
        most = _BATCH if self._mode == "replace" else _TRANSACTION._replace(rows=self._transaction)
        return most._replace(bytes=most.bytes // _JSON_SHARE)

    def measure(self, row: Row) -> int:
        """The item's size."""
        if row.fault is not None:
            raise row.fault
        return row.size

    def key(self, row: Row) -> tuple[Any, ...]:
        """Partition and sort key."""
        return row.key

    def revision(self, row: Row) -> int:
        """The row's."""
        return row.revision

    def write(self, rows: Sequence[Row]) -> Sequence[Failure]:
        """One call."""
        if self._mode == "replace":
            return self._write_batch(rows)
        return self._write_one(rows[0]) if len(rows) == 1 else self._write_transaction(rows)

    def close(self) -> None:
        """Nothing: the client is the process's."""

    def _write_batch(self, rows: Sequence[Row]) -> Sequence[Failure]:
        table = self._layout.name
        requests = [
            {"DeleteRequest": {"Key": row.item}} if row.delete else {"PutRequest": {"Item": row.item}} for row in rows
        ]
        left = self._call("batch_write_item", RequestItems={table: requests})["UnprocessedItems"].get(table)
        if not left:
            return ()
        names = [key.name for key in self._layout.keys]
        places = {row.key: place for place, row in enumerate(rows)}
        failures: list[Failure] = []
        for request in left:
            item = request["PutRequest"]["Item"] if "PutRequest" in request else request["DeleteRequest"]["Key"]
            key = tuple(next(iter(item[name].values())) for name in names)
            failures.append(Failure(places[key], "throttled", reason="unprocessed items"))
        return failures

    def _write_one(self, row: Row) -> Sequence[Failure]:
        try:
            if row.delete:
                self._call("delete_item", TableName=self._layout.name, Key=row.item, **self._unless_newer(row))
            else:
                self._call("put_item", TableName=self._layout.name, Item=row.item, **self._unless_newer(row))
        except _Superseded:
            return (Failure(0, "superseded"),)
        return ()

    def _write_transaction(self, rows: Sequence[Row]) -> Sequence[Failure]:
        table = self._layout.name
        actions: list[dict[str, Any]] = []
        for row in rows:
            name, content = ("Delete", "Key") if row.delete else ("Put", "Item")
            actions.append({name: {"TableName": table, content: row.item, **self._unless_newer(row)}})
        try:
            self._call("transact_write_items", TransactItems=actions)
        except _Cancelled as cancelled:
            if len(cancelled.reasons) != len(rows):
                # Nobody says what became of which row, and none was stored.
                raise Again(f"{self._where}: {cancelled}") from cancelled
            return [_failure(place, reason) for place, reason in enumerate(cancelled.reasons)]
        return ()

    def _unless_newer(self, row: Row) -> dict[str, Any]:
        return {
            "ConditionExpression": self._condition,
            "ExpressionAttributeNames": self._names,
            "ExpressionAttributeValues": {":revision": {"N": str(row.revision)}},
        }

    def _call(self, operation: str, **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, operation)(**arguments)
        except (ClientError, BotoCoreError) as error:
            code = code_of(error)
            if code == "ConditionalCheckFailedException":
                raise _Superseded from error
            if code == "TransactionCanceledException":
                raise _Cancelled(error) from error
            if code in _ROW_CODES:
                raise RefusedBatch(*_refusal(code, message_of(error))) from error
            kind = kind_of(error)
            said = f"{self._where}: {code}: {message_of(error)}"
            if kind == "throttled":
                raise Throttled(said) from error
            if kind == "again":
                raise Again(said) from error
            needs = _NEEDS.get(getattr(error, "operation_name", ""), "")
            raise connector_error(error, self._where, needs) from error


def _check_patiently(config: AwsConfig, layout: TableLayout) -> None:
    """A worker may begin while the table is out of reach for a moment; that is no mistake of anybody's."""
    until, failures, retry = time.monotonic() + _PATIENCE_S, 0, RetryPolicy()
    while True:
        try:
            return check_table(config, layout)
        except UnreachableError:
            failures += 1
            pause = retry.pause(failures)
            if time.monotonic() + pause > until:
                raise
            time.sleep(pause)


class _Superseded(Exception):  # noqa: N818 - an answer, no error
    """The table has a newer revision."""


class _Cancelled(Exception):  # noqa: N818 - an answer, no error
    """None of a transaction was stored."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error))
        self.reasons: list[Mapping[str, Any]] = error.response.get("CancellationReasons", [])


def _condition(layout: TableLayout) -> tuple[str, dict[str, str]]:
    # The same revision is written again: the answer to the first attempt may have been lost.
    condition = "attribute_not_exists(#key) OR attribute_not_exists(#revision) OR #revision <= :revision"
    return condition, {"#key": layout.partition.name, "#revision": layout.revision or ""}


def _failure(place: int, reason: Mapping[str, Any]) -> Failure:
    code, said = str(reason.get("Code") or "None"), str(reason.get("Message") or "")
    if code == "None":
        return Failure(place, "untried")
    if code == "ConditionalCheckFailed":
        return Failure(place, "superseded")
    if code in _ROW_CODES:
        return Failure(place, "refused", *_refusal(code, said))
    throttled = code == "ProvisionedThroughputExceeded" or kind_of_code(code) == "throttled"
    return Failure(place, "throttled" if throttled else "again", reason=f"{code}: {said}")


def _refusal(code: str, said: str) -> tuple[str, str]:
    """The code and reason of a dead letter."""
    large = "size" in said.lower() and ("exceed" in said.lower() or "large" in said.lower())
    return codes.TOO_LARGE if large or code == "RequestEntityTooLarge" else codes.REFUSED, f"{code}: {said}"
