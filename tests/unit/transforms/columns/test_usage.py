from __future__ import annotations

import math
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from apache_beam.utils.timestamp import Timestamp

from columnar import DAY, HOUR, T0, Shard, micros, role_of, said, seconds, sign, usage
from comparison import assert_same
from thingbeam.schemas import Event, Usage
from thingbeam.transforms.rules import Period, UsageStatistics


def both_ways(
    *events: Event, period: float = HOUR, hold: float = DAY, retention: float = 35 * DAY, until: float | None = None,
    zone: str = "UTC",
) -> list[Usage]:  # fmt: skip
    """The rows; the same by the rule, and in slices however cut (values held until `until`, which slices come to)."""
    statistics = UsageStatistics(role_of, lambda event: ZoneInfo(zone), Period(round(period)), hold, retention)
    rules = usage(period, hold, retention)
    rows = Shard(rules, zone).end(*events, hold_until=until).usage
    assert_same(rows, statistics.compute(events, None if until is None else micros(until)))
    times = sorted({seconds(event.event_time) for event in events})
    stop = max(times[-1] + 3 * HOUR, until or 0)
    held = statistics.compute(events, micros(stop))
    quarters = [900 * quarter for quarter in range(-8, 40) if 900 * quarter <= stop]
    for cuts in (
        times,
        [at + 0.000001 for at in times],
        sorted({at + beside for at in times for beside in (0, 0.000001)}),
        quarters,
        sorted({*quarters, *times}),
    ):
        shard = Shard(rules, zone)
        for begin, cut in pairwise([-math.inf, *cuts, stop]):
            shard.until(cut, *(event for event in events if begin <= seconds(event.event_time) < cut))
        assert_same(shard.all.usage, [row for row in held if row.end.micros <= micros(stop)])
    return sorted(rows, key=lambda row: (row.device_id, row.component, row.attribute, row.start))


def hours(rows: list[Usage]) -> list[float]:
    return [seconds(row.start) / HOUR for row in rows]


# --- Measurements


def test_a_measurement_in_full() -> None:
    shard = Shard(usage(), "Asia/Kolkata")
    events = [said(0, 10.0, unit="W"), said(2700, 30.0, unit="kW", home_id="h2")]
    [row] = shard.end(*events).usage[:1]
    assert row == Usage(
        device_id="d1",
        component="main",
        capability="power",
        attribute="power",
        role="measurement",
        period="PT1H",
        start=Timestamp(T0 - 1800),
        start_local="2007-03-28T05:00:00+05:30",
        end=Timestamp(T0 + 1800),
        count=1,
        changes=0,
        min=10.0,
        max=10.0,
        mean=10.0,
        sum=None,
        change=None,
        last=10.0,
        last_state=None,
        seconds_in_state={},
        revision=1,
        unit="W",
        home_id="h1",
    )
    assert shard.all.usage[1]._replace(revision=0) == row._replace(
        start=Timestamp(T0 + 1800), start_local="2007-03-28T06:00:00+05:30", end=Timestamp(T0 + 5400),
        min=10.0, max=30.0, mean=(900 * 10 + 2700 * 30) / 3600, last=30.0, revision=0, unit="kW",
    )  # fmt: skip


def test_the_mean_is_weighted_by_time_and_starts_with_what_was_carried_in() -> None:
    first, second = both_ways(said(-600, 10.0), said(900, 20.0), said(2700, 0.0))
    assert (first.count, first.min, first.max, first.mean, first.last) == (1, 10, 10, 10, 10)
    assert (second.count, second.min, second.max, second.mean, second.last) == (2, 0, 20, 12.5, 0)


def test_the_first_period_begins_with_the_first_value() -> None:
    [row] = both_ways(said(900, 20.0), said(1800, 5.0))
    assert row.mean == (900 * 20 + 1800 * 5) / 2700


def test_a_carried_value_takes_part_even_where_an_event_falls_on_the_very_start() -> None:
    _, row = both_ways(said(-600, 10.0), said(0, 20.0))
    assert (row.min, row.max, row.mean, row.count) == (10, 20, 20, 1)
    _, row = both_ways(said(-600, 30.0), said(0, 20.0))
    assert (row.min, row.max, row.mean) == (20, 30, 20)


def test_a_value_that_held_no_time_takes_part_in_min_and_max_only() -> None:
    [row] = both_ways(said(0, 1000.0), said(0, 2.0), said(1800, -500.0), said(1800, 4.0))
    assert (row.min, row.max, row.mean, row.count, row.last) == (-500, 1000, 3, 4, 4)


