"""The provisional pass: newest first, and in the end nothing that the exact pass does not say."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from apache_beam.utils.timestamp import Timestamp

from comparison import SECOND, by_rule, history
from streams import disorder, random_stream, role_of, zone_name, zone_of
from thingbeam.schemas import Activity, Event, EventBatch, Session, Usage, from_record_batch
from thingbeam.schemas.keys import key_of
from thingbeam.transforms.columns import provisional as module
from thingbeam.transforms.columns.history import HistoryState
from thingbeam.transforms.columns.provisional import Provisional, ProvisionalState
from thingbeam.transforms.columns.published import Published
from thingbeam.transforms.rules import Period, UsageStatistics, is_ignored, sift

KINDS = {"activities": Activity, "sessions": Session, "usage": Usage}
SLACK_S = 120


@pytest.fixture(params=[0, 1000], autouse=True)
def some(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How much may stay that is of no use any more."""
    monkeypatch.setattr(module, "_SOME", request.param)
    number: int = request.param
    return number


class Sink:
    """Writes by key, ignores older revisions, honours tombstones."""

    def __init__(self) -> None:
        self.rows: dict[Any, Any] = {}
        self.revisions: dict[Any, int] = {}

    def write(self, batches: dict[str, Any]) -> None:
        for kind, batch in batches.items():
            if batch is None:
                continue
            for row in from_record_batch(batch, KINDS[kind]):
                key = (kind, *key_of(row))
                assert row.revision > self.revisions.get(key, -1), (key, row, self.rows.get(key))
                self.revisions[key] = row.revision
                if row.deleted:
                    assert key in self.rows, "taken back without having been there"
                    assert not self.rows.pop(key).final, "a final result was taken back"
                else:
                    self.rows[key] = row


def fresh(exact: HistoryState | None = None) -> ProvisionalState:
    return ProvisionalState(exact or HistoryState(), Published())


def run(
    events: list[Event], period: str, rng: random.Random, look: Any = None, lag: float = 0.0
) -> tuple[Sink, ProvisionalState, int]:
    """Events as they arrive, some at a time; the exact pass follows by the slack, the provisional one at once.

    Now and then the worker is another one, and has only what was encoded, and the rows that wait. How often the
    provisional pass lags is given: what came is looked at with what comes next, the exact pass may be past it by then,
    and some of it is too old to be shown.
    """
    rules = history(period)
    live, state, sink = Provisional(rules), fresh(), Sink()
    kept: list[bytes] = []
    waiting: list[Event] = []
    seen: list[Event] = []
    lagging: list[Event] = []
    closed, newest, now = -(1 << 62), -(1 << 62), 0
    at = 0
    while at < len(events):
        size = rng.randint(1, 12)
        came = [event for event in events[at : at + size] if event.event_time.micros >= closed]
        assert len(came) == len(events[at : at + size]), "nothing is late here"
        at += size
        now += 1
        if rng.random() < 0.3:
            rng.shuffle(kept)
            known = HistoryState.decode(state.exact.encode())
            state = ProvisionalState(known, Published.decode(kept), state.revision)
            live.tell(state, EventBatch.from_events([e for e in waiting if e not in lagging], zone_name))
        waiting += came
        seen += came
        lagging += came
        newest = max(newest, *(event.event_time.micros for event in came))
        if rng.random() >= lag:
            since = newest - rng.randint(0, SLACK_S) * SECOND if rng.random() < lag else -(1 << 62)
            sink.write(live.tick(state, EventBatch.from_events(lagging, zone_name), closed, now, since))
            kept += filter(None, [state.published.encode_added()])
            lagging = []
        if look is not None:
            look(seen, sink, newest)
        until = (newest - SLACK_S * SECOND) // (60 * SECOND) * 60 * SECOND
        if until > closed and rng.random() < 0.7:
            now += 1
            mine = [event for event in waiting if event.event_time.micros < until]
            waiting = [event for event in waiting if event.event_time.micros >= until]
            close(live, state, mine, until, now, sink)
            kept = state.published.encode()
            closed = until
    stop = newest + 3 * 86400 * SECOND
    close(live, state, waiting, stop, now + 1, sink)
    return sink, state, stop


def close(live: Provisional, state: ProvisionalState, mine: list[Event], until: int, now: int, sink: Sink) -> None:
    """A step of the exact pass."""
    state.exact.revision = max(state.exact.revision, state.revision)
    done = live.history.advance(state.exact, [EventBatch.from_events(mine, zone_name)], until, now)
    sink.write({kind: getattr(done, kind) for kind in KINDS})
    sink.write(live.settle(state, done, until))


