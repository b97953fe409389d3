"""Lengths of time as people write them."""

from __future__ import annotations

import datetime

import pytest

from thingbeam.transforms.durations import Duration, micros_of_duration


@pytest.mark.parametrize(
    ("duration", "micros"),
    [
        ("90s", 90_000_000),
        ("10m", 600_000_000),
        ("1h", 3_600_000_000),
        ("1d", 86_400_000_000),
        ("250ms", 250_000),
        ("1h30m", 5_400_000_000),
        ("1d2h3m4s5ms", 93_784_005_000),
        ("1.5h", 5_400_000_000),
        (" 10M ", 600_000_000),
        ("0s", 0),
        (0, 0),
        (90, 90_000_000),
        (0.5, 500_000),
        (0.000001, 1),
        (datetime.timedelta(minutes=10), 600_000_000),
        (datetime.timedelta(microseconds=1), 1),
        (datetime.timedelta(days=10_000, microseconds=1), 864_000_000_000_001),
    ],
)
def test_a_length(duration: Duration, micros: int) -> None:
    assert micros_of_duration(duration) == micros


@pytest.mark.parametrize(
    "text", ["", "10", "m", "ten minutes", "10 m", "1h 30m", "10min", "-10m", "1,5h", "10m!", "PT1H", "1.h", "10m0"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"session_gap: .* is no length of time; write it like 90s, 10m, 1h30m or 1d"):
        micros_of_duration(text, "session_gap")


@pytest.mark.parametrize("duration", [-1, -0.5, datetime.timedelta(seconds=-1)])
def test_below_zero(duration: Duration) -> None:
    with pytest.raises(ValueError, match=r"hold: .* is below 0"):
        micros_of_duration(duration, "hold")
