from __future__ import annotations

import math
import random
from collections import defaultdict
from itertools import count
from zoneinfo import ZoneInfo

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import Edges, random_stream, role_of, zone_of
from thingbeam.schemas.records import Event, Usage, Value
from thingbeam.transforms.rules import Period, Role, UsageStatistics, bounds, has_attribute, sift, utc_zone
from thingbeam.transforms.rules.roles import USAGE_ROLES
from thingbeam.transforms.rules.usage import (
    count_changes,
    ends_hold,
    increasing_sum,
    is_reset,
    seconds_in_state,
    time_weighted,
    total_sum,
)

SECOND = 1_000_000
HOUR = 3600
DAY = 24 * HOUR
T0 = 1_175_040_000  # 2007-03-28T00:00Z
_ids = count()

TABLE = {
    "power": Role("measurement"),
    "energy": Role("meter"),
    "report": Role("meter", field="energy"),
    "balance": Role("total"),
    "mode": Role("state"),
    "switch": Role("activity", start=frozenset({"on"}), stop=frozenset({"off"})),
    "version": Role("ignored"),
}


def table_role(event: Event) -> Role:
    return TABLE[event.attribute]


def said(
    seconds: float,
    value: Value,
    attribute: str = "power",
    *,
    device: str = "d1",
    component: str = "main",
    unit: str | None = None,
    last_reset: float | None = None,
) -> Event:
    """An event `seconds` after T0; ids follow the order of the calls."""
    return Event.of(
        f"{next(_ids):08x}-0000-4000-8000-000000000000",
        Timestamp(micros=T0 * SECOND + round(seconds * SECOND)),
        device,
        "capability",
        attribute,
        value,
        component=component,
        unit=unit,
        home_id="h1",
        last_reset=None if last_reset is None else Timestamp(last_reset),
    )


def sign(seconds: float, value: str, kind: str = "DEVICE_HEALTH_EVENT") -> Event:
    return said(seconds, value, "")._replace(kind=kind, capability="")


def usage(
    *events: Event, period: str = "1h", until: float | None = None, zone: str = "UTC", **lengths: float
) -> list[Usage]:
    statistics = UsageStatistics(table_role, lambda event: ZoneInfo(zone), Period.parse(period), **lengths)
    return statistics.compute(events, None if until is None else round((T0 + until) * SECOND))


def hours(rows: list[Usage]) -> list[float]:
    """When the rows start, in hours after T0."""
    return [(row.start.micros / SECOND - T0) / HOUR for row in rows]


# --- The statistics by themselves


def test_mean_starts_at_the_first_value_where_none_is_carried_in() -> None:
    assert time_weighted([(30, 1.0), (45, 3.0)], 0, 60) == 2.0
    assert time_weighted([(0, 1.0), (45, 3.0)], 0, 60) == 1.5
    assert time_weighted([(-9, 1.0), (45, 3.0)], 0, 60) == 1.5


def test_mean_counts_no_value_that_held_no_time() -> None:
    assert time_weighted([(-9, 1e9), (0, 1.0), (30, 1e9), (30, 3.0)], 0, 60) == 2.0


def test_mean_is_exact_and_does_not_overflow() -> None:
    assert time_weighted([(at, 0.1) for at in range(1000)], 0, 1000) == 0.1
    assert time_weighted([(0, 1.7e308)], 0, 3_600_000_000) == 1.7e308
    assert time_weighted([(0, 1e308), (1, -1e308), (2, 1.0)], 0, 3) == pytest.approx(1 / 3)


