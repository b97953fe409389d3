"""The watermark of one partition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.watermark import UNKNOWN_TIME, LeastWatermark, PartitionWatermark, WatermarkPolicy, fill_unknown

SECOND = 1_000_000
POLICY = WatermarkPolicy(out_of_orderness=5 * SECOND, idle_after=10 * SECOND)


def watermark(policy: WatermarkPolicy = POLICY, reached: int = UNKNOWN_TIME, now: int = 0) -> PartitionWatermark:
    return PartitionWatermark(policy, reached, now)


def test_a_partition_not_yet_read_has_none() -> None:
    assert watermark().current == UNKNOWN_TIME


def test_it_stays_behind_the_newest_by_the_disorder() -> None:
    one = watermark()
    one.observe(100 * SECOND, 200 * SECOND)
    assert one.current == 95 * SECOND


def test_an_older_message_does_not_take_it_back() -> None:
    one = watermark()
    one.observe(100 * SECOND, 200 * SECOND)
    one.observe(50 * SECOND, 200 * SECOND)
    assert one.current == 95 * SECOND


def test_a_clock_that_is_ahead_counts_as_now() -> None:
    one = watermark()
    one.observe(10**6 * SECOND, 200 * SECOND)
    assert one.current == 195 * SECOND


def test_messages_that_say_no_time_tell_nothing() -> None:
    one = watermark()
    one.observe(100 * SECOND, 100 * SECOND)
    before = one.current
    one.observe(UNKNOWN_TIME, 130 * SECOND)
    assert one.current == before
    one.confirm_end(131 * SECOND)
    assert one.current > before, "it was silent all the while"


def test_a_silent_partition_waits_for_idle_after() -> None:
    one = watermark()
    one.observe(100 * SECOND, 100 * SECOND)
    one.confirm_end(100 * SECOND + 10 * SECOND - 1)
    assert one.current == 95 * SECOND
    one.confirm_end(130 * SECOND)
    assert one.current == 115 * SECOND


def test_falling_silent_is_no_jump_for_live_data() -> None:
    """At the very moment at which it becomes idle the watermark stands where the last message put it."""
    one = watermark()
    one.observe(100 * SECOND, 100 * SECOND)
    one.confirm_end(110 * SECOND)
    assert one.current == 95 * SECOND


def test_without_the_brokers_word_no_partition_is_idle() -> None:
    one = watermark()
    one.observe(100 * SECOND, 100 * SECOND)
    one.pass_time(10_000 * SECOND)
    assert one.current == 95 * SECOND


def test_an_empty_partition_becomes_idle_from_when_it_was_first_read() -> None:
    one = watermark(now=1000 * SECOND)
    one.confirm_end(1009 * SECOND)
    assert one.current == UNKNOWN_TIME
    one.confirm_end(1010 * SECOND)
    assert one.current == 995 * SECOND


def test_a_delay_that_is_too_long_is_not_waited_for() -> None:
    one = watermark(POLICY._replace(max_delay=3600 * SECOND))
    one.observe(0, 90_000 * SECOND)
    one.pass_time(90_000 * SECOND)
    assert one.current == (90_000 - 3600) * SECOND


def test_it_goes_on_from_where_a_checkpoint_left_it() -> None:
    one = watermark(reached=500 * SECOND, now=600 * SECOND)
    one.observe(100 * SECOND, 600 * SECOND)
    assert one.current == 500 * SECOND


step = st.tuples(st.sampled_from(["observe", "confirm", "pass"]), st.integers(0, 10**12), st.integers(0, 10**8))


@given(st.lists(step, max_size=60), st.one_of(st.none(), st.integers(0, 10**10)))
def test_it_never_falls_and_never_passes_the_clock(steps: list[tuple[str, int, int]], max_delay: int | None) -> None:
    now, last = 10**12, UNKNOWN_TIME
    one = watermark(POLICY._replace(max_delay=max_delay), now=now)
    for kind, time, passed in steps:
        now += passed
        if kind == "observe":
            one.observe(time, now)
        elif kind == "confirm":
            one.confirm_end(now)
        else:
            one.pass_time(now)
        assert last <= one.current <= now
        last = one.current


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50))
def test_nothing_within_the_disorder_is_late(lags: list[int]) -> None:
    """Live messages, each at most the disorder older than one before it, silences or not."""
    one = watermark()
    now = 10**12
    for lag in lags:
        now += 3 * SECOND
        event = now - lag % (POLICY.out_of_orderness + 1)
        assert event >= one.current
        one.observe(event, now)
        one.confirm_end(now)


def test_unknown_times_are_filled() -> None:
    filled = fill_unknown(np.array([1, UNKNOWN_TIME, 3]), np.array([7, 8, 9]))
    assert filled.tolist() == [1, 8, 3]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), max_size=40))
def test_what_any_partition_says_passes_none(steps: list[tuple[str, int]]) -> None:
    """Once each has been told, what is said is the least of all, whoever says it."""
    least, current = LeastWatermark(), dict.fromkeys("abc", UNKNOWN_TIME)
    for name in current:
        assert least.told(name, UNKNOWN_TIME) == UNKNOWN_TIME
    for name, more in steps:
        current[name] = max(current[name], 0) + more
        assert least.told(name, current[name]) == min(current.values())


def test_one_that_is_read_elsewhere_holds_for_a_minute_only() -> None:
    clock = [0.0]
    least = LeastWatermark(clock=lambda: clock[0])
    assert least.told("moved", 5) == 5
    for clock[0], expected in ((4.0, 5), (60.0, 5), (60.1, 100)):
        assert least.told("here", 100) == expected
    assert least.told("moved", 7) == 7, "it is back"
    least.forget("moved")
    assert least.told("here", 100) == 100
