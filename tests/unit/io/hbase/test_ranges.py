"""Ranges of keys as restrictions: however they are split, each key is in one of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thingbeam.io.hbase.ranges import KeyRange, KeyRangeCoder, KeyRangeProvider, KeyRangeTracker

KEYS = st.binary(min_size=1, max_size=4)


@settings(max_examples=200)
@given(
    st.sets(KEYS, max_size=30), st.binary(max_size=2), st.binary(max_size=2),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.01, 0.5, 0.99, 1.0])), max_size=20),
)  # fmt: skip
def test_each_key_is_in_one_part(keys: set[bytes], start: bytes, stop: bytes, splits: list[tuple[int, float]]) -> None:
    whole = KeyRange(start, stop)
    if stop and start >= stop:
        return
    left, seen = [whole], []
    plan = iter(splits)
    while left:
        part = left.pop()
        tracker = KeyRangeProvider().create_tracker(part)
        wait, fraction = next(plan, (1000, 0.0))
        for key in sorted(key for key in keys if key >= part.start and (not part.stop or key < part.stop)):
            if wait == 0:
                cut = tracker.try_split(fraction)
                if cut is not None:
                    assert cut[0] == tracker.current_restriction()
                    left.append(cut[1])
            wait -= 1
            if not tracker.try_claim(key):
                break
            assert 0 <= (tracker.current_progress().fraction_completed or 0) <= 1
            seen.append(key)
        else:
            tracker.try_claim(None)
        assert tracker.check_done()
        assert tracker.try_split(0.5) is None
    assert sorted(seen) == sorted(key for key in keys if key >= start and (not stop or key < stop))
    assert len(seen) == len(set(seen))


@given(st.binary(max_size=5), st.binary(max_size=5))
def test_a_range_is_the_same_after_a_checkpoint(start: bytes, stop: bytes) -> None:
    coder = KeyRangeCoder()
    assert coder.decode(coder.encode(KeyRange(start, stop))) == KeyRange(start, stop)


def test_the_encoding_stays() -> None:
    """Checkpoints outlive releases."""
    assert KeyRangeCoder().encode(KeyRange(b"ab", b"c")) == b"\x01\x00\x00\x00\x02abc"
    with pytest.raises(ValueError, match="version 02: this reads 01"):
        KeyRangeCoder().decode(b"\x02\x00\x00\x00\x00")


def test_what_was_neither_read_nor_left_is_told() -> None:
    tracker = KeyRangeTracker(KeyRange(b"a", b"z"))
    assert tracker.try_claim(b"c")
    with pytest.raises(ValueError, match="neither read nor left"):
        tracker.check_done()
    with pytest.raises(ValueError, match="in order"):
        tracker.try_claim(b"b")
    assert tracker.is_bounded()


def test_sizes_follow_the_share() -> None:
    provider, whole = KeyRangeProvider(), KeyRange(b"\x00", b"\x10")
    assert provider.restriction_size(whole, whole) == 1.0
    assert provider.restriction_size(whole, KeyRange(b"\x04", b"\x10")) == pytest.approx(0.75)
    assert provider.restriction_size(KeyRange(b"", b""), KeyRange(b"\x80", b"")) == pytest.approx(0.5)
    assert KeyRange(b"a", b"k").within(KeyRange(b"k", b"")) is None