@given(st.lists(st.tuples(st.integers(-5, 59), st.integers(-100, 100)), min_size=1, max_size=12))
def test_mean_and_seconds_are_what_reading_every_second_gives(pairs: list[tuple[int, int]]) -> None:
    points = sorted(pairs, key=lambda pair: pair[0])
    first_inside = [at for at, _ in points if at > 0][:1]
    begin = 0 if points[0][0] <= 0 else first_inside[0]
    shown = [next(value for at, value in reversed(points) if at <= second) for second in range(begin, 60)]
    carried = [point for point in points if point[0] <= 0][-1:]
    points = carried + [point for point in points if point[0] > 0]
    micros = [(at * SECOND, float(value)) for at, value in points]
    assert time_weighted(micros, 0, 60 * SECOND) == pytest.approx(sum(shown) / len(shown))
    states = [(at * SECOND, str(value)) for at, value in points]
    expected = {str(value): float(shown.count(value)) for value in set(shown)}
    assert seconds_in_state(states, 0, 60 * SECOND) == expected


def test_seconds_leave_out_what_held_no_time() -> None:
    assert seconds_in_state([(-1, "a"), (0, "b"), (5_000_000, "c"), (5_000_000, "b")], 0, 10_000_000) == {"b": 10.0}


def test_changes_are_between_neighbours() -> None:
    assert [count_changes(list(states)) for states in ("", "a", "aa", "ab", "aba", "aabba")] == [0, 0, 0, 1, 2, 2]


# https://developers.home-assistant.io/docs/core/entity/sensor/#long-term-statistics
@pytest.mark.parametrize(
    ("readings", "sums"),
    [
        ([], []),
        ([1000], [0]),
        ([1000, 1010, 0, 5], [0, 10, 10, 15]),
        ([1000, 1010, 5, 10], [0, 10, 15, 20]),
        ([100, 90, 100], [0, -10, 0]),
        ([100, 89.99, 100], [0, 89.99, 100]),
        ([0, 0, 5], [0, 0, 5]),
    ],
)
def test_sum_of_what_only_increases(readings: list[float], sums: list[float]) -> None:
    assert increasing_sum(readings) == pytest.approx(sums)


def test_a_reset_is_below_nine_tenths() -> None:
    assert not is_reset(0.9 * 7.3, 7.3)
    assert is_reset(math.nextafter(0.9 * 7.3, 0), 7.3)
    assert not is_reset(0.0, 0.0)


# https://developers.home-assistant.io/docs/core/entity/sensor/#long-term-statistics
@pytest.mark.parametrize(
    ("readings", "sums"),
    [
        ([], []),
        ([(1000, None), (1010, None), (0, None), (5, None)], [0, 10, -1000, -995]),
        ([(1000, 1), (1010, 1), (1005, 1), (0, 2), (5, 2)], [0, 10, 5, 5, 10]),
        # The first last_reset that a meter names is a change; none after one is not, and does not forget it.
        ([(10, None), (15, 1)], [0, 15]),
        ([(10, 1), (15, None), (17, 1), (20, 2)], [0, 5, 7, 27]),
        ([(10, 2), (15, 1)], [0, 15]),
    ],
)
def test_sum_of_what_may_fall(readings: list[tuple[float, int | None]], sums: list[float]) -> None:
    assert total_sum(readings) == sums


# --- Home Assistant's golden numbers
# The cases and their numbers are those of
# https://github.com/home-assistant/core/blob/01064366463ee6388a0f79c827a66b23aace3de6/tests/components/sensor/test_recorder.py
# and, for 14.915254, of tests/components/recorder/test_statistics.py beside it.


@pytest.mark.parametrize(
    ("points", "mean", "low", "high"),
    [
        ([(5, -10), (55, 15), (255, 30)], 13.050847, -10, 30),
        ([(5, 10), (55, 15), (255, 20)], 14.915254237288135, 10, 20),
        ([(5, -10), (55, 15), (55, 30), (255, 60)], 27.796610169491526, -10, 60),
        ([(55, -10), (55, 15), (55, 30), (55, 60)], 60, -10, 60),
    ],
)
def test_golden_means(points: list[tuple[float, float]], mean: float, low: float, high: float) -> None:
    rows = usage(*[said(at, float(value)) for at, value in points], period="5m")
    assert [row.mean for row in rows] == [pytest.approx(mean)]
    assert [(row.min, row.max, row.count) for row in rows] == [(low, high, len(points))]
    assert [(row.sum, row.change) for row in rows] == [(None, None)]


