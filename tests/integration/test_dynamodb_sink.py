"""WriteToDynamoDB against DynamoDB Local: what is stored, what is not, and how fast."""

from __future__ import annotations

import json
import math
import os
import random
import time
import uuid
from decimal import Decimal
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows, SlidingWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from fault_proxy import Answer, Call, Forward, HttpProxy, aws_error
from kafka_running import collect, collected
from stack_fixtures import DynamoTables
from thingbeam.io.aws import AwsConfig
from thingbeam.io.dynamodb import Key, TableLayout, Ttl, WriteToDynamoDB, create_table
from thingbeam.io.errors import ConnectorError, MismatchError
from thingbeam.io.writing import RetryPolicy, WriteResult
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.schemas.records import DeadLetter, Session, Usage

NOON = 1_769_860_800
ROWS = int(os.environ.get("THINGBEAM_TEST_ROWS", "20000"))


def session(number: int, revision: int = 1, **more: Any) -> Session:
    """One of 50 devices' sessions."""
    start = Timestamp(NOON + number)
    values: dict[str, Any] = {"device_id": f"device-{number % 50}", "count": 3} | more
    return Session(start=start, start_local="2026", last=start + 1, end=start + 2, revision=revision, **values)


def table(dynamodb: DynamoTables, record: type = Session, **more: Any) -> TableLayout:
    """A table of its own."""
    layout = TableLayout.of(record, f"t-{uuid.uuid4().hex[:12]}", **more)
    assert create_table(dynamodb.config(), layout)
    return layout