def test_an_event_on_an_edge_is_of_the_period_that_begins() -> None:
    rows = both_ways(said(3599.999999, 1.0), said(3600, 2.0), said(7199.999999, 3.0))
    assert [(row.count, row.last) for row in rows] == [(1, 1), (2, 3)]


def test_what_is_no_finite_number_is_skipped() -> None:
    skipped = [math.nan, math.inf, -math.inf, "21", True, None, {"power": 1}, [1]]
    [row] = both_ways(said(0, 2.0), *(said(100 + at, value) for at, value in enumerate(skipped)))
    assert (row.count, row.min, row.max, row.mean, row.last) == (1, 2, 2, 2, 2)


def test_carried_through_periods_without_events() -> None:
    rows = both_ways(said(1800, 7.0), said(3.5 * HOUR, 9.0))
    assert [(row.count, row.min, row.max, row.mean, row.last) for row in rows] == [
        (1, 7, 7, 7, 7),
        (0, 7, 7, 7, 7),
        (0, 7, 7, 7, 7),
        (1, 7, 9, 8, 9),
    ]


# --- Meters


def test_a_meter_in_full() -> None:
    first, second = both_ways(
        *(said(at, level, "energy") for at, level in ((600, 1000.0), (1200, 1010.0), (4000, 0.0), (4010, 5.0)))
    )
    assert (first.role, first.sum, first.change, first.last, first.count) == ("meter", 10, 10, 1010, 2)
    assert (second.role, second.sum, second.change, second.last, second.count) == ("meter", 15, 5, 5, 2)
    assert (first.min, first.max, first.mean, first.last_state, first.seconds_in_state) == (None, None, None, None, {})


def test_the_change_of_the_first_period_counts_from_the_first_reading() -> None:
    assert [row.change for row in both_ways(said(0, 500.0, "energy"), said(3600, 507.0, "energy"))] == [0, 7]


def test_a_meter_without_readings_did_not_change() -> None:
    rows = both_ways(said(0, 500.0, "energy"), said(60, 501.0, "energy"), said(2.5 * HOUR, 504.0, "energy"))
    assert [(row.count, row.sum, row.change) for row in rows] == [(2, 1, 1), (0, 1, 0), (1, 4, 3)]


def test_negative_readings_of_a_meter_are_skipped_and_not_counted() -> None:
    [row] = both_ways(said(0, 5.0, "energy"), said(1, -5.0, "energy"), said(2, 6.0, "energy"))
    assert (row.count, row.sum, row.last) == (2, 1, 6)
    [row] = both_ways(said(0, 5.0, "balance"), said(1, -5.0, "balance"))
    assert (row.count, row.sum, row.last) == (2, -10, -5)
    [row] = both_ways(said(0, 0.0, "energy"), said(1, -0.0, "energy"))
    assert row.count == 2


def test_a_total_with_cycles() -> None:
    readings = [(0, 1000.0, 1), (1, 1010.0, None), (2, 1005.0, 1), (3, 0.0, 2), (4000, 5.0, None), (4001, 7.0, 3)]
    first, second = both_ways(*(said(at, level, "balance", last_reset=reset) for at, level, reset in readings))
    assert (first.sum, first.change) == (5, 5)
    assert (second.sum, second.change) == (17, 12)


def test_a_number_in_a_json_object() -> None:
    [row] = both_ways(
        said(0, {"energy": 4}, "report"), said(1, {"power": 9}, "report"), said(2, {"energy": 6.5}, "report")
    )
    assert (row.count, row.sum, row.last) == (2, 2.5, 6.5)


# --- States


def test_a_state_in_full() -> None:
    first, second = both_ways(
        said(0, "heat", "mode"), said(600, "cool", "mode"), said(1200, "cool", "mode"), said(4500, "heat", "mode")
    )
    assert (first.role, first.count, first.changes, first.last_state, first.last) == ("state", 3, 1, "cool", None)
    assert first.seconds_in_state == {"heat": 600, "cool": 3000}
    assert (second.count, second.changes, second.last_state) == (1, 1, "heat")
    assert second.seconds_in_state == {"cool": 900, "heat": 2700}
    assert (first.min, first.max, first.mean, first.sum, first.change) == (None,) * 5