def test_golden_mean_is_carried_into_the_next_period() -> None:
    points = [said(at, value) for at, value in [(5, -10.0), (55, 15.0), (255, 30.0)]]
    rows = usage(*points, period="5m", until=301)
    assert [(row.mean, row.min, row.max, row.count) for row in rows[1:]] == [(30, 30, 30, 0)]


def test_golden_mean_skips_unavailable() -> None:
    [row] = usage(said(5, 10.0), said(80, 25.0), said(230, "unavailable"), period="5m")
    assert row.mean == pytest.approx(21.1864406779661)
    assert (row.min, row.max, row.count) == (10, 25, 2)


METER_TIMES = [0, 75, 225, 300, 375, 525, 600, 675, 825]
ONE_RESET = [0, 0, 0, 0, 375, 375, 375, 375, 375]


@pytest.mark.parametrize(
    ("attribute", "readings", "resets", "sums"),
    [
        ("balance", [10, 15, 20, 10, 30, 40, 50, 60, 70], ONE_RESET, [10, 40, 70]),
        ("balance", [110, 120, 130, 0, 30, 45, 55, 65, 75], ONE_RESET, [20, -65, -35]),
        ("balance", [0, 0, 5, 10, 30, 50, 60, 80, 90], ONE_RESET, [5, 60, 100]),
        ("balance", [10, 15, 20, 10, 30, 40, 50, 60, 70], [None] * 9, [10, 30, 60]),
        ("energy", [10, 15, 20, 10, 30, 40, 50, 60, 70], [None] * 9, [10, 50, 80]),
        ("energy", [10, 15, 20, 19, 30, 40, 39, 60, 70], [None] * 9, [10, 30, 60]),
    ],
)
def test_golden_sums(attribute: str, readings: list[float], resets: list[float | None], sums: list[float]) -> None:
    events = [
        said(at, float(reading), attribute, last_reset=reset)
        for at, reading, reset in zip(METER_TIMES, readings, resets, strict=True)
    ]
    rows = usage(*events, period="5m")
    assert [row.sum for row in rows] == sums
    assert [row.change for row in rows] == [sums[0], sums[1] - sums[0], sums[2] - sums[1]]
    assert [row.last for row in rows] == [readings[2], readings[5], readings[8]]
    assert [(row.min, row.max, row.mean) for row in rows] == [(None, None, None)] * 3


def test_golden_sum_with_a_reset_at_every_reading() -> None:
    readings = [10, 15, 15, 15, 20, 20, 20, 25]
    times = [*range(5, 45, 5), *range(305, 345, 5)]
    events = [said(at, float(value), "balance", last_reset=at) for at, value in zip(times, readings * 2, strict=True)]
    rows = usage(*events, period="5m")
    assert [row.sum for row in rows] == [sum(readings) - readings[0], 2 * sum(readings) - readings[0]]


def test_golden_sum_where_a_last_reset_is_missing() -> None:
    readings = [10, 15, 15, 15, 20, 20, 20, 25]
    events = [
        said(5 * at, float(value), "balance", last_reset=None if at == 4 else at)
        for at, value in enumerate(readings, start=1)
    ]
    [row] = usage(*events, period="5m")
    assert row.sum == sum(readings) - readings[0] - readings[3]


def test_golden_sum_skips_what_is_not_finite() -> None:
    readings = [10, math.nan, 15, 15, 20, math.inf, 20, 10]
    events = [said(5 * at, float(value), "balance", last_reset=at) for at, value in enumerate(readings, start=1)]
    [row] = usage(*events, period="5m")
    assert (row.sum, row.last, row.count) == (15 + 15 + 20 + 20 + 10, 10, 6)


