"""ProvisionalPass: the same results, whatever the worker remembers."""

from __future__ import annotations

import random
import time
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.timestamp import Timestamp

from comparison import SECOND, history
from golden_state import FOLDER
from state_cells import Bag, Timer, Value
from streams import random_stream, role_of, zone_name
from thingbeam.schemas import Event, EventBatch, Session, from_record_batch
from thingbeam.schemas.keys import key_of
from thingbeam.transforms import exact, provisional
from thingbeam.transforms.columns.provisional import ProvisionalState
from thingbeam.transforms.columns.published import KINDS
from thingbeam.transforms.exact import ExactPass, Pace, read_clock
from thingbeam.transforms.memory import Memory
from thingbeam.transforms.provisional import ProvisionalPass
from thingbeam.transforms.rules import is_ignored
from thingbeam.transforms.spreading import shard_numbers

LATENESS_S = 60
BAGS = tuple(f"w{number}" for number in range(8))


class Unordered(Bag):
    """A bag as engines may give it."""

    def read(self) -> list[bytes]:
        return random.Random(len(self.held)).sample(self.held, len(self.held))


class Unread(Value):
    """Nobody may look."""

    def read(self) -> Any:
        raise AssertionError("read")


class UnreadBag(Bag):
    """Nobody may look."""

    def read(self) -> list[bytes]:
        raise AssertionError("read")


class Shard:
    """One key of the step, with cells that are its own."""

    def __init__(self, within: int | None = None) -> None:
        pace = Pace(lateness=LATENESS_S * SECOND, backlog=60 * SECOND)
        self.step = ProvisionalPass(history("1h"), pace, 1_000_000, within)
        self.cells: dict[str, Any] = {name: Value() for name in ("clock", "history", "shown")}
        self.cells |= {name: Unordered() for name in ("fresh", "published", "pieces", *BAGS)}
        self.timer, self.tick = Timer(), Timer()
        self.looked: list[Any] = []

    def _given(self, *names: str) -> dict[str, Any]:
        return {name: self.cells[name] for name in (*BAGS, *names)}

    def come(self, *events: Event) -> None:
        element = 3, EventBatch.from_events(list(events), zone_name)
        given = self._given("clock", "history", "pieces", "fresh", "published", "shown")
        self.looked += rows(list(self.step.process(element, timer=self.timer, tick=self.tick, **given)))

    def seen(self) -> list[Any]:
        """What was given as rows came."""
        found, self.looked = self.looked, []
        return found

    def show(self) -> list[Any]:
        """And what a tick gives."""
        given = self._given("clock", "history", "pieces", "fresh", "published", "shown")
        return self.seen() + rows(list(self.step.show(shard=3, **given)))

    def watermark(self, micros: int) -> list[Any]:
        found: list[Any] = []
        while self.timer.at is not None and self.timer.at.micros <= micros:
            fired, self.timer.at = self.timer.at, None
            given = self._given("clock", "history", "pieces", "fresh", "published", "shown")
            found += rows(list(self.step.wake(shard=3, fired=fired, timer=self.timer, **given)))
        return found


def rows(given: list[TaggedOutput]) -> list[Any]:
    return [row for tagged in given for row in from_record_batch(tagged.value[1], KINDS[tagged.tag])]


def plain(found: list[Any]) -> list[Any]:
    return sorted((repr((key_of(row), row._replace(revision=0))), row.final) for row in found)