def write(
    dynamodb: DynamoTables, layout: TableLayout, elements: list[Any], endpoint: str | None = None, **how: Any
) -> tuple[list[tuple[Any, WriteResult]], list[DeadLetter]]:
    """Writes elements; gives what became of each, and the dead letters."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        done = (
            pipeline
            | beam.Create(elements, reshuffle=False)
            | "Store" >> WriteToDynamoDB(layout, dynamodb.config(endpoint), **how)
        )
        written, dead = collect(done.written), collect(done.dead_letters)
    return collected.pop(written), collected.pop(dead)


@pytest.mark.parametrize("mode", ["upsert", "replace"])
def test_a_record_is_an_item(dynamodb: DynamoTables, mode: Any) -> None:
    layout = table(dynamodb, Usage, ttl=Ttl("400d", since="start"))
    row = Usage(
        "washer", "main", "powerMeter", "power", "measurement", "PT1H", Timestamp(NOON), "2026", Timestamp(NOON + 3600),
        4, 2, 0.1, 3480.25, 1 / 3, None, None, 12.0, None, {"on": 0.5}, 7, unit="W",
    )  # fmt: skip
    written, dead = write(dynamodb, layout, [row], mode=mode)
    assert dead == []
    assert [result for _, result in written] == [WriteResult(1, 0, 0)]
    (item,) = dynamodb.items(layout.name)
    assert item["sort_key"] == {"S": "main#powerMeter#power#measurement#PT1H#2026-01-31T12:00:00.000000Z"}
    assert item["mean"] == {"N": repr(1 / 3)}
    assert item["seconds_in_state"] == {"M": {"on": {"N": "0.5"}}}
    assert item["expires_at"] == {"N": str(NOON + 400 * 86400)}
    assert "sum" not in item


@pytest.mark.parametrize(("mode", "together"), [("upsert", 1), ("upsert", 25), ("replace", 1)])
def test_all_forms_give_the_same_items(dynamodb: DynamoTables, mode: Any, together: int) -> None:
    rows = [session(number) for number in range(60)]
    found: list[Any] = []
    for elements in (rows, [row._asdict() for row in rows], [to_record_batch(rows, Session)],
                     [("sessions", to_record_batch(rows, Session))]):  # fmt: skip
        layout = table(dynamodb)
        written, dead = write(dynamodb, layout, elements, mode=mode, rows_per_transaction=together)
        assert dead == []
        assert sum(result.stored for _, result in written) == 60
        items = [{name: v for name, v in item.items() if "NULL" not in v} for item in dynamodb.items(layout.name)]
        found.append(sorted(items, key=lambda item: item["start"]["S"]))
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize("together", [1, 25])
def test_an_older_revision_never_wins(dynamodb: DynamoTables, together: int) -> None:
    """In any order, in one bundle or several, and against what is there already."""
    layout = table(dynamodb)
    rows = [session(number, revision) for number in range(40) for revision in (1, 2, 3)]
    random.Random(5).shuffle(rows)
    for part in (rows[:60], rows[60:], [session(number, 2) for number in range(40)]):
        written, _ = write(dynamodb, layout, part, rows_per_transaction=together)
    assert [result for _, result in written] == [WriteResult(0, 1, 0)] * 40
    assert {item["revision"]["N"] for item in dynamodb.items(layout.name)} == {"3"}
    again, _ = write(dynamodb, layout, [session(number, 3) for number in range(40)], rows_per_transaction=together)
    assert [result.stored for _, result in again] == [1] * 40


def test_duplicates_of_a_batch_are_resolved_by_revision(dynamodb: DynamoTables) -> None:
    layout = table(dynamodb)
    rows = [session(1, 2), session(1, 9), session(1, 5), session(2, 1)]
    written, _ = write(dynamodb, layout, rows, mode="replace")
    assert {row.revision: result for row, result in written} == {
        2: WriteResult(0, 1, 0), 9: WriteResult(1, 0, 0), 5: WriteResult(0, 1, 0), 1: WriteResult(1, 0, 0)
    }  # fmt: skip
    assert sorted(item["revision"]["N"] for item in dynamodb.items(layout.name)) == ["1", "9"]


def test_tombstones(dynamodb: DynamoTables) -> None:
    gone = session(1, 5, deleted=True)
    kept = table(dynamodb, ttl=Ttl("30d"))
    for element in (session(1, 1), gone, session(1, 4)):
        write(dynamodb, kept, [element])
    (item,) = dynamodb.items(kept.name)
    assert item.keys() == {"device_id", "start", "revision", "deleted", "expires_at"}
    assert item["revision"] == {"N": "5"}
    for how in ({"mode": "replace"}, {"tombstones": "delete"}, {"tombstones": "delete", "rows_per_transaction": 25}):
        removed = table(dynamodb)
        write(dynamodb, removed, [session(1, 1), session(2, 1)])
        write(dynamodb, removed, [gone, session(3, 1)], **how)
        assert sorted(item["start"]["S"][17:19] for item in dynamodb.items(removed.name)) == ["02", "03"]


def test_bad_rows_are_dead_letters_and_nowhere_else(dynamodb: DynamoTables) -> None:
    layout = TableLayout(f"t-{uuid.uuid4().hex[:12]}", Key(("id",)), revision=None, deleted=None)
    create_table(dynamodb.config(), layout)
    good = [{"id": f"good-{number}", "n": number} for number in range(60)]
    bad = {
        "missing_field": [{"id": ""}, {"n": 1}, {"id": None}],
        "wrong_type": [{"id": 5}, {"id": "o", "o": object()}, {"id": "n", 5: 1}, "no row", {"id": "e", "set": set()}],
        "too_large": [{"id": "long", "text": "x" * 410_000}, {"id": "k" * 2049}],
        "not_finite": [{"id": "nan", "n": math.nan}, {"id": "inf", "m": {"n": [math.inf]}}],
        "out_of_range": [
            {"id": "huge", "n": 1e200},
            {"id": "long", "n": Decimal("1." + "3" * 40)},
            {"id": "w", "n": 10**40 + 1},
        ],
    }
    elements = [*good, *(row for rows in bad.values() for row in rows)]
    random.Random(3).shuffle(elements)
    written, dead = write(dynamodb, layout, elements, redact=lambda payload: payload.replace(b"nan", b"***"))
    counts = {code: sum(letter.code == code for letter in dead) for code in {letter.code for letter in dead}}
    assert counts == {code: len(rows) for code, rows in bad.items()}
    assert {item["id"]["S"] for item in dynamodb.items(layout.name)} == {row["id"] for row in good}
    assert sum(result.stored for _, result in written) == 60
    assert sum(result.refused for _, result in written) == len(dead)
    assert {(letter.source, letter.step) for letter in dead} == {(f"dynamodb://{layout.name}", "Store")}
    assert [letter.position for letter in dead if b'"***"' in letter.payload] == ["nan"]
    assert [letter.payload for letter in dead if b'"nan"' in letter.payload] == []


def test_what_only_the_server_refuses_is_found(dynamodb: DynamoTables) -> None:
    """The server's own word on one row of a batch: the others are stored, in few calls."""
    layout = table(dynamodb)
    poison = {13, 14, 77}

    def refuse(call: Call, forward: Forward) -> Answer:
        if call.action in ("BatchWriteItem", "TransactWriteItems", "PutItem") and b'"poison"' in call.body:
            return aws_error("ValidationException", "One or more parameter values were invalid")
        return forward(call)

    rows = [session(n)._replace(start_local="poison" if n in poison else "ok") for n in range(100)]
    with HttpProxy(dynamodb.address, refuse) as proxy:
        for how in ({"mode": "replace"}, {"rows_per_transaction": 25}, {}):
            written, dead = write(dynamodb, layout, rows, proxy.url, **how)
            assert {letter.code for letter in dead} == {"refused"}
            assert len(dead) == len(poison)
            assert sum(result.stored for _, result in written) == 97
    assert len(dynamodb.items(layout.name)) == 97


