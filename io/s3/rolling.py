"""Endless rows: they wait in state by shard and window, and go out as a part when it is large, old, or the window over.

A part's number is in state beside the rows that wait. So after a crash an engine that restores state writes the parts
since its checkpoint again, under the same names; parts that it then no longer makes are struck from the manifest by the
last part of the shard, which says that it is the last.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import apache_beam as beam
import msgspec
import pyarrow as pa
from apache_beam.coders import BytesCoder
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from thingbeam.io.s3.manifests import S3Object, S3Window, commit_window, decode_object
from thingbeam.io.s3.names import Window, time_text
from thingbeam.io.s3.requests import Requests
from thingbeam.io.s3.rows import batch_of, start_of
from thingbeam.io.s3.writing import LATE, NAMESPACE, Objects, ObjectWriter

__all__ = ["CommitWindows", "RollParts", "RollPartsByTime", "clock_of"]

_BAGS: Final = 4
_NEVER: Final = 1 << 62
# How long a timer of processing time may be overdue before it is taken for lost, and set again.
_LOST_MILLIS: Final = 60_000
_AFTER: Final = 1_000
# As long as the exact pass remembers: what is older than that is no late row but another history.
_KEPT: Final = 35 * 86_400_000_000
_LAST: Final = MAX_TIMESTAMP.micros // 1_000_000 * 1_000_000 - 86_400_000_000


class _Open(msgspec.Struct, array_like=True):
    """A window that is not over."""

    start: int
    part: int = 0
    """The number of the next part."""
    bytes: int = 0
    """Of the rows that wait."""
    rows: int = 0


class _Clock(msgspec.Struct, array_like=True):
    """Where a shard stands."""

    version: int = 1
    closed: int = -_NEVER
    """Every window that ends by then is over."""
    wake: int = _NEVER
    """What the timer is set to, less the lateness."""
    open: list[_Open] = []
    roll: int = 0
    """When the timer of processing time is due, in milliseconds; 0 where it is not set."""


_DECODER: Final = msgspec.msgpack.Decoder(_Clock)


def clock_of(cell: Any) -> _Clock:
    """Where a shard stands, by its state cell."""
    encoded = cell.read()
    return _DECODER.decode(encoded) if encoded else _Clock()


class _Rolling(beam.DoFn):
    """How rows wait and go out. State cells and timers are the subclasses'."""

    def __init__(self, objects: Objects, length: int, lateness: int, add: bool) -> None:
        self._objects, self._length, self._lateness, self._add = objects, length, lateness, add
        self._late = Metrics.counter(NAMESPACE, "late_rows")

    def setup(self) -> None:
        """A writer for this copy."""
        self._writer = ObjectWriter(self._objects)

    def _take(self, element: tuple[int, bytes], now: _Clock, bags: tuple[Any, ...]) -> Iterator[Any]:
        shard, cut = element
        start, batch = start_of(cut), batch_of(cut)
        if start + self._length <= now.closed:
            self._late.inc(batch.num_rows)
            yield self._added(start, shard, batch, cut) if self._add else TaggedOutput(LATE, batch)
            return
        one = next((one for one in now.open if one.start == start), None)
        if one is None:
            one = _Open(start)
            now.open.append(one)
        if one.rows and one.bytes + batch.nbytes > self._objects.roll_bytes:
            yield self._part(shard, one, bags, last=False)
        self._bag(bags, start).add(cut)
        one.bytes += batch.nbytes
        one.rows += batch.num_rows

    def _added(self, start: int, shard: int, batch: pa.RecordBatch, cut: bytes) -> S3Object:
        """Late rows as an object of their own. How many parts its shard had is forgotten: the rows make its name."""
        digest = hashlib.blake2b(cut, digest_size=6).hexdigest()
        name, rows, stored = self._writer.write(f"{time_text(start)}-s{shard:05d}-late-{digest}", [batch])
        return S3Object(name, start, start + self._length, -1, 0, False, rows, stored.bytes, stored.etag)

    def _close(self, shard: int, fired: Timestamp, clock: Any, bags: tuple[Any, ...], timer: Any) -> Iterator[Any]:
        now = clock_of(clock)
        until = fired.micros - self._lateness
        over = sorted((one for one in now.open if one.start + self._length <= until), key=lambda one: one.start)
        for one in over:
            yield self._part(shard, one, bags, last=True)
        now.open = [one for one in now.open if one not in over]
        now.closed = max([now.closed, *(one.start + self._length for one in over)])
        now.wake = _NEVER
        if not now.open and now.closed + _KEPT <= until:
            clock.clear()
            return
        self._set(now, timer)
        clock.write(msgspec.msgpack.encode(now))

    def _part(self, shard: int, one: _Open, bags: tuple[Any, ...], *, last: bool) -> S3Object:
        window = Window(one.start, one.start + self._length)
        rows = self._taken(bags, one)
        if not rows:
            # All rows are in parts already: this says only that these are all.
            return S3Object("", *window, shard, one.part - 1, True)
        part = one.part
        one.part, one.bytes, one.rows = part + 1, 0, 0
        return self._writer.write_part(window, shard, part, rows, last=last)

    def _taken(self, bags: tuple[Any, ...], one: _Open) -> list[pa.RecordBatch]:
        """The rows of a window, out of its bag; others in it go back."""
        if not one.rows:
            return []
        bag = self._bag(bags, one.start)
        held = list(bag.read())
        bag.clear()
        taken: list[pa.RecordBatch] = []
        for cut in held:
            if start_of(cut) == one.start:
                taken.append(batch_of(cut))
            else:
                bag.add(cut)
        return taken

    def _bag(self, bags: tuple[Any, ...], start: int) -> Any:
        return bags[start // self._length % _BAGS]

    def _set(self, now: _Clock, timer: Any) -> None:
        """Set the timer to the end of the first open window, or to when the shard is forgotten."""
        ends = [one.start + self._length for one in now.open]
        wake = min(ends, default=now.closed + _KEPT)
        if wake != now.wake and wake > -_NEVER // 2:
            now.wake = wake
            timer.set(Timestamp(micros=min(wake + self._lateness, _LAST)))


class RollParts(_Rolling):
    """(shard, packed rows): parts of windows, and rows that came when their window was over.

    Args:
        objects: how they are written.
        length: of a window, in microseconds.
        lateness: how far the watermark is past a window before it is over, in microseconds.
        add: whether late rows become objects that are added to their window, or are given out.
    """

    CLOCK = ReadModifyWriteStateSpec("clock", BytesCoder())
    # Rows wait by window. One bag for all would be read for each that closes.
    ROWS_0 = BagStateSpec("rows_0", BytesCoder())
    ROWS_1 = BagStateSpec("rows_1", BytesCoder())
    ROWS_2 = BagStateSpec("rows_2", BytesCoder())
    ROWS_3 = BagStateSpec("rows_3", BytesCoder())
    WAKE = TimerSpec("wake", TimeDomain.WATERMARK)

    def process(
        self,
        element: tuple[int, bytes],
        clock: Any = beam.DoFn.StateParam(CLOCK),
        r0: Any = beam.DoFn.StateParam(ROWS_0),
        r1: Any = beam.DoFn.StateParam(ROWS_1),
        r2: Any = beam.DoFn.StateParam(ROWS_2),
        r3: Any = beam.DoFn.StateParam(ROWS_3),
        timer: Any = beam.DoFn.TimerParam(WAKE),
    ) -> Iterator[Any]:
        """Let rows wait, or write a part when they are many."""
        now = clock_of(clock)
        yield from self._take(element, now, (r0, r1, r2, r3))
        self._set(now, timer)
        clock.write(msgspec.msgpack.encode(now))

    @on_timer(WAKE)
    def wake(
        self,
        shard: Any = beam.DoFn.KeyParam,
        fired: Any = beam.DoFn.TimestampParam,
        clock: Any = beam.DoFn.StateParam(CLOCK),
        r0: Any = beam.DoFn.StateParam(ROWS_0),
        r1: Any = beam.DoFn.StateParam(ROWS_1),
        r2: Any = beam.DoFn.StateParam(ROWS_2),
        r3: Any = beam.DoFn.StateParam(ROWS_3),
        timer: Any = beam.DoFn.TimerParam(WAKE),
    ) -> Iterator[Any]:
        """Write the last parts of the windows that are over."""
        yield from self._close(shard, fired, clock, (r0, r1, r2, r3), timer)


class RollPartsByTime(_Rolling):
    """RollParts that also writes, some time after the first of them came, the rows that wait.

    Its timer of processing time is why it is a class of its own: embedded runners for bounded input have none.

    Args:
        objects: how they are written.
        length: of a window, in microseconds.
        lateness: how far the watermark is past a window before it is over, in microseconds.
        add: whether late rows become objects that are added to their window, or are given out.
        after: how long rows wait at most, in seconds.
        clock: seconds since 1970.
    """

    CLOCK = ReadModifyWriteStateSpec("clock", BytesCoder())
    ROWS_0 = BagStateSpec("rows_0", BytesCoder())
    ROWS_1 = BagStateSpec("rows_1", BytesCoder())
    ROWS_2 = BagStateSpec("rows_2", BytesCoder())
    ROWS_3 = BagStateSpec("rows_3", BytesCoder())
    WAKE = TimerSpec("wake", TimeDomain.WATERMARK)
    ROLL = TimerSpec("roll", TimeDomain.REAL_TIME)

    def __init__(
        self,
        objects: Objects,
        length: int,
        lateness: int,
        add: bool,
        after: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(objects, length, lateness, add)
        self._after, self._clock = after, clock

    def process(
        self,
        element: tuple[int, bytes],
        clock: Any = beam.DoFn.StateParam(CLOCK),
        r0: Any = beam.DoFn.StateParam(ROWS_0),
        r1: Any = beam.DoFn.StateParam(ROWS_1),
        r2: Any = beam.DoFn.StateParam(ROWS_2),
        r3: Any = beam.DoFn.StateParam(ROWS_3),
        timer: Any = beam.DoFn.TimerParam(WAKE),
        roll: Any = beam.DoFn.TimerParam(ROLL),
    ) -> Iterator[Any]:
        """Let rows wait, or write a part when they are many."""
        now = clock_of(clock)
        yield from self._take(element, now, (r0, r1, r2, r3))
        self._set(now, timer)
        moment = self._clock()
        # One that should have fired long ago was lost with whatever held it.
        if any(one.rows for one in now.open) and not moment * 1000 < now.roll + _LOST_MILLIS:
            now.roll = int((moment + self._after) * 1000)
            roll.set(Timestamp(moment + self._after))
        clock.write(msgspec.msgpack.encode(now))

    @on_timer(WAKE)
    def wake(
        self,
        shard: Any = beam.DoFn.KeyParam,
        fired: Any = beam.DoFn.TimestampParam,
        clock: Any = beam.DoFn.StateParam(CLOCK),
        r0: Any = beam.DoFn.StateParam(ROWS_0),
        r1: Any = beam.DoFn.StateParam(ROWS_1),
        r2: Any = beam.DoFn.StateParam(ROWS_2),
        r3: Any = beam.DoFn.StateParam(ROWS_3),
        timer: Any = beam.DoFn.TimerParam(WAKE),
    ) -> Iterator[Any]:
        """Write the last parts of the windows that are over."""
        yield from self._close(shard, fired, clock, (r0, r1, r2, r3), timer)

    @on_timer(ROLL)
    def roll(
        self,
        shard: Any = beam.DoFn.KeyParam,
        clock: Any = beam.DoFn.StateParam(CLOCK),
        r0: Any = beam.DoFn.StateParam(ROWS_0),
        r1: Any = beam.DoFn.StateParam(ROWS_1),
        r2: Any = beam.DoFn.StateParam(ROWS_2),
        r3: Any = beam.DoFn.StateParam(ROWS_3),
    ) -> Iterator[Any]:
        """Write a part of each window that has rows waiting."""
        now = clock_of(clock)
        now.roll = 0
        for one in now.open:
            if one.rows:
                yield self._part(shard, one, (r0, r1, r2, r3), last=False)
        if now.open:
            clock.write(msgspec.msgpack.encode(now))


class CommitWindows(beam.DoFn):
    """(window, object): the window's manifest, when the watermark says that nothing of it is still to come.

    What comes after that is added to the manifest, read from the bucket: so nothing is kept for windows that are over.

    Args:
        objects: how they are written.
        lateness: how far the watermark is past a window before it is whole, in microseconds.
    """

    WRITTEN = BagStateSpec("written", BytesCoder())
    WHOLE = TimerSpec("whole", TimeDomain.WATERMARK)

    def __init__(self, objects: Objects, lateness: int) -> None:
        self._objects, self._lateness = objects, lateness
        self._committed = Metrics.counter(NAMESPACE, "windows_committed")

    def setup(self) -> None:
        """A connection for this copy."""
        self._requests = Requests(self._objects.location, self._objects.retry)

    def process(
        self,
        element: tuple[tuple[int, int], bytes],
        written: Any = beam.DoFn.StateParam(WRITTEN),
        timer: Any = beam.DoFn.TimerParam(WHOLE),
    ) -> None:
        """Keep it until then."""
        (_, stop), encoded = element
        written.add(encoded)
        # Past the timers at which the shards' last parts are written, which hold the watermark until they have fired.
        timer.set(Timestamp(micros=min(stop + self._lateness + _AFTER, _LAST)))

    @on_timer(WHOLE)
    def whole(
        self, window: Any = beam.DoFn.KeyParam, written: Any = beam.DoFn.StateParam(WRITTEN)
    ) -> Iterator[S3Window]:
        """Write the manifest."""
        objects = list(map(decode_object, written.read()))
        written.clear()
        if objects:
            self._committed.inc()
            record = self._objects.record_type.__name__
            yield commit_window(self._requests, Window(*window), objects, record, replace=False)
