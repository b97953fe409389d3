from __future__ import annotations

from itertools import count
from zoneinfo import ZoneInfo

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import STREAM_ROLES, random_stream, role_of, zone_of
from thingbeam.schemas.records import Activity, Event, Value
from thingbeam.transforms.rules import ActivityTracker, Role, sift

WASHER = Role(
    "activity", start=frozenset({"run"}), stop=frozenset({"stop"}), pause=frozenset({"pause"}), max_length_s=3600
)
_ids = count()


def washer_role(event: Event) -> Role:
    return WASHER if event.attribute == "machineState" else Role("state")


def said(seconds: float, value: Value, *, device: str = "d1", component: str = "main", capability: str = "w") -> Event:
    time = Timestamp(micros=round(seconds * 1e6))
    return Event.of(f"e{next(_ids)}", time, device, capability, "machineState", value, component=component)


def sign(seconds: float, *, device: str = "d1") -> Event:
    return Event(f"e{next(_ids)}", Timestamp(micros=round(seconds * 1e6)), device, kind="DEVICE_HEALTH_EVENT")


def follow(*events: Event) -> tuple[list[tuple[float, float | None, str | None]], int]:
    """Start, end and reason of each activity, in the order of their starts; and the stops without a start."""
    tracker = ActivityTracker(washer_role)
    found = [activity for event in events for activity in tracker.feed(event)] + tracker.finish()
    spans = [(float(one.start), None if one.end is None else float(one.end), one.closed_by) for one in found]
    return sorted(spans, key=lambda span: span[0]), tracker.stops_without_start


def test_an_activity_in_full() -> None:
    tracker = ActivityTracker(washer_role, lambda event: ZoneInfo("Europe/Paris"))
    start = said(1_175_378_400, "run")._replace(home_id="h1")
    assert tracker.feed(start) == []
    done = tracker.feed(said(1_175_378_490.5, "stop")._replace(home_id="h2"))
    assert done == [
        Activity(
            device_id="d1",
            component="main",
            capability="w",
            start=Timestamp(1_175_378_400),
            start_local="2007-04-01T00:00:00+02:00",
            end=Timestamp(1_175_378_490.5),
            duration_s=90.5,
            state="done",
            closed_by="stop",
            revision=0,
            home_id="h1",
            final=True,
            deleted=False,
        )
    ]
    assert tracker.finish() == []


def test_what_is_open_at_the_end_runs() -> None:
    tracker = ActivityTracker(washer_role)
    tracker.feed(said(5, "run"))
    [running] = tracker.finish()
    assert (running.state, running.end, running.duration_s, running.closed_by) == ("running", None, None, None)


def test_a_start_while_open_is_ignored() -> None:
    assert follow(said(0, "run"), said(10, "run"), said(20, "stop")) == ([(0, 20, "stop")], 0)


def test_a_stop_while_closed_is_counted() -> None:
    assert follow(said(0, "stop"), said(1, "run"), said(2, "stop"), said(3, "stop")) == ([(1, 2, "stop")], 2)


def test_a_pause_keeps_open_and_opens_nothing() -> None:
    assert follow(said(0, "pause"), said(1, "run"), said(2, "pause"), said(9, "stop")) == ([(1, 9, "stop")], 0)
    assert follow(said(0, "pause"), said(9, "stop")) == ([], 1)


@pytest.mark.parametrize("value", ["unknown", None, {"state": "stop"}, 1.0, True])
def test_other_values_do_nothing(value: Value) -> None:
    assert follow(said(0, value), said(1, "run"), said(2, value), said(9, "stop")) == ([(1, 9, "stop")], 0)


def test_booleans_and_numbers_are_states() -> None:
    role = Role("activity", start=frozenset({"true", "1"}), stop=frozenset({"false", "0"}))
    tracker = ActivityTracker(lambda event: role)
    values: list[Value] = [True, False, 1.0, 0.0]
    found = [activity for at, value in enumerate(values) for activity in tracker.feed(said(at, value))]
    assert [(float(one.start), one.duration_s) for one in found] == [(0, 1), (2, 1)]


def test_streams_are_apart() -> None:
    spans, strays = follow(
        said(0, "run"),
        said(1, "stop", device="d2"),
        said(2, "stop", component="rack"),
        said(3, "stop", capability="dryer"),
        said(4, "stop"),
    )
    assert (spans, strays) == ([(0, 4, "stop")], 3)