def test_golden_sum_skips_what_is_negative() -> None:
    readings = [15, 16, 15, 16, 20, -20, 20, 10]
    [row] = usage(*[said(5 * at, float(value), "energy") for at, value in enumerate(readings, start=1)], period="5m")
    assert (row.sum, row.last, row.count) == (15, 10, 7)


# --- Rows in full


def test_a_row_of_a_measurement() -> None:
    first, second = usage(said(1800, 100.0, unit="W"), said(HOUR, 300.0, unit="kW"), zone="Europe/Paris")
    assert first == Usage(
        device_id="d1",
        component="main",
        capability="capability",
        attribute="power",
        role="measurement",
        period="PT1H",
        start=Timestamp(T0),
        start_local="2007-03-28T02:00:00+02:00",
        end=Timestamp(T0 + HOUR),
        count=1,
        changes=0,
        min=100.0,
        max=100.0,
        mean=100.0,
        sum=None,
        change=None,
        last=100.0,
        last_state=None,
        seconds_in_state={},
        revision=0,
        unit="W",
        home_id="h1",
        final=True,
        deleted=False,
    )
    # The carried value takes part in min and max although an event falls on the very start, but held no time.
    assert (second.min, second.max, second.mean, second.last, second.unit) == (100, 300, 300, 300, "kW")


def test_a_row_of_a_meter() -> None:
    [row] = usage(said(1, 10.0, "energy", unit="kWh"), said(2, 12.5, "energy"))
    assert (row.role, row.count, row.sum, row.change, row.last, row.unit) == ("meter", 2, 2.5, 2.5, 12.5, None)
    assert (row.min, row.max, row.mean, row.last_state, row.changes, row.seconds_in_state) == (
        None,
        None,
        None,
        None,
        0,
        {},
    )


def test_a_row_of_a_state() -> None:
    [row] = usage(
        said(0, "heat", "mode"), said(600, "cool", "mode"), said(900, "cool", "mode"), said(1200, 1.0, "mode")
    )
    assert (row.role, row.count, row.changes, row.last_state, row.last) == ("state", 4, 2, "1", None)
    assert row.seconds_in_state == {"heat": 600.0, "cool": 600.0, "1": 2400.0}
    assert (row.min, row.max, row.mean, row.sum, row.change) == (None, None, None, None, None)


def test_total_and_activity_have_the_names_of_their_kin() -> None:
    rows = usage(said(0, -3.0, "balance"), said(1, "on", "switch"), said(2, {"energy": 7}, "report"))
    assert [(row.attribute, row.role) for row in rows] == [
        ("balance", "meter"),
        ("report", "meter"),
        ("switch", "state"),
    ]
    assert [row.last for row in rows] == [-3.0, 7.0, None]


def test_what_carries_no_value_is_no_event_of_the_series() -> None:
    values: list[Value] = [math.nan, "1", None, True, {"a": 1}]
    assert usage(*[said(at, value) for at, value in enumerate(values)]) == []
    assert usage(said(0, None, "mode"), said(1, [1], "mode"), said(2, math.inf, "mode")) == []
    assert usage(said(0, -1.0, "energy")) == []
    assert usage(said(0, "1.2", "version")) == []
    rows = usage(said(0, 1.0), *[said(HOUR + at, value) for at, value in enumerate(values)])
    assert [(row.count, row.mean) for row in rows] == [(1, 1), (0, 1)]


def test_series_are_apart() -> None:
    rows = usage(said(0, 1.0), said(1, 2.0, component="rack"), said(2, 3.0, device="d0"), said(3, "x", "mode"))
    assert [(row.device_id, row.component, row.attribute, row.last) for row in rows] == [
        ("d0", "main", "power", 3.0),
        ("d1", "main", "mode", None),
        ("d1", "main", "power", 1.0),
        ("d1", "rack", "power", 2.0),
    ]


