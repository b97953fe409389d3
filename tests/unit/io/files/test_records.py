from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.files.formats import encode_batch
from thingbeam.io.files.paths import ending
from thingbeam.io.files.records import ReadFromFiles, read_table
from thingbeam.schemas import DeadLetter, Event, Session, arrow_schema, from_record_batch, to_record_batch

Pipelines = Callable[[], TestPipeline]

EVENTS = [Event.of(f"e{at}", Timestamp(at), f"d{at % 7}", "switch", "switch", at % 2 == 0) for at in range(500)]
KINDS: list[tuple[Any, Any]] = [(f, c) for f in ("jsonl", "avro", "parquet") for c in (None, "gzip", "zstd")]


def _write(folder: Path, file_format: Any, compression: Any, events: list[Event], name: str = "events") -> str:
    path = folder / f"{name}{ending(file_format, compression)}"
    path.write_bytes(encode_batch(to_record_batch(events, Event), Event, file_format, compression))
    return str(path)


def _letter(letter: DeadLetter) -> tuple[str, str, str, bytes]:
    assert letter.step == "ReadFromFiles"
    assert letter.error
    return Path(letter.source).name, letter.code, letter.position, letter.payload


def test_all_formats_in_one_glob_are_read_as_records_and_as_batches(pipeline: Pipelines, tmp_path: Path) -> None:
    for at, (file_format, compression) in enumerate(KINDS):
        _write(tmp_path, file_format, compression, EVENTS[at::9], f"events-{at}")
    with pipeline() as run:
        read = run | "Records" >> ReadFromFiles(f"{tmp_path}/*", Event, split_bytes=1_000)
        assert read.records.element_type is Event
        assert_that(read.records, equal_to(EVENTS))
        assert_that(read.dead_letters, equal_to([]), label="no dead letters")
        batches = run | "Batches" >> ReadFromFiles(f"{tmp_path}/*", Event, batches=True)
        assert batches.records.element_type is pa.RecordBatch
        rows = batches.records | beam.FlatMap(lambda batch: from_record_batch(batch, Event))
        assert_that(rows, equal_to(EVENTS), label="rows")


def test_a_format_that_is_said_goes_before_the_ending(pipeline: Pipelines, tmp_path: Path) -> None:
    path = _write(tmp_path, "avro", None, EVENTS[:3])
    Path(path).rename(tmp_path / "events.bin")
    with pipeline() as run:
        read = run | ReadFromFiles(f"{tmp_path}/events.bin", Event, "avro")
        assert_that(read.records, equal_to(EVENTS[:3]))


def test_bad_lines_are_dead_letters_with_their_bytes_and_place(pipeline: Pipelines, tmp_path: Path) -> None:
    good = encode_batch(to_record_batch(EVENTS[:2], Event), Event, "jsonl").split(b"\n")[:2]
    bad = {
        b'{"event_id": "cut': "invalid_json",
        b"not json": "invalid_json",
        b"[1, 2]": "wrong_type",
        good[0].replace(b'"d0"', b"5"): "wrong_type",
        good[0].replace(b'"event_id":"e0",', b""): "missing_field",
        good[0].replace(b"1970-01-01T00:00:00Z", b"yesterday"): "impossible_time",
        good[0].replace(b"1970-01-01T00:00:00Z", b"0001-01-01T00:00:00+01:00"): "impossible_time",
        b'{"event_id": "\xff\xfe"}': "invalid_utf8",
        b'{"x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}": "too_deep",
    }
    data = b"\r\n".join([good[0], *bad, b"", good[1]])
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + data)
    expected = [("a.jsonl", code, f"offset={3 + data.index(line)}", line) for line, code in bad.items()]
    with pipeline() as run:
        read = run | ReadFromFiles(f"{tmp_path}/*", Event)
        assert_that(read.records, equal_to(EVENTS[:2]))
        assert_that(read.dead_letters | beam.Map(_letter), equal_to(expected), label="dead letters")


def test_files_that_are_not_what_was_asked_for_are_one_dead_letter_each(pipeline: Pipelines, tmp_path: Path) -> None:
    session = Session("d1", Timestamp(0), "x", Timestamp(1), Timestamp(601), 2, 7)
    batch = to_record_batch([session] * 100, Session)
    for file_format in ("avro", "parquet"):
        (tmp_path / f"other.{file_format}").write_bytes(encode_batch(batch, Session, file_format))  # type: ignore[arg-type]
        whole = Path(_write(tmp_path, file_format, None, EVENTS, "cut"))
        whole.write_bytes(whole.read_bytes()[:-10])
    packed = Path(_write(tmp_path, "jsonl", "gzip", EVENTS, "cut"))
    packed.write_bytes(packed.read_bytes()[:-9])
    good = _write(tmp_path, "avro", "zstd", EVENTS[:5], "good")

    def letters(found: list[DeadLetter]) -> None:
        assert sorted((name, code) for name, code, _, _ in map(_letter, found)) == [
            ("cut.avro", "truncated_file"),
            ("cut.jsonl.gz", "truncated_file"),
            ("cut.parquet", "truncated_file"),
            ("other.avro", "schema_mismatch"),
            ("other.parquet", "schema_mismatch"),
        ]

    with pipeline() as run:
        read = run | ReadFromFiles([f"{tmp_path}/[co]*", good], Event)
        assert_that(read.dead_letters, letters)
        # All before the cut: every row of the gzip, whose last bytes were the checksum alone.
        assert_that(read.records, equal_to(EVENTS[:5] + EVENTS), label="records")


@pytest.mark.parametrize(("file_format", "compression"), KINDS)
def test_a_table_holds_all_files(tmp_path: Path, file_format: Any, compression: Any) -> None:
    _write(tmp_path, file_format, compression, EVENTS[:100], "a")
    _write(tmp_path, file_format, compression, EVENTS[100:], "b")
    table = read_table(f"{tmp_path}/*", Event)
    assert table.schema.equals(arrow_schema(Event))
    assert from_record_batch(table, Event) == EVENTS


def test_a_table_of_nothing_has_its_columns_and_damage_is_an_error(tmp_path: Path) -> None:
    assert read_table([], Event).schema.equals(arrow_schema(Event))
    (tmp_path / "a.jsonl").write_bytes(b"no\n")
    with pytest.raises(ValueError, match=r"a\.jsonl, offset=0: Input data was truncated"):
        read_table(f"{tmp_path}/a.jsonl", Event)
    with pytest.raises(ValueError, match="no such file"):
        read_table(f"{tmp_path}/none.jsonl", Event)


def test_mistakes_are_told_when_the_pipeline_is_built(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no format 'csv'"):
        ReadFromFiles("x", Event, "csv")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be positive"):
        ReadFromFiles("x", Event, split_bytes=0)
    (tmp_path / "a.csv").write_bytes(b"")
    with pytest.raises(ValueError, match="cannot tell the format"):
        _ = beam.Pipeline() | ReadFromFiles(f"{tmp_path}/a.csv", Event)
