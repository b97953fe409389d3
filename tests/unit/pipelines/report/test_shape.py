from __future__ import annotations

import math
from collections import Counter, defaultdict
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results_directory import HOUR, METER, WASHER, activity, house, local_of, seconds_of, session, usage, write_results
from thingbeam.pipelines.report.load import Results, load
from thingbeam.pipelines.report.shape import lanes, measurements, meter_days, session_days, span, state_days

PARIS = "Europe/Paris"


def read(directory: Path, records: dict[str, list[Any]]) -> Results:
    return load(write_results(directory, records))


def local_day(seconds: float, zone: str) -> date:
    return datetime.fromisoformat(local_of(seconds, zone)).date()


def test_the_span_is_from_first_start_to_last_end(tmp_path: Path) -> None:
    records = {
        "activities": [activity("d", 5000, None)],
        "sessions": [session("d", 3000, 9000)],
        "usage": [usage("d", 3600, "meter")],
    }
    assert span(read(tmp_path / "a", records)) == (3000e3, 9000e3)
    assert span(read(tmp_path / "b", {"dead-letters": []})) is None


def test_lanes_are_by_device_then_capability_in_order_of_time(tmp_path: Path) -> None:
    records = {
        "activities": [
            activity("b", 200, 260),
            activity("b", 100, 160),
            activity("a", 50, None, capability="valve"),
            activity("a", 10, 20),
            activity("unseen", 10, 20),
        ]
    }
    found, left_out = lanes(read(tmp_path, records), ["b", "a"], 100)
    assert [(lane.device_id, lane.capability) for lane in found] == [("b", "switch"), ("a", "switch"), ("a", "valve")]
    assert [doing.start for doing in found[0].done] == [100e3, 200e3]
    assert math.isnan(found[2].done[0].end)
    assert left_out == 0


def test_of_too_many_activities_the_latest_are_taken(tmp_path: Path) -> None:
    records = {"activities": [activity("d", at * 100, at * 100 + 50) for at in range(10)]}
    found, left_out = lanes(read(tmp_path, records), ["d"], 4)
    assert [doing.start for doing in found[0].done] == [600e3, 700e3, 800e3, 900e3]
    assert left_out == 6


HOURS = st.lists(
    st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e3), st.floats(0, 1e3), st.booleans()), min_size=30, max_size=80
)


@given(HOURS, st.sampled_from([PARIS, "Asia/Kathmandu", "Australia/Lord_Howe"]))
def test_joined_days_weigh_each_hour_by_its_length(
    tmp_path_factory: pytest.TempPathFactory, hours: list[tuple[float, float, float, bool]], zone: str
) -> None:
    begin = seconds_of("2007-10-26T22:00:00Z") // 1800 * 1800
    rows, truth, at = [], defaultdict[date, list[tuple[float, float, float, int]]](list), begin
    for mean, below, above, half in hours:
        length = HOUR // 2 if half else HOUR
        row = usage(METER, at, "measurement", zone, length, min=mean - below, mean=mean, max=mean + above)
        rows.append(row)
        truth[local_day(at, zone)].append((mean - below, mean, mean + above, length))
        at += length
    results = read(tmp_path_factory.mktemp("days"), {"usage": rows})
    [by_hour] = measurements(results, [METER], 9, len(hours))
    assert not by_hour.by_day
    assert by_hour.mean.tolist() == [row.mean for row in rows]
    [by_day] = measurements(results, [METER], 9, len(hours) - 1)
    assert by_day.by_day
    assert [text[:10] for text in by_day.start_local] == [day.isoformat() for day in sorted(truth)]
    assert by_day.start[0] == begin * 1000
    assert by_day.end[-1] == at * 1000
    assert by_day.start[1:].tolist() == by_day.end[:-1].tolist()
    for place, day in enumerate(sorted(truth)):
        held = truth[day]
        assert by_day.low[place] == min(low for low, *_ in held)
        assert by_day.high[place] == max(high for _, _, high, _ in held)
        mean = math.fsum(mean * length for _, mean, _, length in held) / sum(length for *_, length in held)
        assert by_day.mean[place] == pytest.approx(mean, rel=1e-9, abs=1e-6)