def test_a_series_has_the_home_of_its_first_event() -> None:
    moved = said(HOUR, 2.0)._replace(home_id="h2")
    assert [row.home_id for row in usage(said(0, 1.0), moved)] == ["h1", "h1"]
    anew = said(9 * HOUR, 3.0)._replace(home_id="h3")
    assert [row.home_id for row in usage(said(0, 1.0), anew, hold_s=0, retention_s=HOUR)] == ["h1", "h3"]


# --- Periods


def test_an_event_at_the_end_of_a_period_is_in_the_next() -> None:
    rows = usage(said(0, 1.0), said(3599.999999, 2.0), said(3600, 3.0))
    assert [(row.count, row.last) for row in rows] == [(2, 2.0), (1, 3.0)]


def test_changes_and_seconds_go_on_over_the_edge() -> None:
    rows = usage(said(1800, "on", "switch"), said(HOUR, "on", "switch"), said(2 * HOUR, "off", "switch"))
    assert [row.changes for row in rows] == [0, 0, 1]
    assert [row.seconds_in_state for row in rows] == [{"on": 1800.0}, {"on": 3600.0}, {"off": 3600.0}]


def test_a_day_of_the_home() -> None:
    [row] = usage(said(0, 5.0), said(DAY - 2 * HOUR - 1, 7.0), period="1d", zone="Europe/Paris")
    assert (row.start_local, row.end.micros - row.start.micros) == ("2007-03-28T00:00:00+02:00", DAY * SECOND)
    assert row.mean == pytest.approx((5 * (DAY - 2 * HOUR - 1) + 7) / (DAY - 2 * HOUR))


def test_an_autumn_night_has_its_hour_twice() -> None:
    night = 1_193_526_000 - T0  # 2007-10-28T01:00+02:00 in Paris
    rows = usage(said(night, 10.0, "energy"), said(night + 3 * HOUR - 1, 13.0, "energy"), zone="Europe/Paris")
    assert [row.start_local[11:] for row in rows] == ["01:00:00+02:00", "02:00:00+02:00", "02:00:00+01:00"]
    assert [row.change for row in rows] == [0, 0, 3]


# --- Rows without events


def test_a_held_value_has_rows_between_its_events() -> None:
    rows = usage(said(1800, 4.0), said(3 * HOUR, 6.0))
    assert hours(rows) == [0, 1, 2, 3]
    assert [(row.count, row.mean, row.last) for row in rows] == [(1, 4, 4), (0, 4, 4), (0, 4, 4), (1, 6, 6)]
    meter = usage(said(1800, 4.0, "energy"), said(3600, 5.0, "energy"), said(3 * HOUR, 6.0, "energy"))
    assert [(row.count, row.sum, row.change, row.last) for row in meter] == [
        (1, 0, 0, 4),
        (1, 1, 1, 5),
        (0, 1, 0, 5),
        (1, 2, 1, 6),
    ]


def test_bounded_input_ends_with_the_period_of_the_device_s_last_event() -> None:
    rows = usage(said(0, 4.0), said(2 * HOUR, "x", "mode"), said(5 * HOUR, 1.0, device="d2"))
    assert [(row.device_id, row.attribute, hour) for row, hour in zip(rows, hours(rows), strict=True)] == [
        ("d1", "mode", 2),
        ("d1", "power", 0),
        ("d1", "power", 1),
        ("d1", "power", 2),
        ("d2", "power", 5),
    ]


@pytest.mark.parametrize("kind", ["DEVICE_HEALTH_EVENT", "DEVICE_LIFECYCLE_EVENT", "DEVICE_COMMANDS_EVENT"])
def test_any_sign_of_life_holds(kind: str) -> None:
    assert hours(usage(said(0, 4.0), sign(2 * HOUR, "ONLINE", kind))) == [0, 1, 2]


def test_ignored_events_are_no_sign_of_life() -> None:
    assert hours(usage(said(0, 4.0), said(2 * HOUR, "1.2", "version"))) == [0]


