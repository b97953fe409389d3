"""ArchiveToS3 and ReadArchiveFromS3 against a real endpoint."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.utils.timestamp import Timestamp

from kafka_running import collect, collected
from kinesis_running import put
from stack_fixtures import ObjectStore, Streams, or_skip
from thingbeam.io import ArchiveToS3, ReadArchiveFromS3, ReadFromKinesis, WriteToS3
from thingbeam.io.kinesis import KinesisBatch
from thingbeam.runners.prism import prism
from thingbeam.schemas import Event
from thingbeam.schemas.payloads import PayloadBatch, PayloadBatchCoder

SECOND = 1_000_000


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """A Prism."""
    started = prism()
    endpoint = or_skip(started)
    try:
        yield endpoint
    finally:
        started.__exit__(None, None, None)


@pytest.fixture
def place(s3: ObjectStore) -> str:
    """A prefix of its own."""
    return s3.prefix(s3.bucket(), "raw")


def streaming(engine: str) -> beam.Pipeline:
    """A pipeline on the engine, with its workers in this process."""
    flags = ["--runner=PortableRunner", f"--job_endpoint={engine}", "--environment_type=LOOPBACK", "--streaming"]
    return beam.Pipeline(options=PipelineOptions(flags))


def messages(first: int, last: int, part: str = "partition=0", source: str = "events") -> PayloadBatch:
    """Messages that follow from their offsets, with a tombstone and a key that is none here and there."""
    positions = np.arange(first, last)
    payloads = [None if n % 17 == 0 else f"{part} {n}\n".encode() * (n % 5) for n in range(first, last)]
    keys = [None if n % 3 == 0 else str(n).encode() for n in range(first, last)]
    return PayloadBatch(source, part, positions, payloads, keys, positions * SECOND)


def write(uri: str, batches: list[PayloadBatch], **options: Any) -> list[Any]:
    """Archives what ends."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        done = collect(pipeline | beam.Create(batches) | ArchiveToS3(uri, **options))
    return collected.pop(done)


def read(uri: str, **options: Any) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
    """Position, payload, key and time by source and partition, in the order of the batches' first positions."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        found = pipeline | ReadArchiveFromS3(uri, **options)
        batches, dead = collect(found.batches), collect(found.dead_letters)
    assert collected.pop(dead) == []
    rows: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for batch in sorted(collected.pop(batches), key=lambda batch: int(batch.positions[0])):
        rows.setdefault((batch.source, batch.part), []).extend(tuples(batch))
    return rows


def tuples(batch: PayloadBatch) -> list[tuple[Any, ...]]:
    """Of one batch."""
    return list(zip(batch.positions.tolist(), batch.payloads, batch.keys, batch.times.tolist(), strict=True))


def names(store: ObjectStore, uri: str) -> list[str]:
    """The names of the archive's objects."""
    bucket = uri.removeprefix("s3://").partition("/")[0]
    return [found["Key"] for found in store.client().list_objects_v2(Bucket=bucket).get("Contents", ())]


@pytest.mark.parametrize(("form", "compression"), [("avro", "zstd"), ("parquet", "zstd"), ("jsonl", "gzip")])
def test_messages_come_back_as_they_went(s3: ObjectStore, place: str, form: Any, compression: Any) -> None:
    batches = [messages(at, at + 300, f"partition={part}") for part in (0, 1) for at in range(50, 2_450, 300)]
    random.Random(1).shuffle(batches)
    write(place, batches, format=form, compression=compression, block=1_000)
    expected = {("events", f"partition={p}"): tuples(messages(50, 2_450, f"partition={p}")) for p in (0, 1)}
    assert read(place) == expected
    assert [name.partition(".")[0] for name in names(s3, place)][:3] == [
        "raw/events/partition=0/00000000000000000000-00000000000000000050",
        "raw/events/partition=0/00000000000000001000-00000000000000001000",
        "raw/events/partition=0/00000000000000002000-00000000000000002000",
    ]
    only = read(place, source="events", part="partition=1", start="1970-01-01T00:16:00Z", stop=Timestamp(2_000))
    assert only == {("events", "partition=1"): tuples(messages(960, 2_000, "partition=1"))}
    assert read(place, source="others") == {}


