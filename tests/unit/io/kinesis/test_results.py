"""Results as records of a stream."""

from __future__ import annotations

import json
import math

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from records import records
from thingbeam.io.endpoints import Kind
from thingbeam.io.files.json_lines import decode_json_lines
from thingbeam.io.kinesis.results import ResultRows
from thingbeam.schemas import Activity, DeadLetter, Event, Session, Usage, to_record_batch
from thingbeam.schemas.keys import KEY_FIELDS


def session(device: str, **fields: bool) -> Session:
    return Session(device, Timestamp(1.5), "", Timestamp(2), Timestamp(3), 1, 7)._replace(**fields)


def test_kind_key_and_row() -> None:
    [message] = ResultRows(Kind("sessions", Session))(session("d1"))
    assert message.partition_key == "d1"
    assert message.explicit_hash_key is None
    said = json.loads(message.data)
    assert list(said) == ["kind", "key", "record"]
    assert (said["kind"], said["key"]) == ("sessions", ["d1", "1970-01-01T00:00:01.500Z"])
    assert decode_json_lines(json.dumps(said["record"]).encode(), Session) == [session("d1")]


def test_what_is_taken_back_keeps_its_revision() -> None:
    gone = to_record_batch([session("d1"), session("d2", deleted=True)], Session)
    kept, message = (json.loads(one.data)["record"] for one in ResultRows(Kind("sessions", Session))(("n", gone)))
    assert (kept["deleted"], message["deleted"], message["revision"]) == (False, True, 7)


@pytest.mark.parametrize("device", ["", "d" * 257])
def test_a_device_that_is_no_partition_key(device: str) -> None:
    rows = ResultRows(Kind("sessions", Session))
    [message], [same] = rows(session(device)), rows(session(device))
    assert len(message.partition_key) == 64
    assert message == same
    assert rows(session("é" * 256))[0].partition_key == "é" * 256


def test_an_event_of_no_device_and_a_long_dead_letter() -> None:
    [late] = ResultRows(Kind("late", Event))(Event.of("e1", Timestamp(0), None, "switch", "switch", "on"))
    assert len(late.partition_key) == 64
    letter = DeadLetter(b"x" * 16_000_000, "events", "partition=0 offset=1", "s", "c", "why", Timestamp(0))
    [message] = ResultRows(Kind("dead-letters", DeadLetter))(letter)
    assert message.partition_key == "events"
    assert len(message.data) < 100_000


@given(
    st.sampled_from([Activity, Session, Usage]).flatmap(
        lambda record: st.tuples(st.just(record), st.lists(records(record), max_size=5))
    )
)
def test_by_batch_and_one_by_one_are_the_same(given_rows: tuple[type, list[tuple[object, ...]]]) -> None:
    record, rows = given_rows
    rows = [row for row in rows if all(map(math.isfinite, numbers(row)))]
    make = ResultRows(Kind("some", record))
    messages = make(("n", to_record_batch(rows, record)))
    assert messages == [message for row in rows for message in make(row)]
    for row, message in zip(rows, messages, strict=True):
        said = json.loads(message.data)
        assert len(said["key"]) == len(KEY_FIELDS[record])
        assert said["record"]["revision"] == row[row._fields.index("revision")]  # type: ignore[attr-defined]


def numbers(row: tuple[object, ...]) -> list[float]:
    maps = [value for value in row if isinstance(value, dict)]
    return [*(value for value in row if isinstance(value, float)), *(n for each in maps for n in each.values())]