def test_until_holds_in_the_periods_that_start_before_it() -> None:
    assert hours(usage(said(0, 4.0), until=2 * HOUR)) == [0, 1]
    assert hours(usage(said(0, 4.0), until=2 * HOUR + 0.000001)) == [0, 1, 2]


def test_until_cuts_nothing_off() -> None:
    events = [said(0, 4.0), said(2 * HOUR, 5.0)]
    assert usage(*events, until=0) == usage(*events)


def test_hold_ends_rows_a_day_after_the_last_sign_of_life() -> None:
    # The period that starts exactly one hold after the last event is the first without a row.
    assert hours(usage(said(0, 4.0), until=99 * HOUR)) == list(range(24))
    assert hours(usage(said(0.000001, 4.0), until=99 * HOUR)) == list(range(25))
    assert hours(usage(said(0, 4.0), until=99 * HOUR, hold_s=2 * HOUR)) == [0, 1]
    rows = usage(said(0, 4.0), said(30 * HOUR, 5.0))
    assert hours(rows) == [*range(24), 30]
    # What came back is carried all the same: it held until the new event.
    assert (rows[-1].min, rows[-1].max) == (4, 5)


def test_hold_is_the_device_s() -> None:
    rows = usage(said(0, 4.0), said(20 * HOUR, "x", "mode"), until=99 * HOUR)
    assert hours([row for row in rows if row.attribute == "power"]) == list(range(44))


@pytest.mark.parametrize(("kind", "value"), [("DEVICE_HEALTH_EVENT", "OFFLINE"), ("DEVICE_LIFECYCLE_EVENT", "DELETE")])
def test_going_away_ends_rows_until_the_device_is_back(kind: str, value: str) -> None:
    away = sign(HOUR + 60, value, kind)
    assert ends_hold(away)
    rows = usage(said(0, 4.0), away, sign(5 * HOUR, "ONLINE"), said(6 * HOUR, 6.0))
    assert hours(rows) == [0, 1, 5, 6]
    # Within its period the value holds on, and it is still there when the device is back.
    assert [row.mean for row in rows] == [4, 4, 4, 6]
    assert hours(usage(said(0, 4.0), away, until=9 * HOUR)) == [0, 1]


def test_away_at_the_start_of_a_period_the_device_lives_in_it() -> None:
    assert hours(usage(said(0, 4.0), sign(HOUR, "OFFLINE"), until=9 * HOUR)) == [0, 1]


def test_back_at_the_end_of_a_period_the_device_does_not_live_in_it() -> None:
    assert hours(usage(said(0, 4.0), sign(HOUR + 60, "OFFLINE"), sign(3 * HOUR, "ONLINE"))) == [0, 1, 3]


def test_other_events_do_not_end_what_is_held() -> None:
    others = [
        sign(60, "ONLINE"),
        sign(60, "UNHEALTHY"),
        sign(60, "DELETE"),
        sign(60, "OFFLINE", "DEVICE_LIFECYCLE_EVENT"),
        said(60, "OFFLINE", "mode"),
        sign(60, "offline"),
    ]
    for other in others:
        assert not ends_hold(other)
        rows = usage(said(0, 4.0), other, until=3 * HOUR)
        assert hours([row for row in rows if row.attribute == "power"]) == [0, 1, 2]


def test_of_two_signs_at_once_the_later_in_order_decides() -> None:
    offline, online = sign(60, "OFFLINE"), sign(60, "ONLINE")
    assert hours(usage(said(0, 4.0), offline, online, until=3 * HOUR)) == [0, 1, 2]
    later = online._replace(event_id=offline.event_id), offline._replace(event_id=online.event_id)
    assert hours(usage(said(0, 4.0), *later, until=3 * HOUR)) == [0]


# --- Retention