def test_what_is_archived_again_is_read_once(s3: ObjectStore, place: str) -> None:
    """Jobs that began further back, or in the middle, and went more or less far."""
    write(place, [messages(0, 2_500)], block=1_000)
    before = names(s3, place)
    assert write(place, [messages(0, 400), messages(2_000, 2_100)], block=1_000) == []
    assert names(s3, place) == before, "an object is not replaced by one that goes less far"
    write(place, [messages(700, 1_300), messages(2_000, 2_800)], block=1_000)
    assert len(names(s3, place)) == len(before) + 1
    assert read(place) == {("events", "partition=0"): tuples(messages(0, 2_800))}


def test_a_stream_is_archived_by_blocks(engine: str, s3: ObjectStore, place: str) -> None:
    """Blocks that are full go out when a later one begins, in whatever pieces they came; the rest when all ends."""
    source: Any = TestStream(coder=PayloadBatchCoder()).advance_watermark_to(0)
    for at in range(0, 2_600, 130):
        source = source.add_elements([messages(at, at + 130), messages(at, at + 130, "partition=1", "other/topic")])
        if at % 260 == 0:
            source = source.add_elements([messages(at, at + 130)])
    with streaming(engine) as pipeline:
        batches = pipeline | source.advance_watermark_to_infinity().with_output_types(PayloadBatch)
        done = collect(batches | ArchiveToS3(place, block=1_000))
    # What an engine delivers out of order, or again after its block was full, is in objects of its own.
    rows = sorted(one.rows for one in collected.pop(done))
    assert max(rows) <= 1000
    assert sum(rows) >= 5_200
    assert len(names(s3, place)) <= len(rows) <= 12
    assert read(place) == {
        ("events", "partition=0"): tuples(messages(0, 2_600)),
        ("other/topic", "partition=1"): tuples(messages(0, 2_600, "partition=1")),
    }


def test_a_slow_stream_is_archived_by_the_clock(engine: str, s3: ObjectStore, place: str) -> None:
    start = float(int(time.time()) + 2)
    with streaming(engine) as pipeline:
        impulses = pipeline | PeriodicImpulse(Timestamp(start), Timestamp(start + 7), 1.0, apply_windowing=False)
        batches = impulses | beam.Map(
            lambda _, at=beam.DoFn.TimestampParam: messages(
                10 * round(float(at) - start), 10 * round(float(at) - start) + 10
            )
        ).with_output_types(PayloadBatch)
        batches | ArchiveToS3(place, roll_after="2s")
    found = names(s3, place)
    assert 2 <= len(found) <= 7
    assert read(place) == {("events", "partition=0"): tuples(messages(0, 70))}


def test_rows_of_a_slow_stream_roll_by_the_clock(engine: str, s3: ObjectStore, place: str) -> None:
    """Objects are there before the window is over, and readers see them when it is."""
    first = time.time() + 2
    count = 8
    with streaming(engine) as pipeline:
        impulses = pipeline | PeriodicImpulse(Timestamp(first), Timestamp(first + count), 1.0, apply_windowing=False)
        events = impulses | beam.Map(
            lambda _, at=beam.DoFn.TimestampParam: Event.of(str(float(at)), at, "d1", "switch", "switch", "on")
        ).with_output_types(Event)
        done = events | WriteToS3(place, Event, roll_after="2s", window="1h", allowed_lateness=0)
        objects, committed = collect(done.objects), collect(done.committed)
    assert 2 <= len([one for one in collected[objects] if one.name]) <= count
    windows = collected[committed]
    assert sum(one.rows for one in windows) == count


def records(first: int, last: int, shard: int = 0) -> KinesisBatch:
    """Records of a shard that follow from their numbers; every fourth pair came in one aggregate."""
    numbers = range(first, last)
    return KinesisBatch(
        "stream",
        f"shard=shardId-{shard:012d}",
        np.array([n % 8 - 6 if n % 8 >= 6 else -1 for n in numbers], np.int64),
        [f"{shard} {n}".encode() for n in numbers],
        [b"k%d" % (n % 5) for n in numbers],
        np.array(numbers, np.int64) * SECOND,
        [str((n - 1 if n % 8 == 7 else n) * 10**52 + shard) for n in numbers],
    )


