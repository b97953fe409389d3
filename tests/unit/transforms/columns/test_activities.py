from __future__ import annotations

from itertools import pairwise

import pytest
from apache_beam.utils.timestamp import Timestamp

from columnar import T0, Shard, activities, micros, role_of, said, seconds
from thingbeam.schemas import Activity, Event
from thingbeam.transforms.rules import ActivityTracker, rule_order

LONGEST = 7200


def spans(found: list[Activity]) -> list[tuple[float, float | None, str | None]]:
    return sorted((seconds(one.start), None if one.end is None else seconds(one.end), one.closed_by) for one in found)


def washing(*said_at: tuple[float, str], cuts: tuple[float, ...] = ()) -> Shard:
    """A washer's states, sliced at the cuts; then the end."""
    shard = Shard(activities())
    events = [said(at, state, "machine") for at, state in said_at]
    begin = -float("inf")
    for cut in cuts:
        shard.until(cut, *(event for event in events if begin <= seconds(event.event_time) < cut))
        begin = cut
    shard.end(*(event for event in events if seconds(event.event_time) >= begin))
    assert shard.state.is_empty
    return shard


def both_ways(*said_at: tuple[float, str]) -> tuple[list[tuple[float, float | None, str | None]], int]:
    """The activities and the stray stops; the same at once, sliced before and after each event, and by the rule."""
    times = sorted({at for at, _ in said_at})
    # Not after the last: a slice moves the clocks, which at the end stand at the last event.
    after = [at + 0.000001 for at in times[:-1]]
    tracker = ActivityTracker(role_of)
    expected: list[Activity] = []
    for event in rule_order(said(at, state, "machine") for at, state in said_at):
        expected += tracker.feed(event)
    expected += tracker.finish()
    at_once = washing(*said_at)
    assert at_once.all.stops_without_start == tracker.stops_without_start
    assert spans(at_once.all.activities) == spans(list({one.start: one for one in expected}.values()))
    for cuts in (times, after, sorted({*times, *after})):
        sliced = washing(*said_at, cuts=tuple(cuts))
        assert spans(sliced.all.activities) == spans(at_once.all.activities)
        assert sliced.all.stops_without_start == at_once.all.stops_without_start
    return spans(at_once.all.activities), at_once.all.stops_without_start


def test_an_activity_in_full() -> None:
    shard = Shard(activities(), "Australia/Lord_Howe")
    shard.until(1, said(0, "on", "switch", component="left"))
    [found] = shard.until(120, said(90.5, "off", "switch", component="left", home_id="h2")).activities
    assert found == Activity(
        device_id="d1",
        component="left",
        capability="switch",
        start=Timestamp(T0),
        start_local="2007-03-28T10:30:00+10:30",
        end=Timestamp(T0 + 90.5),
        duration_s=90.5,
        state="done",
        closed_by="stop",
        revision=2,
        home_id="h1",
    )
    assert shard.state.is_empty


def test_a_running_activity_in_full() -> None:
    [found] = Shard(activities()).end(said(0, "on", "switch")).activities
    assert (found.end, found.duration_s, found.state, found.closed_by) == (None, None, "running", None)


def test_a_repeated_start_is_ignored() -> None:
    assert both_ways((0, "run"), (10, "run"), (20, "stop")) == ([(0, 20, "stop")], 0)


def test_a_pause_keeps_open_what_is_open_and_opens_nothing() -> None:
    assert both_ways((0, "run"), (10, "pause"), (20, "run"), (30, "stop")) == ([(0, 30, "stop")], 0)
    assert both_ways((0, "run"), (10, "pause"), (30, "stop")) == ([(0, 30, "stop")], 0)
    assert both_ways((0, "pause"), (10, "stop")) == ([], 1)
    assert both_ways((0, "run"), (5, "stop"), (6, "pause"), (10, "stop"), (11, "run")) == (
        [(0, 5, "stop"), (11, None, None)],
        1,
    )


def test_other_states_change_nothing() -> None:
    assert both_ways((0, "run"), (10, "unknown"), (20, "stop"), (30, "")) == ([(0, 20, "stop")], 0)


def test_stops_without_start_are_counted() -> None:
    assert both_ways((0, "stop"), (1, "stop"), (2, "run"), (3, "stop"), (4, "stop")) == ([(2, 3, "stop")], 3)


def test_a_stop_at_exactly_the_maximum_length_closes_as_stop() -> None:
    assert both_ways((0, "run"), (LONGEST, "stop")) == ([(0, LONGEST, "stop")], 0)


def test_a_stop_after_the_maximum_length_is_stray() -> None:
    assert both_ways((0, "run"), (LONGEST + 0.000001, "stop")) == ([(0, LONGEST, "max_length")], 1)


def test_a_start_at_the_maximum_length_is_a_repeat_and_one_after_it_opens_anew() -> None:
    assert both_ways((0, "run"), (LONGEST, "run")) == ([(0, None, None)], 0)
    assert both_ways((0, "run"), (LONGEST + 0.000001, "run")) == (
        [(0, LONGEST, "max_length"), (LONGEST + 0.000001, None, None)],
        0,
    )


def test_a_chain_of_activities_that_outgrow_their_length() -> None:
    found, stray = both_ways(
        (0, "run"), (100, "run"), (7201, "run"), (8000, "stop"), (8100, "run"), (20000, "stop"), (20001, "stop")
    )
    assert found == [(0, 7200, "max_length"), (7201, 8000, "stop"), (8100, 15300, "max_length")]
    assert stray == 2