def test_activities_are_states_here() -> None:
    [row] = both_ways(said(0, "on", "switch"), said(60, "off", "switch"), said(90, "on", "switch"))
    assert (row.role, row.changes, row.seconds_in_state) == ("state", 2, {"on": 3570.0, "off": 30.0})


def test_the_first_value_of_a_series_is_no_change_and_the_first_of_a_period_may_be() -> None:
    rows = both_ways(said(0, "a", "mode"), said(3600, "b", "mode"), said(7200, "b", "mode"), said(7300, "a", "mode"))
    assert [row.changes for row in rows] == [0, 1, 1]


def test_values_of_any_type_are_states_by_their_text() -> None:
    values = [True, "true", 1.0, "1", -0.0, 0.5, None, {"a": 1}, math.nan]
    [row] = both_ways(*(said(60 * at, value, "mode") for at, value in enumerate(values)))
    assert (row.count, row.changes, row.last_state) == (6, 3, "0.5")
    assert row.seconds_in_state == {"true": 120, "1": 120, "0": 60, "0.5": 3300}


def test_a_state_that_held_no_time_is_in_no_map_but_changed() -> None:
    [row] = both_ways(said(0, "a", "mode"), said(60, "b", "mode"), said(60, "a", "mode"))
    assert (row.changes, row.seconds_in_state) == (2, {"a": 3600})


# --- Rows without events: hold, liveness, retention


def test_a_device_lives_for_less_than_hold_before_the_period() -> None:
    assert hours(both_ways(said(0, 1.0), hold=2 * HOUR, until=9 * HOUR)) == [0, 1]
    assert hours(both_ways(said(0.000001, 1.0), hold=2 * HOUR, until=9 * HOUR)) == [0, 1, 2]


def test_signs_of_life_hold_its_values() -> None:
    rows = both_ways(said(0, 1.0), sign(2.5 * HOUR), said(6.5 * HOUR, 1.0, "energy"), hold=2 * HOUR, until=20 * HOUR)
    power = [row for row in rows if row.attribute == "power"]
    assert hours(power) == [0, 1, 2, 3, 4, 6, 7, 8]
    assert [row.count for row in power] == [1] + 7 * [0]
    assert hours([row for row in rows if row.attribute == "energy"]) == [6, 7, 8]


@pytest.mark.parametrize(("kind", "value"), [("DEVICE_HEALTH_EVENT", "OFFLINE"), ("DEVICE_LIFECYCLE_EVENT", "DELETE")])
def test_what_is_held_ends_with_a_device_that_went_away(kind: str, value: str) -> None:
    assert hours(both_ways(said(0, 1.0), sign(1.5 * HOUR, value, kind), until=9 * HOUR)) == [0, 1]
    rows = both_ways(said(0, 1.0), sign(1.5 * HOUR, value, kind), sign(4.5 * HOUR), until=7 * HOUR)
    assert hours(rows) == [0, 1, 4, 5, 6]
    assert {row.mean for row in rows} == {1.0}


def test_other_news_of_a_device_end_nothing() -> None:
    for kind, value in (
        ("DEVICE_HEALTH_EVENT", "DELETE"),
        ("DEVICE_LIFECYCLE_EVENT", "OFFLINE"),
        ("DEVICE_EVENT", "OFFLINE"),
        ("DEVICE_HEALTH_EVENT", "offline"),
    ):
        last = said(0.5 * HOUR, value, "mode", kind=kind)
        assert hours([row for row in both_ways(said(0, 1.0), last, until=3 * HOUR) if row.attribute == "power"]) == [
            0,
            1,
            2,
        ]


def test_the_last_word_of_a_period_decides() -> None:
    away = ("OFFLINE", "DEVICE_HEALTH_EVENT")
    assert hours(both_ways(said(0, 1.0), sign(60, *away), sign(61), until=2.5 * HOUR)) == [0, 1, 2]
    assert hours(both_ways(said(0, 1.0), sign(61), sign(62, *away), until=2.5 * HOUR)) == [0]
    # On the edge it is of the next period: a sign of life in it.
    assert hours(both_ways(said(0, 1.0), sign(HOUR, *away), until=2.5 * HOUR)) == [0, 1]


def test_a_value_is_carried_into_periods_that_start_before_its_retention_is_over() -> None:
    lengths = {"hold": 10.0 * HOUR, "retention": 2.0 * HOUR, "until": 9.0 * HOUR}
    assert hours(both_ways(said(0, 1.0), **lengths)) == [0, 1]
    assert hours(both_ways(said(0.000001, 1.0), **lengths)) == [0, 1, 2]


