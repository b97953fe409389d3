from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import accumulate, groupby, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thingbeam.transforms.rules import Period, bounds, local_text
from zones import ZONES

MINUTE = 60_000_000
LENGTHS = [60, 180, 300, 900, 1800, 3600, 7200, 10_800, 14_400, 21_600, 28_800, 43_200, 86_400]


def micros(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def walk(zone: str, begin: str, end: str, length: str) -> list[tuple[str, float]]:
    """The periods from one local time to another: how the clock shows their starts, and their hours."""
    at, found = micros(begin), []
    while at < micros(end):
        start, stop = bounds(ZoneInfo(zone), at, Period.parse(length))
        assert start == at
        found.append((local_text(start, ZoneInfo(zone)), (stop - start) / 3_600_000_000))
        at = stop
    assert at == micros(end)
    return found


@pytest.mark.parametrize(
    ("texts", "seconds", "iso"),
    [
        (["1m", "PT1M"], 60, "PT1M"),
        (["3m", "PT3M"], 180, "PT3M"),
        (["5m", "PT5M"], 300, "PT5M"),
        (["15m", "PT15M"], 900, "PT15M"),
        (["30m", "PT30M"], 1800, "PT30M"),
        (["1h", "60m", "PT1H", "PT60M"], 3600, "PT1H"),
        (["12h", "PT12H", "720m"], 43_200, "PT12H"),
        (["1d", "24h", "P1D", "PT24H", "1440m"], 86_400, "P1D"),
    ],
)
def test_period_texts(texts: list[str], seconds: int, iso: str) -> None:
    assert {(Period.parse(text).seconds, Period.parse(text).iso) for text in texts} == {(seconds, iso)}
    assert Period.parse(iso) == Period(seconds)


@pytest.mark.parametrize("text", ["", "h", "1", "1s", "-1h", "1.5h", "1 h", "PT", "P", "PT1S", "P1W", "1h30m", "１h x"])
def test_texts_that_are_no_period(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no period|a period of"):
        Period.parse(text)


@pytest.mark.parametrize("text", ["0h", "2m", "4m", "10m", "20m", "45m", "90m", "5h", "7h", "2d", "PT1H30M", "P1D2"])
def test_lengths_that_are_no_period(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no period|a period of"):
        Period.parse(text)


def test_the_lengths_are_all() -> None:
    allowed = []
    for seconds in range(1, 100_000):
        try:
            allowed.append(Period(seconds).seconds)
        except ValueError:
            continue
    assert allowed == LENGTHS


@pytest.mark.parametrize(
    ("instant", "zone", "text"),
    [
        ("2007-03-31T22:00:00+00:00", "Europe/Paris", "2007-04-01T00:00:00+02:00"),
        ("2007-03-31T22:00:00.500+00:00", "Europe/Paris", "2007-04-01T00:00:00.500+02:00"),
        ("2007-03-31T22:00:00.000500+00:00", "Europe/Paris", "2007-04-01T00:00:00.000500+02:00"),
        ("2007-03-31T22:00:00.120340+00:00", "UTC", "2007-03-31T22:00:00.120340+00:00"),
        ("2007-03-31T22:00:59+00:00", "Asia/Kathmandu", "2007-04-01T03:45:59+05:45"),
        ("2007-03-31T22:00:00+00:00", "America/St_Johns", "2007-03-31T19:30:00-02:30"),
        ("1969-12-31T23:59:59.999999+00:00", "UTC", "1969-12-31T23:59:59.999999+00:00"),
    ],
)
def test_local_text(instant: str, zone: str, text: str) -> None:
    assert local_text(micros(instant), ZoneInfo(zone)) == text


def test_paris_spring_night_has_no_two_o_clock() -> None:
    hours = walk("Europe/Paris", "2007-03-25T00:00+01:00", "2007-03-26T00:00+02:00", "1h")
    assert [length for _, length in hours] == [1] * 23
    assert [start[11:] for start, _ in hours[:3]] == ["00:00:00+01:00", "01:00:00+01:00", "03:00:00+02:00"]


def test_paris_autumn_night_has_it_twice() -> None:
    hours = walk("Europe/Paris", "2007-10-28T00:00+02:00", "2007-10-29T00:00+01:00", "1h")
    assert [length for _, length in hours] == [1] * 25
    assert [start[11:] for start, _ in hours[2:4]] == ["02:00:00+02:00", "02:00:00+01:00"]


def test_paris_days_have_23_and_25_hours() -> None:
    assert walk("Europe/Paris", "2007-03-24T00:00+01:00", "2007-03-27T00:00+02:00", "1d") == [
        ("2007-03-24T00:00:00+01:00", 24),
        ("2007-03-25T00:00:00+01:00", 23),
        ("2007-03-26T00:00:00+02:00", 24),
    ]
    assert walk("Europe/Paris", "2007-10-28T00:00+02:00", "2007-10-29T00:00+01:00", "1d") == [
        ("2007-10-28T00:00:00+02:00", 25)
    ]


def test_long_periods_end_where_the_offset_changes() -> None:
    assert walk("Europe/Paris", "2007-03-25T00:00+01:00", "2007-03-26T00:00+02:00", "12h") == [
        ("2007-03-25T00:00:00+01:00", 2),
        ("2007-03-25T03:00:00+02:00", 9),
        ("2007-03-25T12:00:00+02:00", 12),
    ]


def test_kolkata_and_kathmandu_hours_are_theirs() -> None:
    hour = Period(3600)
    for zone, text in (("Asia/Kolkata", "2007-04-01T03:00+05:30"), ("Asia/Kathmandu", "2007-04-01T03:00+05:45")):
        start = micros(text)
        for instant in (start, start + 1, start + 60 * MINUTE - 1):
            assert bounds(ZoneInfo(zone), instant, hour) == (start, start + 60 * MINUTE)
        assert bounds(ZoneInfo(zone), start - 1, hour) == (start - 60 * MINUTE, start)


def test_lord_howe_has_hours_of_thirty_minutes() -> None:
    assert walk("Australia/Lord_Howe", "2007-03-25T01:00+11:00", "2007-03-25T03:00+10:30", "1h") == [
        ("2007-03-25T01:00:00+11:00", 1),
        ("2007-03-25T01:30:00+10:30", 0.5),
        ("2007-03-25T02:00:00+10:30", 1),
    ]
    assert walk("Australia/Lord_Howe", "2007-10-28T01:00+10:30", "2007-10-28T04:00+11:00", "1h") == [
        ("2007-10-28T01:00:00+10:30", 1),
        ("2007-10-28T02:30:00+11:00", 0.5),
        ("2007-10-28T03:00:00+11:00", 1),
    ]


@pytest.mark.parametrize(
    ("zone", "begin", "end", "days"),
    [
        # Midnight does not exist.
        (
            "America/Sao_Paulo",
            "2017-10-14T00:00-03:00",
            "2017-10-16T00:00-02:00",
            [("2017-10-14T00:00:00-03:00", 24), ("2017-10-15T01:00:00-02:00", 23)],
        ),
        (
            "Asia/Beirut",
            "2022-03-26T00:00+02:00",
            "2022-03-28T00:00+03:00",
            [("2022-03-26T00:00:00+02:00", 24), ("2022-03-27T01:00:00+03:00", 23)],
        ),
        # The hour before midnight comes twice.
        (
            "America/Sao_Paulo",
            "2018-02-17T00:00-02:00",
            "2018-02-19T00:00-03:00",
            [("2018-02-17T00:00:00-02:00", 25), ("2018-02-18T00:00:00-03:00", 24)],
        ),
        # The hour after midnight comes twice.
        (
            "America/Havana",
            "2022-11-05T00:00-04:00",
            "2022-11-07T00:00-05:00",
            [("2022-11-05T00:00:00-04:00", 24), ("2022-11-06T00:00:00-04:00", 25)],
        ),
        # At one minute past midnight the clock goes back to the day before.
        (
            "America/St_Johns",
            "2007-11-03T00:00-02:30",
            "2007-11-05T00:00-03:30",
            [("2007-11-03T00:00:00-02:30", 24), ("2007-11-04T00:00:00-02:30", 25)],
        ),
        # The clock skips from before midnight to after it.
        (
            "America/Toronto",
            "1919-03-30T00:00-05:00",
            "1919-04-01T00:00-04:00",
            [("1919-03-30T00:00:00-05:00", 23.5), ("1919-03-31T00:30:00-04:00", 23.5)],
        ),
        # A whole day is left out.
        (
            "Pacific/Apia",
            "2011-12-29T00:00-10:00",
            "2012-01-01T00:00+14:00",
            [("2011-12-29T00:00:00-10:00", 24), ("2011-12-31T00:00:00+14:00", 24)],
        ),
    ],
)
def test_days_where_midnight_is_odd(zone: str, begin: str, end: str, days: list[tuple[str, float]]) -> None:
    assert walk(zone, begin, end, "1d") == days


def test_every_instant_of_an_odd_day_is_in_it() -> None:
    zone, day = ZoneInfo("America/St_Johns"), Period(86_400)
    start, end = micros("2007-11-04T00:00-02:30"), micros("2007-11-05T00:00-03:30")
    for instant in (start, start + MINUTE - 1, start + MINUTE, start + 30 * MINUTE, start + 61 * MINUTE, end - 1):
        assert bounds(zone, instant, day) == (start, end)
    assert bounds(zone, start - 1, day)[1] == start


@pytest.mark.parametrize("zone", ZONES)
def test_against_the_clock_minute_by_minute(zone: str) -> None:
    """Around each change of the offset, every minute is in the period that reading the clock puts it in."""
    info = ZoneInfo(zone)
    hours = [datetime(2006, 12, 30, tzinfo=UTC) + timedelta(hours=at) for at in range(17_520)]
    changes = [
        hour
        for before, hour in pairwise(hours)
        if before.astimezone(info).utcoffset() != hour.astimezone(info).utcoffset()
    ]
    for around in changes[:2] or [hours[0]]:
        minutes = [around + timedelta(minutes=at) for at in range(-1600, 1600)]
        local = [minute.astimezone(info) for minute in minutes]
        for length in (15, 30, 60, 180):
            named = [
                (clock.utcoffset(), clock.date(), (clock.hour * 60 + clock.minute) // length, index)
                for index, clock in enumerate(local)
            ]
            groups = [list(group) for _, group in groupby(named, key=lambda name: name[:3])]
            for group in groups[1:-1]:
                first, last = group[0][3], group[-1][3]
                expected = (micros(minutes[first].isoformat()), micros(minutes[last + 1].isoformat()))
                for index in {first, (first + last) // 2, last}:
                    instant = micros(minutes[index].isoformat())
                    assert bounds(info, instant, Period(length * 60)) == expected
        # A day goes on until the clock shows a later date than it ever did.
        dates = list(accumulate((clock.date() for clock in local), max))
        for index, today in list(enumerate(dates))[::10]:
            start, end = bounds(info, micros(minutes[index].isoformat()), Period(86_400))
            edges = [datetime.fromisoformat(local_text(edge, info)) for edge in (start, end)]
            assert [edge.date() for edge in edges] == [today, today + timedelta(days=1)]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(micros("1990-01-01T00:00+00:00"), micros("2037-01-01T00:00+00:00")),
    st.sampled_from(LENGTHS),
)
@example("Europe/Paris", micros("2007-10-28T01:00+00:00") - 1, 3600)
@example("Europe/Paris", micros("2007-10-28T01:00+00:00"), 3600)
def test_periods_cover_time_once(zone: str, instant: int, seconds: int) -> None:
    info, period = ZoneInfo(zone), Period(seconds)
    start, end = bounds(info, instant, period)
    assert start <= instant < end
    assert bounds(info, start, period) == bounds(info, end - 1, period) == (start, end)
    assert bounds(info, end, period)[0] == end
    assert bounds(info, start - 1, period)[1] == start
    if seconds < 86_400:
        assert end - start <= seconds * 1_000_000
        texts = [local_text(at, info) for at in (start, instant, end - 1)]
        assert len({text[-6:] for text in texts}) == 1