def test_a_stop_at_exactly_the_maximum_length_beside_one_that_outgrew_it() -> None:
    assert both_ways((0, "run"), (LONGEST, "stop"), (8000, "run"), (8001 + LONGEST, "stop")) == (
        [(0, LONGEST, "stop"), (8000, 8000 + LONGEST, "max_length")],
        1,
    )


def test_strays_before_and_after_one_that_outgrew_its_length_are_counted_once() -> None:
    assert both_ways((-5, "stop"), (0, "run"), (7300, "stop"), (7301, "stop"), (7302, "run"), (7303, "stop")) == (
        [(0, 7200, "max_length"), (7302, 7303, "stop")],
        3,
    )


def test_what_is_reopened_at_the_instant_of_its_start_replaces_the_one_before() -> None:
    assert both_ways((0, "run"), (0, "stop"), (0, "run"), (30, "stop")) == ([(0, 30, "stop")], 0)
    assert both_ways((0, "run"), (0, "stop"), (0, "run"), (0, "stop")) == ([(0, 0, "stop")], 0)
    assert both_ways((0, "run"), (0, "stop"), (0, "run")) == ([(0, None, None)], 0)


def test_reopened_at_the_instant_of_its_stop_is_another() -> None:
    assert both_ways((0, "run"), (5, "stop"), (5, "run"), (9, "stop")) == ([(0, 5, "stop"), (5, 9, "stop")], 0)


def test_the_clock_of_a_device_is_its_last_event_of_any_kind() -> None:
    other = said(LONGEST + 0.000001, 1.0, "power")
    assert spans(Shard(activities()).end(said(0, "on", "switch"), other).activities) == [(0, LONGEST, "max_length")]
    other = said(LONGEST, 1.0, "power")
    assert spans(Shard(activities()).end(said(0, "on", "switch"), other).activities) == [(0, None, None)]
    other = said(9999, 1.0, "power", device="d2")
    assert spans(Shard(activities()).end(said(0, "on", "switch"), other).activities) == [(0, None, None)]


def test_the_clock_of_a_device_that_is_silent_at_the_end_stands_at_its_last_event() -> None:
    shard = Shard(activities())
    shard.until(1, said(0, "on", "switch"))
    assert spans(shard.end(said(8000, 1.0, device="d2")).activities) == [(0, None, None)]


@pytest.mark.parametrize(("hold", "end"), [(LONGEST, None), (LONGEST + 0.000001, float(LONGEST))])
def test_held_until_a_later_time(hold: float, end: float | None) -> None:
    [found] = Shard(activities()).end(said(0, "on", "switch"), hold_until=hold).activities
    assert (None if found.end is None else seconds(found.end)) == end


def test_in_a_stream_it_closes_once_time_is_beyond_its_length() -> None:
    shard = Shard(activities())
    assert shard.due is None
    assert shard.until(1, said(0, "on", "switch")).activities == []
    assert shard.due == LONGEST + 0.000001
    assert shard.until(LONGEST).activities == []
    assert spans(shard.until(LONGEST + 0.000001).activities) == [(0, LONGEST, "max_length")]
    assert shard.state.is_empty


def test_components_capabilities_and_devices_run_side_by_side() -> None:
    events = [
        said(0, "on", "switch"),
        said(1, "on", "switch", component="left"),
        said(2, "on", "switch", device="d2"),
        said(3, "run", "machine"),
        said(4, "off", "switch", component="left"),
        said(5, "stop", "machine"),
        said(6, "off", "switch", device="d2"),
        said(7, "off", "switch"),
    ]
    for cuts in ([], [1.5, 4.5], [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5]):
        shard = Shard(activities())
        for begin, cut in pairwise([-1.0, *cuts, 100.0]):
            shard.until(cut, *(event for event in events if begin <= seconds(event.event_time) < cut))
        found = sorted(
            (one.device_id, one.component, one.capability, seconds(one.start), one.duration_s)
            for one in shard.all.activities
        )
        assert found == [
            ("d1", "left", "switch", 1, 3),
            ("d1", "main", "machine", 3, 2),
            ("d1", "main", "switch", 0, 7),
            ("d2", "main", "switch", 2, 4),
        ]
        assert shard.all.stops_without_start == 0


def test_kinds_without_attribute_do_nothing() -> None:
    def kinds(kind: str) -> list[Event]:
        return [said(0, "on", "switch", kind=kind), said(5, "off", "switch", kind=kind)]

    assert len(Shard(activities()).end(*kinds("MATTER_ATTRIBUTE")).activities) == 1
    given = Shard(activities()).end(*kinds("DEVICE_COMMANDS_EVENT"))
    assert (given.activities, given.stops_without_start) == ([], 0)


def test_values_that_are_no_text_are_states_too() -> None:
    assert (
        Shard(activities()).end(said(0, True, "switch"), said(1, 1.0, "switch"), said(2, None, "switch")).activities
        == []
    )


def test_times_are_those_of_the_events() -> None:
    [found] = Shard(activities()).end(said(0.000001, "on", "switch"), said(2.000002, "off", "switch")).activities
    assert (found.start.micros, found.end) == (micros(0.000001), Timestamp(micros=micros(2.000002)))
    assert found.duration_s == 2.000001
    assert found.start_local == "2007-03-28T00:00:00.000001+00:00"
