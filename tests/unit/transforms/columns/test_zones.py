from __future__ import annotations

import random
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columnar import DAY, HOUR, SECOND
from thingbeam.transforms.columns.zones import local_times, offsets, period_edges, rfc3339
from thingbeam.transforms.rules import Period, bounds, local_text
from zones import ZONES

LENGTHS = [900, 1800, 3600, 6 * HOUR, DAY]
CHUNK = 64 * DAY  # of thingbeam.transforms.columns.zones: what is cached
BEGIN, END = 1_000_000_000, 2_000_000_000


def by_rule(zone: str, length: int, first: int, last: int) -> list[int]:
    """The starts of the periods from that of the first to the one after that of the last."""
    edges = [bounds(ZoneInfo(zone), first, Period(length))[0]]
    while edges[-1] <= last:
        edges.append(bounds(ZoneInfo(zone), edges[-1], Period(length))[1])
    return edges


def edges_of(zone: str, length: int, first: int, last: int) -> list[int]:
    found: list[int] = period_edges(zone, length * SECOND, first, last).tolist()
    return found


def walked(zone: str, length: int, first: int, last: int) -> list[tuple[str, float]]:
    """How the clock shows each period's start, and its hours."""
    edges = edges_of(zone, length, first * SECOND, last * SECOND - 1)
    shown = rfc3339(np.array(edges), zone).to_pylist()
    return [
        (text[:16] + text[19:], (after - at) / 3.6e9) for (at, after), text in zip(pairwise(edges), shown, strict=False)
    ]


def test_the_hours_of_a_night_that_lacks_one() -> None:
    """Paris, 25 March 2007: from 01:59 to 03:00."""
    hours = walked("Europe/Paris", HOUR, 1174777200, 1174777200 + 23 * HOUR)
    assert hours[:4] == [
        ("2007-03-25T00:00+01:00", 1.0),
        ("2007-03-25T01:00+01:00", 1.0),
        ("2007-03-25T03:00+02:00", 1.0),
        ("2007-03-25T04:00+02:00", 1.0),
    ]
    assert len(hours) == 23
    assert walked("Europe/Paris", DAY, 1174777200, 1174777200 + 1) == [("2007-03-25T00:00+01:00", 23.0)]
    assert walked("Europe/Paris", 6 * HOUR, 1174777200, 1174777200 + 7 * HOUR) == [
        ("2007-03-25T00:00+01:00", 2.0),
        ("2007-03-25T03:00+02:00", 3.0),
        ("2007-03-25T06:00+02:00", 6.0),
    ]


def test_the_hours_of_a_night_that_has_one_twice() -> None:
    """Paris, 28 October 2007."""
    hours = walked("Europe/Paris", HOUR, 1193522400, 1193522400 + 25 * HOUR)
    assert hours[1:5] == [
        ("2007-10-28T01:00+02:00", 1.0),
        ("2007-10-28T02:00+02:00", 1.0),
        ("2007-10-28T02:00+01:00", 1.0),
        ("2007-10-28T03:00+01:00", 1.0),
    ]
    assert len(hours) == 25
    assert walked("Europe/Paris", DAY, 1193522400, 1193522400 + 1) == [("2007-10-28T00:00+02:00", 25.0)]


def test_half_an_hour_on_lord_howe() -> None:
    """25 March 2007, at 02:00 the clock goes back to 01:30; 28 October, at 02:00 forward to 02:30."""
    assert walked("Australia/Lord_Howe", HOUR, 1174744800 - HOUR, 1174744800 + 2 * HOUR) == [
        ("2007-03-25T00:00+11:00", 1.0),
        ("2007-03-25T01:00+11:00", 1.0),
        ("2007-03-25T01:30+10:30", 0.5),
        ("2007-03-25T02:00+10:30", 1.0),
    ]
    spring = 1193499000
    assert walked("Australia/Lord_Howe", HOUR, spring - HOUR, spring + HOUR) == [
        ("2007-10-28T01:00+10:30", 1.0),
        ("2007-10-28T02:30+11:00", 0.5),
        ("2007-10-28T03:00+11:00", 1.0),
    ]


def test_zones_that_are_not_whole_hours_ahead() -> None:
    assert walked("Asia/Kolkata", HOUR, 1175040000, 1175040001) == [("2007-03-28T05:00+05:30", 1.0)]
    assert walked("Asia/Kathmandu", HOUR, 1175040000, 1175040001) == [("2007-03-28T05:00+05:45", 1.0)]
    assert walked("America/St_Johns", DAY, 1175040000, 1175040001) == [("2007-03-27T00:00-02:30", 24.0)]


def test_a_day_without_midnight_and_one_with_two() -> None:
    """São Paulo skipped midnight on 15 October 2017 and had 23:00 to 24:00 of 17 February 2018 twice."""
    assert walked("America/Sao_Paulo", DAY, 1508036400, 1508036401) == [("2017-10-15T01:00-02:00", 23.0)]
    assert walked("America/Sao_Paulo", DAY, 1518832800, 1518832800 + 26 * HOUR) == [
        ("2018-02-17T00:00-02:00", 25.0),
        ("2018-02-18T00:00-03:00", 24.0),
    ]