@pytest.mark.parametrize("lag", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(30))
def test_what_remains_is_what_the_exact_pass_says(seed: int, lag: float) -> None:
    rng = random.Random(seed)
    period = rng.choice(["1h", "15m", "1d"])
    stream = random_stream(seed, devices=rng.choice([1, 4]), events=rng.choice([30, 120]))
    events = [event for event in disorder(stream, rng, SLACK_S) if not is_ignored(event, role_of)]
    sink, state, stop = run(events, period, rng, lag=lag)
    expected, _ = by_rule(events, period, stop)
    ended = {"activities": [row for row in expected["activities"] if row.end is not None]}
    ended |= {kind: [row for row in expected[kind] if row.end.micros <= stop] for kind in ("sessions", "usage")}
    over = {(kind, *key_of(row)): row for kind, rows in ended.items() for row in rows}
    final = {key: row for key, row in sink.rows.items() if row.final}
    assert final.keys() == over.keys()
    for key, row in over.items():
        got = final[key]
        assert got.end == row.end
        assert got._replace(revision=0).start_local == row.start_local
        if not isinstance(row, Activity):
            assert got.count == row.count
    # What is provisional still is open: it is so in the exact state, too.
    for row in sink.rows.values():
        if not row.final:
            assert row.start.micros >= stop or isinstance(row, Activity | Session) or row.end.micros > stop
    assert not state.heard
    assert not len(state.published)


@pytest.mark.parametrize("seed", range(30, 45))
def test_in_order_the_provisional_rows_are_what_is_so(seed: int) -> None:
    """Without disorder, what a touched series shows is the plain rule's answer to what came so far, up to now."""
    rng = random.Random(seed)
    stream = [event for event in random_stream(seed, devices=3, events=60) if not is_ignored(event, role_of)]
    statistics = UsageStatistics(role_of, zone_of, Period.parse("1h"))
    checked = 0

    def look(seen: list[Event], sink: Sink, newest: int) -> None:
        nonlocal checked
        counted = sift(seen, role_of).counted
        last = counted[-1]
        device = last.device_id
        truth = {("usage", *key_of(row)): row for row in statistics.compute(counted) if row.device_id == device}
        ours = {key: row for key, row in sink.rows.items() if isinstance(row, Usage) and row.device_id == device}
        for key, row in ours.items():
            if row.final or row.revision < max(r.revision for r in sink.rows.values()):
                continue
            expected = truth[key]
            assert row.count == expected.count
            assert (row.min, row.max) == (expected.min, expected.max)
            assert (row.last, row.last_state) == (expected.last, expected.last_state)
            assert row.changes == expected.changes
            if expected.sum is not None:
                assert math.isclose(row.sum, expected.sum, abs_tol=1e-6)
            spent = sum(row.seconds_in_state.values())
            assert spent <= (min(newest + 1, row.end.micros) - row.start.micros) / 1e6 + 1e-6
            checked += 1

    run(stream, "1h", rng, look)
    assert checked


def test_a_washer_that_runs_is_shown_running_and_then_done() -> None:
    def machine(at: float, state: str) -> Event:
        return Event.of(f"e{at}", Timestamp(at), "washer", "washerOperatingState", "machineState", state)

    live, state = Provisional(history("1h")), fresh()
    found = live.tick(state, EventBatch.from_events([machine(100, "run")]), 0, 1)
    [running] = from_record_batch(found["activities"], Activity)
    assert (running.state, running.end, running.final) == ("running", None, False)
    [usage] = from_record_batch(found["usage"], Usage)
    assert usage.seconds_in_state == {"run": 1e-6}
    found = live.tick(state, EventBatch.from_events([machine(700, "stop")]), 0, 2)
    [done] = from_record_batch(found["activities"], Activity)
    assert (done.state, done.duration_s, done.closed_by, done.final) == ("done", 600.0, "stop", False)
    assert done.start == running.start
    assert done.revision > running.revision
    [usage] = from_record_batch(found["usage"], Usage)
    assert usage.seconds_in_state == pytest.approx({"run": 600.0, "stop": 1e-6})
    [session] = from_record_batch(found["sessions"], Session)[-1:]
    assert session.count in (1, 2)


def test_a_late_start_takes_back_what_was_shown() -> None:
    def light(at: float, value: str) -> Event:
        return Event.of(f"e{at}", Timestamp(at), "lamp", "switch", "switch", value)

    live, state, sink = Provisional(history("1h")), fresh(), Sink()
    sink.write(live.tick(state, EventBatch.from_events([light(100, "on")]), 0, 1))
    sink.write(live.tick(state, EventBatch.from_events([light(90, "on")]), 0, 2))
    close(live, state, [light(90, "on"), light(100, "on")], 200 * SECOND, 3, sink)
    shown = [row for row in sink.rows.values() if isinstance(row, Activity)]
    assert [row.start.micros for row in shown] in ([], [90 * SECOND])
    close(live, state, [light(300, "off")], 5000 * SECOND, 4, sink)
    [row] = [row for row in sink.rows.values() if isinstance(row, Activity)]
    assert (row.start.micros, row.duration_s, row.final) == (90 * SECOND, 210.0, True)


def plug(at: float, value: str = "on") -> Event:
    return Event.of(f"e{at}", Timestamp(at), "plug", "switch", "switch", value)