def test_after_the_retention_a_series_begins_anew() -> None:
    long = 35 * DAY
    first, second = usage(said(0, 10.0, "energy"), said(long, 50.0, "energy"), hold_s=0)
    assert (first.sum, second.sum, second.change) == (0, 0, 0)
    # The period starts before the last event and the retention: it is carried, though the event is later than that.
    _, second = usage(said(60, 10.0, "energy"), said(long + 120, 50.0, "energy"), hold_s=0)
    assert (second.sum, second.change) == (40, 40)
    _, second = usage(said(0, "on", "mode"), said(long, "off", "mode"), hold_s=0)
    assert (second.changes, second.seconds_in_state) == (0, {"off": 3600.0})
    _, second = usage(said(60, "on", "mode"), said(long + 120, "off", "mode"), hold_s=0)
    assert (second.changes, second.seconds_in_state) == (1, {"on": 120.0, "off": 3480.0})
    _, second = usage(said(0, 1.0), said(long + 120, 5.0), hold_s=0)
    assert (second.min, second.mean) == (5, 5)


def test_past_the_retention_a_living_device_carries_no_more() -> None:
    signs = [said(at * HOUR, "x", "mode") for at in range(10)]
    rows = usage(said(0, 4.0), *signs, retention_s=3 * HOUR)
    assert hours([row for row in rows if row.attribute == "power"]) == [0, 1, 2]
    rows = usage(said(1, 4.0), *signs, retention_s=3 * HOUR)
    assert hours([row for row in rows if row.attribute == "power"]) == [0, 1, 2, 3]


def test_the_retention_counts_from_the_series_last_event() -> None:
    events = [said(at * 2 * HOUR, float(at), "energy") for at in range(5)]
    rows = usage(*events, retention_s=3 * HOUR)
    assert [row.sum for row in rows if row.count] == [0, 1, 2, 3, 4]


# --- Random streams


AWAY = {("DEVICE_HEALTH_EVENT", "OFFLINE"), ("DEVICE_LIFECYCLE_EVENT", "DELETE")}


def key(row: Usage) -> tuple[str, ...]:
    return (row.device_id, row.component, row.capability, row.attribute, row.role)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.randoms())
def test_neither_arrival_nor_other_devices_matter(seed: int, rng: random.Random) -> None:
    counted = sift(random_stream(seed, events=80), role_of).counted
    statistics = UsageStatistics(role_of, zone_of, Period(3600))
    expected = statistics.compute(counted)
    rng.shuffle(counted)
    assert statistics.compute(counted) == expected
    alone: list[Usage] = []
    for device in sorted({str(event.device_id) for event in counted}):
        alone += statistics.compute(event for event in counted if event.device_id == device)
    assert alone == expected


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_rows_are_apart_and_account_for_every_event(seed: int) -> None:
    counted = sift(random_stream(seed), role_of).counted
    rows = UsageStatistics(role_of, zone_of, Period(3600)).compute(counted)
    ends: dict[tuple[str, ...], int] = defaultdict(int)
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    for row in rows:
        assert row.start.micros >= ends[key(row)]
        ends[key(row)] = row.end.micros
        counts[key(row)[:4]] += row.count
        if row.role == "measurement":
            assert row.min is not None
            assert row.mean is not None
            assert row.max is not None
            assert row.min <= row.mean <= row.max
        if row.role == "state":
            held = sum(row.seconds_in_state.values())
            length = (row.end.micros - row.start.micros) / SECOND
            assert held == pytest.approx(length) or (held < length and row.count > 0)
            assert row.changes <= row.count
    for series, expected in counts.items():
        readable = [
            event
            for event in counted
            if (event.device_id, event.component, event.capability, event.attribute) == series
            and event.kind != "DEVICE_COMMANDS_EVENT"
            and _says_something(event)
        ]
        assert len(readable) == expected