def test_a_stop_at_exactly_the_maximum_closes() -> None:
    assert follow(said(0, "run"), said(3600, "stop")) == ([(0, 3600, "stop")], 0)
    assert follow(said(0, "run"), said(3600.000001, "stop")) == ([(0, 3600, "max_length")], 1)


def test_a_start_at_exactly_the_maximum_is_still_ignored() -> None:
    assert follow(said(0, "run"), said(3600, "run"), said(3601, "stop")) == ([(0, 3600, "max_length")], 1)


def test_the_next_start_opens_anew() -> None:
    spans, strays = follow(said(0, "run"), said(3601, "run"), said(3700, "stop"))
    assert (spans, strays) == ([(0, 3600, "max_length"), (3601, 3700, "stop")], 0)


def test_the_clock_of_the_device_ends_what_is_too_long() -> None:
    assert follow(said(0, "run"), sign(3600)) == ([(0, None, None)], 0)
    assert follow(said(0, "run"), sign(3600.000001)) == ([(0, 3600, "max_length")], 0)
    # Another device's clock does not.
    assert follow(said(0, "run"), sign(9999, device="d2")) == ([(0, None, None)], 0)


def test_other_kinds_start_and_stop_nothing() -> None:
    command = said(5, "stop")._replace(kind="DEVICE_COMMANDS_EVENT")
    assert follow(said(0, "run"), command, said(9, "stop")) == ([(0, 9, "stop")], 0)


def test_opened_anew_at_once_the_later_row_counts() -> None:
    tracker = ActivityTracker(washer_role)
    events = [said(0, "run"), said(0, "stop"), said(0, "run"), said(7, "stop")]
    found = [activity for event in events for activity in tracker.feed(event)]
    assert [one.duration_s for one in found] == [0, 7]


def test_advance_closes_beyond_the_maximum_only() -> None:
    tracker = ActivityTracker(washer_role)
    tracker.feed(said(0, "run"))
    tracker.feed(said(1, "run", device="d2"))
    assert tracker.advance(3_600_000_000) == []
    [done] = tracker.advance(3_600_000_001)
    assert (done.device_id, done.duration_s, done.closed_by) == ("d1", 3600, "max_length")
    assert [one.device_id for one in tracker.finish()] == ["d2"]


def test_without_a_device_there_is_none() -> None:
    assert follow(said(0, "run")._replace(device_id=None)) == ([], 0)


def test_refuses_events_that_go_back() -> None:
    with pytest.raises(ValueError, match="in rule order"):
        follow(said(1, "run"), said(0, "stop"))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.data())
def test_advancing_between_events_changes_nothing(seed: int, data: st.DataObject) -> None:
    counted = sift(random_stream(seed, events=60), role_of).counted
    plain, stepping = ActivityTracker(role_of, zone_of), ActivityTracker(role_of, zone_of)
    expected = [activity for event in counted for activity in plain.feed(event)]
    clock = max((event.event_time.micros for event in counted), default=0)
    expected += plain.advance(clock) + plain.finish()

    stops = set(data.draw(st.lists(st.integers(0, max(len(counted) - 1, 0)), max_size=8)))
    found: list[Activity] = []
    for at, event in enumerate(counted):
        if at in stops:
            found += stepping.advance(event.event_time.micros)
        found += stepping.feed(event)
    found += stepping.advance(clock) + stepping.finish()
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert stepping.stops_without_start == plain.stops_without_start


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000))
def test_activities_do_not_overlap_and_account_for_every_stop(seed: int) -> None:
    counted = sift(random_stream(seed), role_of).counted
    tracker = ActivityTracker(role_of, zone_of)
    found = [activity for event in counted for activity in tracker.feed(event)] + tracker.finish()
    last_end: dict[tuple[str, str, str], float] = {}
    for one in sorted(found, key=lambda one: (one.start.micros, one.end is None, one.end or 0)):
        stream = (one.device_id, one.component, one.capability)
        assert one.start.micros >= last_end.get(stream, 0)
        last_end[stream] = float("inf") if one.end is None else one.end.micros
        if one.duration_s is not None:
            [longest] = {role.max_length_s for key, role in STREAM_ROLES.items() if key[0] == one.capability}
            assert 0 <= one.duration_s <= longest
            assert one.closed_by == "stop" or one.duration_s == longest
    stops = 0
    for event in counted:
        role = role_of(event)
        text = str(event.value).lower() if event.value_type == "boolean" else event.text
        stops += role.role == "activity" and event.kind != "DEVICE_COMMANDS_EVENT" and text in role.stop
    assert stops == tracker.stops_without_start + sum(one.closed_by == "stop" for one in found)
