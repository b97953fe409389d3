from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.files.times import FIRST_MICROS, LAST_MICROS, time_text, timestamp_of


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (1_175_378_400_000_000, "2007-03-31T22:00:00Z"),
        (1_175_378_400_010_000, "2007-03-31T22:00:00.010Z"),
        (1_175_378_400_000_010, "2007-03-31T22:00:00.000010Z"),
        (-1_000, "1969-12-31T23:59:59.999Z"),
        (FIRST_MICROS, "0001-01-01T00:00:00Z"),
        (LAST_MICROS, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_text_has_the_fraction_that_it_needs(micros: int, text: str) -> None:
    assert time_text(micros) == text


@given(st.datetimes(timezones=st.just(UTC)))
def test_text_reads_back_as_the_same_time(time: datetime) -> None:
    assert datetime.fromisoformat(time_text(timestamp_of(time).micros)) == time


def test_times_outside_the_years_are_refused() -> None:
    assert timestamp_of(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == Timestamp(0)
    with pytest.raises(ValueError, match="outside the years 1 to 9999"):
        timestamp_of(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))))
    with pytest.raises(ValueError, match="outside the years 1 to 9999"):
        timestamp_of(datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))))
