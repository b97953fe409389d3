"""Row keys: sorted as their fields are, read back, and ranges that hold what they should."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from thingbeam.io.hbase.keys import LONGEST_KEY, KeyPart, KeyProblemError, RowKey, after_prefix

NAMES = st.text("ab\0\x01\xffé", max_size=4)
LONGS = st.integers(-(1 << 63), (1 << 63) - 1)
# Timestamps of Beam's end before those of 64 bits do.
TIMES = st.integers(-(1 << 53), 1 << 53).map(lambda micros: Timestamp(micros=micros))
ROWS = st.lists(st.tuples(NAMES.filter(bool), NAMES, TIMES, LONGS, NAMES), min_size=2, max_size=6)
PARTS = (KeyPart("a"), KeyPart("b"), KeyPart.newest("at"), KeyPart.number("n"), KeyPart("last"))
FIELDS = ("a", "b", "at", "n", "last")


def order(row: tuple[str, str, Timestamp, int, str]) -> tuple[Any, ...]:
    """How rows of PARTS should stand."""
    a, b, at, n, last = row
    return a.encode(), b.encode(), -at.micros, n, last.encode()


@settings(max_examples=200)
@given(ROWS)
def test_keys_sort_as_their_fields_do_and_are_read_back(rows: list[tuple[str, str, Timestamp, int, str]]) -> None:
    key = RowKey(*PARTS)
    assert [key.of(row) for row in sorted(rows, key=order)] == sorted(key.of(row) for row in rows)
    salted = RowKey(*PARTS, salt=7, salted=2)
    for row in rows:
        fields = dict(zip(FIELDS, row, strict=True))
        assert key.decode(key.of(row)) == fields
        assert salted.decode(salted.encode(fields)) == fields
        assert salted.of(row)[0] < 7


@settings(max_examples=200)
@given(ROWS, st.integers(1, 4), st.integers(0, 7))
def test_a_range_holds_what_has_its_first_parts_and_nothing_else(
    rows: list[tuple[str, str, Timestamp, int, str]], parts: int, salt: int
) -> None:
    key = RowKey(*PARTS, salt=0 if salt == 1 else salt)
    wanted = rows[0]
    start, stop = key.range(dict(zip(FIELDS[:parts], wanted, strict=False)))
    for row in rows:
        assert (start <= key.of(row) < stop) == (row[:parts] == wanted[:parts])


@settings(max_examples=200)
@given(ROWS, TIMES, TIMES, st.booleans())
def test_a_range_of_times(
    rows: list[tuple[str, str, Timestamp, int, str]], low: Timestamp, high: Timestamp, newest: bool
) -> None:
    key = RowKey("a", KeyPart.newest("at") if newest else KeyPart.time("at"), "last", salt=3)
    device = rows[0][0]
    start, stop = key.range({"a": device}, low, high)
    from_low, _ = key.range({"a": device}, since=low), None
    for a, _, at, _, last in rows:
        found = key.of((a, at, last))
        assert (start <= found < stop) == (a == device and low <= at < high)
        assert (from_low[0] <= found < from_low[1]) == (a == device and low <= at)


def test_how_others_would_make_a_key() -> None:
    """Byte by byte, as the page says."""
    key = RowKey("device_id", KeyPart.newest("start"), KeyPart.number("n"), "component", salt=16)
    made = key.of(["a\0b", Timestamp(micros=5), -1, "main"])
    text = b"a\0\xffb\0\0"
    newest = ((1 << 63) - 1 - 5).to_bytes(8, "big")
    assert made == bytes([zlib.crc32(text) % 16]) + text + newest + b"\x7f" + b"\xff" * 7 + b"main"
    alone = RowKey("device_id", salt=16)
    assert alone.of(["d1"]) == bytes([zlib.crc32(b"d1") % 16]) + b"d1"


@pytest.mark.parametrize(
    ("values", "said", "code"),
    [
        ([None, Timestamp(0)], "id: a row key needs it, and it is absent", "missing_field"),
        (["", Timestamp(0)], "id: a row key needs it, and it is empty", "missing_field"),
        ([5, Timestamp(0)], "id: int where text is expected", "wrong_type"),
        (["a", "b"], "at: str where a Timestamp is expected", "wrong_type"),
        (["a", True], "at: bool where a Timestamp is expected", "wrong_type"),
        (["a", 1 << 63], "at: 9223372036854775808 does not fit in 64 bits", "out_of_range"),
        (["a\ud800", Timestamp(0)], "id: the text holds half a surrogate pair", "wrong_type"),
        (["a" * LONGEST_KEY, Timestamp(0)], "a row key of 32777 bytes", "too_large"),
    ],
)
def test_what_is_no_key(values: list[Any], said: str, code: str) -> None:
    with pytest.raises(KeyProblemError, match=said) as caught:
        RowKey("id", KeyPart.time("at")).of(values)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "strange", [b"", b"a", b"a\0", b"a\0\0", b"a\0\0" + bytes(7), b"a\0\0" + bytes(9), b"\xff\0\0" + bytes(8)]
)
def test_keys_of_others_are_told(strange: bytes) -> None:
    with pytest.raises(KeyProblemError):
        RowKey("id", KeyPart.time("at")).decode(strange)


def test_what_no_key_can_be() -> None:
    for wrong in ({"salt": 1}, {"salt": 257}, {"salted": 0}, {"salted": 2}):
        with pytest.raises(ValueError, match="salt"):
            RowKey("a", **wrong)
    with pytest.raises(ValueError, match="each once"):
        RowKey("a", "a")
    with pytest.raises(ValueError, match="of nothing"):
        RowKey()
    with pytest.raises(ValueError, match="sorts one way"):
        KeyPart("a", descending=True)
    with pytest.raises(ValueError, match="text, time or number"):
        KeyPart("a", "date")  # type: ignore[arg-type]
    key = RowKey("a", "b", KeyPart.time("at"), salt=4, salted=2)
    for fields, said in (
        ({"b": "x"}, "by the first parts of the key: a, b, at"),
        ({"a": "x"}, "a salted table needs a, b"),
        ({"a": "x", "c": "y"}, "by the first parts"),
    ):
        with pytest.raises(KeyProblemError, match=said):
            key.range(fields)
    with pytest.raises(KeyProblemError, match="since and until are of a time or number"):
        RowKey("a", "b").range({"a": "x"}, since=Timestamp(0))


@given(st.binary(max_size=3), st.binary(max_size=5))
def test_after_a_prefix(prefix: bytes, rest: bytes) -> None:
    after = after_prefix(prefix)
    assert after == b"" or prefix + rest < after
    assert (after == b"") == (prefix.strip(b"\xff") == b"")
