"""The restriction of one partition."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.kafka.records import ENDLESS, KafkaPartition
from thingbeam.io.kafka.spans import OfTopic, Span, SpanCoder, SpanProvider, SpanTracker
from thingbeam.schemas.encoding import EncodingError

offsets = st.integers(0, ENDLESS)


@given(st.integers(-(1 << 63), ENDLESS), st.integers(-(1 << 63), ENDLESS))
def test_the_coder_keeps_a_span(start: int, stop: int) -> None:
    encoded = SpanCoder().encode(Span(start, stop))
    assert len(encoded) == 16
    assert SpanCoder().decode(encoded) == Span(start, stop)


@given(st.integers(-(1 << 63), ENDLESS), st.from_regex(r"[A-Za-z0-9_-]{22}", fullmatch=True))
def test_the_coder_keeps_the_topics_id(start: int, topic_id: str) -> None:
    span = Span(start, ENDLESS, topic_id)
    assert SpanCoder().decode(SpanCoder().encode(span)) == span


def test_what_an_earlier_release_wrote_is_read() -> None:
    assert SpanCoder().decode(struct.pack(">qq", 7, ENDLESS)) == Span(7, ENDLESS)


@pytest.mark.parametrize("encoded", [b"", bytes(15), bytes(16) + b"\x02abc"])
def test_what_is_no_span_is_refused(encoded: bytes) -> None:
    with pytest.raises(EncodingError, match=f"{len(encoded)} bytes are no span"):
        SpanCoder().decode(encoded)


def test_the_id_goes_on_with_the_rest() -> None:
    """Also one that was learned only now."""
    tracker = SpanTracker(Span(0, ENDLESS))
    assert tracker.try_claim(OfTopic("x"))
    assert tracker.try_claim(10)
    assert tracker.try_split(0) == (Span(0, 10, "x"), Span(10, ENDLESS, "x"))
    assert SpanProvider().initial_restriction(KafkaPartition("t", 0, 3, 9, "x")) == Span(3, 9, "x")


@given(st.integers(0, 1000), st.lists(st.integers(0, 1200), max_size=20), st.integers(1, 1000))
def test_every_offset_is_claimed_once_or_left(start: int, claims: list[int], length: int) -> None:
    """Checkpoints may come between any two claims: the spans of the bundles follow each other without a gap."""
    stop = start + length
    span, claimed = Span(start, stop), start
    for position in sorted(claims):
        tracker = SpanTracker(span)
        if tracker.try_claim(position):
            claimed = max(claimed, position)
        else:
            assert position > stop
        split = tracker.try_split(0)
        tracker.check_done()
        if split is None:
            assert claimed == stop
            return
        primary, rest = split
        assert (primary.stop, rest) == (claimed, Span(claimed, stop))
        assert not tracker.try_claim(claimed + 1)
        span = rest


def test_a_running_partition_is_not_shared() -> None:
    tracker = SpanTracker(Span(0, ENDLESS))
    assert tracker.try_claim(10)
    assert tracker.try_split(0.5) is None


def test_a_bundle_that_forgets_the_rest_is_told() -> None:
    tracker = SpanTracker(Span(3, 10))
    tracker.try_claim(5)
    with pytest.raises(ValueError, match="5 to 10 were neither read nor left"):
        tracker.check_done()


def test_a_drain_ends_the_endless_and_finishes_the_bounded() -> None:
    provider, partition = SpanProvider(), KafkaPartition("t", 0, 0)
    assert provider.truncate(partition, Span(5, ENDLESS)) is None
    assert provider.truncate(partition, Span(5, 9)) == Span(5, 9)
    assert provider.restriction_size(partition, Span(5, 9)) == 4
    assert not SpanTracker(Span(5, ENDLESS)).is_bounded()
    assert SpanTracker(Span(5, 9)).is_bounded()


@pytest.mark.parametrize(("stop", "expected"), [(10, 0.5), (ENDLESS, 2 / 3)])
def test_the_progress_is_a_number_whatever_beam_counts(stop: int, expected: float) -> None:
    """Beam's worker puts its own number for what is done: a mean of bytes, which is NaN until there is one."""
    tracker = SpanTracker(Span(6, stop))
    assert tracker.current_progress().with_completed(float("nan")).fraction_completed == 0.0
    assert tracker.try_claim(8)
    progress = tracker.current_progress()
    assert progress.with_completed(float("nan")).fraction_completed == pytest.approx(expected)
    assert (progress.completed_work, progress.remaining_work) == (2.0, 1.0 if stop == ENDLESS else 2.0)
