from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.coders import registry
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.files.formats import encode_batch
from thingbeam.io.files.records import read_table
from thingbeam.io.files.sink import WriteBatches, WriteToFiles, WrittenFile
from thingbeam.schemas import Event, Usage, from_record_batch, to_record_batch

Pipelines = Callable[[], TestPipeline]

EVENTS = [
    Event.of(f"e{at}", Timestamp(at + at % 3 / 2), f"d{at % 7}", "powerMeter", "power", at / 3) for at in range(200)
]


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("file_format", "compression", "ends"),
    [
        ("jsonl", None, ".jsonl"),
        ("jsonl", "zstd", ".jsonl.zst"),
        ("avro", "gzip", ".avro"),
        ("parquet", "zstd", ".parquet"),
    ],
)
def test_files_are_the_same_whatever_the_order_the_windows_and_the_tries(
    pipeline: Pipelines, tmp_path: Path, file_format: Any, compression: Any, ends: str
) -> None:
    outcomes: list[dict[str, bytes]] = []
    for turn in range(2):
        shuffled = EVENTS.copy()
        random.Random(turn).shuffle(shuffled)
        folder = tmp_path / str(turn)
        for _ in range(turn + 1):  # the second is written twice, in one place
            with pipeline() as run:
                events = run | beam.Create(shuffled)
                if turn:
                    stamped = events | beam.Map(lambda event: TimestampedValue(event, event.event_time))
                    events = stamped | beam.WindowInto(FixedWindows(7))
                written = events | WriteToFiles(f"{folder}/events", Event, file_format, compression, shards=4)
                rows = written | beam.Map(lambda file: file.rows) | beam.CombineGlobally(sum)
                assert_that(rows, equal_to([200]))
        outcomes.append(_files(folder))
    assert outcomes[0] == outcomes[1]
    assert sorted(outcomes[0]) == [f"events-{shard:05d}-of-00004{ends}" for shard in range(4)]
    assert sorted(from_record_batch(read_table(f"{tmp_path}/0/*", Event), Event)) == sorted(EVENTS)


def test_rows_of_one_key_are_in_one_file_and_results_say_what_was_written(pipeline: Pipelines, tmp_path: Path) -> None:
    with pipeline() as run:
        sink = WriteToFiles(f"{tmp_path}/e", Event, shards=3, shard_by=lambda event: event.device_id)
        written = run | beam.Create(EVENTS) | sink

        def check(files: list[WrittenFile]) -> None:
            assert 1 < len(files) <= 3
            for path, rows, size in files:
                assert Path(path).stat().st_size == size
                assert Path(path).read_bytes().count(b"\n") == rows

        assert_that(written, check)
    files: dict[str, set[str]] = {}
    for path in tmp_path.iterdir():
        for device in read_table(str(path), Event)["device_id"].to_pylist():
            files.setdefault(device, set()).add(path.name)
    assert len(files) == 7
    assert all(len(names) == 1 for names in files.values())


def test_nothing_writes_nothing(pipeline: Pipelines, tmp_path: Path) -> None:
    with pipeline() as run:
        empty = run | beam.Create([]).with_output_types(Event)
        assert_that(empty | WriteToFiles(f"{tmp_path}/e", Event), equal_to([]))
        batch = to_record_batch([], Event)
        batches = run | "Batches" >> beam.Create([("a", batch)])
        assert_that(batches | WriteBatches(f"{tmp_path}/b", Event), equal_to([]), label="batches")
    assert _files(tmp_path) == {}


def test_mistakes_are_told_when_the_pipeline_is_built() -> None:
    with pytest.raises(ValueError, match="for a stream use WriteBatches"):
        _ = TestPipeline() | TestStream() | WriteToFiles("x", Event)
    with pytest.raises(ValueError, match="shards must be 1 to 99999, not 0"):
        WriteToFiles("x", Event, shards=0)
    for sink in (WriteToFiles, WriteBatches):
        with pytest.raises(ValueError, match="no format 'csv'"):
            sink("x", Event, "csv")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="no compression 'xz'"):
            sink("x", Event, "jsonl", "xz")  # type: ignore[arg-type]


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("file_format", ["jsonl", "avro", "parquet"])
def test_batches_are_files_of_their_names(
    pipeline: Pipelines, tmp_path: Path, file_format: Any, compression: Any
) -> None:
    named = {"2007-04-01T00-s00": EVENTS[:50], "2007-04-01T00-s01": EVENTS[50:]}
    for _ in range(2):
        with pipeline() as run:
            batches = run | beam.Create([(name, to_record_batch(rows, Event)) for name, rows in named.items()])
            written = batches | WriteBatches(f"{tmp_path}/deep/events", Event, file_format, compression)
            assert written.element_type is WrittenFile
            assert_that(written | beam.Map(lambda file: file.rows), equal_to([50, 150]))
    ends = ".jsonl.gz" if (file_format, compression) == ("jsonl", "gzip") else f".{file_format}"
    assert _files(tmp_path / "deep") == {
        f"events-{name}{ends}": encode_batch(to_record_batch(rows, Event), Event, file_format, compression)
        for name, rows in named.items()
    }


def test_batches_of_a_stream_are_written_as_they_come(tmp_path: Path) -> None:
    stream = TestStream().add_elements([0]).advance_watermark_to(10).add_elements([1]).advance_watermark_to_infinity()
    # The FnApi runner knows no TestStream; this one, by name, does.
    with TestPipeline(runner=BundleBasedDirectRunner()) as run:
        batches = run | stream | beam.Map(_named).with_output_types(tuple[str, pa.RecordBatch])
        assert not batches.is_bounded
        _ = batches | WriteBatches(f"{tmp_path}/e", Event)
    assert from_record_batch(read_table(f"{tmp_path}/e-slice-1.jsonl", Event), Event) == [EVENTS[1]]
    assert len(_files(tmp_path)) == 2


def _named(at: int) -> tuple[str, pa.RecordBatch]:
    return f"slice-{at}", to_record_batch([EVENTS[at]], Event)


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "a b", "a\n"])
def test_names_that_could_leave_the_directory_are_refused(pipeline: Pipelines, tmp_path: Path, name: str) -> None:
    with pytest.raises(Exception, match="cannot be part of a file's name"), pipeline() as run:
        _ = run | beam.Create([(name, to_record_batch(EVENTS[:1], Event))]) | WriteBatches(f"{tmp_path}/e", Event)
    assert _files(tmp_path) == {}


def test_a_batch_of_another_record_fails_and_leaves_nothing(pipeline: Pipelines, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="not a batch of Usage"), pipeline() as run:
        _ = run | beam.Create([("a", to_record_batch(EVENTS[:1], Event))]) | WriteBatches(f"{tmp_path}/e", Usage)
    assert _files(tmp_path) == {}


def test_another_filesystem_is_written_to(pipeline: Pipelines, memory: dict[str, bytes]) -> None:
    for _ in range(2):
        with pipeline() as run:
            _ = run | beam.Create(EVENTS) | WriteToFiles("memory://bucket/out/events", Event)
    assert list(memory) == ["memory://bucket/out/events-00000-of-00001.jsonl"]
    assert len(read_table("memory://bucket/out/*", Event)) == 200


def test_written_files_cross_workers_without_pickle() -> None:
    coder = registry.get_coder(WrittenFile)
    file = WrittenFile("out/a.jsonl", 3, 99)
    assert coder.decode(coder.encode(file)) == file
    assert b"WrittenFile" not in coder.encode(file)
