"""Elements as rows: keys, revisions, tombstones, expiry; the same from records, dicts and batches."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.dynamodb.items import ItemReader
from thingbeam.io.dynamodb.layout import Key, TableLayout, Ttl
from thingbeam.io.dynamodb.rows import RowMaker, payload_of_row, position_of_row
from thingbeam.io.writing import Refused
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.schemas.records import Activity, Session, Usage

PLAIN = TableLayout("plain", Key(("id",)), revision=None, deleted=None)


def usage(**more: Any) -> Usage:
    return Usage(
        "washer", "main", "power#Meter", "p%er", "measurement", "PT1H", Timestamp(0), "1970", Timestamp(3600), 4, 2,
        0.1, 3480.25, 1 / 3, None, None, 1e-9, None, {"on": 0.5}, 7,
    )._replace(**more)  # fmt: skip


def only(rows: Any) -> Any:
    (row,) = rows
    return row


def test_records_dicts_and_batches_are_the_same_rows() -> None:
    make = RowMaker(TableLayout.of(Usage, "usage", ttl=Ttl("1d", since="start")))
    record = usage()
    batch = to_record_batch([record], Usage)
    rows = [only(make(element)) for element in (record, batch, ("usage", batch))]
    assert rows[0].item == rows[1].item == rows[2].item
    assert rows[0].fault is rows[1].fault is None
    assert rows[0].key == ("washer", "main#power%23Meter#p%25er#measurement#PT1H#1970-01-01T00:00:00.000000Z")
    assert rows[0].item["expires_at"] == {"N": "86400"}
    assert (rows[0].revision, rows[0].delete) == (7, False)
    assert ItemReader(TableLayout.of(Usage, "usage")).read(rows[0].item, 0) == record


def test_a_batch_with_bad_rows_loses_only_those() -> None:
    make = RowMaker(TableLayout.of(Usage, "usage"))
    rows = [
        usage(),
        usage(mean=math.nan),
        usage(max=1e300),
        usage(device_id=""),
        usage(seconds_in_state={"on": math.inf}),
    ]
    made = list(make(to_record_batch(rows, Usage)))
    assert [row.fault and row.fault.code for row in made] == [
        None, "not_finite", "out_of_range", "missing_field", "not_finite"
    ]  # fmt: skip
    assert position_of_row(made[1]).startswith("washer#main#")
    assert b'"mean":null' in payload_of_row(made[1])
    assert b'"device_id":""' in payload_of_row(made[3])


def test_a_tombstone_is_its_key_or_removes_the_item() -> None:
    gone = Session("d", Timestamp(0), "1970", Timestamp(1), Timestamp(2), 3, 9, deleted=True)
    layout = TableLayout.of(Session, "sessions", ttl=Ttl("30d"))
    kept = only(RowMaker(layout, 100, clock=lambda: 1000.0)(gone))
    assert not kept.delete
    assert kept.item == {
        "device_id": {"S": "d"}, "start": {"S": "1970-01-01T00:00:00.000000Z"}, "revision": {"N": "9"},
        "deleted": {"BOOL": True}, "expires_at": {"N": "1100"},
    }  # fmt: skip
    removed = only(RowMaker(layout)(gone))
    assert removed.delete
    assert removed.item.keys() == {"device_id", "start"}


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"id": ""}, "missing_field"), ({}, "missing_field"), ({"id": None}, "missing_field"),
        ({"id": 1}, "wrong_type"), ({"id": "é" * 1025}, "too_large"), ({"id": "a", "t": "x" * 409_600}, "too_large"),
        ({"id": "a", "t": "\ud800"}, "invalid_utf8"), ({"id": "a", "o": object()}, "wrong_type"),
        ({"id": "a", 1: 2}, "wrong_type"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_row(row: Any, code: str) -> None:
    made = only(RowMaker(PLAIN)(row))
    assert made.fault is not None
    assert made.fault.code == code


def test_limits_are_met_exactly() -> None:
    assert only(RowMaker(PLAIN)({"id": "é" * 1024})).fault is None
    assert only(RowMaker(PLAIN)({"id": "a", "t": "x" * (409_600 - 4)})).fault is None
    assert only(RowMaker(PLAIN)({"id": "a", "t": "x" * (409_600 - 3)})).fault is not None


def test_a_revision_must_be_a_whole_number() -> None:
    layout = TableLayout("t-t", Key(("id",)), deleted=None)
    for row in ({"id": "a"}, {"id": "a", "revision": 1.5}, {"id": "a", "revision": "7"}):
        assert only(RowMaker(layout)(row)).fault.code == "missing_field"
    assert only(RowMaker(layout)({"id": "a", "revision": -3})).revision == -3


def test_what_is_no_row_at_all() -> None:
    with pytest.raises(Refused, match="a str: DynamoDB takes records"):
        RowMaker(PLAIN)("text")


def test_columns_of_any_type() -> None:
    batch = pa.record_batch({
        "id": pa.array(["a", "b"]), "raw": pa.array([b"\x00", None]), "small": pa.array([1, 2], pa.int8()),
        "list": pa.array([[1.5], None]), "at": pa.array([1, None], pa.timestamp("s", tz="Europe/Paris")),
    })  # fmt: skip
    first, second = RowMaker(PLAIN)(batch)
    assert first.item == {
        "id": {"S": "a"}, "raw": {"B": b"\x00"}, "small": {"N": "1"}, "list": {"L": [{"N": "1.5"}]},
        "at": {"S": "1970-01-01T00:00:01.000000Z"},
    }  # fmt: skip
    assert second.item == {"id": {"S": "b"}, "small": {"N": "2"}}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TableLayout("t", Key(("id",))), "table 't': 3 to 255"),
        (lambda: TableLayout("a b c", Key(("id",))), "table 'a b c'"),
        (lambda: TableLayout("ttt", Key(("id",)), Key(("id",))), "partition and sort key have one name"),
        (lambda: TableLayout.of(Activity, "ttt", "device"), "Activity has no field device"),
        (lambda: TableLayout.of(Activity, "ttt", ttl=Ttl("1d", "when")), "Activity has no field when"),
        (lambda: TableLayout.of(Activity, "ttt", ttl=Ttl("1d", attribute="end")), "end is a field of Activity already"),
        (lambda: Key(()), "one field or more"),
        (lambda: Key(("a", "b")), "give its attribute a name of its own"),
        (lambda: Key(("a", "b"), "c", "N"), "it is text, S"),
        (lambda: Key(("a",), "b"), "it has the field's name, a"),
        (lambda: Ttl("soon"), "ttl after"),
    ],
)
def test_layouts_that_cannot_be(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_keys_that_look_alike_are_two() -> None:
    layout = TableLayout("ttt", Key(("a", "b"), "key"), revision=None, deleted=None)
    rows = [{"a": "x#y", "b": "z"}, {"a": "x", "b": "y#z"}, {"a": "x%23y", "b": "z"}, {"a": "", "b": "x#y#z"}]
    assert len({only(RowMaker(layout)(row)).key for row in rows}) == 4
