"""Names and contents of a raw archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.files.formats import encode_batch
from thingbeam.io.files.paths import ending
from thingbeam.io.files.records import read_records
from thingbeam.io.s3.archive import (
    ArchivedMessage,
    Span,
    blocks_of,
    object_name,
    span_of_name,
    times_of,
    to_payloads,
    to_rows,
)
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.schemas.payloads import PayloadBatch
from thingbeam.schemas.records import DeadLetter


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
    assert PayloadBatch.concatenate(piece for _, piece in pieces) == whole


def test_nothing_is_in_no_block() -> None:
    assert list(blocks_of(batch([]), 10)) == []


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


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=10), min_size=1, max_size=4), st.booleans())
def test_headers_and_the_records_own_times_stay(some: list[list[int]], stamped: bool) -> None:
    def with_headers(positions: list[int]) -> PayloadBatch:
        plain = batch(positions)
        plain.headers = [(("a", b"\x00%d" % n), ("a", None), ("b", b"")) if n % 2 else () for n in positions]
        plain.stamps = plain.times + 1 if stamped else None
        return plain

    whole = with_headers(sorted({n for positions in some for n in positions}))
    found = PayloadBatch.concatenate(map(with_headers, some)).in_order()
    assert found == whole
    back = to_payloads(to_rows(found))
    if not any(whole.headers or ()):
        whole.headers = None
    assert back == whole
    assert PayloadBatch.concatenate(piece for _, piece in blocks_of(back, 7)) == whole


class Earlier(NamedTuple):
    """A message as the first release archived it."""

    source: str
    part: str
    position: int
    time: Timestamp
    key: bytes | None = None
    payload: bytes | None = None


Earlier.__name__ = ArchivedMessage.__name__


@pytest.mark.parametrize(("form", "compression"), [("avro", "zstd"), ("parquet", "zstd"), ("jsonl", None)])
def test_archives_of_the_first_release_are_read(tmp_path: Path, form: Any, compression: Any) -> None:
    some = batch(list(range(20)))
    rows = to_rows(some).select(list(Earlier._fields))
    path = tmp_path / f"old{ending(form, compression)}"
    path.write_bytes(encode_batch(rows, Earlier, form, compression))
    [found] = read_records((str(path), 0, -1), ArchivedMessage)
    assert not isinstance(found, DeadLetter)
    back = to_payloads(to_record_batch(found, ArchivedMessage) if isinstance(found, list) else found)
    assert back == some
    assert type(back) is PayloadBatch


def test_times_are_in_the_metadata() -> None:
    assert times_of({"thingbeam-earliest": "3", "thingbeam-latest": "9"}) == (3, 9)
    assert times_of({}) is None
    assert times_of({"thingbeam-earliest": "x", "thingbeam-latest": "9"}) is None