def _says_something(event: Event) -> bool:
    role = role_of(event)
    value: object = event.value
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if role.role in ("state", "activity"):
        return isinstance(value, str | bool | float)
    if role.field is not None and isinstance(value, dict):
        value = value.get(role.field)
    if isinstance(value, bool) or not isinstance(value, float | int):
        return False
    return role.role != "meter" or value >= 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_quarters_make_up_hours(seed: int) -> None:
    counted = sift(random_stream(seed, events=80, long_silence=False), role_of).counted
    of_hour = UsageStatistics(role_of, zone_of, Period(3600), hold_s=1e9).compute(counted)
    of_quarter = UsageStatistics(role_of, zone_of, Period(900), hold_s=1e9).compute(counted)
    quarters: dict[tuple[object, ...], list[Usage]] = defaultdict(list)
    edges = sorted({(key(row), row.start.micros, row.end.micros) for row in of_hour})
    for quarter in of_quarter:
        for series, start, end in edges:
            if series == key(quarter) and start <= quarter.start.micros < end:
                quarters[series, start].append(quarter)
    for row in of_hour:
        parts = quarters[key(row), row.start.micros]
        lengths = [part.end.micros - part.start.micros for part in parts]
        assert row.count == sum(part.count for part in parts)
        assert row.changes == sum(part.changes for part in parts)
        if row.role == "meter":
            assert row.change == pytest.approx(sum(part.change or 0 for part in parts))
            assert row.sum == parts[-1].sum
        if parts[0].count or sum(lengths) < row.end.micros - row.start.micros:
            continue  # The series begins, or the input ends, within the hour: its quarters do not cover it.
        for state in row.seconds_in_state:
            together = sum(part.seconds_in_state.get(state, 0) for part in parts)
            assert together == pytest.approx(row.seconds_in_state[state])
        if row.role == "measurement":
            assert row.min == min(part.min for part in parts if part.min is not None)
            assert row.max == max(part.max for part in parts if part.max is not None)
            area = sum((part.mean or 0) * length for part, length in zip(parts, lengths, strict=True))
            assert row.mean == pytest.approx(area / sum(lengths))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.one_of(st.none(), st.integers(-5, 50)))
def test_rows_are_where_the_rule_says(seed: int, until_hours: int | None) -> None:
    """Every hour is asked for itself whether it has a row, with nothing but its definition."""
    hold, retention = 3 * HOUR * SECOND, 9 * HOUR * SECOND
    edges = Edges(hold_s=3 * HOUR, retention_s=9 * HOUR)
    counted = sift(random_stream(seed, events=80, edges=edges), role_of).counted
    newest = max(event.event_time.micros for event in counted) if counted else 0
    until = None if until_hours is None else newest + until_hours * HOUR * SECOND
    statistics = UsageStatistics(role_of, zone_of, Period(HOUR), hold_s=3 * HOUR, retention_s=9 * HOUR)
    found = {(key(row), row.start.micros, row.count) for row in statistics.compute(counted, until)}

    expected = set()
    for device in {str(event.device_id) for event in counted}:
        signs = [event for event in counted if event.device_id == device]
        series: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for event in signs:
            if has_attribute(event) and _says_something(event):
                role = USAGE_ROLES[role_of(event).role]
                series[device, event.component, event.capability, event.attribute, role].append(event.event_time.micros)
        for name, times in series.items():
            start, end = bounds(zone_of(signs[0]), times[0], Period(HOUR))
            while start <= signs[-1].event_time.micros or (until is not None and start < until):
                within = [at for at in times if start <= at < end]
                carried = any(at < start < at + retention for at in times)
                last = [event for event in signs if event.event_time.micros < end][-1]
                away = (last.kind, last.text) in AWAY
                silence = start - last.event_time.micros
                lives = silence <= 0 or (not away and silence < hold)
                if within or (carried and lives):
                    expected.add((name, start, len(within)))
                start, end = bounds(zone_of(signs[0]), end, Period(HOUR))
    assert found == expected


def test_no_events_make_no_rows() -> None:
    assert UsageStatistics(role_of, utc_zone, Period(3600)).compute([]) == []
    assert usage(said(0, 1.0)._replace(device_id=None)) == []
    assert usage(sign(0, "ONLINE")) == []
