"""What policies take and refuse, and the jitter."""

from __future__ import annotations

from typing import Any

import pytest

from thingbeam.io.writing import BatchPolicy, Limits, RetryPolicy


def test_pauses_double_with_full_jitter_up_to_the_longest() -> None:
    policy = RetryPolicy(first="100ms", longest="1s")
    for failures, bound in ((1, 0.1), (2, 0.2), (4, 0.8), (5, 1.0), (500, 1.0)):
        pauses = [policy.pause(failures) for _ in range(2000)]
        assert 0 <= min(pauses) < 0.05 * bound
        assert 0.95 * bound < max(pauses) <= bound
        assert sum(pauses) / len(pauses) == pytest.approx(bound / 2, rel=0.1)


def test_the_store_s_limits_hold() -> None:
    assert BatchPolicy(rows=1000, bytes=10).within(Limits(25, 100)) == Limits(25, 10)
    assert BatchPolicy().within(Limits(25, 100)) == Limits(25, 100)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: BatchPolicy(rows=0), "rows 0: at least 1"),
        (lambda: BatchPolicy(in_flight=0), "in_flight 0: at least 1"),
        (lambda: BatchPolicy(seconds=-1), "seconds -1"),
        (lambda: RetryPolicy(deadline="0s"), "deadline: above 0"),
        (lambda: RetryPolicy(first="soon"), "first: 'soon' is no length of time"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
