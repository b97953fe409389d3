"""ParseEvents in a pipeline: from payloads of every kind, to elements and to batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

import lines
import pipelines_under_test
from thingbeam.io.kafka.records import KafkaRecord
from thingbeam.schemas import codes
from thingbeam.schemas.arrow import arrow_schema, to_record_batch
from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.blob import Blob
from thingbeam.schemas.origin import with_origin
from thingbeam.schemas.payloads import PayloadBatch
from thingbeam.schemas.records import DeadLetter, Event
from thingbeam.transforms.envelopes import Context, Failure, Limits, parse_each
from thingbeam.transforms.parse import ParseEvents, _Parse

INGESTED = Timestamp(1_175_378_999)
CONTEXT = Context(event_time=Timestamp(1_175_378_400), home_id="home-9", ingest_time=INGESTED)


class Ran(NamedTuple):
    """What came out, with its timestamps, and what was counted, but for zeros."""

    events: list[tuple[Any, Timestamp]]
    dead: list[tuple[DeadLetter, Timestamp]]
    counts: dict[str, int]


def with_time(element: Any, time: Any = beam.DoFn.TimestampParam) -> tuple[Any, Timestamp]:
    return element, time


def run(payloads: Iterable[Any], label: str | None = None, **options: Any) -> Ran:
    """ParseEvents over payloads that all have one timestamp."""

    def build(pipeline: beam.Pipeline) -> dict[str, Any]:
        transform = ParseEvents(**options)
        given = pipeline | beam.Create(list(payloads)) | beam.Map(lambda payload: TimestampedValue(payload, 1000))
        parsed = given | (transform if label is None else label >> transform)
        assert parsed.events.element_type is (EventBatch if options.get("batches") else Event)
        assert parsed.dead_letters.element_type is DeadLetter
        return {
            "events": parsed.events | "Times" >> beam.Map(with_time),
            "dead": parsed.dead_letters | "DeadTimes" >> beam.Map(with_time),
        }

    ran = pipelines_under_test.run(build)
    return Ran(ran.elements["events"], ran.elements["dead"], {name: n for name, n in ran.counts.items() if n})


PAYLOADS = [
    lines.event(1),
    lines.event(2, value=9007199254740993),
    lines.event(3, value={"a": [1]}, data={"lastReset": "2026-01-01T00:00:00Z"}),
    lines.event(4, eventTime="2026-03-01T00:00:00.5Z", value="on"),
    lines.webhook(lines.event(5), lines.event(6, deviceId=None), lines.event(7, value=True)),
    b'{"event":"attribute_updated","data":[5,"1/6/0",true]}',
    b'{"components":{},"deviceId":"d1"}',
    b'{"eventType":"MODE_EVENT","eventTime":1175378400000,"modeEvent":{"modeId":"m"}}',
    b"no JSON",
    b'{"eventTime": 17',
    lines.event(8, eventTime=-1),
]


def plainly(payloads: Iterable[bytes]) -> tuple[list[Event], list[Failure]]:
    items = [item for payload in payloads for item in parse_each(payload, CONTEXT, Limits())]
    return [item for item in items if isinstance(item, Event)], [item for item in items if isinstance(item, Failure)]


@pytest.mark.parametrize("kind", ["bytes", "str", "blob"])
def test_elements_are_whole_events_at_their_own_times(kind: str) -> None:
    given: list[Any] = list(PAYLOADS)
    if kind == "str":
        given = [payload.decode() for payload in PAYLOADS]
    elif kind == "blob":
        given = [Blob("f", 100, b"\n".join(PAYLOADS[:6])), Blob("f", 9000, b"\n".join(PAYLOADS[6:]) + b"\n")]
    ran = run(given, context=CONTEXT)
    events, failures = plainly(PAYLOADS)
    assert sorted(map(repr, (event for event, _ in ran.events))) == sorted(map(repr, events))
    assert all(event.ingest_time == INGESTED for event, _ in ran.events)
    assert all(time == event.event_time for event, time in ran.events)
    assert sorted((d.code, d.error) for d, _ in ran.dead) == sorted((f.code, f.message) for f in failures)
    # Dead letters keep the time of the element that they were in.
    assert {time for _, time in ran.dead} == {Timestamp(1000)}
    assert ran.counts == {
        "lines": len(PAYLOADS), "events": len(events), "dead_letters": len(failures), "failed_lines": 3,
        "empty_lines": 1,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["bytes", "blob"])
def test_batches_hold_the_same_events_at_the_earliest_time(kind: str) -> None:
    given = PAYLOADS if kind == "bytes" else [Blob("f.jsonl", 0, b"\n".join(PAYLOADS))]
    ran = run(given, context=CONTEXT, batches=True)
    events, failures = plainly(PAYLOADS)
    found = [event for batch, _ in ran.events for event in batch.to_events()]
    assert sorted(map(repr, found)) == sorted(map(repr, EventBatch.from_events(events).to_events()))
    for batch, time in ran.events:
        assert time == min(event.event_time for event in batch.to_events())
    assert len(ran.dead) == len(failures)
    assert ran.counts["events"] == len(events)
    assert len(ran.events) == (1 if kind == "blob" else 7)


def test_dead_letters_of_lines_say_where_and_what() -> None:
    bad = b'{"authToken":"T0P-SECRET","eventTime": 17'
    webhook = lines.webhook(lines.event(1), lines.event(2, deviceId=None))
    ran = run([Blob("in/f.jsonl", 1000, lines.event(1) + b"\n" + bad + b"\r\n" + webhook)], label="Understand")
    first, second = sorted((letter for letter, _ in ran.dead), key=lambda letter: letter.position)
    start = 1000 + len(lines.event(1)) + 1
    assert (first.source, first.position, first.step) == ("in/f.jsonl", f"offset={start}", "Understand")
    assert first.payload == bad.replace(b"T0P-SECRET", b"[redacted]")
    assert (first.code, first.error) == (codes.INVALID_JSON, "Input data was truncated")
    assert second.position == f"offset={start + len(bad) + 2} eventData.events[1]"
    assert (second.code, second.error) == (codes.MISSING_FIELD, "deviceId is missing")
    assert b"SECRET" not in second.payload
    assert first.trace == second.trace == ""


def messages(kind: str) -> list[Any]:
    values = [lines.event(1), b"no JSON", None, lines.event(2)]
    if kind == "records":
        return [KafkaRecord(b"k", v, (), Timestamp(5), "events", 3, 77 + n) for n, v in enumerate(values)]
    offsets = np.arange(4) + 77
    return [PayloadBatch("events", "partition=3", offsets, values, [b"k"] * 4, np.full(4, 5_000_000))]


@pytest.mark.parametrize("kind", ["records", "batches"])
@pytest.mark.parametrize("batches", [True, False])
def test_messages_of_a_stream_say_where_they_stood(kind: str, batches: bool) -> None:
    ran = run(messages(kind), batches=batches)
    [(letter, _)] = ran.dead
    assert (letter.source, letter.position, letter.payload) == ("events", "partition=3 offset=78", b"no JSON")
    assert ran.counts == {
        "lines": 4, "events": 2, "dead_letters": 1, "failed_lines": 1, "empty_lines": 1, "tombstones": 1,
    }  # fmt: skip
    found = [e for got, _ in ran.events for e in (got.to_events() if isinstance(got, EventBatch) else [got])]
    assert len(found) == 2


def test_a_dead_letter_that_was_mended_is_read_again() -> None:
    letter = DeadLetter(lines.event(1), "events", "partition=3 offset=78", "s", "c", "e", Timestamp(0))
    ran = run([letter])
    assert len(ran.events) == 1
    [(again, _)] = run([letter._replace(payload=b"still no JSON")]).dead
    assert (again.source, again.position) == (letter.source, letter.position)


def test_text_that_is_no_unicode_is_a_dead_letter() -> None:
    # Beam's coders do not carry such text, but a step that is fused with its source needs none.
    parse = _Parse("ParseEvents", False, Context(), Limits())
    parse.setup()
    [letter] = [output.value for output in parse.process('{"a": "\ud800"}')]
    assert (letter.code, letter.payload) == (codes.INVALID_UTF8, b'{"a": "\xed\xa0\x80"}')


def test_elements_that_are_no_payloads_are_dead_letters() -> None:
    ran = run([{"token": "T0P-SECRET"}, 7])
    assert sorted(d.error for d, _ in ran.dead) == [
        "a dict, not bytes, text, a Blob, a PayloadBatch, a Message or a RecordBatch",
        "a int, not bytes, text, a Blob, a PayloadBatch, a Message or a RecordBatch",
    ]
    assert all(d.code == codes.NOT_AN_EVENT for d, _ in ran.dead)
    assert "T0P-SECRET" not in repr(ran.dead)
    assert ran.counts == {"lines": 2, "failed_lines": 2, "dead_letters": 2}


def good(at: int, /, **fields: Any) -> Event:
    event = Event.of(f"e{at}", Timestamp(1_175_378_400 + at), "d1", "powerMeter", "power", 1.5)
    return event._replace(ingest_time=INGESTED, **fields)


def records() -> pa.RecordBatch:
    events = [
        good(0),
        good(1, number=float("nan")),
        good(2, number=float("-inf")),
        good(3, event_time=Timestamp(0)),
        good(4, text="9007199254740993", number=9007199254740992.0),
        good(5, value_type="words"),
        good(6, event_id=""),
        good(7, value_type="string", number=None),
        good(8, device_id=None),
        good(9, value_type="json", text="{", unit="password=T0P"),
    ]
    return with_origin(to_record_batch(events, Event), "events.avro", 40)


def test_records_that_cannot_be_worked_on_are_dead_letters() -> None:
    ran = run([records()])
    assert sorted((e for e, _ in ran.events), key=lambda e: e.event_id) == [
        good(0),
        good(4, text="9007199254740993", number=9007199254740992.0),
        good(8, device_id=None),
    ]
    assert all(time == event.event_time for event, time in ran.events)
    found = sorted((d.position, d.code) for d, _ in ran.dead)
    assert found == [
        ("record=41", codes.NOT_FINITE),
        ("record=42", codes.NOT_FINITE),
        ("record=43", codes.IMPOSSIBLE_TIME),
        ("record=45", codes.WRONG_TYPE),
        ("record=46", codes.MISSING_FIELD),
        ("record=47", codes.MISSING_FIELD),
        ("record=49", codes.INVALID_JSON),
    ]
    assert {(d.source, d.step) for d, _ in ran.dead} == {("events.avro", "ParseEvents")}
    assert "T0P" not in repr(ran.dead)
    assert b'"number": NaN' in next(d.payload for d, _ in ran.dead if d.position == "record=41")
    assert ran.counts == {"lines": 10, "events": 3, "dead_letters": 7, "failed_lines": 7}


def test_records_as_batches() -> None:
    [(batch, time)] = run([records()], batches=True).events
    assert [event.event_id for event in batch.to_events()] == ["e0", "e4", "e8"]
    assert time == Timestamp(1_175_378_400)


def test_records_of_another_schema_are_one_dead_letter() -> None:
    batch = pa.RecordBatch.from_pydict({"event_id": ["e1", "e2"], "colour": ["red", "blue"]})
    ran = run([batch])
    [(letter, _)] = ran.dead
    assert letter.code == codes.SCHEMA_MISMATCH
    assert letter.error.startswith("not records of Event: without attribute, capability, component,")
    assert ran.counts == {"lines": 1, "failed_lines": 1, "dead_letters": 1}


def test_no_records() -> None:
    ran = run([pa.RecordBatch.from_pylist([], schema=arrow_schema(Event))], batches=True)
    assert (ran.events, ran.dead, ran.counts) == ([], [], {})


def test_limits_are_kept() -> None:
    ran = run([lines.event(1), lines.event(2, unit="W" * 500)], limits=Limits(max_value_bytes=500))
    assert [event.event_id[-1] for event, _ in ran.events] == ["1"]
    assert [d.code for d, _ in ran.dead] == [codes.TOO_LARGE]
    assert ran.dead[0][0].payload == lines.event(2, unit="W" * 500)


def test_the_step_is_the_transforms_own_label_however_deep_it_is_composed() -> None:
    class Outer(beam.PTransform[Any, Any]):
        def expand(self, payloads: Any) -> Any:
            return payloads | "Very deep inside" >> ParseEvents()

    def build(pipeline: beam.Pipeline) -> dict[str, Any]:
        parsed = pipeline | beam.Create([b"x"]) | "A long label of a job" >> Outer()
        return {"dead": parsed.dead_letters}

    assert [letter.step for letter in pipelines_under_test.run(build).elements["dead"]] == ["Very deep inside"]