def test_past_retention_a_series_begins_anew() -> None:
    lengths = {"hold": 10.0 * HOUR, "retention": 2.0 * HOUR}
    before = [said(0, 100.0, "energy"), said(0, "a", "mode"), said(0, 8.0)]
    after = [said(2.5 * HOUR, 130.0, "energy"), said(2.5 * HOUR, "b", "mode"), said(2.5 * HOUR, 4.0)]
    rows = {(row.attribute, seconds(row.start) / HOUR): row for row in both_ways(*before, *after, **lengths)}
    assert (rows["energy", 2].sum, rows["energy", 2].change) == (0, 0)
    assert (rows["mode", 2].changes, rows["mode", 2].seconds_in_state) == (0, {"b": 1800})
    assert (rows["power", 2].min, rows["power", 2].max, rows["power", 2].mean) == (4, 4, 4)
    # A microsecond more, and it carries.
    carried = [event._replace(event_time=Timestamp(micros=event.event_time.micros + 1)) for event in before]
    rows = {(row.attribute, seconds(row.start) / HOUR): row for row in both_ways(*carried, *after, **lengths)}
    assert (rows["energy", 2].sum, rows["energy", 2].change) == (30, 30)
    assert (rows["mode", 2].changes, rows["mode", 2].seconds_in_state) == (1, {"a": 1800, "b": 1800})
    assert (rows["power", 2].min, rows["power", 2].max, rows["power", 2].mean) == (4, 8, 6)


def test_values_that_were_kept_for_longer_than_they_are_carried_now() -> None:
    """State of a job that has been given a shorter retention since."""
    shard = Shard(usage())
    assert hours(shard.until(2 * HOUR, said(0, 1.0), said(0.5 * HOUR, 1.0, device="d2")).usage) == [0, 1, 0, 1]
    shard.rules = usage(retention=2 * HOUR)
    assert [(row.device_id, seconds(row.start) / HOUR) for row in shard.until(4 * HOUR).usage] == [("d2", 2)]
    assert len(shard.state.rules["usage"]["time"]) == 0


def test_the_home_is_that_of_the_first_event_until_the_series_begins_anew() -> None:
    events = [said(0, 1.0), said(3600, 1.0, home_id="h2"), said(9 * HOUR, 1.0, home_id="h3")]
    rows = both_ways(*events, hold=HOUR, retention=2 * HOUR)
    assert [(seconds(row.start) / HOUR, row.home_id) for row in rows] == [(0, "h1"), (1, "h1"), (9, "h3")]


# --- Where it ends


def test_bounded_input_ends_with_the_period_of_the_devices_last_event() -> None:
    rows = both_ways(said(0, 1.0), said(2.5 * HOUR, 1.0, "energy"), said(5.5 * HOUR, 1.0, device="d2"))
    assert [(row.device_id, row.attribute, hour) for row, hour in zip(rows, hours(rows), strict=True)] == [
        ("d1", "energy", 2),
        ("d1", "power", 0),
        ("d1", "power", 1),
        ("d1", "power", 2),
        ("d2", "power", 5),
    ]


def test_a_last_event_on_an_edge_has_a_period_of_its_own() -> None:
    assert hours(both_ways(said(0, 1.0), sign(HOUR))) == [0, 1]
    assert hours(both_ways(said(0, 1.0), sign(HOUR - 0.000001))) == [0]


def test_held_until_in_periods_that_start_before_it() -> None:
    assert hours(both_ways(said(0, 1.0), until=2 * HOUR)) == [0, 1]
    assert hours(both_ways(said(0, 1.0), until=2 * HOUR + 0.000001)) == [0, 1, 2]
    assert hours(both_ways(said(0, 1.0), sign(2.5 * HOUR), until=HOUR)) == [0, 1, 2]


@pytest.mark.parametrize("silence", [HOUR, 3 * HOUR, 2 * DAY, 20 * DAY])
def test_the_end_after_slices_without_a_word(silence: float) -> None:
    shard = Shard(usage())
    shard.until(60, said(0, 1.0), said(0, 1.0, device="d2"))
    before = shard.until(silence).usage
    assert len(before) == 2 * min(silence / HOUR, 24)
    assert shard.end().usage == []
    assert shard.state.is_empty


