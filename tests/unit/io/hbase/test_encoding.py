"""Records as rows: one at a time, in Arrow batches, and back."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from thingbeam.io.hbase import Column, HBaseRow, RowKey, TableLayout, layout_of
from thingbeam.io.hbase.encoding import Fault, RowDecoder, RowEncoder
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.schemas.records import Activity, DeadLetter, Event, Session, Usage

TEXT = st.text("aé\0", max_size=3)
TIMES = st.integers(0, 1 << 52).map(lambda micros: Timestamp(micros=micros))
ACTIVITIES = st.builds(
    Activity,
    TEXT, TEXT, TEXT, TIMES, TEXT, st.none() | TIMES, st.none() | st.floats(allow_nan=False), TEXT, st.none() | TEXT,
    st.integers(-1, 1 << 60), st.none() | TEXT, st.booleans(), st.booleans(),
)  # fmt: skip
USAGES = st.builds(
    Usage,
    TEXT.filter(bool), TEXT, TEXT, TEXT, TEXT, TEXT, TIMES, TEXT, TIMES, st.integers(0, 9), st.integers(0, 9),
    *[st.none() | st.floats(allow_nan=False)] * 6, st.none() | TEXT,
    st.dictionaries(TEXT, st.floats(allow_nan=False, allow_infinity=False), max_size=2), st.integers(0, 1 << 60),
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(ACTIVITIES, min_size=1, max_size=8))
def test_a_batch_is_its_records_one_by_one(records: list[Activity]) -> None:
    encoder = RowEncoder(layout_of(Activity))
    one_by_one = [encoder.row(record) for record in records]
    assert list(encoder.rows(to_record_batch(records, Activity))) == one_by_one
    assert [encoder.row(record._asdict()) for record in records] == one_by_one


@settings(max_examples=60)
@given(st.one_of(ACTIVITIES, USAGES))
def test_what_is_written_is_read_back(record: Any) -> None:
    layout = layout_of(type(record))
    row = RowEncoder(layout).row(record)
    if record.device_id == "" or record.revision < 0:
        assert isinstance(row, Fault)
        return
    assert isinstance(row, HBaseRow)
    assert row.revision == record.revision
    assert row.deleted == record.deleted
    if not record.deleted:
        assert RowDecoder(layout).record(row) == record


def test_all_our_records_are_read_back() -> None:
    at = Timestamp(5)
    for record in (
        Event.of("e", at, None, "c", "a", {"x": [1]}),
        Session("d", at, "l", at, at, 3, 7),
        DeadLetter(b"\0raw", "", "", "step", "code", "error", at),
    ):
        layout = layout_of(type(record))
        row = RowEncoder(layout).row(record)
        assert isinstance(row, HBaseRow)
        assert RowDecoder(layout).record(row) == record


def test_a_batch_that_lacks_columns() -> None:
    layout = TableLayout(
        RowKey("id"), (Column("a", "text"), Column("b", "int64", optional=True)), revision=None, deleted=None
    )
    encoder = RowEncoder(layout)
    batch = pa.RecordBatch.from_pydict({"id": ["x", None], "a": ["1", "2"]})
    first, second = encoder.rows(batch)
    assert first == HBaseRow(b"x", {b"d:_v": b"\1", b"d:a": b"1", b"d:b": b""})
    assert isinstance(second, Fault)
    assert list(encoder.rows(batch.select(["a"]))) == [second, second]
    assert [row.code for row in encoder.rows(batch.select(["id"])) if isinstance(row, Fault)] == ["missing_field"] * 2
    assert list(encoder.rows(batch.slice(0, 0))) == []


def test_rows_of_earlier_versions() -> None:
    old = TableLayout(RowKey("id"), (Column("n", "text"),), revision=None, deleted=None)
    new = TableLayout(RowKey("id"), (Column("n", "int64"),), revision=None, deleted=None, version=2, earlier=(old,))
    written = [RowEncoder(layout).row({"id": "a", "n": value}) for layout, value in ((old, "five"), (new, 5))]
    read = [RowDecoder(new).record(row) for row in written if isinstance(row, HBaseRow)]
    assert read == [{"id": "a", "n": "five"}, {"id": "a", "n": 5}]
    assert isinstance(written[1], HBaseRow)
    fault = RowDecoder(old).record(written[1])
    assert fault == Fault("schema_mismatch", "the row is of version 2 of its layout, and this reads 1")


@pytest.mark.parametrize("revision", [None, "5", True, -1, (1 << 63) - 1])
def test_what_is_no_revision(revision: Any) -> None:
    fault = RowEncoder(TableLayout(RowKey("id"))).row({"id": "a", "revision": revision})
    assert isinstance(fault, Fault)
    assert fault.reason.startswith("revision: ") or "HBase has timestamps" in fault.reason
