from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from apache_beam.utils.timestamp import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thingbeam.io.files.formats import encode_batch, encode_batches
from thingbeam.io.files.json_lines import encode_json_lines
from thingbeam.io.files.paths import COMPRESSIONS, FORMATS, ending
from thingbeam.io.files.records import read_table
from thingbeam.schemas import Activity, DeadLetter, Event, Session, Usage, from_record_batch, to_record_batch


@pytest.mark.parametrize("compression", [None, *COMPRESSIONS])
@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("record_type", [Event, Activity, Session, Usage, DeadLetter])
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_format_and_compression_reads_back_from_a_file(
    data: st.DataObject,
    record_type: type,
    file_format: Any,
    compression: Any,
    records_of: Callable[[type], st.SearchStrategy[Any]],
    tmp_path: Path,
) -> None:
    records = data.draw(records_of(record_type))
    path = tmp_path / f"x{ending(file_format, compression)}"
    path.write_bytes(encode_batch(to_record_batch(records, record_type), record_type, file_format, compression))
    assert from_record_batch(read_table(str(path), record_type), record_type) == records


@pytest.mark.parametrize("compression", [None, *COMPRESSIONS])
@pytest.mark.parametrize("file_format", FORMATS)
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_batches_come_out_as_one_file(
    data: st.DataObject,
    file_format: Any,
    compression: Any,
    records_of: Callable[[type], st.SearchStrategy[Any]],
    tmp_path: Path,
) -> None:
    """In pieces, of any number of batches, some of them empty; the same bytes again."""
    some = [data.draw(records_of(Usage)) for _ in range(data.draw(st.integers(0, 3)))]
    batches = [to_record_batch(records, Usage) for records in some]
    pieces = [list(encode_batches(batches, Usage, file_format, compression, name="x")) for _ in range(2)]
    assert pieces[0] == pieces[1]
    path = tmp_path / f"x{ending(file_format, compression)}"
    path.write_bytes(b"".join(pieces[0]))
    assert from_record_batch(read_table(str(path), Usage), Usage) == [one for records in some for one in records]


@pytest.mark.parametrize("file_format", FORMATS)
def test_many_batches_come_out_piece_by_piece(file_format: Any, tmp_path: Path) -> None:
    """Each piece as soon as it is full: what is written need not fit in memory."""
    rows = [Event.of(f"e{n}", Timestamp(n), "d1", "c", "a", float(n)) for n in range(33_000)]
    made = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal made
        for _ in range(4):
            made += 1
            yield to_record_batch(rows, Event)

    pieces = encode_batches(batches(), Event, file_format, name="x")
    data = [next(pieces), next(pieces)]
    assert made < 4
    path = tmp_path / f"x{ending(file_format, None)}"
    path.write_bytes(b"".join([*data, *pieces]))
    assert read_table(str(path), Event)["event_id"].to_pylist() == [row.event_id for row in rows] * 4


def test_lines_are_compressed_as_asked() -> None:
    batch = to_record_batch([Event.of("e1", Timestamp(0), "d1", "c", "a", "x")], Event)
    lines = encode_json_lines(batch, Event)
    assert encode_batch(batch, Event, "jsonl") == lines
    assert gzip.decompress(encode_batch(batch, Event, "jsonl", "gzip")) == lines
    assert zstandard.decompress(encode_batch(batch, Event, "jsonl", "zstd")) == lines


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_refuses_the_same(file_format: Any) -> None:
    batch = to_record_batch([Event.of("e1", Timestamp(0), "d1", "c", "a", float("nan"))], Event)
    with pytest.raises(ValueError, match=r"Event\.number: a number that is not finite"):
        encode_batch(batch, Event, file_format)
    with pytest.raises(ValueError, match="not a batch of Event"):
        encode_batch(pa.RecordBatch.from_pydict({"a": [1]}), Event, file_format)
