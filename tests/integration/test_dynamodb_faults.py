"""WriteToDynamoDB while the server is killed, its connection is cut and slowed, and a third of calls is throttled."""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.timestamp import Timestamp

from fault_proxy import HttpProxy, Throttling
from kafka_running import collect, collected
from stack_fixtures import DynamoTables
from thingbeam.io.aws import AwsConfig
from thingbeam.io.dynamodb import TableLayout, WriteToDynamoDB, create_table
from thingbeam.io.dynamodb.values import time_text
from thingbeam.io.writing import BatchPolicy, RetryPolicy
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.schemas.records import Session

ROWS = int(os.environ.get("THINGBEAM_TEST_ROWS", "20000")) // 10
BATCH = 250
POISON = 500
TOGETHER = 25
ROUNDS = 1 + ROWS // 100_000
CALLS = ROWS // TOGETHER // ROUNDS
"""That pass, at the least, in one round of troubles: what goes wrong goes wrong while it writes, on any machine."""
NEWEST = 5


def session(number: int, revision: int) -> Session:
    start = Timestamp(number)
    return Session(f"device-{number % 97}", start, "1970", start + 1, start + 2, number % 7, revision)


def batch(number: int, *, upsert: bool) -> pa.RecordBatch:
    """Some keys, each with its newest revision; some also with older ones, before, after and long after it.

    And poison: a key that is too long.
    """
    rows = [session(key, NEWEST) for key in range(number * BATCH, (number + 1) * BATCH)]
    rows += [session(number * BATCH + key, 1 + key % 4) for key in range(0, BATCH, 10)]
    rows += [row._replace(device_id="x" * 3000) for row in rows if row.start.micros // 1_000_000 % POISON == 7]
    if upsert:
        random.Random(number).shuffle(rows)
        if number > 1:
            rows += [session((number - 2) * BATCH + key, 2) for key in range(0, BATCH, 50)]
    else:
        rows.sort(key=lambda row: (row.start, row.revision))
    return to_record_batch(rows, Session)


def write(layout: TableLayout, config: AwsConfig, mode: Any, together: int) -> tuple[str, str]:
    """All batches, through a pipeline; gives the names of the collected results and dead letters."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        written = (
            pipeline
            | beam.Create(range(ROWS // BATCH), reshuffle=False)
            | beam.Map(batch, upsert=mode == "upsert")
            | WriteToDynamoDB(
                layout,
                config,
                mode=mode,
                rows_per_transaction=together,
                batch=BatchPolicy(in_flight=8),
                retry=RetryPolicy(longest="1s"),
            )
        )
        return collect(written.written | beam.Values()), collect(written.dead_letters)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "together"), [("upsert", TOGETHER), ("replace", 1)])
def test_all_rows_are_there_each_once_and_the_newest(dynamodb_on_disk: DynamoTables, mode: Any, together: int) -> None:
    layout = TableLayout.of(Session, f"t-{uuid.uuid4().hex[:12]}")
    create_table(dynamodb_on_disk.config(), layout)
    throttling = Throttling(1 / 3, "BatchWriteItem", "TransactWriteItems", "PutItem")
    faults: list[str] = []
    failures: list[Exception] = []
    done = threading.Event()

    def passed(rounds: float) -> bool:
        """Waits for so many calls that went to the server; False where the writing is over."""
        while throttling.calls - throttling.throttled < rounds * CALLS:
            if done.wait(0.01):
                return False
        return True

    def trouble(proxy: HttpProxy) -> None:
        try:
            for number in range(ROUNDS):
                if not passed(number + 0.2):
                    return
                # DynamoDB Local acknowledges a transaction before it is on disk: a bare client loses the last one by
                # kill -9, too. So calls are held for a moment; they find it dead.
                with proxy.slow(1.0 if mode == "upsert" else 0.0):
                    time.sleep(0.5)
                    with dynamodb_on_disk.killed():
                        time.sleep(0.7)
                faults.append("killed")
                if not passed(number + 0.6):
                    return
                proxy.cut(0.3)
                faults.append("cut")
                with proxy.slow(0.05):
                    done.wait(1)
                faults.append("slow")
        except Exception as error:
            # For the test to raise: this thread has nobody who would see it.
            failures.append(error)

    with HttpProxy(dynamodb_on_disk.address, throttling) as proxy:
        troubled = threading.Thread(target=trouble, args=(proxy,))
        troubled.start()
        try:
            results, dead = write(layout, dynamodb_on_disk.config(proxy.url, read_timeout=10.0), mode, together)
        finally:
            done.set()
            troubled.join()
    assert failures == []
    outcomes, letters = collected.pop(results), collected.pop(dead)
    assert faults.count("killed") == faults.count("cut") == ROUNDS
    assert throttling.throttled > throttling.calls / 5
    items = dynamodb_on_disk.items(layout.name, segments=1 + ROWS // 2_000)
    keys = range(ROWS // BATCH * BATCH)
    assert sorted((item["device_id"]["S"], item["start"]["S"], item["revision"]["N"]) for item in items) == sorted(
        (f"device-{key % 97}", time_text(key * 1_000_000), str(NEWEST)) for key in keys
    )
    poison = [key for key in keys if key % POISON == 7]
    assert len(letters) == len(poison) == sum(outcome.refused for outcome in outcomes)
    assert {letter.code for letter in letters} <= {"too_large"}
    assert sum(outcome.stored for outcome in outcomes) >= len(keys)