def test_unprocessed_items_are_sent_again_and_nothing_else(dynamodb: DynamoTables) -> None:
    layout = table(dynamodb)
    asked: list[int] = []

    def hold_back(call: Call, forward: Forward) -> Answer:
        """Takes the first 10 of a batch, as DynamoDB does where capacity ends in the middle."""
        if call.action != "BatchWriteItem":
            return forward(call)
        body = json.loads(call.body)
        ((name, requests),) = body["RequestItems"].items()
        asked.append(len(requests))
        body["RequestItems"] = {name: requests[:10]}
        answer = forward(Call(call.method, call.path, call.headers, json.dumps(body).encode()))
        given = json.loads(answer.body)
        if len(requests) > 10:
            given["UnprocessedItems"] = {name: requests[10:]}
        return Answer(answer.status, json.dumps(given).encode(), {"Content-Type": "application/x-amz-json-1.0"})

    with HttpProxy(dynamodb.address, hold_back) as proxy:
        written, _ = write(dynamodb, layout, [session(number) for number in range(50)], proxy.url, mode="replace")
    assert sorted(asked) == [5, 5, 15, 15, 25, 25]
    assert sum(result.stored for _, result in written) == 50
    assert len(dynamodb.items(layout.name)) == 50


def test_a_transaction_that_is_cancelled_without_reasons_is_made_again(dynamodb: DynamoTables) -> None:
    """Nothing of it is stored, whatever the answer leaves out."""
    layout = table(dynamodb)
    asked: list[int] = []

    def cancel(call: Call, forward: Forward) -> Answer:
        if call.action != "TransactWriteItems":
            return forward(call)
        asked.append(len(json.loads(call.body)["TransactItems"]))
        return aws_error("TransactionCanceledException", "no reasons") if len(asked) == 1 else forward(call)

    with HttpProxy(dynamodb.address, cancel) as proxy:
        written, _ = write(dynamodb, layout, [session(number) for number in range(20)], proxy.url,
                           rows_per_transaction=25)  # fmt: skip
    assert asked == [20, 20]
    assert sum(result.stored for _, result in written) == 20
    assert len(dynamodb.items(layout.name)) == 20


def test_results_keep_time_and_window(dynamodb: DynamoTables) -> None:
    layout = table(dynamodb)
    with beam.Pipeline(FnApiRunner()) as pipeline:
        rows = (
            pipeline
            | beam.Create([session(number) for number in range(20)], reshuffle=False)
            | beam.Map(lambda row: TimestampedValue(row, row.start))
        )
        fixed = rows | beam.WindowInto(FixedWindows(10)) | "Fixed" >> WriteToDynamoDB(layout, dynamodb.config())
        sliding = (
            rows
            | "Slide" >> beam.WindowInto(SlidingWindows(20, 10))
            | "Sliding" >> WriteToDynamoDB(layout, dynamodb.config())
        )
        counts = [
            collect(done.written | label >> beam.combiners.Count.Globally().without_defaults())
            for label, done in (("CountFixed", fixed), ("CountSliding", sliding))
        ]
    assert sorted(collected.pop(counts[0])) == [10, 10]
    assert sorted(collected.pop(counts[1])) == [10, 10, 20]


def test_metrics_tell_what_happened(dynamodb: DynamoTables) -> None:
    layout = table(dynamodb)
    pipeline = beam.Pipeline(FnApiRunner())
    elements = pipeline | beam.Create(
        [*(session(number) for number in range(100)), session(1), {"x": 1}], reshuffle=False
    )
    _ = elements | WriteToDynamoDB(layout, dynamodb.config(), mode="replace")
    result = pipeline.run()
    result.wait_until_finish()
    metrics = result.metrics().query()
    counters = {
        m.key.metric.name: m.committed for m in metrics["counters"] if m.key.metric.namespace.endswith("dynamodb")
    }
    assert counters["rows_written"] + counters.get("rows_superseded", 0) == 101
    assert counters["dead_letters"] == 1
    assert counters["bytes_written"] > 100 * 100
    assert sum(count for name, count in counters.items() if name.startswith("calls_")) == counters["calls"] == 5
    (millis,) = [m.committed for m in metrics["distributions"] if m.key.metric.name == "call_millis"]
    assert millis.count == 5


