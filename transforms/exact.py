"""The exact pass: rows wait in state until the watermark has passed them, and are then worked on once, in order.

One stateful step per shard holds all rules that an application asks for. Event time advances in slices; a slice is
worked on when the watermark is past its end by the allowed lateness. Only then do results go out, so they are final.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import apache_beam as beam
import msgspec
import numpy as np
import pyarrow as pa
from apache_beam.coders import BytesCoder
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.encoding import cut, is_cut, rejoin
from thingbeam.transforms.columns.closing import END_OF_TIME
from thingbeam.transforms.columns.history import History, HistoryState, Slice
from thingbeam.transforms.sharding import NAMESPACE, ShardedBatch

__all__ = [
    "ACTIVITIES",
    "DISTINCT",
    "LATE",
    "SESSIONS",
    "USAGE",
    "BoundedPass",
    "ExactPass",
    "HistoryCell",
    "NamedBatch",
    "Pace",
    "SlicePass",
    "name_of_time",
    "now_micros",
    "read_clock",
]

ACTIVITIES: Final = "activities"
SESSIONS: Final = "sessions"
USAGE: Final = "usage"
LATE: Final = "late"
DISTINCT: Final = "distinct"

NamedBatch = tuple[str, pa.RecordBatch]
"""Rows with a name that follows from them: the same rows have the same name in every retry."""

_BAGS: Final = 8
_MAX_ROWS: Final = 1 << 17
_PIECE_BYTES: Final = 1 << 20
_SECOND: Final = 1_000_000
# As long as values are carried by default. A shard that forgot sooner would take a late row, or a repeat of one that it
# has counted, for the first of all.
_KEPT: Final = 35 * 86_400 * _SECOND


class Pace(NamedTuple):
    """How the exact pass moves.

    Attributes:
        lateness: microseconds that the watermark must be past a slice before it is closed.
        slice: microseconds; it divides 15 minutes.
        backlog: microseconds; how far time advances at once at most, while it is behind the clock. Every step costs the
            reading and writing of a shard's state, and what happened long ago is in no such hurry.
    """

    lateness: int = 60 * _SECOND
    slice: int = 60 * _SECOND
    backlog: int = 900 * _SECOND

    def checked(self) -> Pace:
        """Itself.

        Raises:
            ValueError: a slice that does not divide 15 minutes, a step that is no multiple of it, or a negative
                lateness.
        """
        if self.slice <= 0 or (900 * _SECOND) % self.slice:
            raise ValueError(f"a slice of {self.slice / _SECOND:g} s does not divide 15 minutes")
        if self.backlog <= 0 or self.backlog % self.slice:
            raise ValueError(
                f"a backlog's step of {self.backlog / _SECOND:g} s is no multiple of a slice of"
                f" {self.slice / _SECOND:g} s"
            )
        if self.lateness < 0:
            raise ValueError(f"an allowed lateness of {self.lateness / _SECOND:g} s is below 0")
        return self

    def wake(self, number: int, now: int) -> int:
        """The slice at whose beginning to look at what is to be done from the beginning of another.

        A result waits for at most half as long as it is overdue by then.

        Args:
            number: of the slice before which something is to be done.
            now: microseconds of the clock.

        >>> minutes = 60 * 1_000_000
        >>> [Pace().wake(3, now * minutes) for now in (4, 9, 10, 14, 120)]
        [3, 3, 3, 5, 15]
        """
        overdue = now - number * self.slice - self.lateness
        steps = _divisors(self.backlog // self.slice)
        step = max((step for step in steps if 2 * step * self.slice <= overdue), default=1)
        return -(-number // step) * step


class _Clock(msgspec.Struct, array_like=True):
    """Where a shard stands."""

    version: int = 1
    closed: int = -END_OF_TIME
    """Every slice before it is closed."""
    wake: int = END_OF_TIME
    """What the timer is set to, less the lateness."""
    due: int = END_OF_TIME
    """When something that is remembered will be over."""
    waiting: list[int] = []
    """The slices that have rows waiting, by number."""
    latest: int = -END_OF_TIME
    """The newest row that was in time."""
    # Of the provisional pass. They stand here since each cell that is read is a round trip to the runner.
    recent: int = -END_OF_TIME
    """When, by the clock, a row came that was not far behind it."""
    untold: bool = False
    """Whether rows wait that the fork does not know of."""
    token: bytes = b""
    """Of what the worker that wrote this remembers."""
    revision: int = 0
    """The last one that went out."""
    fresh: bool = True
    """Whether rows may wait to be looked at. Earlier releases did not say."""

    def write_to(self, cell: Any) -> None:
        """Keep it."""
        cell.write(msgspec.msgpack.encode(self))


_CLOCK: Final = msgspec.msgpack.Decoder(_Clock)


class _Pass(beam.DoFn):
    """What the exact pass over bounded and over endless input share: applying the rules and letting results go."""

    def __init__(self, history: History, *, emit_distinct: bool = False) -> None:
        self._history = history
        self._emit_distinct = emit_distinct
        self._counted = Metrics.counter(NAMESPACE, "counted")
        self._duplicates = Metrics.counter(NAMESPACE, "duplicates")
        self._stray = Metrics.counter(NAMESPACE, "stops_without_start")

    def _results(self, done: Slice, shard: int, when: str) -> Iterator[Any]:
        self._counted.inc(done.counted)
        self._duplicates.inc(done.duplicates)
        self._stray.inc(done.stops_without_start)
        if self._emit_distinct and done.rows.count:
            yield TaggedOutput(DISTINCT, (f"{when}s{shard:05d}", done.rows.to_batch()))
        for tag, batch in ((ACTIVITIES, done.activities), (SESSIONS, done.sessions), (USAGE, done.usage)):
            if batch is None:
                continue
            for part, start in enumerate(range(0, batch.num_rows, _MAX_ROWS)):
                name = f"{when}s{shard:05d}" + (f"-{part:03d}" if batch.num_rows > _MAX_ROWS else "")
                yield TaggedOutput(tag, (name, batch.slice(start, _MAX_ROWS)))


class BoundedPass(_Pass):
    """The exact pass over bounded input: nothing is late, and everything is worked on at once when the input ends.

    Args:
        history: the rules.
        hold_until: microseconds; see docs/semantics.md.
        emit_distinct: whether to give the distinct rows too.
    """

    def __init__(self, history: History, *, hold_until: int | None = None, emit_distinct: bool = False) -> None:
        super().__init__(history, emit_distinct=emit_distinct)
        self._hold_until = hold_until

    def process(self, group: tuple[int, Iterable[EventBatch]]) -> Iterator[Any]:
        """Work on all rows of a shard."""
        shard, batches = group
        state = HistoryState()
        done = self._history.advance(
            state, batches, END_OF_TIME, now_micros(), ended=True, hold_until=self._hold_until
        )  # fmt: skip
        yield from self._results(done, shard, "")


class HistoryCell:
    """The state of a shard's rules: one value, or pieces where it is long.

    What is written is one message from the worker to the runner, which must hold it in memory as a whole: one of 30 MB
    can end Flink's, and then the job stands still and does not fail.

    Args:
        cell: the state cell of the value.
        pieces: the state cell of the pieces, a bag.
    """

    def __init__(self, cell: Any, pieces: Any) -> None:
        self._cell, self._pieces = cell, pieces

    def read(self) -> HistoryState:
        """What is remembered."""
        encoded = self._cell.read()
        if not encoded:
            return HistoryState()
        in_pieces = is_cut(encoded)
        state = HistoryState.decode(rejoin(encoded, self._pieces.read()) if in_pieces else encoded)
        state.in_pieces = in_pieces
        return state

    def write(self, state: HistoryState) -> None:
        """Remember."""
        if state.in_pieces:
            self._pieces.clear()
            state.in_pieces = False
        if state.is_empty:
            self._cell.clear()
            return
        encoded = state.encode()
        if len(encoded) > _PIECE_BYTES:
            encoded, pieces = cut(encoded, _PIECE_BYTES)
            state.in_pieces = True
            for piece in pieces:
                self._pieces.add(piece)
        self._cell.write(encoded)

    def clear(self) -> None:
        """Forget."""
        self._cell.clear()
        self._pieces.clear()


class SlicePass(_Pass):
    """The exact pass over endless input: how rows wait, and how slices are closed. State cells are the subclasses'."""

    def __init__(self, history: History, pace: Pace, *, emit_distinct: bool = False) -> None:
        super().__init__(history, emit_distinct=emit_distinct)
        self._pace = pace.checked()
        self._late = Metrics.counter(NAMESPACE, "late")

    def _accept(
        self, element: ShardedBatch, clock: Any, bags: tuple[Any, ...], timer: Any, accepted: list[EventBatch]
    ) -> Iterator[Any]:
        """Give the rows that are late; put the others in their bags, and in `accepted`."""
        shard, batch = element
        now = read_clock(clock)
        late = batch.rows["time"] < now.closed
        if late.any():
            self._late.inc(int(late.sum()))
            missed = batch.take(batch.rows.compress(late))
            yield TaggedOutput(LATE, (late_name(shard, now.closed, missed), missed))
            batch = batch.take(batch.rows.compress(~late))
        if not len(batch):
            return
        accepted.append(batch)
        now.latest = max(now.latest, int(batch.rows["time"].max()))
        numbers = batch.rows["time"] // self._pace.slice
        for number in np.unique(numbers).tolist():
            rows = batch.rows.compress(numbers == number)
            bags[number % _BAGS].add(batch.take(rows).encode() if len(rows) < len(batch) else batch.encode())
            if number not in now.waiting:
                now.waiting.append(number)
        self._set(now, timer, self._phase(shard))
        now.write_to(clock)

    def _phase(self, shard: int) -> int:
        """Microseconds, less than a slice, by which a shard closes its slices later than it might."""
        return 0

    def _advance(
        self,
        shard: int,
        fired: Timestamp,
        clock: Any,
        history: HistoryCell,
        bags: tuple[Any, ...],
        timer: Any,
        revision: int = 0,
        after: Callable[[HistoryState, Slice, int], Iterator[Any]] | None = None,
    ) -> Iterator[Any]:
        """Take the rows of the slices that are over, and give what comes of them.

        Args:
            shard: the key.
            fired: when the timer was to fire.
            clock: the state cell.
            history: the rules' state.
            bags: the state cells.
            timer: the timer.
            revision: the last one that went out by another way.
            after: what else is to be said after a step.
        """
        now = read_clock(clock)
        until = (fired.micros - self._pace.lateness) // self._pace.slice * self._pace.slice
        if until > now.closed:
            due = [number for number in now.waiting if number * self._pace.slice < until]
            batches = list(self._taken(bags, due))
            state = history.read()
            state.revision = max(state.revision, revision)
            done = self._history.advance(state, batches, until, now_micros())
            yield from self._results(done, shard, name_of_time(until) + "-")
            if after is not None:
                yield from after(state, done, until)
            now.waiting = [number for number in now.waiting if number not in due]
            now.closed, now.wake = until, END_OF_TIME
            moment = self._history.due(state)
            now.due = END_OF_TIME if moment is None else moment
            history.write(state)
        else:
            now.wake = END_OF_TIME
        if not now.waiting and now.due == END_OF_TIME:
            now.due = now.latest + _KEPT
            if now.due <= now.closed:
                clock.clear()
                # Nothing is due of what is left there: that a device spoke, and no value of it.
                history.clear()
                return
        self._set(now, timer, self._phase(shard))
        now.write_to(clock)

    def _taken(self, bags: tuple[Any, ...], due: list[int]) -> Iterator[EventBatch]:
        """The batches of slices that are due, out of their bags; others in the same bags go back."""
        for index in sorted({number % _BAGS for number in due}):
            held = list(bags[index].read())
            bags[index].clear()
            for encoded in held:
                batch = EventBatch.decode(encoded)
                if int(batch.rows["time"][0]) // self._pace.slice in due:
                    yield batch
                else:
                    bags[index].add(encoded)

    def _set(self, now: _Clock, timer: Any, phase: int) -> None:
        """Set the timer to the end of the first slice in which something is to be done."""
        first = min((number + 1 for number in now.waiting), default=END_OF_TIME)
        ahead = END_OF_TIME if now.due == END_OF_TIME else -(-now.due // self._pace.slice)
        wake = min(first, ahead)
        if wake < END_OF_TIME // self._pace.slice:
            wake = self._pace.wake(wake, now_micros())
        if wake != now.wake:
            now.wake = wake
            timer.set(Timestamp(micros=wake * self._pace.slice + self._pace.lateness + phase))


class ExactPass(SlicePass):
    """The exact pass over endless input.

    Args:
        history: the rules.
        pace: slices and lateness.
        emit_distinct: whether to give the distinct rows too.
    """

    CLOCK = ReadModifyWriteStateSpec("clock", BytesCoder())
    HISTORY = ReadModifyWriteStateSpec("history", BytesCoder())
    PIECES = BagStateSpec("history_pieces", BytesCoder())
    # Rows wait by slice. One bag for all would be read once a slice by every slice that waits.
    WAITING_0 = BagStateSpec("waiting_0", BytesCoder())
    WAITING_1 = BagStateSpec("waiting_1", BytesCoder())
    WAITING_2 = BagStateSpec("waiting_2", BytesCoder())
    WAITING_3 = BagStateSpec("waiting_3", BytesCoder())
    WAITING_4 = BagStateSpec("waiting_4", BytesCoder())
    WAITING_5 = BagStateSpec("waiting_5", BytesCoder())
    WAITING_6 = BagStateSpec("waiting_6", BytesCoder())
    WAITING_7 = BagStateSpec("waiting_7", BytesCoder())
    WAKE = TimerSpec("wake", TimeDomain.WATERMARK)

    def process(
        self,
        element: ShardedBatch,
        clock: Any = beam.DoFn.StateParam(CLOCK),
        w0: Any = beam.DoFn.StateParam(WAITING_0),
        w1: Any = beam.DoFn.StateParam(WAITING_1),
        w2: Any = beam.DoFn.StateParam(WAITING_2),
        w3: Any = beam.DoFn.StateParam(WAITING_3),
        w4: Any = beam.DoFn.StateParam(WAITING_4),
        w5: Any = beam.DoFn.StateParam(WAITING_5),
        w6: Any = beam.DoFn.StateParam(WAITING_6),
        w7: Any = beam.DoFn.StateParam(WAITING_7),
        timer: Any = beam.DoFn.TimerParam(WAKE),
    ) -> Iterator[Any]:
        """Let rows wait for their slice to be over; those whose slice is closed are late."""
        yield from self._accept(element, clock, (w0, w1, w2, w3, w4, w5, w6, w7), timer, [])

    @on_timer(WAKE)
    def wake(
        self,
        shard: Any = beam.DoFn.KeyParam,
        fired: Any = beam.DoFn.TimestampParam,
        clock: Any = beam.DoFn.StateParam(CLOCK),
        history: Any = beam.DoFn.StateParam(HISTORY),
        pieces: Any = beam.DoFn.StateParam(PIECES),
        w0: Any = beam.DoFn.StateParam(WAITING_0),
        w1: Any = beam.DoFn.StateParam(WAITING_1),
        w2: Any = beam.DoFn.StateParam(WAITING_2),
        w3: Any = beam.DoFn.StateParam(WAITING_3),
        w4: Any = beam.DoFn.StateParam(WAITING_4),
        w5: Any = beam.DoFn.StateParam(WAITING_5),
        w6: Any = beam.DoFn.StateParam(WAITING_6),
        w7: Any = beam.DoFn.StateParam(WAITING_7),
        timer: Any = beam.DoFn.TimerParam(WAKE),
    ) -> Iterator[Any]:
        """Close every slice that the watermark is past, by the time at which the timer fired."""
        bags = (w0, w1, w2, w3, w4, w5, w6, w7)
        yield from self._advance(shard, fired, clock, HistoryCell(history, pieces), bags, timer)


@functools.cache
def _divisors(number: int) -> tuple[int, ...]:
    return tuple(divisor for divisor in range(1, number + 1) if not number % divisor)


def read_clock(clock: Any) -> _Clock:
    """Where a shard stands, by its state cell."""
    encoded = clock.read()
    return _CLOCK.decode(encoded) if encoded else _Clock()


def now_micros() -> int:
    """Microseconds of the clock, since 1970."""
    return time.time_ns() // 1000


def name_of_time(micros: int) -> str:
    """A time as it stands in the name of an object: 20070401T000000Z, with microseconds where there are some."""
    moment = Timestamp(micros=micros).to_utc_datetime()
    return moment.strftime("%Y%m%dT%H%M%SZ") if not micros % _SECOND else moment.strftime("%Y%m%dT%H%M%S.%fZ")


def late_name(shard: int, closed: int, missed: EventBatch) -> str:
    """The name of some late rows: it follows from the rows themselves, for they have no slice any more."""
    order = ["device_high", "device_low", "time", "event_high", "event_low"]
    digest = hashlib.blake2b(np.sort(missed.rows, order=order).tobytes(), digest_size=6)
    return f"{name_of_time(closed)}-s{shard:05d}-{digest.hexdigest()}"
