"""ReadFromDynamoDB and lookups against DynamoDB Local."""

from __future__ import annotations

import threading
import time
import uuid
from decimal import Decimal
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.enrichment import Enrichment
from apache_beam.utils.timestamp import Timestamp

from fault_proxy import Answer, Call, Forward, HttpProxy, Throttling, aws_error
from kafka_running import collect, collected
from stack_fixtures import DynamoTables
from thingbeam.io.dynamodb import DynamoDbLookup, Key, ReadFromDynamoDB, TableLayout, Ttl, WriteToDynamoDB, create_table
from thingbeam.io.errors import ConnectorError
from thingbeam.schemas.records import Session, Usage


def usage(number: int, **more: Any) -> Usage:
    return Usage(
        f"device-{number % 20}", "main", "powerMeter", "power", "measurement", "PT1H", Timestamp(3600 * number),
        "1970", Timestamp(3600 * (number + 1)), 4, 2, 0.1 * number, 3480.25, 1 / 3, None, None, 1e-9, "on#off%",
        {"on": 0.5, "off": number}, 7, "W", f"home-{number % 3}",
    )._replace(**more)  # fmt: skip


def stored(dynamodb: DynamoTables, layout: TableLayout, elements: list[Any]) -> TableLayout:
    create_table(dynamodb.config(), layout)
    with beam.Pipeline(FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create(elements, reshuffle=False) | WriteToDynamoDB(
            layout, dynamodb.config(), rows_per_transaction=25 if layout.revision else 1
        )  # fmt: skip
    return layout


def read(dynamodb: DynamoTables, layout: TableLayout, endpoint: str | None = None, **how: Any) -> tuple[list[Any], Any]:
    with beam.Pipeline(FnApiRunner()) as pipeline:
        done = pipeline | "Scan" >> ReadFromDynamoDB(layout, dynamodb.config(endpoint), **how)
        records, dead = collect(done.records), collect(done.dead_letters)
    return collected.pop(records), collected.pop(dead)


def unique() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


def test_what_was_written_is_read(dynamodb: DynamoTables) -> None:
    """Every field as it was, page after page, segment beside segment; tombstones and what expired are not."""
    rows = [usage(number) for number in range(200)]
    gone = [usage(number, deleted=True, revision=8) for number in range(0, 200, 10)]
    layout = stored(dynamodb, TableLayout.of(Usage, unique()), [*rows, *gone])
    left = [row for number, row in enumerate(rows) if number % 10]
    for how in ({}, {"segments": 1, "page": 7}, {"segments": 40, "consistent": True}):
        records, dead = read(dynamodb, layout, **how)
        assert dead == []
        assert sorted(records) == sorted(left)


def test_what_expired_is_passed_over(dynamodb: DynamoTables) -> None:
    layout = TableLayout.of(Usage, unique(), ttl=Ttl("1d", since="start"))
    now = int(time.time()) // 3600
    create_table(dynamodb.config(), layout)
    # As DynamoDB does for up to days, its own removal lets the item stay: the table is not told of the TTL here.
    plain = TableLayout.of(Usage, layout.name)
    stored(dynamodb, plain, [usage(1), usage(now)])
    client = dynamodb.config().client("dynamodb")
    for item in dynamodb.items(layout.name):
        expires = layout.ttl.expiry(item, 0) if layout.ttl else 0
        client.put_item(TableName=layout.name, Item=item | {"expires_at": {"N": str(expires)}})
    records, _ = read(dynamodb, layout)
    assert [row.start for row in records] == [Timestamp(now * 3600)]


def test_dicts_have_exact_numbers(dynamodb: DynamoTables) -> None:
    layout = TableLayout(unique(), Key(("id",), type="N"), Key(("at",), type="B"), revision=None, deleted=None)
    rows = [
        {"id": 1, "at": b"\x00", "d": Decimal("0.1000000000000000000000000000000000001"), "b": b"\xff", "n": None},
        {"id": Decimal("1.5"), "at": b"\x01", "l": [1, "a", True, {"deep": [0.1]}], "s": {"x", "y"}, "e": ""},
    ]
    records, _ = read(dynamodb, stored(dynamodb, layout, rows))
    records.sort(key=lambda row: row["id"])
    assert records[0] == rows[0]
    assert records[1] == rows[1] | {"l": [1, "a", True, {"deep": [Decimal("0.1")]}]}


def test_a_scan_goes_on_where_it_was(dynamodb: DynamoTables) -> None:
    """Throttled, cut and slow: nothing is missing and nothing twice."""
    layout = stored(dynamodb, TableLayout.of(Usage, unique()), [usage(number) for number in range(150)])
    throttling = Throttling(1 / 3, "Scan")
    with HttpProxy(dynamodb.address, throttling) as proxy:
        proxy.delay = 0.01
        cutter = threading.Timer(0.7, proxy.cut, (0.3,))
        cutter.start()
        records, _ = read(dynamodb, layout, proxy.url, segments=3, page=5)
        cutter.join()
    assert throttling.throttled > 5
    assert sorted(records) == sorted(usage(number) for number in range(150))


def test_items_that_are_no_record_are_dead_letters(dynamodb: DynamoTables) -> None:
    layout = stored(dynamodb, TableLayout.of(Usage, unique()), [usage(1)])
    client = dynamodb.config().client("dynamodb")
    (good,) = dynamodb.items(layout.name)
    states = {"M": {"on": {"S": "1"}}}
    bad = {"a": {"count": {"S": "four"}}, "b": {"start": {"S": "noon"}}, "c": {"seconds_in_state": states}}
    for key, change in bad.items():
        client.put_item(TableName=layout.name, Item=good | change | {"sort_key": {"S": key}})
    client.put_item(TableName=layout.name, Item={"device_id": {"S": "d"}, "sort_key": {"S": "d"}})
    records, dead = read(dynamodb, layout, segments=2)
    assert records == [usage(1)]
    assert sorted((letter.position, letter.code) for letter in dead) == [
        ("d#d", "missing_field"), *((f"device-1#{key}", "wrong_type") for key in bad)
    ]  # fmt: skip


def test_no_permission_is_said(dynamodb: DynamoTables) -> None:
    layout = stored(dynamodb, TableLayout.of(Session, unique()), [])

    def deny(call: Call, forward: Forward) -> Answer:
        return aws_error("AccessDeniedException", "no") if call.action in ("Scan", "GetItem") else forward(call)

    with HttpProxy(dynamodb.address, deny) as proxy:
        with pytest.raises(Exception, match="no permission for dynamodb:Scan"):
            read(dynamodb, layout, proxy.url)
        lookup = DynamoDbLookup(layout, lambda row: ("a", "b"), ["count"], dynamodb.config(proxy.url))
        with lookup, pytest.raises(ConnectorError, match="no permission for dynamodb:GetItem"):
            lookup(beam.Row(x=1))


def test_a_registry_enriches_events(dynamodb: DynamoTables) -> None:
    """Each device is asked for once, the unknown too; then the cache answers."""
    registry = TableLayout(unique(), Key(("device_id",)), revision=None, deleted=None)
    stored(dynamodb, registry, [{"device_id": f"device-{n}", "name": f"Lamp {n}", "room": "hall"} for n in range(5)])
    asked: list[bytes] = []

    def count(call: Call, forward: Forward) -> Answer:
        if call.action == "GetItem":
            asked.append(call.body)
            if len(asked) % 3 == 1:
                return aws_error("ThrottlingException", "slow down")
        return forward(call)

    events = [beam.Row(device_id=f"device-{number % 6}", watts=number) for number in range(60)]
    with HttpProxy(dynamodb.address, count) as proxy:
        lookup = DynamoDbLookup(registry, "device_id", {"name": "label", "room": "room"}, dynamodb.config(proxy.url))
        with beam.Pipeline(FnApiRunner()) as pipeline:
            name = collect(pipeline | beam.Create(events, reshuffle=False) | Enrichment(lookup))
    rows = collected.pop(name)
    assert len(rows) == 60
    assert {(row.device_id, row.label, row.room) for row in rows} == {
        *((f"device-{n}", f"Lamp {n}", "hall") for n in range(5)), ("device-5", None, None)
    }  # fmt: skip
    assert len(asked) == 6 + (len(asked) + 2) // 3