def test_a_wrong_configuration_is_said_before_the_start(dynamodb: DynamoTables) -> None:
    layout = table(dynamodb)
    here = dynamodb.config()
    missing = TableLayout.of(Session, "no-such-table")
    with pytest.raises(ConnectorError, match=r"^table no-such-table .region us-east-1 .*not there"):
        WriteToDynamoDB(missing, here)
    other = TableLayout.of(Session, layout.name, partition="device_id", sort=("home_id", "start"))
    with pytest.raises(
        MismatchError, match=r"its key is device_id \(S\), start \(S\), not device_id \(S\), sort_key \(S\)"
    ):
        WriteToDynamoDB(other, here)
    with pytest.raises(ConnectorError, match=r"region eu-west-3.*is name, region and account right"):
        WriteToDynamoDB(layout, dynamodb.config(region="eu-west-3"))
    with pytest.raises(ConnectorError, match="no answer"):
        WriteToDynamoDB(layout, dynamodb.config("http://127.0.0.1:9", attempts=1))
    with pytest.raises(ValueError, match="needs a revision"):
        WriteToDynamoDB(TableLayout("plain", Key(("id",)), revision=None), here, mode="upsert")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("AccessDeniedException", "no permission for dynamodb:DescribeTable"),
        ("ExpiredTokenException", "the AWS credentials have run out"),
        ("UnrecognizedClientException", "AWS does not know these credentials"),
    ],
)
def test_what_aws_says_of_us_is_said_before_the_start(dynamodb: DynamoTables, code: str, said: str) -> None:
    refusing = HttpProxy(dynamodb.address, lambda call, forward: aws_error(code, "no"))
    with refusing as proxy, pytest.raises(ConnectorError, match=said):
        WriteToDynamoDB(TableLayout.of(Session, "sessions"), dynamodb.config(proxy.url))


def test_a_permission_that_is_taken_away_fails_the_bundle_at_once(dynamodb: DynamoTables) -> None:
    layout = table(dynamodb)

    def deny(call: Call, forward: Forward) -> Answer:
        return aws_error("AccessDeniedException", "no") if call.action == "PutItem" else forward(call)

    began = time.monotonic()
    with (
        HttpProxy(dynamodb.address, deny) as proxy,
        pytest.raises(Exception, match="no permission for dynamodb:PutItem"),
    ):
        write(dynamodb, layout, [session(1)], proxy.url)
    assert time.monotonic() - began < 30


def test_after_the_deadline_the_bundle_fails(dynamodb: DynamoTables) -> None:
    layout = table(dynamodb)

    def slow(call: Call, forward: Forward) -> Answer:
        throttled = call.action in ("BatchWriteItem", "PutItem")
        return aws_error("ThrottlingException", "slow down") if throttled else forward(call)

    with (
        HttpProxy(dynamodb.address, slow) as proxy,
        pytest.raises(Exception, match=r"not stored within 1 s.*slow down"),
    ):
        write(dynamodb, layout, [session(1)], proxy.url, retry=RetryPolicy("1s"))


def test_two_accounts_and_regions_in_one_pipeline(dynamodb: DynamoTables) -> None:
    """DynamoDB Local keeps tables apart by access key and region."""
    layout = table(dynamodb)
    os.environ["THINGBEAM_TEST_OTHER_KEY"] = "another"
    far: AwsConfig = dynamodb.config(region="eu-central-1", access_key="env:THINGBEAM_TEST_OTHER_KEY")
    create_table(far, layout)
    with beam.Pipeline(FnApiRunner()) as pipeline:
        rows = pipeline | beam.Create([session(1), session(2)], reshuffle=False)
        _ = rows | "Near" >> WriteToDynamoDB(layout, dynamodb.config())
        _ = rows | beam.Filter(lambda row: row.device_id == "device-2") | "Far" >> WriteToDynamoDB(layout, far)
    assert len(dynamodb.items(layout.name)) == 2
    assert far.client("dynamodb").scan(TableName=layout.name)["Count"] == 1
