"""When a finalised offset may be committed, by plain calls."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.kafka.holding import HeldOffsets

P, Q = ("events", 0), ("events", 1)


def test_an_offset_waits_for_the_slowest_partition() -> None:
    held = HeldOffsets(margin=0.0, behind=100)
    held.hear(P, 500, 1.0)
    held.hear(Q, 50, 1.0)
    held.add(P, (7, "p"), reached=100, now=1.0)
    held.hear(P, 900, 2.0)
    assert held.take(2.0) == {}
    held.hear(Q, 199, 3.0)
    assert held.take(3.0) == {}
    held.hear(Q, 200, 4.0)
    assert held.take(4.0) == {P: (7, "p")}
    assert not held


def test_the_watermark_counts_as_it_stood_a_margin_ago() -> None:
    held = HeldOffsets(margin=10.0, behind=100)
    held.add(P, (7, "p"), reached=100, now=0.0)
    held.hear(P, 150, 0.0)
    held.hear(P, 300, 20.0)
    assert held.take(25.0) == {}
    held.hear(P, 300, 25.0)
    assert held.take(30.0) == {P: (7, "p")}


def test_a_partition_that_ended_holds_no_other() -> None:
    held = HeldOffsets(margin=0.0, behind=10)
    held.hear(P, 100, 1.0)
    held.hear(Q, -(1 << 63), 1.0)
    held.add(P, (7, ""), reached=50, now=1.0)
    assert held.take(1.0) == {}
    held.forget(Q)
    held.hear(P, 101, 2.0)
    assert held.take(2.0) == {P: (7, "")}


def test_a_day_of_offsets_takes_little_memory() -> None:
    held = HeldOffsets(margin=30.0, behind=86_400_000_000)
    for second in range(86_400):
        held.hear(P, second * 1_000_000, float(second))
        held.add(P, (second, ""), reached=second * 1_000_000, now=float(second))
    assert len(held._held[P]) < 1_000
    assert len(held._passed) < 1_000
    assert sys.getsizeof(held._held[P]) < 100_000


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40), st.integers(0, 5)), max_size=60),
    st.integers(0, 20),
    st.integers(1, 100),
)
def test_nothing_is_committed_before_all_is_past_it(
    steps: list[tuple[int, int, int]], margin: int, behind: int
) -> None:
    """Whatever the order: an offset goes out only when, a margin ago, the slowest watermark was past it by `behind`."""
    held = HeldOffsets(float(margin), behind)
    watermarks = {P: 0, Q: 0}
    lowest: list[tuple[float, int]] = []
    reached: dict[tuple[str, int], dict[int, tuple[int, float]]] = {P: {}, Q: {}}
    now = 0.0
    for offset, (number, forward, pause) in enumerate(steps, 1):
        partition = (P, Q)[number]
        now += pause
        watermarks[partition] += forward
        for each, watermark in watermarks.items():
            held.hear(each, watermark, now)
        lowest.append((now, min(watermarks.values())))
        reached[partition][offset] = (watermarks[partition], now)
        held.add(partition, (offset, ""), watermarks[partition], now)
        for each, (taken, _) in held.take(now).items():
            at, since = reached[each][taken]
            assert since + margin <= now
            stood = max((low for then, low in lowest if then <= now - margin), default=None)
            assert stood is not None
            assert stood >= at + behind