class Worker:
    """The process that runs the step, and its clock, which stands in the middle of a second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.forget()
        self.clock = int(time.time()) * SECOND + SECOND // 2
        for module in (exact, provisional):
            monkeypatch.setattr(module, "now_micros", lambda: self.clock)

    def forget(self) -> None:
        """As another one would know nothing."""
        self.memory = Memory[ProvisionalState]()
        self._monkeypatch.setattr(provisional, "_MEMORY", self.memory)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    return Worker(monkeypatch)


@pytest.mark.parametrize(("seed", "piece"), [*((seed, 1 << 20) for seed in range(8)), (8, 900), (9, 1500), (10, 2500)])
def test_a_worker_that_remembers_nothing_gives_the_same_rows(
    seed: int, piece: int, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every way in which it may forget: before a tick, before a slice, always. State may be in pieces."""
    monkeypatch.setattr(exact, "_PIECE_BYTES", piece)
    cut_up = 0
    rng = random.Random(seed)
    stream = [event for event in random_stream(seed, devices=4, events=80) if not is_ignored(event, role_of)]
    one, other = Shard(), Shard()
    shown, at = 0, 0
    revisions: dict[Any, int] = {}
    while at < len(stream):
        size = rng.randint(1, 6)
        came, at = stream[at : at + size], at + size
        newest = came[-1].event_time.micros
        found: list[list[Any]] = []
        worker.clock += rng.choice((0, SECOND))
        ticks = rng.random() < 0.7
        for shard, forgets in ((one, False), (other, True)):
            if forgets and rng.random() < 0.5:
                worker.forget()
            done = shard.watermark(came[0].event_time.micros)
            shard.come(*came)
            if forgets and rng.random() < 0.5:
                worker.forget()
            done += shard.show() if ticks else shard.seen()
            if forgets and rng.random() < 0.3:
                worker.forget()
            done += shard.watermark(newest)
            found.append(done)
            cut_up += len(shard.cells["pieces"].read()) > 1
        assert plain(found[0]) == plain(found[1])
        for row in found[1]:
            key = type(row).__name__, *key_of(row)
            assert row.revision > revisions.get(key, -1)
            revisions[key] = row.revision
        shown += len(found[0])
    assert shown > 50
    assert bool(cut_up) == (piece < 1 << 20)
    end = 1 << 61
    assert plain(one.watermark(end)) == plain(other.watermark(end))
    for shard in (one, other):
        assert shard.show() == []
        assert not any(shard.cells[name].read() for name in (*BAGS, "clock", "history", "pieces", "fresh", "published"))