def read_shards(uri: str, **options: Any) -> dict[str, list[tuple[str, int, Any, Any, int]]]:
    """Sequence, place, data, key and time by shard, in its order."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        found = pipeline | ReadArchiveFromS3(uri, **options)
        name = collect(found.batches)
    rows: dict[str, list[tuple[str, int, Any, Any, int]]] = {}
    for batch in sorted(collected.pop(name), key=lambda batch: int(batch.sequences[0])):
        rows.setdefault(batch.part, []).extend(shard_rows(batch))
    return rows


def shard_rows(batch: KinesisBatch) -> list[tuple[str, int, Any, Any, int]]:
    """Of one batch."""
    columns = batch.sequences, batch.positions.tolist(), batch.payloads, batch.keys, batch.times.tolist()
    return list(zip(*columns, strict=True))


def test_shards_of_kinesis_beside_partitions_of_kafka(s3: ObjectStore, place: str) -> None:
    """Written again from further back, in other pieces, and read once, as what they were."""
    runs = write(place, [records(at, at + 100, shard) for shard in (0, 1) for at in range(0, 900, 100)], block=250)
    assert sum(run.rows for run in runs) == 1_800
    assert max(run.rows for run in runs) == 300, "an object is full with the batch that brings it to 250"
    before = names(s3, place)
    write(place, [records(0, 300), messages(0, 500), records(250, 1_200)], block=250)
    assert set(before) <= set(names(s3, place)), "what holds more stays"
    with beam.Pipeline(FnApiRunner()) as pipeline:
        kinds = collect((pipeline | ReadArchiveFromS3(place)).batches | beam.Map(lambda batch: type(batch).__name__))
    assert set(collected.pop(kinds)) == {"KinesisBatch", "PayloadBatch"}
    assert read(place, source="events") == {("events", "partition=0"): tuples(messages(0, 500))}
    assert read_shards(place, source="stream") == {
        "shard=shardId-000000000000": shard_rows(records(0, 1_200)),
        "shard=shardId-000000000001": shard_rows(records(0, 900, 1)),
    }
    some = read_shards(
        place, source="stream", part="shard=shardId-000000000000", start=Timestamp(100), stop=Timestamp(700)
    )
    assert some == {"shard=shardId-000000000000": shard_rows(records(100, 700))}


def test_a_stream_of_both(engine: str, s3: ObjectStore, place: str) -> None:
    """One PCollection holds batches of both; an engine brings them through its own coders."""
    start = float(int(time.time()) + 2)
    with streaming(engine) as pipeline:
        impulses = pipeline | PeriodicImpulse(Timestamp(start), Timestamp(start + 4), 0.5, apply_windowing=False)
        batches = impulses | beam.FlatMap(
            lambda _, at=beam.DoFn.TimestampParam: [
                make(260 * round(2 * (float(at) - start)), 260 * round(2 * (float(at) - start)) + 260)
                for make in (messages, records)
            ]
        ).with_output_types(PayloadBatch)
        batches | beam.Reshuffle() | ArchiveToS3(place, block=500, roll_after="2s")
    assert 8 <= len(names(s3, place)) <= 20
    assert read(place, source="events") == {("events", "partition=0"): tuples(messages(0, 2_080))}
    assert read_shards(place, source="stream") == {"shard=shardId-000000000000": shard_rows(records(0, 2_080))}


def test_what_a_stream_held_comes_back(kinesis: Streams, s3: ObjectStore, place: str) -> None:
    """Read from Kinesis, archived, and read from the archive as it would have been from Kinesis."""
    stream = kinesis.stream(shards=2)
    put(kinesis.client(), stream, [(f"k{n % 9}", b"%d" % n) for n in range(1_000)])
    with beam.Pipeline(FnApiRunner()) as pipeline:
        batches = pipeline | ReadFromKinesis(stream, kinesis.config(), stop="latest", batches=True, batch_records=70)
        direct = collect(batches)
        _ = batches | ArchiveToS3(place)
    expected: dict[str, list[tuple[str, int, Any, Any, int]]] = {}
    for batch in sorted(collected.pop(direct), key=lambda batch: int(batch.sequences[0])):
        expected.setdefault(batch.part, []).extend(shard_rows(batch))
    assert read_shards(place, source=stream) == expected
    assert sum(map(len, expected.values())) == 1_000


class Other(PayloadBatch):
    """A batch whose positions mean something else."""


def test_batches_of_other_kinds_are_refused(place: str) -> None:
    plain = messages(0, 3)
    parts = plain.source, plain.part, plain.positions, plain.payloads, plain.keys, plain.times
    said = "takes batches of Kafka's and Kinesis', not Other"
    with pytest.raises(Exception, match=said), beam.Pipeline(FnApiRunner()) as pipeline:
        pipeline | beam.Create([0]) | beam.FlatMap(lambda _: [Other(*parts)]) | ArchiveToS3(place)
