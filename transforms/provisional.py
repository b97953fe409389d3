"""The exact pass with a provisional one beside it: results about a second after their events, final ones later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.coders import BytesCoder
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.batch import ROW, EventBatch
from thingbeam.transforms.columns.closing import END_OF_TIME
from thingbeam.transforms.columns.history import History, HistoryState, Slice
from thingbeam.transforms.columns.provisional import Provisional, ProvisionalState
from thingbeam.transforms.columns.published import Published
from thingbeam.transforms.columns.zones import SECOND
from thingbeam.transforms.exact import ExactPass, HistoryCell, Pace, SlicePass, name_of_time, now_micros, read_clock
from thingbeam.transforms.memory import Memory
from thingbeam.transforms.sharding import DEFAULT_SHARDS, ShardedBatch
from thingbeam.transforms.spreading import shard_numbers

__all__ = ["ProvisionalPass"]

_WHOLE: Final = np.dtype(("V", ROW.itemsize))
# The part of a slice in which the shards close theirs.
_CLOSING: Final = 2
# How long nothing recent has come where all that comes is taken for a backlog.
_LULL: Final = 10 * SECOND
# The part of the time between looks that rows must have waited for others to come, before a timer has them looked at.
_FALLBACK: Final = 4


class _Cells(NamedTuple):
    """The state cells of a shard."""

    clock: Any
    history: Any
    pieces: Any
    waiting: tuple[Any, ...]
    fresh: Any
    published: Any
    shown: Any


class ProvisionalPass(SlicePass):
    """The exact pass, and every so often in processing time what the results would be if nothing else came.

    Rows are looked at when they come, if none were in the same stretch of processing time; else with the next ones, and
    by a timer where none follow soon. A timer alone would cost two ends of bundles more, 0.2 s on Flink (issue 7).

    Provisional rows have `final` false and keys and revisions as final ones have: the final row replaces them, or a
    tombstone takes them back. It is a class of its own because a processing-time timer, even one that is never set,
    makes some runners choose an implementation in which it never fires.

    Args:
        history: the rules.
        pace: slices and lateness.
        every: microseconds of processing time.
        within: microseconds by which a row may be behind the clock to be shown; None for any.
        shards: how many there are, so that they close their slices one after another.
    """

    FRESH = BagStateSpec("fresh", BytesCoder())
    PUBLISHED = BagStateSpec("published", BytesCoder())
    # What releases before version 2 of Published kept.
    SHOWN = ReadModifyWriteStateSpec("shown", BytesCoder())
    WAKE = TimerSpec("wake", TimeDomain.WATERMARK)
    TICK = TimerSpec("tick", TimeDomain.REAL_TIME)

    def __init__(
        self, history: History, pace: Pace, every: int, within: int | None = None, shards: int = DEFAULT_SHARDS
    ) -> None:
        super().__init__(history, pace)
        self._places = {number: place for place, number in enumerate(shard_numbers(shards))}
        self._within = within
        self._provisional = Provisional(history)
        self._every = every

    def process(
        self,
        element: ShardedBatch,
        clock: Any = beam.DoFn.StateParam(ExactPass.CLOCK),
        history: Any = beam.DoFn.StateParam(ExactPass.HISTORY),
        pieces: Any = beam.DoFn.StateParam(ExactPass.PIECES),
        w0: Any = beam.DoFn.StateParam(ExactPass.WAITING_0),
        w1: Any = beam.DoFn.StateParam(ExactPass.WAITING_1),
        w2: Any = beam.DoFn.StateParam(ExactPass.WAITING_2),
        w3: Any = beam.DoFn.StateParam(ExactPass.WAITING_3),
        w4: Any = beam.DoFn.StateParam(ExactPass.WAITING_4),
        w5: Any = beam.DoFn.StateParam(ExactPass.WAITING_5),
        w6: Any = beam.DoFn.StateParam(ExactPass.WAITING_6),
        w7: Any = beam.DoFn.StateParam(ExactPass.WAITING_7),
        timer: Any = beam.DoFn.TimerParam(WAKE),
        fresh: Any = beam.DoFn.StateParam(FRESH),
        published: Any = beam.DoFn.StateParam(PUBLISHED),
        shown: Any = beam.DoFn.StateParam(SHOWN),
        tick: Any = beam.DoFn.TimerParam(TICK),
    ) -> Iterator[Any]:
        """Let rows wait, and look at them, or see that they are looked at soon."""
        cells = _Cells(clock, history, pieces, (w0, w1, w2, w3, w4, w5, w6, w7), fresh, published, shown)
        accepted: list[EventBatch] = []
        yield from self._accept(element, clock, cells.waiting, timer, accepted)
        now = now_micros()
        for batch in accepted:
            if self._is_backlog(batch, clock, now):
                continue
            stood = read_clock(clock)
            # The revision is the time of the last look, or later.
            if stood.revision // self._every < now // self._every:
                yield from self._look(element[0], batch, cells)
                continue
            fresh.add(batch.encode())
            if not stood.fresh:
                stood.fresh = True
                stood.write_to(clock)
            # Set again, it moves to after the next rows' chance to be looked at as they come.
            tick.set(Timestamp(micros=(now // self._every + 1) * self._every + self._every // _FALLBACK))

    @on_timer(TICK)
    def show(
        self,
        shard: Any = beam.DoFn.KeyParam,
        clock: Any = beam.DoFn.StateParam(ExactPass.CLOCK),
        history: Any = beam.DoFn.StateParam(ExactPass.HISTORY),
        pieces: Any = beam.DoFn.StateParam(ExactPass.PIECES),
        w0: Any = beam.DoFn.StateParam(ExactPass.WAITING_0),
        w1: Any = beam.DoFn.StateParam(ExactPass.WAITING_1),
        w2: Any = beam.DoFn.StateParam(ExactPass.WAITING_2),
        w3: Any = beam.DoFn.StateParam(ExactPass.WAITING_3),
        w4: Any = beam.DoFn.StateParam(ExactPass.WAITING_4),
        w5: Any = beam.DoFn.StateParam(ExactPass.WAITING_5),
        w6: Any = beam.DoFn.StateParam(ExactPass.WAITING_6),
        w7: Any = beam.DoFn.StateParam(ExactPass.WAITING_7),
        fresh: Any = beam.DoFn.StateParam(FRESH),
        published: Any = beam.DoFn.StateParam(PUBLISHED),
        shown: Any = beam.DoFn.StateParam(SHOWN),
    ) -> Iterator[Any]:
        """Give what came since the last look and was not looked at, as it stands."""
        bags = (w0, w1, w2, w3, w4, w5, w6, w7)
        cells = _Cells(clock, history, pieces, bags, fresh, published, shown)
        yield from self._look(shard, EventBatch.concatenate(()), cells)

    @on_timer(WAKE)
    def wake(
        self,
        shard: Any = beam.DoFn.KeyParam,
        fired: Any = beam.DoFn.TimestampParam,
        clock: Any = beam.DoFn.StateParam(ExactPass.CLOCK),
        history: Any = beam.DoFn.StateParam(ExactPass.HISTORY),
        pieces: Any = beam.DoFn.StateParam(ExactPass.PIECES),
        w0: Any = beam.DoFn.StateParam(ExactPass.WAITING_0),
        w1: Any = beam.DoFn.StateParam(ExactPass.WAITING_1),
        w2: Any = beam.DoFn.StateParam(ExactPass.WAITING_2),
        w3: Any = beam.DoFn.StateParam(ExactPass.WAITING_3),
        w4: Any = beam.DoFn.StateParam(ExactPass.WAITING_4),
        w5: Any = beam.DoFn.StateParam(ExactPass.WAITING_5),
        w6: Any = beam.DoFn.StateParam(ExactPass.WAITING_6),
        w7: Any = beam.DoFn.StateParam(ExactPass.WAITING_7),
        timer: Any = beam.DoFn.TimerParam(WAKE),
        fresh: Any = beam.DoFn.StateParam(FRESH),
        published: Any = beam.DoFn.StateParam(PUBLISHED),
        shown: Any = beam.DoFn.StateParam(SHOWN),
    ) -> Iterator[Any]:
        """Close slices; then take back what was shown and is not so."""
        stood = read_clock(clock)
        state = _MEMORY.take(stood.token)
        forked = state is not None
        if state is None:
            state = _recalled(stood.revision, HistoryCell(history, pieces), published, shown)
        held = len(state.published)

        def after(_: HistoryState, done: Slice, until: int) -> Iterator[Any]:
            yield from _named(self._provisional.settle(state, done, until), f"t{name_of_time(until)}-s{shard:05d}")

        bags = (w0, w1, w2, w3, w4, w5, w6, w7)
        yield from self._advance(
            shard, fired, clock, _RememberedCell(history, pieces, state), bags, timer, state.revision, after
        )  # fmt: skip
        if not clock.read():
            # Everything is final and forgotten, where the exact pass stands too: a tick to come must show nothing.
            fresh.clear()
            published.clear()
            return
        if len(state.published) < held:
            published.clear()
            for encoded in state.published.encode():
                published.add(encoded)
        stood = read_clock(clock)
        # What the fork was is asked when there is something to show: it follows from the rows that wait then.
        stood.untold |= not forked
        stood.token, stood.revision = _MEMORY.leave(state), state.revision
        stood.write_to(clock)

    def _look(self, shard: int, batch: EventBatch, cells: _Cells) -> Iterator[Any]:
        """Give what some rows change, and those that came before and were not looked at, as it stands."""
        stood = read_clock(cells.clock)
        if stood.fresh:
            earlier = [EventBatch.decode(encoded) for encoded in cells.fresh.read()]
            batch = EventBatch.concatenate((*earlier, batch))
            cells.fresh.clear()
            stood.fresh = False
        if not len(batch):
            return
        state = _MEMORY.take(stood.token)
        if state is None or stood.untold:
            cell = HistoryCell(cells.history, cells.pieces)
            if state is None:
                state = _recalled(stood.revision, cell, cells.published, cells.shown)
            else:
                state = state.without_fork()
            waiting = EventBatch.concatenate(EventBatch.decode(held) for bag in cells.waiting for held in bag.read())
            self._provisional.tell(state, _without(waiting, batch))
        now = now_micros()
        since = -END_OF_TIME if self._within is None else now - self._within
        results = self._provisional.tick(state, batch, stood.closed, now, since)
        yield from _named(results, f"p{name_of_time(now)}-s{shard:05d}")
        if added := state.published.encode_added():
            cells.published.add(added)
        stood.untold, stood.token, stood.revision = False, _MEMORY.leave(state), state.revision
        stood.write_to(cells.clock)

    def _phase(self, shard: int) -> int:
        """Shards close their slices one after another: where all do it at once, nobody is looked at meanwhile."""
        return self._places.get(shard, 0) * (self._pace.slice // _CLOSING) // len(self._places)

    def _is_backlog(self, batch: EventBatch, clock: Any, now: int) -> bool:
        """Whether all that comes is too far behind the clock to be shown, so that a look would be for nothing.

        Where only some of it is, all is looked at: the fork would else be made anew for each look.
        """
        if self._within is None:
            return False
        stood = read_clock(clock)
        if int(batch.rows["time"].max()) >= now - self._within:
            if stood.recent < now - SECOND:
                stood.recent = now
                stood.write_to(clock)
            return False
        if stood.recent > now - _LULL:
            return False
        if not stood.untold:
            stood.untold = True
            stood.write_to(clock)
        return True


class _RememberedCell(HistoryCell):
    """The state of a shard's rules in its cell, and in memory as it is there."""

    def __init__(self, cell: Any, pieces: Any, state: ProvisionalState) -> None:
        super().__init__(cell, pieces)
        self._state = state

    def read(self) -> HistoryState:
        """What is remembered."""
        return self._state.exact


_MEMORY: Final = Memory[ProvisionalState]()


def _recalled(revision: int, history: HistoryCell, published: Any, shown: Any) -> ProvisionalState:
    """What the cells say; the fork is not in them."""
    earlier = shown.read()
    if earlier:
        published.add(earlier)
        shown.clear()
    known = Published.decode(published.read())
    return ProvisionalState(history.read(), known, max(revision, known.newest))


def _without(waiting: EventBatch, others: EventBatch) -> EventBatch:
    """The rows that wait, but for some others."""
    return EventBatch(waiting.rows[~np.isin(waiting.rows.view(_WHOLE), others.rows.view(_WHOLE))], waiting.names)


def _named(results: dict[str, pa.RecordBatch], name: str) -> Iterator[Any]:
    for kind, batch in results.items():
        yield TaggedOutput(kind, (name, batch))
