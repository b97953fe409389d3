"""The exact pass with a provisional one beside it: results about a second after their events, final ones later."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import BytesCoder
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.batch import EventBatch
from thingbeam.transforms.columns.history import History, HistoryState, Slice
from thingbeam.transforms.columns.provisional import Provisional, ProvisionalState
from thingbeam.transforms.exact import ExactPass, Pace, SlicePass, name_of_time, read_clock
from thingbeam.transforms.sharding import ShardedBatch

__all__ = ["ProvisionalPass"]


class ProvisionalPass(SlicePass):
    """The exact pass, and every so often in processing time what the results would be if nothing else came.

    Provisional rows have `final` false and keys and revisions as final ones have: the final row replaces them, or a
    tombstone takes them back. It is a class of its own because a processing-time timer, even one that is never set,
    makes some runners choose an implementation in which it never fires.

    Args:
        history: the rules.
        pace: slices and lateness.
        every: microseconds of processing time.
    """

    FRESH = BagStateSpec("fresh", BytesCoder())
    SHOWN = ReadModifyWriteStateSpec("shown", BytesCoder())
    WAKE = TimerSpec("wake", TimeDomain.WATERMARK)
    TICK = TimerSpec("tick", TimeDomain.REAL_TIME)

    def __init__(self, history: History, pace: Pace, every: int) -> None:
        super().__init__(history, pace)
        self._provisional = Provisional(history)
        self._every = every

    def process(
        self,
        element: ShardedBatch,
        clock: Any = beam.DoFn.StateParam(ExactPass.CLOCK),
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
        tick: Any = beam.DoFn.TimerParam(TICK),
    ) -> Iterator[Any]:
        """Let rows wait, and be looked at soon."""
        accepted: list[EventBatch] = []
        yield from self._accept(element, clock, (w0, w1, w2, w3, w4, w5, w6, w7), timer, accepted)
        for batch in accepted:
            # An earlier tick that is still to come stays: on the grid of ticks, the next is the same for all rows.
            fresh.add(batch.encode())
            now = time.time_ns() // 1000
            tick.set(Timestamp(micros=(now // self._every + 1) * self._every))

    @on_timer(TICK)
    def show(
        self,
        shard: Any = beam.DoFn.KeyParam,
        clock: Any = beam.DoFn.StateParam(ExactPass.CLOCK),
        history: Any = beam.DoFn.StateParam(ExactPass.HISTORY),
        fresh: Any = beam.DoFn.StateParam(FRESH),
        shown: Any = beam.DoFn.StateParam(SHOWN),
    ) -> Iterator[Any]:
        """Give what came since the last tick, as it stands."""
        batches = [EventBatch.decode(encoded) for encoded in fresh.read()]
        fresh.clear()
        closed = read_clock(clock).closed
        # What the exact pass has taken by now needs no preview.
        batches = [batch.take(batch.rows[batch.rows["time"] >= closed]) for batch in batches]
        encoded, held = history.read(), shown.read()
        exact = HistoryState.decode(encoded) if encoded else HistoryState()
        state = ProvisionalState.decode(held) if held else ProvisionalState()
        now = time.time_ns() // 1000
        results = self._provisional.tick(state, exact, batches, closed, now)
        if results:
            shown.write(state.encode())
            yield from _named(results, f"p{name_of_time(now)}-s{shard:05d}")

    @on_timer(WAKE)
    def wake(
        self,
        shard: Any = beam.DoFn.KeyParam,
        fired: Any = beam.DoFn.TimestampParam,
        clock: Any = beam.DoFn.StateParam(ExactPass.CLOCK),
        history: Any = beam.DoFn.StateParam(ExactPass.HISTORY),
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
        shown: Any = beam.DoFn.StateParam(SHOWN),
    ) -> Iterator[Any]:
        """Close slices; then take back what was shown and is not so."""
        held = shown.read()
        state = ProvisionalState.decode(held) if held else None

        def after(exact: HistoryState, done: Slice, until: int) -> Iterator[Any]:
            if state is not None:
                yield from _named(
                    self._provisional.settle(state, exact, done, until), f"t{name_of_time(until)}-s{shard:05d}"
                )

        bags = (w0, w1, w2, w3, w4, w5, w6, w7)
        revision = state.fork.revision if state is not None else 0
        yield from self._advance(shard, fired, clock, history, bags, timer, revision, after)
        if not clock.read():
            # Everything is final and forgotten, where the exact pass stands too: a tick to come must show nothing.
            fresh.clear()
        if state is None:
            return
        if state.is_empty:
            shown.clear()
        else:
            shown.write(state.encode())


def _named(results: dict[str, pa.RecordBatch], name: str) -> Iterator[Any]:
    for kind, batch in results.items():
        yield TaggedOutput(kind, (name, batch))
