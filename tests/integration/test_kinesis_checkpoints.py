"""Checkpoints of Kinesis in a real DynamoDB."""

from __future__ import annotations

import uuid

import pytest

from kinesis_running import put, read
from stack_fixtures import DynamoTables, Streams
from thingbeam.io.errors import UnreachableError
from thingbeam.io.kinesis import DynamoDbCheckpoints
from thingbeam.io.kinesis.positions import ENDED, HORIZON, Position


@pytest.fixture
def store(dynamodb: DynamoTables) -> DynamoDbCheckpoints:
    """A table of the test's own."""
    found = DynamoDbCheckpoints(f"checkpoints-{uuid.uuid4().hex[:8]}", "tests", dynamodb.config())
    found.prepare()
    return found


def test_kept_and_only_forward(store: DynamoDbCheckpoints) -> None:
    store.prepare()
    first = {"a": HORIZON, "b": Position("after", "99", 3), "c": Position("time", millis=5)}
    store.write("events", first)
    assert store.read("events") == first
    store.write("events", {"a": Position("after", "7"), "b": Position("after", "99", 2), "c": HORIZON})
    assert store.read("events") == first | {"a": Position("after", "7")}
    store.write("events", {"b": Position("after", "100")})
    assert store.read("events")["b"] == Position("after", "100")
    store.write("events", {"a": ENDED})
    store.write("events", {"a": Position("after", "8")})
    assert store.read("events")["a"] == ENDED
    assert store.read("others") == {}
    assert DynamoDbCheckpoints(store.table, "another", store.config).read("events") == {}


def test_a_read_goes_on_where_the_last_one_was_final(kinesis: Streams, store: DynamoDbCheckpoints) -> None:
    stream, client = kinesis.stream(shards=2), kinesis.client()
    put(client, stream, [(f"k{number}", b"%d" % number) for number in range(100)])
    assert len(read(kinesis, stream, checkpoints=store)) == 100
    assert {position.kind for position in store.read(stream).values()} == {"after"}
    put(client, stream, [(f"k{number}", b"%d" % number) for number in range(100, 150)])
    found = read(kinesis, stream, checkpoints=store)
    assert sorted(int(record.data) for record in found) == list(range(100, 150))


def test_a_store_that_is_away(dynamodb: DynamoTables) -> None:
    away = DynamoDbCheckpoints("t", "tests", dynamodb.config("http://127.0.0.1:9", attempts=1))
    for ask in (away.prepare, lambda: away.read("events"), lambda: away.write("events", {"a": HORIZON})):
        with pytest.raises(UnreachableError, match="checkpoints, table t"):
            ask()
