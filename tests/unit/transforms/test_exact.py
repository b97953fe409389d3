"""The exact pass in real runners: what is late, when results go out, how they are named, and what is forgotten."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_stream import TestStream
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from columnar import DAY, HOUR, MINUTE, SECOND, micros, said, sign
from pipelines_under_test import Given, Look, Ran, SoFar, key_of, of_type, run, run_stream, without_revisions
from thingbeam.schemas import Event, EventBatch, Session
from thingbeam.schemas.arrow import from_record_batch
from thingbeam.transforms import CapabilityTable, HomeZones
from thingbeam.transforms.capabilities import Entry
from thingbeam.transforms.columns.history import History
from thingbeam.transforms.columns.sessions import SessionColumns
from thingbeam.transforms.exact import (
    ACTIVITIES,
    DISTINCT,
    LATE,
    SESSIONS,
    USAGE,
    BoundedPass,
    ExactPass,
    Pace,
    late_name,
    name_of_time,
)
from thingbeam.transforms.history import DeviceHistory, Sessions
from thingbeam.transforms.rules.roles import Role
from thingbeam.transforms.sharding import ShardEvents

# Whole pipelines for each case: half a minute and more in all.
pytestmark = pytest.mark.slow

TABLE: Final = CapabilityTable(
    [
        Entry("power", "power", Role("measurement")),
        Entry("switch", "switch", Role("activity", start=frozenset({"on"}), stop=frozenset({"off"}))),
    ]
)


def moment(at: float) -> Timestamp:
    """Seconds after T0."""
    return Timestamp(micros=micros(at))


def batch(*events: Event) -> list[EventBatch]:
    return [EventBatch.from_events(events)]


def history_of(source: Any, shards: int = 1, **named: Any) -> dict[str, Any]:
    # The events here are years old.
    named.setdefault("backlog_slice", named.get("slice_length", "60s"))
    history = DeviceHistory(batches=True, table=TABLE, shards=shards, horizon="60s", **named)
    return (of_type(source, EventBatch) | history)._asdict()


def streamed(stream: TestStream, **named: Any) -> Ran:
    return run_stream(lambda pipeline: history_of(pipeline | stream, **named))


def ids(events: Sequence[Event]) -> list[str]:
    return sorted(event.event_id for event in events)


def test_late_is_what_comes_when_its_slice_is_closed() -> None:
    """The watermark closes the slice that ends at it, to the microsecond, and nothing of the next one."""
    stream = (
        TestStream()
        .add_elements(batch(said(0, 1.0), said(59.999999, 2.0)))
        .advance_watermark_to(moment(60 - 0.001))
        .add_elements(batch(said(0.5, 3.0, event_id="in time")))
        .advance_watermark_to(moment(60))
        .add_elements(
            batch(said(59.999999, 4.0, event_id="late"), said(60, 5.0, event_id="next"), said(0, 1.0, event_id="later"))
        )
        .advance_watermark_to_infinity()
    )
    found = streamed(stream, allowed_lateness="0s")
    assert ids(found.records("late")) == ["late", "later"]
    assert (found.counts["late"], found.counts["counted"]) == (2, 4)
    [session] = found.records("sessions")
    assert (session.count, session.start, session.last) == (4, moment(0), moment(60))


def test_the_allowed_lateness_is_waited_for() -> None:
    stream = (
        TestStream()
        .add_elements(batch(said(0, 1.0)))
        .advance_watermark_to(moment(60 + 90 - 0.001))
        .add_elements(batch(said(1, 2.0, event_id="in time")))
        .advance_watermark_to(moment(60 + 90))
        .add_elements(batch(said(2, 3.0, event_id="late")))
        .advance_watermark_to_infinity()
    )
    found = streamed(stream, allowed_lateness="90s")
    assert ids(found.records("late")) == ["late"]
    assert [session.count for session in found.records("sessions")] == [2]


def test_a_late_event_comes_out_as_it_came() -> None:
    late = said(30, 21.5, device="a lamp", unit="W", home_id="a house", event_id="évt")
    stream = (
        TestStream()
        .add_elements(batch(said(0, 1.0, device="a lamp")))
        .advance_watermark_to(moment(HOUR))
        .add_elements(batch(late))
        .advance_watermark_to_infinity()
    )
    assert streamed(stream).records("late") == [late]


def test_each_shard_closes_its_own_slices() -> None:
    """A device whose shard has heard nothing yet is not late, however far the others are."""
    devices = [f"d{number}" for number in range(40)]
    shard_of = {
        event.device_id: shard
        for shard, part in EventBatch.from_events([said(0, 1.0, device=device) for device in devices]).shards(2)
        for event in part.to_events()
    }
    first, same, other = (
        devices[0],
        next(device for device in devices[1:] if shard_of[device] == shard_of[devices[0]]),
        next(device for device in devices if shard_of[device] != shard_of[devices[0]]),
    )
    stream = (
        TestStream()
        .add_elements(batch(said(0, 1.0, device=first)))
        .advance_watermark_to(moment(HOUR))
        .add_elements(batch(said(0, 1.0, device=same, event_id="late"), said(0, 1.0, device=other, event_id="first")))
        .advance_watermark_to_infinity()
    )
    found = streamed(stream, shards=2)
    assert ids(found.records("late")) == ["late"]
    assert {session.device_id for session in found.records("sessions")} == {first, other}


def test_results_go_out_when_they_are_over_and_not_before() -> None:
    """Seen between the watermark's steps: a session at its end, an hour at its end, an activity at its stop's slice."""
    stream = TestStream(output_tags={"events", "looks"})
    stream.add_elements(batch(said(0, "on", "switch"), said(90, "off", "switch")), tag="events")
    for at in (149, 150, 749, 750, HOUR + 29, HOUR + 30):
        stream.advance_watermark_to(moment(at), tag="events")
        stream.add_elements([at], tag="looks")

    def build(pipeline: beam.Pipeline) -> dict[str, Any]:
        tagged = pipeline | stream
        outputs = history_of(tagged["events"], allowed_lateness="30s")
        return outputs | {"so far": tagged["looks"] | beam.ParDo(SoFar(tuple(outputs)))}

    found = run_stream(build)
    nothing, activity, session = set[str](), {"activities"}, {"activities", "sessions"}
    assert found.elements["so far"] == [nothing, activity, activity, session, session, session | {"usage"}]
    [activity] = found.records("activities")
    [session] = found.records("sessions")
    assert (activity.start, activity.end, activity.closed_by) == (moment(0), moment(90), "stop")
    assert session.end == moment(690)
    # The name has the time up to which the shard's slices were closed when the rows went out.
    assert found.names["activities"] == [f"{name_of_time(micros(120))}-s00000"]
    assert found.names["sessions"] == [f"{name_of_time(micros(720))}-s00000"]
    assert found.names["usage"][0] == f"{name_of_time(micros(HOUR))}-s00000"


def test_a_leap_of_the_watermark_closes_all_slices_in_order() -> None:
    """Nine sessions in nine hours, in one leap: each goes out once, the revisions in order of time."""
    events = [said(at, 1.0) for hour in range(9) for at in (hour * HOUR + 5, hour * HOUR + 125)]
    random.Random(1).shuffle(events)
    stream = TestStream().add_elements([EventBatch.from_events(events[:7]), EventBatch.from_events(events[7:])])
    found = streamed(stream.advance_watermark_to_infinity())
    sessions = found.records("sessions")
    assert [(session.start, session.count) for session in sessions] == [
        (moment(hour * HOUR + 5), 2) for hour in range(9)
    ]
    revisions = [session.revision for session in sessions]
    assert revisions == sorted(set(revisions))
    assert not found.records("late")


def test_more_slices_wait_than_there_are_bags() -> None:
    """Rows of slices eight apart wait in one bag, and each leaves it with its own slice."""
    times = [minute * MINUTE + second for minute in range(40) for second in (1, 2)]
    stream = TestStream().add_elements(batch(*[said(at, 1.0, event_id=f"e{at}") for at in times]))
    for minute in range(1, 41):
        stream.advance_watermark_to(moment(minute * MINUTE))
        # Of the slice just closed, and of one that is open.
        stream.add_elements(batch(said((minute - 1) * MINUTE + 3, 1.0, event_id=f"late {minute}")))
        stream.add_elements(batch(said(minute * MINUTE + 3, 1.0, event_id=f"in time {minute}")))
    found = streamed(stream.advance_watermark_to_infinity(), allowed_lateness="0s")
    assert ids(found.records("late")) == sorted(f"late {minute}" for minute in range(1, 41))
    assert [session.count for session in found.records("sessions")] == [2 * 40 + 40]


@pytest.mark.parametrize(("slice_length", "backlog"), [("1s", "1s"), ("60s", "60s"), ("60s", "15m"), ("15m", "15m")])
def test_no_result_depends_on_the_length_of_a_slice(slice_length: str, backlog: str) -> None:
    rng = random.Random(2)
    events = [
        said(rng.uniform(0, 2 * HOUR), rng.choice(["on", "off"]), "switch", device=f"d{n % 3}") for n in range(60)
    ]
    stream = TestStream().add_elements(batch(*events)).advance_watermark_to_infinity()
    found = streamed(stream, slice_length=slice_length, backlog_slice=backlog)
    expected = streamed(TestStream().add_elements(batch(*events)).advance_watermark_to_infinity(), slice_length="5m")
    for name in ("activities", "sessions", "usage"):
        assert without_revisions(found.records(name)) == without_revisions(expected.records(name))
    assert len(found.records("activities")) > 10


def test_names_are_the_same_in_every_retry() -> None:
    """They follow from shard and slice, or from the rows themselves, and never from when or in what order they came."""

    def once(seed: int) -> Ran:
        rng = random.Random(seed)
        late = [said(at, 1.0, device=f"d{at}", event_id=f"late {at}") for at in range(20)]
        rng.shuffle(late)
        stream = (
            TestStream()
            .add_elements(batch(*[said(HOUR + at, 1.0, device=f"d{at}", event_id=f"e{at}") for at in range(20)]))
            .advance_watermark_to(moment(2 * HOUR))
            .add_elements(batch(*late))
            .advance_watermark_to_infinity()
        )
        return streamed(stream, shards=4)

    first, second = once(1), once(2)
    assert len(first.records("late")) == 20
    for name in ("late", "sessions", "usage"):
        assert sorted(first.names[name]) == sorted(second.names[name])
        assert len(set(first.names[name])) == len(first.names[name])


def test_the_name_of_late_rows_tells_them_apart() -> None:
    events = [said(at, 1.0, event_id=f"e{at}") for at in range(3)]
    name = late_name(3, micros(0), EventBatch.from_events(events))
    assert name == late_name(3, micros(0), EventBatch.from_events(events[::-1]))
    assert name != late_name(3, micros(0), EventBatch.from_events(events[:2]))
    assert name.startswith("20070328T000000Z-s00003-")


def test_a_time_in_a_name() -> None:
    assert name_of_time(1_175_378_400_000_000) == "20070331T220000Z"
    assert name_of_time(1_175_378_400_000_001) == "20070331T220000.000001Z"


class TestForgetting:
    """State, counted in the runner itself."""

    LAST: Final = 100.0

    def look(self, *after: float, first: Sequence[Event], **named: Any) -> Ran:
        """Let the watermark go on to some times after the last event, and look at the state at each."""
        stream = TestStream(output_tags={"events", "looks"}).add_elements(batch(*first), tag="events")
        for at in after:
            stream.advance_watermark_to(moment(self.LAST + at), tag="events")
            stream.add_elements([at], tag="looks")
        stream.advance_watermark_to_infinity(tag="events")

        def build(pipeline: beam.Pipeline) -> dict[str, Any]:
            tagged = pipeline | stream
            return history_of(tagged["events"], **named) | {"looks": tagged["looks"] | beam.ParDo(Look())}

        return run_stream(build)

    def test_nothing_is_left_35_days_after_the_last_event(self) -> None:
        events = [said(0, "on", "switch", device="d1"), said(self.LAST, 5.0, device="d2")]
        slice_s, lateness = 60, 60
        # A value is carried into the hour that begins less than 35 days after it, and kept to the end of that hour.
        end = 35 * DAY + HOUR - self.LAST + lateness
        found = self.look(0, 2 * DAY, end - slice_s, end, first=events, shards=1)
        # The clock and what waits in two slices; then the clock and the history; then nothing.
        assert found.looks == [(3, 1), (2, 1), (2, 1), (0, 0)]
        assert found.cells == found.timers == []
        assert len(found.records("usage")) > 24
        assert [row.closed_by for row in found.records("activities")] == ["max_length"]

    @pytest.mark.parametrize("hold", ["1d", "34d", "60d"])
    def test_with_a_shorter_retention_or_a_longer_hold(self, hold: str) -> None:
        found = self.look(10 * DAY, 36 * DAY, first=[said(self.LAST, 5.0)], retention="2d", hold=hold)
        assert found.looks[1] == (0, 0)

    def test_a_device_that_never_had_a_value(self) -> None:
        found = self.look(10 * DAY, 36 * DAY, first=[sign(self.LAST)])
        assert found.looks[1] == (0, 0)

    def test_a_longer_retention_is_kept(self) -> None:
        found = self.look(36 * DAY, 71 * DAY, first=[said(self.LAST, 5.0)], retention="70d")
        assert found.looks == [(2, 1), (0, 0)]

    def test_every_shard_forgets(self) -> None:
        events = [said(self.LAST - number, 5.0, device=f"d{number}") for number in range(60)]
        found = self.look(DAY, 36 * DAY, first=events, shards=7)
        assert found.looks == [(14, 7), (0, 0)]


@pytest.mark.parametrize("silence", [5 * MINUTE, 3 * HOUR, 30 * DAY])
def test_what_was_closed_stays_closed_when_nothing_else_is_remembered(silence: float) -> None:
    """Sessions alone remember nothing once they have gone out; a repeat would make a second one of the same key."""
    event = said(0, 1.0)

    def build(pipeline: beam.Pipeline) -> dict[str, Any]:
        stream = (
            TestStream()
            .add_elements([event])
            .advance_watermark_to(moment(HOUR + silence))
            .add_elements([event])
            .advance_watermark_to_infinity()
        )
        return (of_type(pipeline | stream, Event) | Sessions(table=TABLE))._asdict()

    found = run_stream(build)
    assert [session.count for session in found.records("results")] == [1]
    assert found.records("late") == [event]
    assert found.cells == found.timers == []


class TestOnFnApiRunner:
    """The same step on another runner, which takes all of a bounded input before it fires the first timer."""

    NAMED: Final = {"table": TABLE, "horizon": "60s", "hold": "1h", "retention": "1d", "period": "1d"}

    def exact(self, events: Sequence[Event], pieces: int, emit_distinct: bool = False) -> Ran:
        history = DeviceHistory(**self.NAMED)._history
        groups = [EventBatch.from_events(events[at::pieces]) for at in range(pieces)]

        def build(pipeline: beam.Pipeline) -> dict[str, Any]:
            given = pipeline | Given(groups, EventBatch)
            sharded, _ = given | ShardEvents(1, HomeZones(), TABLE)
            passed = sharded | beam.ParDo(ExactPass(history, Pace(), emit_distinct=emit_distinct)).with_outputs(
                LATE, ACTIVITIES, SESSIONS, USAGE, DISTINCT
            )
            return {name: passed[name] for name in (LATE, ACTIVITIES, SESSIONS, USAGE, DISTINCT)}

        return run(build)

    def bounded(self, events: Sequence[Event]) -> Ran:
        def build(pipeline: beam.Pipeline) -> dict[str, Any]:
            given = pipeline | Given(batch(*events), EventBatch)
            history = DeviceHistory(**self.NAMED, batches=True, hold_until=micros(100 * DAY), shards=3)
            return (given | history)._asdict()

        return run(build)

    @pytest.mark.parametrize("pieces", [1, 5])
    def test_it_gives_what_the_bounded_pass_gives(self, pieces: int) -> None:
        rng = random.Random(3)
        events = [
            said(rng.uniform(0, 3 * HOUR), rng.choice(["on", "off"]), "switch", device=f"d{number % 5}")
            for number in range(60)
        ] + [said(rng.uniform(0, 3 * HOUR), rng.uniform(0, 9), device=f"d{number % 5}") for number in range(60)]
        found, expected = self.exact(events, pieces), self.bounded(events)
        assert not found.elements[LATE]
        for name in (ACTIVITIES, SESSIONS, USAGE):
            ours, theirs = found.records(name), expected.records(name)
            assert {key_of(row): row.end for row in ours} == {key_of(row): row.end for row in theirs}
            assert len(ours) == len(theirs) >= 10
        assert found.counts["counted"] == expected.counts["counted"] == 120

    def test_no_state_is_left(self) -> None:
        assert self.exact([said(0, "on", "switch"), said(30, 1.0)], 2).cells == []

    def test_distinct_rows_come_out_in_order_of_device_and_time(self) -> None:
        event = said(30, 1.0)
        events = [said(45, 2.0), event, said(10, 3.0), event, said(70, 4.0)]
        found = self.exact(events, 2, emit_distinct=True)
        assert [row.event_time for row in found.records(DISTINCT)] == [moment(at) for at in (10, 30, 45, 70)]
        assert found.counts["duplicates"] == 1


def test_rows_beyond_a_batch_go_out_in_parts() -> None:
    """131,072 rows are one batch; a row more makes two, whose names say so."""
    one = EventBatch.from_events([said(0, 1.0)])
    rows = one.rows.repeat(131_073)
    rows["time"] += 2 * SECOND * np.arange(131_073)

    def named(count: int) -> list[tuple[str, int]]:
        step = BoundedPass(History(sessions=SessionColumns(SECOND)))
        outputs = list(step.process((7, [EventBatch(rows[:count], one.names)])))
        sessions = [output.value for output in outputs if output.tag == SESSIONS]
        starts = {row.start for _, batch in sessions for row in from_record_batch(batch.slice(0, 1), Session)}
        assert len(starts) == len(sessions)
        return [(name, batch.num_rows) for name, batch in sessions]

    assert named(131_072) == [("s00007", 131_072)]
    assert named(131_073) == [("s00007-000", 131_072), ("s00007-001", 1)]


@pytest.mark.parametrize("slice_s", [0, -60, 7, 901, 1800])
def test_a_slice_that_does_not_divide_a_quarter_of_an_hour(slice_s: int) -> None:
    with pytest.raises(ValueError, match="does not divide 15 minutes"):
        Pace(slice=slice_s * SECOND).checked()


def test_a_lateness_below_zero() -> None:
    with pytest.raises(ValueError, match="allowed lateness of -1 s is below 0"):
        Pace(lateness=-SECOND).checked()


@pytest.mark.parametrize("slice_s", [1, 60, 180, 900])
def test_a_pace_that_can_be(slice_s: int) -> None:
    assert Pace(0, slice_s * SECOND).checked()[:2] == (0, slice_s * SECOND)


@pytest.mark.parametrize("backlog_s", [0, -60, 90])
def test_a_step_that_is_no_multiple_of_a_slice(backlog_s: int) -> None:
    with pytest.raises(ValueError, match="is no multiple of a slice of 60 s"):
        Pace(backlog=backlog_s * SECOND).checked()


@given(st.integers(-100, 100_000), st.integers(0, 200_000))
def test_live_slices_wake_by_themselves_and_old_ones_more_of_them_together(number: int, now_minute: int) -> None:
    pace = Pace()
    wake = pace.wake(number, now_minute * 60 * SECOND)
    overdue = now_minute - number - 1
    step = 15 if overdue >= 30 else 5 if overdue >= 10 else 3 if overdue >= 6 else 1
    assert wake % step == 0
    assert 0 <= wake - number < step


def test_a_row_of_long_ago_waits_for_its_quarter_of_an_hour() -> None:
    stream = (
        TestStream()
        .add_elements(batch(said(0, 1.0)))
        .advance_watermark_to(moment(14 * 60))
        .add_elements(batch(said(1, 2.0, event_id="in time")))
        .advance_watermark_to(moment(15 * 60))
        .add_elements(batch(said(2, 3.0, event_id="late"), said(900, 4.0, event_id="next")))
        .advance_watermark_to_infinity()
    )
    found = streamed(stream, allowed_lateness="0s", backlog_slice="15m")
    assert ids(found.records("late")) == ["late"]
    assert found.counts["counted"] == 3
