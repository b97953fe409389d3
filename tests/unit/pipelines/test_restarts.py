"""Going on after a crash: what the sink holds is what it would hold without one, whatever the stream and the crashes.

A model of an engine that keeps nothing: partitions that are read at any pace, the rules themselves, a sink by key, and
offsets that are committed as the connector commits them.
"""

from __future__ import annotations

import random
from typing import Any

from apache_beam.utils.timestamp import Timestamp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thingbeam.io.kafka.holding import HeldOffsets
from thingbeam.pipelines.restarts import LeaveOutPartial, whole_rows
from thingbeam.schemas import Activity, Event, EventBatch, Session, Usage, from_record_batch, to_record_batch
from thingbeam.schemas.batch import Description
from thingbeam.schemas.keys import key_of
from thingbeam.transforms.columns.activities import ActivityColumns
from thingbeam.transforms.columns.closing import END_OF_TIME
from thingbeam.transforms.columns.deduplicate import DeduplicateColumns
from thingbeam.transforms.columns.history import History, HistoryState
from thingbeam.transforms.columns.sessions import SessionColumns
from thingbeam.transforms.columns.usage import UsageColumns
from thingbeam.transforms.rules.roles import Role

SECOND = 1_000_000
MINUTE = 60 * SECOND
GAP, PERIOD, HOLD, RETENTION, LENGTH = 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, 60 * MINUTE, 20 * MINUTE
LONGEST = HOLD + PERIOD + GAP + 2 * MINUTE
"""After which every result is out: the longest of a held hour, an activity, and a session with what is added below."""
WARM_UP = RETENTION + LONGEST
ROLE = Role("activity", start=frozenset({"on"}), stop=frozenset({"off"}), max_length_s=LENGTH / SECOND)
RECORDS = {"activities": Activity, "sessions": Session, "usage": Usage}

Partition = tuple[str, int]
Sink = dict[Any, Any]


def role_of(_: Description) -> Role:
    return ROLE


def rules() -> History:
    return History(
        DeduplicateColumns(MINUTE),
        SessionColumns(GAP),
        ActivityColumns(role_of),
        UsageColumns(role_of, PERIOD, HOLD, RETENTION),
    )


def streams(seed: int) -> list[list[Event]]:
    """Partitions of events in order, of devices that are never without a silence for long: sessions end."""
    rng = random.Random(seed)
    partitions: list[list[Event]] = []
    for partition in range(rng.randint(1, 3)):
        events: list[Event] = []
        at = rng.randint(0, 3600)
        while at < 5 * 3600:
            # A few events, then a silence longer than the gap.
            for _ in range(rng.randint(1, 6)):
                device, value = f"d{partition}-{rng.randint(0, 1)}", rng.choice(["on", "off"])
                events.append(Event.of(f"e{at}-{len(events)}", Timestamp(at), device, "switch", "switch", value))
                at += rng.randint(1, 100)
            at += rng.choice([310, 400, 1200, 3000])
        partitions.append(events)
    return partitions


