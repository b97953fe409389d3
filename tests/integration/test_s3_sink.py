"""WriteToS3 and ReadFromS3 against real endpoints."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.utils.timestamp import Timestamp

from kafka_running import collect, collected
from stack_fixtures import ObjectStore, or_skip
from thingbeam.io import ReadFromFiles, ReadFromS3, WriteToS3, read_table
from thingbeam.io.files.paths import Compression, Format
from thingbeam.io.s3 import S3Object, S3Window, WrittenToS3
from thingbeam.runners.prism import prism
from thingbeam.schemas import Event
from thingbeam.schemas.arrow import from_record_batch, to_record_batch

HOUR = 3600


def events(count: int, *, first: int = 0, every: float = 1.0, devices: int = 7) -> list[Event]:
    """One every so many seconds."""
    return [
        Event.of(f"e{n}", Timestamp(n * every), f"device-{n % devices}", "powerMeter", "power", float(n))
        for n in range(first, first + count)
    ]


class Written(list[Any]):
    """What WriteToS3 gave, when the pipeline is done."""

    def __init__(self, done: WrittenToS3) -> None:
        super().__init__(map(collect, done))

    @property
    def committed(self) -> list[S3Window]:
        return collected[self[0]]

    @property
    def objects(self) -> list[S3Object]:
        return collected[self[1]]

    @property
    def late(self) -> list[Event]:
        return [event for batch in collected[self[2]] for event in from_record_batch(batch, Event)]

    @property
    def dead(self) -> list[Any]:
        return collected[self[3]]


def write(uri: str, elements: list[Any], *arguments: Any, **options: Any) -> Written:
    """Writes what ends."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        # Made in a step of its own, since no coder would take the poison rows.
        made = pipeline | beam.Create([0]) | beam.FlatMap(lambda _: elements)
        return Written(made | WriteToS3(uri, Event, *arguments, **options))