def test_the_end_after_slices_in_which_only_others_spoke() -> None:
    shard = Shard(usage(), "Asia/Kathmandu")
    shard.until(60, said(0, 1.0))
    shard.until(5 * HOUR, said(4.5 * HOUR, 1.0, device="d2"))
    given = shard.end(said(5.5 * HOUR, 2.0, device="d2"))
    assert [(row.device_id, seconds(row.start) / HOUR, row.count) for row in given.usage] == [
        ("d2", 4.25, 1), ("d2", 5.25, 1),
    ]  # fmt: skip


def test_a_period_is_over_when_time_comes_to_its_end() -> None:
    shard = Shard(usage())
    assert shard.until(HOUR - 0.000001, said(0, 1.0)).usage == []
    assert hours(shard.until(HOUR).usage) == [0]
    assert shard.until(2 * HOUR - 0.000001).usage == []
    assert hours(shard.until(4 * HOUR).usage) == [1, 2, 3]


def test_due_is_the_next_edge_and_then_when_the_value_expires() -> None:
    shard = Shard(usage(hold=2 * HOUR, retention=5 * DAY))
    assert shard.due is None
    shard.until(60, said(0, 1.0))
    assert shard.due == HOUR
    shard.until(HOUR)
    assert shard.due == 2 * HOUR
    given = shard.until(4 * DAY)
    assert hours(given.usage) == [1]
    assert shard.due == 5 * DAY
    shard.until(5 * DAY)
    assert shard.state.is_empty
    assert shard.due is None


def test_an_open_period_is_merged_over_slices() -> None:
    """Each part adds something that only the merge has: the least, the greatest, time, changes, seconds."""
    events = [
        *(said(at, level) for at, level in ((-60, 5.0), (0, 9.0), (900, -7.0), (1800, 2.0), (2700, 3.0))),
        *(said(at, state, "mode") for at, state in ((-60, "a"), (300, "b"), (900, "a"), (1500, "b"), (3000, "c"))),
        *(
            said(at, level, "energy")
            for at, level in ((-60, 100.0), (300, 101.0), (900, 5.0), (1500, 8.0), (3000, 2.0))
        ),
    ]
    rows = {row.attribute: row for row in both_ways(*events) if seconds(row.start) == 0}
    power, mode, energy = rows["power"], rows["mode"], rows["energy"]
    assert (power.count, power.min, power.max, power.mean) == (4, -7, 9, (9 - 7 + 2 + 3) / 4)
    assert (mode.count, mode.changes) == (4, 4)
    assert mode.seconds_in_state == {"a": 900, "b": 2100, "c": 600}
    assert (energy.count, energy.sum, energy.change) == (4, 11, 11)


def test_local_days_and_hours_of_a_night_of_25_hours() -> None:
    autumn = 213 * DAY  # 2007-10-27T00:00Z
    events = [said(autumn, 1.0), said(autumn + 2 * DAY, 1.0)]
    days = both_ways(*events, period=DAY, zone="Europe/Paris", hold=9 * DAY)
    assert [(row.start_local, (row.end.micros - row.start.micros) / 3.6e9) for row in days] == [
        ("2007-10-27T00:00:00+02:00", 24),
        ("2007-10-28T00:00:00+02:00", 25),
        ("2007-10-29T00:00:00+01:00", 24),
    ]
    shown = [row.start_local for row in both_ways(*events, zone="Europe/Paris", hold=9 * DAY)]
    assert len(shown) == 49
    assert "2007-10-28T02:00:00+02:00" in shown
    assert "2007-10-28T02:00:00+01:00" in shown


def test_kinds_without_attribute_make_no_rows() -> None:
    assert both_ways(said(0, 1.0, kind="MATTER_ATTRIBUTE"))[0].count == 1
    assert Shard(usage()).end(said(0, 1.0, kind="DEVICE_COMMANDS_EVENT")).usage == []


def test_series_stand_apart_by_device_component_and_attribute() -> None:
    events = [
        said(0, 1.0),
        said(1, 2.0, component="left"),
        said(2, 3.0, device="d2"),
        said(3, 4.0, "energy"),
        said(4, 5.0, "balance"),
    ]
    rows = both_ways(*events)
    assert {(row.device_id, row.component, row.attribute): row.last for row in rows} == {
        ("d1", "main", "power"): 1,
        ("d1", "left", "power"): 2,
        ("d2", "main", "power"): 3,
        ("d1", "main", "energy"): 4,
        ("d1", "main", "balance"): 5,
    }