def test_a_day_that_was_left_out() -> None:
    """Apia had no 30 December 2011."""
    assert walked("Pacific/Apia", DAY, 1325152800, 1325152800 + 3 * DAY) == [
        ("2011-12-29T00:00-10:00", 24.0),
        ("2011-12-31T00:00+14:00", 24.0),
        ("2012-01-01T00:00+14:00", 24.0),
    ]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_periods_are_those_of_the_rules(zone: str, length: int) -> None:
    rng = random.Random(f"{zone} {length}")
    for _ in range(6):
        first = rng.randrange(BEGIN, END) * SECOND + rng.choice([0, 1, 999_999])
        last = first + rng.choice([0, 1, length * SECOND, 40 * length * SECOND])
        assert edges_of(zone, length, first, last) == by_rule(zone, length, first, last)


def changes(zone: str) -> list[int]:
    """The seconds at which the zone's offset changes, 2001 to 2033, found by comparing every three hours."""
    found: list[int] = []
    info = ZoneInfo(zone)
    for after in range(BEGIN + 3 * HOUR, END, 3 * HOUR):
        before = after - 3 * HOUR
        if local_text(before * SECOND, info)[19:] == local_text(after * SECOND, info)[19:]:
            continue
        while after - before > 1:
            middle = (before + after) // 2
            same = local_text(middle * SECOND, info)[19:] == local_text(before * SECOND, info)[19:]
            before, after = (middle, after) if same else (before, middle)
        found.append(after)
    return found


@pytest.mark.parametrize(
    "zone", ["Europe/Paris", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Beirut", "Pacific/Apia"]
)
def test_about_each_change_of_the_clock(zone: str) -> None:
    some = random.Random(zone).sample(changes(zone), 4)
    for change in some:
        for length in LENGTHS:
            first, last = (change - 3 * HOUR) * SECOND, (change + 3 * HOUR) * SECOND
            assert edges_of(zone, length, first, last) == by_rule(zone, length, first, last)
            for at in (change * SECOND - 1, change * SECOND, change * SECOND + 1):
                assert edges_of(zone, length, at, at) == by_rule(zone, length, at, at)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "Pacific/Chatham", "America/Havana"])
@pytest.mark.parametrize("length", [3600, DAY])
def test_about_the_edges_of_what_is_cached(zone: str, length: int) -> None:
    for chunk in (195, 214, 250):
        for beside in (-length * SECOND, -1, 0, 1, length * SECOND):
            at = chunk * CHUNK * SECOND + beside
            assert edges_of(zone, length, at, at) == by_rule(zone, length, at, at)
            assert edges_of(zone, length, at, at + 2 * length * SECOND) == by_rule(
                zone, length, at, at + 2 * length * SECOND
            )


@settings(max_examples=60)
@given(st.sampled_from(ZONES), st.lists(st.integers(BEGIN * SECOND, END * SECOND), min_size=1, max_size=20))
def test_times_as_the_clock_showed_them(zone: str, times: list[int]) -> None:
    times += [time // 1000 * 1000 for time in times] + [time // SECOND * SECOND for time in times]
    array = np.array(times)
    shown = [local_text(time, ZoneInfo(zone)) for time in times]
    in_utc = [local_text(time, ZoneInfo("UTC")).removesuffix("+00:00") + "Z" for time in times]
    # A few times are told one by one, many by tables.
    for copies in (1, 128):
        for told, expected in (
            (rfc3339(np.tile(array, copies), zone), shown),
            (rfc3339(np.tile(array, copies)), in_utc),
        ):
            assert len(told) == len(times) * copies
            # Pairs that differ, not both lists: pytest's account of thousands of lines takes many minutes.
            pairs = zip(told.to_pylist(), expected * copies, strict=True)
            assert [pair for pair in pairs if pair[0] != pair[1]][:3] == []
    ahead = [ZoneInfo(zone).utcoffset(_local(time, zone)) for time in times]
    assert offsets(zone, array).tolist() == [
        round(delta.total_seconds()) * SECOND for delta in ahead if delta is not None
    ]


def _local(time: int, zone: str):

    return datetime.fromtimestamp(time // SECOND, ZoneInfo(zone))


def test_an_offset_holds_from_the_second_it_changes() -> None:
    change = 1174784400 * SECOND
    assert offsets("Europe/Paris", np.array([change - 1, change])).tolist() == [HOUR * SECOND, 2 * HOUR * SECOND]


def test_fractions_have_three_digits_or_six() -> None:
    times = np.array([0, 1, 1_000, 999_000, 999_999, 1_000_000])
    assert [text[17:] for text in rfc3339(times).to_pylist()] == [
        "00Z",
        "00.000001Z",
        "00.001Z",
        "00.999Z",
        "00.999999Z",
        "01Z",
    ]


def test_no_times() -> None:
    nothing = np.zeros(0, np.int64)
    assert rfc3339(nothing).to_pylist() == rfc3339(nothing, "Europe/Paris").to_pylist() == []
    assert offsets("Europe/Paris", nothing).tolist() == []
    assert local_times(nothing, nothing, []).to_pylist() == []
    assert local_times(nothing, nothing, ["UTC"]).to_pylist() == []


@given(st.lists(st.tuples(st.integers(BEGIN * SECOND, END * SECOND), st.integers(0, 3)), max_size=20))
def test_times_in_several_zones(pairs: list[tuple[int, int]]) -> None:
    zones = ["Europe/Paris", "Asia/Kathmandu", "America/St_Johns", "UTC"]
    times, codes = np.array([time for time, _ in pairs], np.int64), np.array([code for _, code in pairs], np.int64)
    expected = [local_text(time, ZoneInfo(zones[code])) for time, code in pairs]
    assert local_times(times, codes, zones).to_pylist() == expected