def read(uri: str, **options: Any) -> list[Event]:
    """Reads what is committed."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        found = pipeline | ReadFromS3(uri, Event, **options)
        records, dead = collect(found.records), collect(found.dead_letters)
    assert collected[dead] == []
    return sorted(collected[records])


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """A Prism: it has streams, and holds the watermark as the model says, which no runner inside the SDK does."""
    started = prism()
    with_engine = or_skip(started)
    try:
        yield with_engine
    finally:
        started.__exit__(None, None, None)


def streaming(engine: str) -> beam.Pipeline:
    """A pipeline on the engine, with its workers in this process."""
    flags = ["--runner=PortableRunner", f"--job_endpoint={engine}", "--environment_type=LOOPBACK", "--streaming"]
    return beam.Pipeline(options=PipelineOptions(flags))


def stream(engine: str, uri: str, steps: list[Any], **options: Any) -> Written:
    """Writes a stream: events are rows, numbers are watermarks, in seconds."""
    source: Any = TestStream(coder=beam.coders.registry.get_coder(Event))
    for step in steps:
        if isinstance(step, list):
            source = source.add_elements([beam.window.TimestampedValue(event, event.event_time) for event in step])
        else:
            source = source.advance_watermark_to(step)
    with streaming(engine) as pipeline:
        rows = pipeline | source.advance_watermark_to_infinity().with_output_types(Event)
        return Written(rows | WriteToS3(uri, Event, **options))


def names(store: ObjectStore, bucket: str, prefix: str = "") -> list[str]:
    """The keys that there are."""
    return [found["Key"] for found in store.client().list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())]


@pytest.fixture
def place(s3: ObjectStore) -> str:
    """A prefix of its own."""
    return s3.prefix(s3.bucket(), "home/events")


@pytest.mark.parametrize(
    ("form", "compression"), [("parquet", "zstd"), ("avro", "gzip"), ("jsonl", "zstd"), ("jsonl", None)]
)
def test_rows_come_back_as_they_went(
    s3: ObjectStore, place: str, form: Format, compression: Compression | None
) -> None:
    rows = events(9_000)
    done = write(place, rows, form, compression, shards=3)
    assert read(place) == sorted(rows)
    assert {(one.start // 1_000_000, one.rows) for one in done.committed} == {(0, 3600), (HOUR, 3600), (2 * HOUR, 1800)}
    assert len(done.objects) == 9
    of_device: dict[str | None, set[int]] = {}
    for one in done.objects:
        uri = place.replace("/events?", f"/events/{one.name}?")
        for device in read_table(uri, Event)["device_id"].to_pylist():
            of_device.setdefault(device, set()).add(one.shard)
    assert all(len(shards) == 1 for shards in of_device.values()), "all rows of a device are in one shard"


def test_batches_and_windows_of_other_lengths(s3: ObjectStore, place: str) -> None:
    rows = events(4_000)
    batches = [to_record_batch(rows[at : at + 1000], Event) for at in range(0, 4000, 1000)]
    done = write(place, batches, window="15m", time="event_time", shard_by="event_id", shards=2)
    assert [one.rows for one in sorted(done.committed)] == [900, 900, 900, 900, 400]
    assert read(place) == sorted(rows)


def test_reading_by_time_gives_whole_windows(place: str) -> None:
    rows = events(4 * HOUR // 10, every=10)
    write(place, rows)
    some = read(place, start="1970-01-01T01:00:00Z", stop="1970-01-01T03:00:00Z", batches=False)
    assert some == sorted(row for row in rows if HOUR <= row.event_time.micros // 1_000_000 < 3 * HOUR)
    assert read(place, start="1970-01-01T04:00:00Z") == []
    assert read(place, stop=Timestamp(HOUR)) == sorted(rows[: HOUR // 10])


def test_large_windows_are_cut_into_parts(place: str) -> None:
    rows = events(20_000, every=0.1)
    done = write(
        place, [to_record_batch(rows[at : at + 500], Event) for at in range(0, 20_000, 500)], roll_bytes=200_000
    )
    parts = sorted(one.part for one in done.objects)
    assert parts == list(range(len(parts)))
    assert len(parts) > 5
    assert read(place) == sorted(rows)


def test_writing_again_replaces(s3: ObjectStore, place: str) -> None:
    """The same job again, and one with fewer objects: what is in no manifest is not read."""
    rows = events(5_000)
    write(place, rows, shards=4)
    bucket = place.removeprefix("s3://").partition("/")[0]
    before = names(s3, bucket)
    write(place, rows, shards=4)
    assert names(s3, bucket) == before
    write(place, rows[:4_000], shards=2)
    assert len(names(s3, bucket)) == len(before), "objects of the first run are still there"
    assert read(place) == sorted(rows[:4_000])


def test_poison_rows_are_dead_letters_and_nothing_else_is(place: str) -> None:
    rows = events(3_000)
    bad = [
        rows[7]._replace(number=math.nan, event_id="nan"),
        rows[8]._replace(number="x", event_id="text"),  # type: ignore[arg-type]
        rows[9]._replace(event_time=None, event_id="timeless"),  # type: ignore[arg-type]
        rows[10]._replace(event_time=Timestamp(-(10**11)), event_id="ancient"),
    ]
    done = write(place, [*rows[:50], *bad, *rows[50:]], redact=lambda data: data.replace(b"device-2", b"*"))
    assert read(place) == sorted(rows)
    assert {(letter.code, json.loads(letter.payload)["event_id"]) for letter in done.dead} == {
        ("not_finite", "nan"),
        ("wrong_type", "text"),
        ("missing_field", "timeless"),
        ("impossible_time", "ancient"),
    }
    assert all(b"device-2" not in letter.payload for letter in done.dead)


def test_named_batches_are_objects_of_their_own(s3: ObjectStore, place: str) -> None:
    rows = events(300)
    named = [
        ("19700101T000100Z-s00003", to_record_batch(rows[:100], Event)),
        ("19700101T010000Z-s00003", to_record_batch(rows[100:200], Event)),
        ("19700101T010100Z-s00003", to_record_batch(rows[200:], Event)),
        ("19700101T020000Z-s00000", to_record_batch([], Event)),
    ]
    done = write(place, named, named=True)
    assert sorted((one.start // 10**6, one.objects) for one in done.committed) == [(0, 2), (HOUR, 1)]
    assert read(place) == sorted(rows)
    assert read(place, start="1970-01-01T01:00:00Z") == sorted(rows[200:])
    plain = write(place.replace("home/events", "home/plain"), [("s00001", named[0][1])], named=True)
    assert [one.manifest.partition("?")[0].rpartition("/")[2] for one in plain.committed] == ["all.json"]
    assert read(place.replace("home/events", "home/plain")) == sorted(rows[:100])
    with pytest.raises(Exception, match="cannot be part of an object's name"):
        write(place, [("../x", named[0][1])], named=True)


def test_a_stream_is_whole_window_by_window(engine: str, place: str) -> None:
    """A window is seen when the watermark is past it by the lateness, with the rows of all shards; then it is over."""
    rows = events(3 * 360, every=10)
    first, second, third = rows[:360], rows[360:720], rows[720:]
    late = rows[5]._replace(event_id="late")
    done = stream(
        engine,
        place,
        [first[:200], second[:10], first[200:], HOUR + 60, [late], second[10:], third, 2 * HOUR + 59],
        shards=3,
        allowed_lateness="60s",
    )
    assert sorted((one.start // 10**6, one.rows) for one in done.committed) == [(0, 360), (HOUR, 360), (2 * HOUR, 360)]
    assert done.late == [late]
    assert read(place) == sorted(rows)


def test_late_rows_can_be_added(engine: str, place: str) -> None:
    rows = events(720, every=10)
    late = [row._replace(event_id=f"late-{row.event_id}") for row in rows[:5]]
    done = stream(engine, place, [rows, 2 * HOUR + 61, late, 3 * HOUR, late[:1]], shards=2, late="add")
    assert done.late == []
    found = Counter(row.event_id for row in read(place))
    assert found.keys() == {row.event_id for row in (*rows, *late)}
    assert max(one.rows for one in done.committed) >= 365, "the window's manifest was written again, with more"


def test_a_stream_rolls_by_size(engine: str, place: str) -> None:
    rows = events(3_000)
    steps: list[Any] = [rows[at : at + 100] for at in range(0, 3_000, 100)]
    done = stream(engine, place, [*steps, 2 * HOUR], roll_bytes=30_000, format="jsonl", compression="gzip")
    assert len([one for one in done.objects if one.name]) > 5
    assert read(place) == sorted(rows)
    assert [one.rows for one in done.committed] == [3_000]


def test_a_stream_of_named_batches(engine: str, place: str) -> None:
    rows = events(100)
    batch = to_record_batch(rows, Event)
    source = TestStream(coder=beam.coders.FastPrimitivesCoder())
    source = source.advance_watermark_to(0)
    source = source.add_elements([beam.window.TimestampedValue("19700101T000100Z-s00000", 120)])
    source = source.advance_watermark_to(HOUR + 62).add_elements(
        [beam.window.TimestampedValue("19700101T000200Z-s00000", 180)]
    )
    with streaming(engine) as pipeline:
        named = pipeline | source.advance_watermark_to_infinity() | beam.Map(lambda name: (name, batch))
        done = Written(named | WriteToS3(place, Event, named=True))
    assert [one.objects for one in done.committed] == [1, 2], "what comes later is added"
    assert read(place) == sorted(rows * 2)


def test_objects_are_read_as_files_too(s3: ObjectStore, place: str) -> None:
    rows = events(1_000)
    write(place, rows)
    with beam.Pipeline(FnApiRunner()) as pipeline:
        found = pipeline | ReadFromFiles(place.replace("/events?", "/events/*.parquet?"), Event)
        records = collect(found.records)
    assert sorted(collected[records]) == sorted(rows)


def test_an_object_that_was_replaced_is_noticed(s3: ObjectStore, place: str) -> None:
    rows = events(100)
    done = write(place, rows)
    bucket, _, rest = place.removeprefix("s3://").partition("/")
    key = f"{rest.partition('?')[0]}/{done.objects[0].name}"
    data = s3.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.client().put_object(Bucket=bucket, Key=key, Body=data)
    assert read(place) == sorted(rows), "the same bytes are the same object"
    write(place, rows[:50])
    s3.client().put_object(Bucket=bucket, Key=key, Body=data)
    with pytest.raises(Exception, match=r"it has changed \("):
        read(place)
    assert read(place, pin=False) == sorted(rows)
