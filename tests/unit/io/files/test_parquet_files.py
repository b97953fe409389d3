from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from thingbeam.io.files.batches import Fault
from thingbeam.io.files.parquet_files import encode_parquet, read_parquet
from thingbeam.schemas import DeadLetter, Event, Session, Usage, arrow_schema, from_record_batch, to_record_batch

SESSION = Session("d1", Timestamp(0), "x", Timestamp(1), Timestamp(601), 2, 7)


def _read(data: bytes, record_type: type[Any]) -> tuple[list[Any], list[Fault]]:
    records: list[Any] = []
    faults: list[Fault] = []
    for some in read_parquet(io.BytesIO(data), record_type):
        if isinstance(some, Fault):
            faults.append(some)
        else:
            assert some.schema.equals(arrow_schema(record_type))
            records.extend(from_record_batch(some, record_type))
    return records, faults


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
@pytest.mark.parametrize("record_type", [Event, Usage, DeadLetter])
@settings(max_examples=25)
@given(data=st.data())
def test_files_read_back_as_what_was_written(
    data: st.DataObject, record_type: type, compression: Any, records_of: Callable[[type], st.SearchStrategy[Any]]
) -> None:
    records = data.draw(records_of(record_type))
    encoded = encode_parquet(to_record_batch(records, record_type), record_type, compression)
    assert _read(encoded, record_type) == (records, [])
    assert encode_parquet(to_record_batch(records, record_type), record_type, compression) == encoded


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
def test_another_library_reads_our_files(compression: Any) -> None:
    encoded = encode_parquet(to_record_batch([SESSION], Session), Session, compression)
    [row] = pl.read_parquet(io.BytesIO(encoded)).rows(named=True)
    assert (row["device_id"], row["count"], row["home_id"], row["final"]) == ("d1", 2, None, True)
    assert row["end"].timestamp() == 601


def test_older_and_newer_releases_are_read_by_name() -> None:
    table = pa.Table.from_batches([to_record_batch([SESSION], Session)])
    for written in (table.drop_columns(["home_id", "final", "deleted"]), table.append_column("new", pa.array([1]))):
        file = io.BytesIO()
        pq.write_table(written, file)
        assert _read(file.getvalue(), Session) == ([SESSION], [])


def test_another_schema_is_one_fault_even_without_rows() -> None:
    for rows in ([], [SESSION] * 3):
        encoded = encode_parquet(to_record_batch(rows, Session), Session, None)
        error = "no column component, which Usage needs"
        assert _read(encoded, Usage) == ([], [Fault("schema_mismatch", "offset=0", error)])


def test_a_damaged_row_group_costs_itself() -> None:
    sessions = [SESSION._replace(device_id=f"{at:0500d}", revision=at) for at in range(300)]
    file = io.BytesIO()
    table = pa.Table.from_batches([to_record_batch(sessions, Session)])
    pq.write_table(table, file, row_group_size=100, compression="none", use_dictionary=False, write_page_checksum=True)
    damaged = bytearray(file.getvalue())
    at = damaged.index(b"0" * 497 + b"150")
    damaged[at] = 0xFF
    records, faults = _read(bytes(damaged), Session)
    assert records == sessions[:100] + sessions[200:]
    assert [(fault.code, fault.position) for fault in faults] == [("corrupt_file", "row_group=1")]


def test_a_flipped_bit_in_our_files_is_seen() -> None:
    encoded = bytearray(encode_parquet(to_record_batch([SESSION], Session), Session, None))
    at = encoded.index((601_000_000).to_bytes(8, "little"))
    encoded[at] ^= 1
    records, faults = _read(bytes(encoded), Session)
    assert (records, [fault.code for fault in faults]) == ([], ["corrupt_file"])


def test_files_cut_or_damaged_or_of_another_kind_are_one_fault() -> None:
    encoded = encode_parquet(to_record_batch([SESSION] * 9, Session), Session, "zstd")
    for cut in (0, 2, 4, 8, len(encoded) // 2, len(encoded) - 1):
        records, [fault] = _read(encoded[:cut], Session)
        assert (records, fault.code) == ([], "truncated_file"), cut
    assert [fault.code for fault in _read(b'{"a": 1}\n', Session)[1]] == ["corrupt_file"]
    footer = bytearray(encoded)
    begin = len(footer) - 8 - int.from_bytes(footer[-8:-4], "little")
    footer[begin : begin + 20] = b"\xff" * 20
    assert [fault.code for fault in _read(bytes(footer), Session)[1]] == ["corrupt_file"]