def test_hours_without_numbers_weigh_nothing(tmp_path: Path) -> None:
    rows = [usage(METER, 0, "measurement"), usage(METER, HOUR, "measurement", min=1.0, mean=2.0, max=3.0)]
    [day] = measurements(read(tmp_path, {"usage": rows}), [METER], 9, 1)
    assert (day.low[0], day.mean[0], day.high[0]) == (1.0, 2.0, 3.0)


def test_a_device_has_no_more_series_than_asked_the_busiest_first(tmp_path: Path) -> None:
    rows = [usage("d", 0, "measurement", attribute=f"a{n}", count=n, mean=1.0) for n in range(5)]
    found = measurements(read(tmp_path, {"usage": rows}), ["d"], 2, 99)
    assert [series.key.attribute for series in found] == ["a4", "a3"]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=100), st.sampled_from([PARIS, "Asia/Kolkata"]))
def test_meters_grow_by_local_days(tmp_path_factory: pytest.TempPathFactory, growth: list[float], zone: str) -> None:
    begin = seconds_of("2007-03-24T12:00:00Z")  # Paris loses an hour in the next night.
    rows = [usage(METER, begin + h * HOUR, "meter", zone, change=g) for h, g in enumerate(growth)]
    truth = defaultdict[date, float](float)
    for hour, grown in enumerate(growth):
        truth[local_day(begin + hour * HOUR, zone)] += grown
    [meter] = meter_days(read(tmp_path_factory.mktemp("meter"), {"usage": rows}), [METER], 9)
    assert meter.unit == "kWh"
    assert dict(zip(meter.days, meter.growth.tolist(), strict=True)) == pytest.approx(dict(truth))


def test_the_shortest_states_are_joined(tmp_path: Path) -> None:
    rows = [
        usage("d", 0, "state", "UTC", seconds_in_state={"a": 1000.0, "b": 900.0, "": 800.0, "c": 900.0}, changes=3),
        usage("d", HOUR, "state", "UTC", seconds_in_state={"b": 3600.0}, changes=1),
        usage("d", 24 * HOUR, "state", "UTC", seconds_in_state={"c": 60.0}),
    ]
    results = read(tmp_path, {"usage": rows})
    [all_of_them] = state_days(results, ["d"], 9, 4)
    assert list(all_of_them.seconds) == ["b", "a", "c", ""]
    assert all_of_them.other is None
    assert all_of_them.changes == 4
    [some] = state_days(results, ["d"], 9, 3)
    assert list(some.seconds) == ["b", "a"]
    assert some.days == [date(1970, 1, 1), date(1970, 1, 2)]
    assert some.seconds["b"].tolist() == [4500.0, 0.0]
    assert some.other is not None
    assert some.other.tolist() == [1700.0, 60.0]


def test_sessions_count_on_the_local_day_in_which_they_begin(tmp_path: Path) -> None:
    begin = seconds_of("2007-10-27T12:00:00Z")
    rows = [session(WASHER, begin + n * 1700, begin + n * 1700 + 10, n) for n in range(60)]
    [days] = session_days(read(tmp_path, {"sessions": rows}), [METER, WASHER])
    truth = Counter(local_day(begin + n * 1700, PARIS) for n in range(60))
    assert dict(zip(days.days, days.sessions.tolist(), strict=True)) == truth
    assert int(days.events.sum()) == sum(range(60))


def test_a_house_has_one_series_of_each_role(tmp_path: Path) -> None:
    results = read(tmp_path, house(2))
    [state] = state_days(results, [METER, WASHER], 9, 8)
    assert state.seconds["on"].tolist() == [5400.0, 5400.0]
    assert state.seconds["off"].tolist() == [81000.0, 81000.0]
    assert [m.key.device_id for m in measurements(results, [METER, WASHER], 9, 999)] == [METER]
    assert np.all(np.diff(measurements(results, [METER], 9, 999)[0].start) == HOUR * 1000)