class Run:
    """One run of the model, from some offsets on, until it crashes or all is read.

    Args:
        partitions: the events of each.
        starts: the first of each that is read.
        complete_from: what the restart says.
        sink: what all runs write to.
        committed: of each partition the offset and the watermark there, as the runs leave them.
    """

    def __init__(
        self,
        partitions: list[list[Event]],
        starts: list[int],
        complete_from: int | None,
        sink: Sink,
        committed: dict[Partition, tuple[int, int]],
    ) -> None:
        self._partitions, self._next = partitions, list(starts)
        self._complete_from, self._sink, self._committed = complete_from, sink, committed
        self._rules, self._state = rules(), HistoryState()
        self._closed = -END_OF_TIME
        self._waiting: list[Event] = []
        self._held = HeldOffsets(margin=0.0, behind=LONGEST)
        self._marks = [self._mark(number) for number in range(len(partitions))]

    def _mark(self, number: int) -> int:
        """A partition's watermark: nothing before it comes any more."""
        events, at = self._partitions[number], self._next[number]
        return events[at - 1].event_time.micros if at else -(1 << 50)

    def step(self, number: int, count: int, clock: float) -> None:
        """Read some events of one partition."""
        events = self._partitions[number][self._next[number] : self._next[number] + count]
        self._waiting += events
        self._next[number] += len(events)
        ended = self._next[number] == len(self._partitions[number])
        # A partition that is read to its end is idle, and stands where the clock does.
        self._marks[number] = END_OF_TIME // 4 if ended else self._mark(number)
        self._advance(min(self._marks) // MINUTE * MINUTE)
        for each in range(len(self._partitions)):
            self._held.hear(("events", each), self._marks[each], clock)
        self._held.add(("events", number), (self._next[number], ""), self._mark(number), clock)
        for partition, (offset, _) in self._held.take(clock).items():
            at = self._partitions[partition[1]][offset - 1].event_time.micros if offset else -(1 << 50)
            if offset > self._committed.get(partition, (-1, 0))[0]:
                self._committed[partition] = (offset, at)

    def _advance(self, until: int) -> None:
        until = min(until, 8 * 3600 * SECOND)
        if until <= self._closed:
            return
        due = [event for event in self._waiting if event.event_time.micros < until]
        assert all(event.event_time.micros >= self._closed for event in due)
        self._waiting = [event for event in self._waiting if event.event_time.micros >= until]
        batches = [EventBatch.from_events(due)] if due else []
        done = self._rules.advance(self._state, batches, until, 0)
        self._closed = until
        for name, record in RECORDS.items():
            batch = getattr(done, name)
            if batch is None:
                continue
            if self._complete_from is not None:
                batch = whole_rows(batch, self._complete_from)
            for row in from_record_batch(batch, record):
                self._sink[(name, *key_of(row))] = row._replace(revision=0)  # type: ignore[attr-defined]

    @property
    def done(self) -> bool:
        return self._next == [len(events) for events in self._partitions]


def resumption(
    partitions: list[list[Event]], committed: dict[Partition, tuple[int, int]], warm_up: int
) -> tuple[list[int], int | None]:
    """As the connector has it: each partition's warm-up before its own offset, complete from the greatest."""
    starts = [0] * len(partitions)
    for (_, number), (offset, at) in committed.items():
        earlier = next(
            (n for n, event in enumerate(partitions[number]) if event.event_time.micros >= at - warm_up), offset
        )
        starts[number] = min(offset, earlier)
    return starts, max((at for _, at in committed.values()), default=None)


def ran(partitions: list[list[Event]], crashes: list[int], seed: int, warm_up: int = WARM_UP) -> tuple[Sink, int]:
    """What the sink holds in the end, and how many events were read again."""
    rng = random.Random(seed)
    sink: Sink = {}
    committed: dict[Partition, tuple[int, int]] = {}
    clock, spared = 0.0, 0
    for crash in [*crashes, 1 << 30]:
        starts, complete_from = resumption(partitions, committed, warm_up)
        spared += sum(starts)
        run = Run(partitions, starts, complete_from, sink, committed)
        steps = 0
        while not run.done and steps < crash:
            clock += 1.0
            steps += 1
            run.step(rng.randrange(len(partitions)), rng.randint(1, 12), clock)
    return sink, spared


@given(st.integers(0, 10_000), st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(0, 1000))
@settings(max_examples=12, deadline=None)
@example(3, [40, 40, 40], 1)
def test_the_sink_holds_what_it_would_without_a_crash(seed: int, crashes: list[int], pace: int) -> None:
    partitions = streams(seed)
    expected, _ = ran(partitions, [], pace)
    found, _ = ran(partitions, crashes, pace)
    assert found == expected


def test_a_restart_does_not_read_all_again() -> None:
    spared = [ran(streams(seed), [60, 60], seed)[1] for seed in range(6)]
    assert sum(each > 0 for each in spared) > 2


def test_a_warm_up_that_is_too_short_shows() -> None:
    """The property can fail: without what came before, results are partial."""
    wrong = 0
    for seed in range(8):
        partitions = streams(seed)
        wrong += ran(partitions, [60, 60], seed, warm_up=0)[0] != ran(partitions, [], seed)[0]
    assert wrong > 1


def session(start: int) -> Session:
    return Session("d", Timestamp(start), "", Timestamp(start), Timestamp(start + 1), 1, 1)


def test_rows_that_begin_too_early_are_left_out() -> None:
    batch = to_record_batch([session(5), session(9), session(10), session(11)], Session)
    found = from_record_batch(whole_rows(batch, 10 * SECOND), Session)
    assert [row.start for row in found] == [Timestamp(10), Timestamp(11)]
    [(name, kept)] = LeaveOutPartial(10 * SECOND).process(("n", batch))
    assert (name, kept.num_rows) == ("n", 2)
    assert list(LeaveOutPartial(99 * SECOND).process(("n", batch))) == []
