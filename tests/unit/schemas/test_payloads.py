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


def test_positions_and_times() -> None:
    batch = batch_of([b"a", b"b"])
    assert batch.position(1) == "partition=7 offset=103"
    assert batch.earliest == Timestamp(micros=1000)
    assert batch.nbytes == 2 + 64
    assert "2 payloads" in repr(batch)
