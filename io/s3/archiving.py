"""ArchiveToS3 and ReadArchiveFromS3: payload batches to a raw archive, and back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any, Final

import apache_beam as beam
import msgspec
import numpy as np
from apache_beam.coders import BytesCoder
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from thingbeam.io.files.blobs import DEAD_LETTERS
from thingbeam.io.files.paths import Compression, Format, ending
from thingbeam.io.files.records import read_records
from thingbeam.io.s3.archive import (
    ArchivedMessage,
    ArchivedObject,
    blocks_of,
    in_order,
    span_of_name,
    times_of,
    to_payloads,
    write_block,
)
from thingbeam.io.s3.location import S3Location, parse_s3_uri
from thingbeam.io.s3.requests import Requests, check_bucket
from thingbeam.io.s3.source import Time, micros_of_time
from thingbeam.io.s3.writing import Objects, ObjectWriter
from thingbeam.io.writing.policies import RetryPolicy
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.schemas.durations import Duration, micros_of_duration
from thingbeam.schemas.payloads import PayloadBatch
from thingbeam.schemas.records import DeadLetter

__all__ = ["ArchiveToS3", "ReadArchiveFromS3"]

_BATCH_ROWS: Final = 2_000
_END: Final = Timestamp(micros=MAX_TIMESTAMP.micros // 1_000_000 * 1_000_000 - 86_400_000_000)
_LOST: Final = 60.0


class ArchiveToS3(beam.PTransform[Any, Any]):
    """Messages of Kafka, as they came, to an archive of Avro, Parquet or JSON Lines.

    Takes a PCollection of PayloadBatch (KafkaBatch), bounded or not; gives one of ArchivedObject.

    Guarantee: every message that comes in is in an object, at least once, and ReadArchiveFromS3 gives it once: objects
    are named by topic, partition and fixed blocks of offsets, and no object is replaced by one that goes less far.
    Messages of a block that is not full wait in state: where an engine's state does not outlive a crash, let the source
    commit behind them (`commit_margin=` of ReadFromKafka above `roll_after`).

    Args:
        prefix: `s3://BUCKET/PREFIX?region=…`, or an S3Location.
        format: avro, parquet or jsonl.
        compression: None, gzip or zstd.
        block: positions in a block, and so at most the messages of an object. The same for the life of an archive.
        roll_after: for endless input, how long messages wait at most, by the clock, for their block to be full.
        part_bytes: objects larger than this, as stored, go in parts of it.
        in_flight: parts of one object that are sent at once.
        retry: how long and how often what failed is tried again.
        check: ask the bucket when the pipeline is built.

    Raises:
        ValueError: an argument that cannot work, as the transform is made.
        ConnectorError: no such bucket, no permission, another region, expired credentials: as the pipeline is built.
    """

    def __init__(
        self,
        prefix: str | S3Location,
        format: Format = "avro",  # noqa: A002
        compression: Compression | None = "zstd",
        *,
        block: int = 100_000,
        roll_after: Duration = "5m",
        part_bytes: int = 16 << 20,
        in_flight: int = 4,
        retry: RetryPolicy | None = None,
        check: bool = True,
    ) -> None:
        super().__init__()
        location = parse_s3_uri(prefix) if isinstance(prefix, str) else prefix
        ending(format, compression)
        if block < 1:
            raise ValueError(f"block {block}: at least 1")
        self._after = micros_of_duration(roll_after, "roll_after") / 1e6
        if not self._after:
            raise ValueError("roll_after: above 0")
        self._block, self._check = block, check
        self._objects = Objects(
            location, ArchivedMessage, format, compression, 1 << 62, part_bytes, in_flight, retry or RetryPolicy()
        )

    def expand(self, batches: Any) -> Any:
        """Cut into blocks, gather, write."""
        if self._check:
            check_bucket(self._objects.location, write=True)
        size, bounded = self._block, batches.is_bounded
        if not isinstance(batches.windowing.windowfn, GlobalWindows):
            batches |= "Unwindow" >> beam.WindowInto(GlobalWindows())
        if bounded:
            done = (
                batches
                | "Cut" >> beam.FlatMap(lambda batch: _by_block(batch, size)).with_output_types(
                    tuple[tuple[str, str, int], PayloadBatch]
                )
                | "Group" >> beam.GroupByKey()
                | "Write" >> beam.ParDo(_WriteBlock(self._objects)).with_output_types(ArchivedObject)
            )  # fmt: skip
        else:
            done = (
                batches
                | "Key" >> beam.Map(_by_partition).with_output_types(tuple[tuple[str, str], bytes])
                | "Gather"
                >> beam.ParDo(_GatherBlocks(self._objects, size, self._after)).with_output_types(ArchivedObject)
            )
        return done


def _checked(batch: PayloadBatch) -> PayloadBatch:
    """A batch whose positions say where its messages stand.

    Raises:
        TypeError: one of Kinesis, whose sequence numbers are too long and too sparse for blocks.
    """
    if type(batch) is not PayloadBatch:
        raise TypeError(f"ArchiveToS3 takes batches of Kafka's, by offset, not {type(batch).__name__}")
    return batch


def _by_block(batch: PayloadBatch, size: int) -> Iterator[tuple[tuple[str, str, int], PayloadBatch]]:
    for block, piece in blocks_of(_checked(batch), size):
        yield (batch.source, batch.part, block), piece


def _by_partition(batch: PayloadBatch) -> tuple[tuple[str, str], bytes]:
    return (batch.source, batch.part), _checked(batch).encode()


class _WritesBlocks(beam.DoFn):
    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def setup(self) -> None:
        """A writer for this copy."""
        self._writer = ObjectWriter(self._objects)

    def _write(self, block: int, batches: Iterable[PayloadBatch]) -> Iterator[ArchivedObject]:
        written = write_block(self._writer, self._objects.location.join("").key, block, list(batches))
        if written.rows:
            yield written


class _WriteBlock(_WritesBlocks):
    def process(self, group: tuple[tuple[str, str, int], Iterable[PayloadBatch]]) -> Iterator[ArchivedObject]:
        """Write the messages of a block."""
        yield from self._write(group[0][2], group[1])


class _Gathered(msgspec.Struct, array_like=True):
    """Where a partition stands."""

    version: int = 1
    block: int = -1
    """The highest block that has messages waiting."""
    due: float = 0.0
    """When the timer of processing time is set to."""


class _GatherBlocks(_WritesBlocks):
    """Messages wait until one of a later block comes, or some time has passed."""

    STATE = ReadModifyWriteStateSpec("gathered", BytesCoder())
    WAITING = BagStateSpec("waiting", BytesCoder())
    ROLL = TimerSpec("roll", TimeDomain.REAL_TIME)
    END = TimerSpec("end", TimeDomain.WATERMARK)

    def __init__(self, objects: Objects, size: int, after: float, clock: Callable[[], float] = time.time) -> None:
        super().__init__(objects)
        self._size, self._after, self._clock = size, after, clock

    def process(
        self,
        element: tuple[tuple[str, str], bytes],
        cell: Any = beam.DoFn.StateParam(STATE),
        waiting: Any = beam.DoFn.StateParam(WAITING),
        roll: Any = beam.DoFn.TimerParam(ROLL),
        end: Any = beam.DoFn.TimerParam(END),
    ) -> Iterator[ArchivedObject]:
        """Gather, and write blocks that are full."""
        encoded = cell.read()
        state = _GATHERED.decode(encoded) if encoded else _Gathered()
        batch = PayloadBatch.decode(element[1])
        if not len(batch):
            return
        highest = int(np.max(batch.positions)) // self._size * self._size
        if state.block >= 0 and highest > state.block:
            pieces = [*map(PayloadBatch.decode, waiting.read()), batch]
            waiting.clear()
            for block, some in _blocks(pieces, self._size).items():
                if block < highest:
                    yield from self._write(block, some)
                else:
                    waiting.add(in_order(some).encode())
        else:
            waiting.add(element[1])
        state.block = max(state.block, highest)
        moment = self._clock()
        if moment > state.due + _LOST or not state.due:
            state.due = moment + self._after
            roll.set(Timestamp(state.due))
        end.set(_END)
        cell.write(msgspec.msgpack.encode(state))

    @on_timer(ROLL)
    def roll(
        self, cell: Any = beam.DoFn.StateParam(STATE), waiting: Any = beam.DoFn.StateParam(WAITING)
    ) -> Iterator[ArchivedObject]:
        """Write what waits."""
        yield from self._all(cell, waiting)

    @on_timer(END)
    def end(
        self, cell: Any = beam.DoFn.StateParam(STATE), waiting: Any = beam.DoFn.StateParam(WAITING)
    ) -> Iterator[ArchivedObject]:
        """Write what waits when nothing more comes."""
        yield from self._all(cell, waiting)

    def _all(self, cell: Any, waiting: Any) -> Iterator[ArchivedObject]:
        for block, some in _blocks(map(PayloadBatch.decode, waiting.read()), self._size).items():
            yield from self._write(block, some)
        waiting.clear()
        cell.clear()


_GATHERED: Final = msgspec.msgpack.Decoder(_Gathered)


def _blocks(batches: Iterable[PayloadBatch], size: int) -> dict[int, list[PayloadBatch]]:
    found: dict[int, list[PayloadBatch]] = {}
    for batch in batches:
        for block, piece in blocks_of(batch, size):
            found.setdefault(block, []).append(piece)
    return dict(sorted(found.items()))


class ReadArchiveFromS3(beam.PTransform[Any, Any]):
    """Read an archive that ArchiveToS3 wrote: by topic and partition, and by time.

    Takes the pipeline, gives `batches` (PCollection of PayloadBatch, of one partition each and in its order) and
    `dead_letters` (PCollection of DeadLetter, as ReadFromFiles gives). A batch is stamped with its earliest time. Each
    message once, whatever was archived twice, or again where the runner tries a bundle again.

    Args:
        prefix: as ArchiveToS3 was given.
        source: only this topic or stream.
        part: only this partition, as `partition=3`; needs source.
        start: messages with an earlier time are left out; objects that hold only such are not read, but each is asked.
        stop: messages of that time or a later one are left out.
        redact: blanks secrets out of what dead letters keep. Must be picklable.
        check: ask the bucket when the pipeline is built.

    Raises:
        ValueError: an argument that cannot work.
        ConnectorError: no such bucket, no permission, another region, expired credentials: as the pipeline is built.
    """

    def __init__(
        self,
        prefix: str | S3Location,
        *,
        source: str | None = None,
        part: str | None = None,
        start: Time | None = None,
        stop: Time | None = None,
        redact: Callable[[bytes], bytes] | None = None,
        check: bool = True,
    ) -> None:
        super().__init__()
        if part is not None and source is None:
            raise ValueError("part needs source")
        self._location = parse_s3_uri(prefix) if isinstance(prefix, str) else prefix
        self._source, self._part = source, part
        self._start = None if start is None else micros_of_time(start, "start")
        self._stop = None if stop is None else micros_of_time(stop, "stop")
        self._redact, self._check = redact, check

    def expand(self, root: Any) -> Any:
        """List, spread, read."""
        if self._check:
            check_bucket(self._location)
        location, source, part, start, stop = self._location, self._source, self._part, self._start, self._stop

        def plan(_: Any) -> Iterator[tuple[int, tuple[str, ...]]]:
            yield from _plan(Requests(location), source, part, start, stop)

        return (
            root
            | "Prefix" >> beam.Create([None], reshuffle=False)
            | "List" >> beam.FlatMap(plan).with_output_types(tuple[int, tuple[str, ...]])
            | "Spread" >> beam.Reshuffle()
            | "Read"
            >> beam.ParDo(_ReadBlock(start, stop, self._redact))
            .with_output_types(PayloadBatch, dead_letters=DeadLetter)
            .with_outputs(DEAD_LETTERS, main="batches")
        )


def _plan(
    requests: Requests, source: str | None, part: str | None, start: int | None, stop: int | None
) -> Iterator[tuple[int, tuple[str, ...]]]:
    location = requests.location
    base = location.join("").key
    spans = ((span_of_name(found.key[len(base) :]), found.key) for found in requests.list(base))
    wanted = [
        (span, key) for span, key in spans if span and source in (None, span.source) and part in (None, span.part)
    ]
    for (_, _, block), some in groupby(wanted, key=lambda one: one[0][:3]):
        keys = [key for _, key in some]
        if start is not None or stop is not None:
            keys = [key for key in keys if _overlaps(requests, key, start, stop)]
        if keys:
            yield block, tuple(location.at(key).uri for key in keys)


def _overlaps(requests: Requests, key: str, start: int | None, stop: int | None) -> bool:
    found = requests.head(key)
    times = None if found is None else times_of(found["Metadata"])
    if times is None:
        return True
    return (start is None or times[1] >= start) and (stop is None or times[0] < stop)


class _ReadBlock(beam.DoFn):
    def __init__(self, start: int | None, stop: int | None, redact: Callable[[bytes], bytes] | None) -> None:
        self._start, self._stop, self._redact = start, stop, redact

    def process(self, block: tuple[int, tuple[str, ...]]) -> Iterator[Any]:
        """The messages of a block's objects, each once."""
        batches: list[PayloadBatch] = []
        for uri in block[1]:
            for some in read_records((uri, 0, -1), ArchivedMessage):
                if isinstance(some, DeadLetter):
                    payload = self._redact(some.payload) if self._redact else some.payload
                    yield TaggedOutput(DEAD_LETTERS, some._replace(payload=payload))
                    continue
                rows = to_record_batch(some, ArchivedMessage) if isinstance(some, list) else some
                if rows.num_rows:
                    batches.append(to_payloads(rows))
        if not batches:
            return
        whole = in_order(batches)
        keep = np.ones(len(whole), bool)
        if self._start is not None:
            keep &= whole.times >= self._start
        if self._stop is not None:
            keep &= whole.times < self._stop
        numbers = np.flatnonzero(keep)
        for at in range(0, len(numbers), _BATCH_ROWS):
            some_numbers = numbers[at : at + _BATCH_ROWS]
            chosen = some_numbers.tolist()
            batch = PayloadBatch(
                whole.source, whole.part, whole.positions[some_numbers], [whole.payloads[n] for n in chosen],
                [whole.keys[n] for n in chosen], whole.times[some_numbers],
            )  # fmt: skip
            yield TimestampedValue(batch, batch.earliest)