def test_shards_close_their_slices_one_after_another() -> None:
    pace = Pace()
    for shards in (1, 4, 12, 200):
        step = ProvisionalPass(history("1h"), pace, SECOND, shards=shards)
        phases = [step._phase(shard) for shard in shard_numbers(shards)]
        assert [later - sooner for sooner, later in pairwise([*phases, pace.slice // 2])] == [
            30 * SECOND // shards
        ] * shards
        assert phases[0] == step._phase(32_000) == 0
    assert ExactPass(history("1h"), pace)._phase(3) == 0


def test_a_worker_that_remembers_reads_no_state_to_show(worker: Worker) -> None:
    def light(at: int, value: str = "on") -> Event:
        return Event.of(f"e{at}", Timestamp(at), "lamp", "switch", "switch", value)

    shard = Shard()
    shard.come(light(100))
    assert len(shard.show()) == 3
    # A shard closes a slice up to half of one later than it might.
    shard.watermark((180 + 30 + LATENESS_S) * SECOND)
    assert read_clock(shard.cells["clock"]).closed == 180 * SECOND
    shard.come(light(300, "off"))
    shard.cells["history"] = Unread()
    assert len(shard.show()) == 3


def test_rows_are_looked_at_as_they_come_once_a_second_and_others_with_the_next_or_by_a_tick(worker: Worker) -> None:
    def light(at: int) -> Event:
        return Event.of(f"e{at}", Timestamp(at), "lamp", "switch", "switch", "on")

    def counts() -> set[int]:
        return {row.count for row in shard.seen() if isinstance(row, Session)}

    shard = Shard()
    shard.come(light(1))
    assert (counts(), shard.tick.at, shard.cells["fresh"].read()) == ({1}, None, [])
    shard.come(light(2))
    shard.come(light(3))
    assert (counts(), len(shard.cells["fresh"].read())) == (set(), 2)
    assert shard.tick.at == Timestamp(micros=worker.clock + 3 * SECOND // 4)
    worker.clock += SECOND
    shard.come(light(4))
    assert (counts(), shard.cells["fresh"].read()) == ({4}, [])
    shard.come(light(5))
    assert {row.count for row in shard.show() if isinstance(row, Session)} == {5}
    assert shard.show() == []


def test_rows_that_an_earlier_release_left_to_be_looked_at_are(worker: Worker) -> None:
    """Its clock did not say that there are any."""
    shard = Shard()
    for at in (1, 2):
        shard.come(Event.of(f"e{at}", Timestamp(at), "lamp", "switch", "switch", "on"))
    [*fields, fresh] = msgspec.msgpack.decode(shard.cells["clock"].read())
    assert fresh is True
    shard.cells["clock"].write(msgspec.msgpack.encode(fields))
    worker.clock += SECOND
    shard.seen()
    shard.come(Event.of("e3", Timestamp(3), "lamp", "switch", "switch", "on"))
    assert {row.count for row in shard.seen() if isinstance(row, Session)} == {3}


def test_what_an_earlier_release_had_shown_is_taken_back(worker: Worker) -> None:
    shard = Shard()
    shard.cells["shown"].write((FOLDER / "provisional.v1.bin").read_bytes())
    shard.come(Event.of("e1", Timestamp(1_600_000_000), "lamp", "switch", "switch", "on"))
    found = shard.watermark(1_700_000_000 * SECOND)
    assert sum(row.deleted for row in found) == 33
    assert min(row.revision for row in found) > 1_000_050
    assert not shard.cells["shown"].read()
    assert not shard.cells["published"].read()


@pytest.mark.parametrize("forgets", [False, True])
def test_what_is_far_behind_the_clock_is_not_shown_and_yet_counts(forgets: bool, worker: Worker) -> None:
    now = worker.clock / SECOND

    def light(ago: float, value: str = "on") -> Event:
        return Event.of(f"e{ago}", Timestamp(now - ago), "lamp", "switch", "switch", value)

    shard = Shard(within=120 * SECOND)
    shard.come(light(600), light(500))
    assert shard.show() == []
    if forgets:
        worker.forget()
    shard.come(light(119))
    shown = shard.show()
    [session] = [row for row in shown if isinstance(row, Session)]
    assert (session.count, session.start) == (3, Timestamp(now - 600))
    shard.come(light(121, "off"))
    assert shard.show() == []
    found = shard.watermark(1 << 61)
    [session] = [row for row in found if isinstance(row, Session)]
    assert (session.count, session.final) == (4, True)


def test_a_long_backlog_is_not_kept_twice(worker: Worker) -> None:
    shard = Shard(within=SECOND)
    for at in range(0, 100 * 60, 60):
        shard.come(Event.of(f"e{at}", Timestamp(at), "lamp", "switch", "switch", "on"))
        shard.show()
        shard.watermark(at * SECOND)
    [(state, _)] = worker.memory._held.values()
    assert len(state.untold) <= 3
    assert not state.heard


def test_a_backlog_is_not_looked_at_until_something_recent_comes(worker: Worker) -> None:
    now = worker.clock / SECOND

    def light(ago: float) -> Event:
        return Event.of(f"e{ago}", Timestamp(now - ago), "lamp", "switch", "switch", "on")

    shard = Shard(within=120 * SECOND)
    shard.come(light(600))
    assert (shard.tick.at, shard.cells["fresh"].read(), shard.seen()) == (None, [], [])
    shard.come(light(1), light(500))
    assert {row.count for row in shard.seen() if isinstance(row, Session)} == {3}
    # What is old and comes beside what is not is told at once: nothing has to be read again for it.
    shard.come(light(400))
    assert len(shard.cells["fresh"].read()) == 1
    shard.cells["history"], shard.cells["w0"] = Unread(), UnreadBag()
    assert shard.show() == []
    shard.come(light(0.5))
    assert {row.count for row in shard.show() if isinstance(row, Session)} == {5}
