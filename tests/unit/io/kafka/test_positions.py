"""Places to begin and to end at."""

from __future__ import annotations

import datetime

import pytest
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.kafka.positions import Position, position_of, stop_of

NOON = 1_769_860_800_000


@pytest.mark.parametrize("word", ["earliest", "latest", "committed"])
def test_words(word: str) -> None:
    assert position_of(word).kind == word
    assert str(position_of(word)) == word


@pytest.mark.parametrize(
    "given",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31T13:00:00+01:00",
        datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC),
        Timestamp(NOON // 1000),
    ],
)
def test_times(given: object) -> None:
    assert position_of(given) == Position("time", NOON)  # type: ignore[arg-type]


def test_a_time_within_a_millisecond_begins_with_the_next() -> None:
    """A message at the earlier millisecond is before that time."""
    assert position_of(Timestamp(micros=NOON * 1000 + 1)).millis == NOON + 1
    assert position_of("2026-01-31T12:00:00.000001Z").millis == NOON + 1


@pytest.mark.parametrize("given", ["yesterday", "2026-01-31T12:00:00", "", "2026-13-01T00:00:00Z"])
def test_what_is_no_place(given: str) -> None:
    with pytest.raises(ValueError, match="start"):
        position_of(given)


def test_stops() -> None:
    now = Timestamp(NOON // 1000)
    assert stop_of(None, now) is None
    assert stop_of("latest", now) == Position("latest")
    assert stop_of("2026-01-31T12:00:00Z", now) == Position("time", NOON)
    with pytest.raises(ValueError, match="has not come yet"):
        stop_of("2026-01-31T12:00:00.001Z", now)
    for word in ("earliest", "committed"):
        with pytest.raises(ValueError, match=f"stop '{word}'"):
            stop_of(word, now)
