"""Layouts: what they refuse, how tables are cut, and which timestamps cells have."""

from __future__ import annotations

from typing import Any

import pytest

from thingbeam.io.hbase import Column, Family, KeyPart, RowKey, TableLayout, layout_of, shell_command
from thingbeam.schemas.records import Activity, DeadLetter, Event, Session, Usage

KEY = RowKey("id", salt=8)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"families": ()}, "families none: one or more"),
        ({"families": (Family("d"), Family("d"))}, "families d, d: .*each once"),
        ({"columns": (Column("a", "text", family="e"),)}, "column a: family e is not one of d"),
        ({"columns": (Column("a", "text"), Column("b", "text", qualifier="a"))}, "columns: each name once"),
        ({"columns": (Column("_v", "text"),)}, "d:_v is taken"),
        ({"columns": (Column("id", "text"),)}, "column id is in the row key already"),
        ({"timestamps": "seconds"}, "timestamps 'seconds': revision or milliseconds"),
        ({"families": (Family(ttl="1d"),)}, "a TTL counts from cell timestamps in milliseconds"),
        ({"version": 0}, "version 0: from 1 to 255"),
        ({"version": 2, "earlier": (TableLayout(KEY, version=2),)}, "above those of earlier layouts"),
        ({"split_at": (b"m",)}, "split_at is for tables without salt"),
        ({"regions": 9}, "regions 9: from 1 to the 8 buckets"),
    ],
)
def test_what_cannot_be_is_said(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TableLayout(KEY, **arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "a:b"}, "without a colon"),
        ({"name": ""}, "printable"),
        ({"versions": 0}, "versions 0: at least 1"),
        ({"ttl": "0.5s"}, "ttl 0.5s: from 1 second"),
        ({"ttl": "30000d"}, "ttl 30000d: from 1 second to 68 years"),
        ({"keep_deletes": "soon"}, "keep_deletes: 'soon' is no length"),
    ],
)
def test_what_no_family_can_be(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Family(**arguments)


def test_tables_are_cut_at_buckets() -> None:
    assert TableLayout(KEY).splits() == [bytes([bucket]) for bucket in range(1, 8)]
    assert TableLayout(KEY, regions=3).splits() == [b"\x02", b"\x05"]
    assert TableLayout(KEY, regions=1).splits() == []
    assert TableLayout(RowKey("id"), split_at=(b"g", b"p")).splits() == [b"g", b"p"]
    assert shell_command("t", TableLayout(RowKey("id"), split_at=(b"g",))).endswith(r'SPLITS => ["\x67"]')


def test_timestamps_and_how_long_deletes_are_kept() -> None:
    exact = TableLayout(KEY)
    assert exact.timestamp(1_795_000_000_123_456) == 1_795_000_000_123_456
    assert exact.keep_deletes_millis(Family(keep_deletes="1s")) == (1 << 63) - 1
    timed = TableLayout(KEY, families=(Family(ttl="1d"),), timestamps="milliseconds")
    assert timed.timestamp(1_795_000_000_123_456) == 1_795_000_000_123
    assert timed.keep_deletes_millis(Family(keep_deletes="1s")) == 1000
    assert "TTL => 86400" in shell_command("t", timed)


def test_our_records_have_layouts() -> None:
    for record in (Activity, Session, Usage, Event, DeadLetter):
        layout = layout_of(record)
        fields = {*layout.key.fields, *(column.field for column in layout.columns)}
        assert fields == set(record._fields) - {"deleted"}
        assert len(layout.splits()) == 15
    with pytest.raises(ValueError, match="has no layout of thingbeam's"):
        layout_of(tuple)
    with pytest.raises(ValueError, match="Session has no field colour"):
        TableLayout.of(Session, RowKey("colour", KeyPart.newest("start")))


def test_columns_by_name() -> None:
    layout = TableLayout(KEY, (Column("a", "text"), Column("b", "text", qualifier="x")))
    assert layout.wire_names(["id", "b"]) == [b"d:_v", b"d:x"]
    with pytest.raises(ValueError, match="no column c; there are a, b"):
        layout.wire_names(["c"])