def started(results: dict[str, Any]) -> list[tuple[float, float | None]]:
    rows = from_record_batch(results["activities"], Activity) if "activities" in results else []
    return [(row.start.micros / SECOND, row.end and row.end.micros / SECOND) for row in rows]


@pytest.mark.parametrize("told", [True, False])
def test_a_final_row_stays_though_its_end_was_looked_at_after_it_was_final(told: bool) -> None:
    """The end came behind newer rows, and the exact pass was first: what stood open in the fork is over."""
    live, state, sink = Provisional(history("1h")), fresh(), Sink()
    warm = Event.of("warm", Timestamp(200), "plug", "temperatureMeasurement", "temperature", 20.0)
    first, over, next_ = [plug(100), warm], [plug(110, "off")], [plug(300)]
    sink.write(live.tick(state, EventBatch.from_events(first, zone_name), 0, 1))
    if told:
        # Too old to be shown when it came.
        assert not live.tick(state, EventBatch.from_events(over, zone_name), 0, 2, 150 * SECOND)
    close(live, state, [first[0], *over], 180 * SECOND, 3, sink)
    if not told:
        assert not live.tick(state, EventBatch.from_events(over, zone_name), 180 * SECOND, 4)
    shown = live.tick(state, EventBatch.from_events(next_, zone_name), 180 * SECOND, 5)
    assert started(shown) == [(300.0, None)]
    sink.write(shown)
    close(live, state, [warm, *next_], 400 * SECOND, 6, sink)
    [final] = [row for row in sink.rows.values() if isinstance(row, Activity) and row.final]
    assert (final.start.micros, final.end and final.end.micros) == (100 * SECOND, 110 * SECOND)


@pytest.mark.parametrize("other_worker", [True, False])
def test_what_the_exact_pass_took_of_a_device_that_is_not_in_the_fork_is_not_told_again(other_worker: bool) -> None:
    live, state, sink = Provisional(history("1h")), fresh(), Sink()
    close(live, state, [plug(100)], 180 * SECOND, 1, sink)
    if other_worker:
        state = fresh(HistoryState.decode(state.exact.encode()))
    assert not live.tick(state, EventBatch.from_events([plug(100)], zone_name), 180 * SECOND, 2)
    assert len(state.untold) == 0


def test_what_the_exact_pass_has_begun_is_not_remembered_but_what_is_new_is() -> None:
    live, state, sink = Provisional(history("1h")), fresh(), Sink()
    sink.write(live.tick(state, EventBatch.from_events([plug(100)], zone_name), 0, 1))
    assert len(state.published) == len(sink.rows) == 3
    close(live, state, [plug(100)], 200 * SECOND, 2, sink)
    assert not len(state.published)
    sink.write(live.tick(state, EventBatch.from_events([plug(300)], zone_name), 200 * SECOND, 3))
    assert not len(state.published)
    # A session and an hour that are new; the light is still on from before.
    sink.write(live.tick(state, EventBatch.from_events([plug(3700)], zone_name), 200 * SECOND, 4))
    assert len(state.published) == 2
    assert state.published.encode_added() is not None
    assert state.published.encode_added() is None


def test_ids_that_are_no_uuid_are_forgotten_with_their_devices(some: int) -> None:
    live, state, sink = Provisional(history("1h")), fresh(), Sink()
    closed = 0
    for minute in range(1, 400):
        event = Event.of(f"e{minute}", Timestamp(60 * minute), f"d{minute}", "switch", "switch", "on")
        batch = EventBatch.from_events([event], zone_name)
        sink.write(live.tick(state, batch, closed, 2 * minute))
        closed = (60 * minute + 1) * SECOND
        close(live, state, [event], closed, 2 * minute + 1, sink)
        state.exact = HistoryState.decode(state.exact.encode())
    # The exact state may have as many again until it is pruned.
    assert len(state.exact.lexicon.ids) <= len(state.lexicon.ids) + 2 <= 2 * 400 + 2
    assert not state.heard
    assert some or "e5" not in state.lexicon.ids.values()


def test_devices_that_the_exact_pass_has_passed_are_forgotten_though_others_go_on(some: int) -> None:
    live, state, sink = Provisional(history("1h")), fresh(), Sink()
    waiting: list[Event] = []
    most = 0
    for minute in range(1, 300):
        event = Event.of(f"e{minute}", Timestamp(60 * minute), f"d{minute}", "switch", "switch", "on")
        waiting.append(event)
        closed = 60 * (minute - 1) * SECOND
        sink.write(live.tick(state, EventBatch.from_events([event], zone_name), closed, 2 * minute))
        mine = [event for event in waiting if event.event_time.micros < closed]
        waiting = waiting[len(mine) :]
        close(live, state, mine, closed, 2 * minute + 1, sink)
        most = max(most, len(state.heard))
    assert state.heard
    assert most <= 2 * 3 + some + 1
