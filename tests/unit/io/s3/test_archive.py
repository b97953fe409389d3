"""Names and contents of a raw archive."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.s3.archive import Span, blocks_of, in_order, object_name, span_of_name, times_of, to_payloads, to_rows
from thingbeam.schemas.payloads import PayloadBatch


def batch(positions: list[int]) -> PayloadBatch:
    """Messages that follow from their positions."""
    numbers = np.array(positions, np.int64)
    payloads = [None if n % 5 == 0 else str(n).encode() for n in positions]
    keys = [None if n % 3 == 0 else b"k%d" % n for n in positions]
    return PayloadBatch("events", "partition=3", numbers, payloads, keys, numbers * 7)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=30, unique=True), st.integers(1, 10**6))
def test_a_batch_is_cut_where_blocks_end(positions: list[int], size: int) -> None:
    whole = batch(sorted(positions))
    pieces = list(blocks_of(whole, size))
    assert [start for start, _ in pieces] == sorted({n // size * size for n in positions})
    for start, piece in pieces:
        assert all(start <= n < start + size for n in piece.positions.tolist())
    assert in_order(piece for _, piece in pieces) == whole


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=10), min_size=1, max_size=6))
def test_each_position_is_kept_once_and_in_order(some: list[list[int]]) -> None:
    assert in_order(map(batch, some)) == batch(sorted({n for positions in some for n in positions}))


def test_nothing_has_no_order() -> None:
    assert list(blocks_of(batch([]), 10)) == []
    with pytest.raises(ValueError, match="no batches"):
        in_order([])


@given(st.text(min_size=1), st.text(min_size=1), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_names_are_read_as_they_are_written(source: str, part: str, block: int, first: int) -> None:
    span = Span(source, part, block, first)
    name = object_name(span)
    assert span_of_name(name + ".jsonl.gz") == span
    assert name.count("/") == 2


def test_what_is_no_name_of_an_archive() -> None:
    for name in ("", "events/a.avro", "_committed/all.json", "a/b/c/" + "0" * 20 + "-" + "0" * 20 + ".avro"):
        assert span_of_name(name) is None


def test_messages_are_rows_and_back() -> None:
    some = batch(list(range(100)))
    assert to_payloads(to_rows(some)) == some


def test_times_are_in_the_metadata() -> None:
    assert times_of({"thingbeam-earliest": "3", "thingbeam-latest": "9"}) == (3, 9)
    assert times_of({}) is None
    assert times_of({"thingbeam-earliest": "x", "thingbeam-latest": "9"}) is None
