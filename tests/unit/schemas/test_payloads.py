"""Batches of messages."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.schemas.encoding import EncodingError, unpack
from thingbeam.schemas.payloads import PayloadBatch

values = st.one_of(st.none(), st.binary(max_size=20))
lines = st.one_of(values, st.sampled_from([b"{}", b"a\nb", b"\n", b""]))


def batch_of(payloads: list[bytes | None], keys: list[bytes | None] | None = None) -> PayloadBatch:
    count = len(payloads)
    positions = np.arange(100, 100 + 3 * count, 3)
    return PayloadBatch("topic", "partition=7", positions, payloads, keys or [None] * count, positions * 10)


@given(st.lists(st.tuples(values, values), max_size=30))
def test_the_coder_keeps_a_batch(messages: list[tuple[bytes | None, bytes | None]]) -> None:
    batch = batch_of([value for value, _ in messages], [key for _, key in messages])
    coder = beam.coders.registry.get_coder(PayloadBatch)
    assert coder.decode(coder.encode(batch)) == batch
    assert coder.encode(coder.decode(coder.encode(batch))) == coder.encode(batch)


headers = st.lists(st.tuples(st.text(max_size=5), values), max_size=3).map(tuple)


@given(st.lists(st.tuples(values, headers, st.integers(0, 1 << 60)), max_size=20), st.booleans(), st.booleans())
def test_the_coder_keeps_headers_and_stamps(messages: list[Any], with_headers: bool, with_stamps: bool) -> None:
    batch = batch_of([value for value, _, _ in messages])
    bare = batch.encode()
    if with_headers:
        batch.headers = [some for _, some, _ in messages]
    if with_stamps:
        batch.stamps = np.array([stamp for _, _, stamp in messages], np.int64)
    encoded = batch.encode()
    assert (encoded == bare) == (not with_headers and not with_stamps)
    found = PayloadBatch.decode(encoded)
    assert found == batch
    assert (found == PayloadBatch.decode(bare)) == (not with_headers and not with_stamps)
    assert found.encode() == encoded
    assert found.headers is None or [tuple(some) for some in found.headers] == batch.headers


def test_without_headers_it_is_what_an_earlier_release_wrote() -> None:
    """Version 1, which such a release reads, too."""
    encoded = batch_of([b"abc", None], [b"k", None]).encode()
    version, columns = unpack(b"TBPB", 1, encoded)
    assert version == 1
    assert sorted(columns) == ["key_lengths", "keys", "lengths", "names", "payloads", "positions", "times"]


def test_what_was_cut_is_refused() -> None:
    encoded = batch_of([b"abc"]).encode()
    with pytest.raises(EncodingError):
        PayloadBatch.decode(encoded[:-1])
    with pytest.raises(EncodingError):
        PayloadBatch.decode(b"else")


@given(st.lists(lines, max_size=30))
def test_every_payload_is_a_line_or_among_the_others(payloads: list[bytes | None]) -> None:
    found = batch_of(payloads).lines()
    assert sorted([*found.numbers.tolist(), *found.others.tolist()]) == list(range(len(payloads)))
    split = found.data.split(b"\n") if len(found.numbers) else []
    assert split == [payloads[number] for number in found.numbers.tolist()]
    for number, start in zip(found.numbers.tolist(), found.starts.tolist(), strict=True):
        payload = payloads[number]
        assert payload
        assert found.data[start : start + len(payload)] == payload
    for number in found.others.tolist():
        payload = payloads[number]
        assert not payload or b"\n" in payload


Row = tuple[int, bytes | None, bytes | None, int, tuple[tuple[str, bytes | None], ...], int]
rows = st.lists(
    st.tuples(st.integers(0, 9), values, values, st.integers(0, 99), headers, st.integers(0, 99)), max_size=8
)


def made(
    some: list[Row], with_headers: bool = True, with_stamps: bool = True, part: str = "partition=7"
) -> PayloadBatch:
    """A batch of rows."""
    positions, payloads, keys, times, all_headers, stamps = ([row[at] for row in some] for at in range(6))
    batch = PayloadBatch("topic", part, np.array(positions, np.int64), payloads, keys, np.array(times, np.int64))
    batch.headers = all_headers if with_headers else None
    batch.stamps = np.array(stamps, np.int64) if with_stamps else None
    return batch


@given(st.data(), rows, st.booleans(), st.booleans())
def test_some_of_the_messages(data: st.DataObject, some: list[Row], with_headers: bool, with_stamps: bool) -> None:
    numbers = data.draw(st.lists(st.integers(0, len(some) - 1))) if some else []
    whole = made(some, with_headers, with_stamps)
    kept = made(some, with_headers, with_stamps)
    assert whole.take(np.array(numbers, np.int64)) == made([some[n] for n in numbers], with_headers, with_stamps)
    assert whole == kept, "what they were taken from stays"


@given(st.lists(st.tuples(rows, st.booleans(), st.booleans()), min_size=1, max_size=4))
def test_batches_are_concatenated_with_headers_and_stamps_of_some(parts: list[tuple[list[Row], bool, bool]]) -> None:
    with_headers, with_stamps = any(part[1] for part in parts), any(part[2] for part in parts)
    expected = [
        (*row[:4], row[4] if has_headers else (), row[5] if has_stamps else row[3])
        for some, has_headers, has_stamps in parts
        for row in some
    ]
    batches = [made(*part) for part in parts]
    assert PayloadBatch.concatenate(batches) == made(expected, with_headers, with_stamps)
    assert batches == [made(*part) for part in parts], "what they were made of stays"


@given(rows)
def test_each_position_is_kept_once_and_in_order(some: list[Row]) -> None:
    firsts = {row[0]: row for row in reversed(some)}
    assert made(some).in_order() == made([firsts[position] for position in sorted(firsts)])


def test_what_cannot_be_concatenated() -> None:
    with pytest.raises(ValueError, match="no batches"):
        PayloadBatch.concatenate([])
    with pytest.raises(ValueError, match=r"partition=7.* and .*partition=8.* are not of one partition"):
        PayloadBatch.concatenate([made([]), made([], part="partition=8")])


def test_positions_and_times() -> None:
    batch = batch_of([b"a", b"b"])
    assert batch.position(1) == "partition=7 offset=103"
    assert batch.earliest == Timestamp(micros=1000)
    assert batch.nbytes == 2 + 64
    assert "2 payloads" in repr(batch)
