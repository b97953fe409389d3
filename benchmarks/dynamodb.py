"""Rows per second into DynamoDB: WriteToDynamoDB in a pipeline beside a bare loop of boto3's BatchWriteItem.

    python benchmarks/dynamodb.py [--rows 10000] [--turns 5] [--in-flight 4]

Starts a DynamoDB Local of the stack, in memory. Both sides write activities of 2,000 devices, 25 in a call. The bare
loop has its items ready, in the form of the API, and makes one call after another; the pipeline is given Arrow batches,
as DeviceHistory makes them, and makes items, keys and sizes.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from typing import Any

from beside import Beside, by_turns, command, keys, piped
from hbase import batch_of

from thingbeam.io.aws import AwsConfig
from thingbeam.io.dynamodb import TableLayout, WriteToDynamoDB, create_table
from thingbeam.io.dynamodb.rows import RowMaker
from thingbeam.io.writing import BatchPolicy
from thingbeam.runners.stack import running
from thingbeam.runners.stack.components.dynamodb import ACCESS_KEY, REGION, SECRET_KEY, DynamoDb
from thingbeam.schemas.records import Activity

BATCH = 25


def bare(client: Any, table: str, items: list[Any]) -> float:
    """Rows per second of a loop."""
    began = time.perf_counter()
    for first in range(0, len(items), BATCH):
        requests = [{"PutRequest": {"Item": item}} for item in items[first : first + BATCH]]
        assert not client.batch_write_item(RequestItems={table: requests})["UnprocessedItems"]
    return len(items) / (time.perf_counter() - began)


def measure(rows: int, turns: int, in_flight: int | None = None) -> list[Beside]:
    """Turn by turn."""
    with tempfile.TemporaryDirectory() as folder, running(folder, DynamoDb(memory=True)) as stack:
        config = AwsConfig(REGION, stack.uri("dynamodb"), **keys(ACCESS_KEY, SECRET_KEY))
        layout = TableLayout.of(Activity, f"rates-{uuid.uuid4().hex[:8]}")
        create_table(config, layout)
        client = config.client("dynamodb")
        how = {} if in_flight is None else {"batch": BatchPolicy(in_flight=in_flight)}

        def loop(turn: int) -> float:
            batches = [batch_of(number, 2 * turn) for number in range(rows // 1000)]
            make = RowMaker(layout)
            return bare(client, layout.name, [row.item for batch in batches for row in make(batch)])

        def sink(turn: int) -> float:
            batches = [batch_of(number, 2 * turn + 1) for number in range(rows // 1000)]
            return piped(batches, rows, WriteToDynamoDB(layout, config, mode="replace", **how))

        return [by_turns("DynamoDB, BatchWriteItem of 25", "rows/s", turns, loop, sink)]


if __name__ == "__main__":
    command(__doc__, measure, rows=10_000, turns=5, in_flight={"type": int})
