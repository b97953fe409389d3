"""ArchiveToS3: payload batches to a raw archive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
import msgspec
import numpy as np
from apache_beam.coders import BytesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from thingbeam.io.files.paths import Compression, Format, ending
from thingbeam.io.kinesis.records import KinesisBatch
from thingbeam.io.s3.archive import (
    ArchivedMessage,
    ArchivedObject,
    blocks_of,
    write_block,
    write_run,
)
from thingbeam.io.s3.location import S3Location, parse_s3_uri
from thingbeam.io.s3.requests import check_bucket
from thingbeam.io.s3.writing import Objects, ObjectWriter
from thingbeam.io.writing.policies import RetryPolicy
from thingbeam.schemas.durations import Duration, micros_of_duration
from thingbeam.schemas.payloads import PayloadBatch, PayloadBatchCoder

__all__ = ["ArchiveToS3"]

_END: Final = Timestamp(micros=MAX_TIMESTAMP.micros // 1_000_000 * 1_000_000 - 86_400_000_000)
_LOST: Final = 60.0
_FULL_BYTES: Final = 64 << 20
"""Of a shard's records, an object: they have no blocks that would bound it."""


class ArchiveToS3(beam.PTransform[Any, Any]):
    """Messages of Kafka or Kinesis, as they came, to an archive of Avro, Parquet or JSON Lines.

    Takes a PCollection of PayloadBatch (KafkaBatch, KinesisBatch, or both), bounded or not; gives one of
    ArchivedObject.

    Guarantee: every message that comes in is in an object, at least once, and ReadArchiveFromS3 gives it once: objects
    are named by topic, partition and fixed blocks of offsets, or by stream, shard and sequence numbers, and no object
    is replaced by one that holds less.
    Messages of a block that is not full wait in state: where an engine's state does not outlive a crash, let the source
    commit behind them (`commit_margin=` of ReadFromKafka above `roll_after`).

    Args:
        prefix: `s3://BUCKET/PREFIX?region=…`, or an S3Location.
        format: avro, parquet or jsonl.
        compression: None, gzip or zstd.
        block: positions in a block, and so at most the messages of an object. The same for the life of an archive of
            Kafka's. Of Kinesis, how many records make an object full; or 64 MiB.
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
            runs = batches | "Runs" >> beam.ParDo(_WriteRuns(self._objects, size)).with_output_types(ArchivedObject)
            blocks = (
                batches
                | "Cut" >> beam.FlatMap(lambda batch: _by_block(batch, size)).with_output_types(
                    tuple[tuple[str, str, int], PayloadBatch]
                )
                | "Group" >> beam.GroupByKey()
                | "Write" >> beam.ParDo(_WriteBlock(self._objects)).with_output_types(ArchivedObject)
            )  # fmt: skip
            done = (blocks, runs) | beam.Flatten()
        else:
            done = (
                batches
                | "Key" >> beam.Map(_by_partition).with_output_types(tuple[tuple[str, str], bytes])
                | "Gather"
                >> beam.ParDo(_GatherBlocks(self._objects, size, self._after)).with_output_types(ArchivedObject)
            )
        return done


def _checked(batch: PayloadBatch) -> PayloadBatch:
    """A batch of which it is known what its positions mean.

    Raises:
        TypeError: of another source.
    """
    if type(batch) not in (PayloadBatch, KinesisBatch):
        raise TypeError(f"ArchiveToS3 takes batches of Kafka's and Kinesis', not {type(batch).__name__}")
    return batch


def _by_block(batch: PayloadBatch, size: int) -> Iterator[tuple[tuple[str, str, int], PayloadBatch]]:
    if isinstance(_checked(batch), KinesisBatch):
        return
    for block, piece in blocks_of(batch, size):
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


@dataclass
class _Waiting:
    batches: list[KinesisBatch]
    rows: int = 0
    bytes: int = 0


class _WriteRuns(_WritesBlocks):
    """Records of shards: what a bundle has, without a shuffle, since readers put together what overlaps."""

    def __init__(self, objects: Objects, size: int) -> None:
        super().__init__(objects)
        self._size = size

    def start_bundle(self) -> None:
        """Nothing waits."""
        self._waiting: dict[tuple[str, str], _Waiting] = {}

    def process(self, batch: PayloadBatch) -> Iterator[ArchivedObject]:
        """Gather, and write what is full."""
        if not isinstance(batch, KinesisBatch) or not len(batch):
            return
        shard = batch.source, batch.part
        some = self._waiting.setdefault(shard, _Waiting([]))
        some.batches.append(batch)
        some.rows += len(batch)
        some.bytes += batch.nbytes
        if some.rows >= self._size or some.bytes >= _FULL_BYTES:
            yield write_run(self._writer, self._waiting.pop(shard).batches)

    def finish_bundle(self) -> Iterator[Any]:
        """Write the rest."""
        for some in self._waiting.values():
            yield GlobalWindows.windowed_value(write_run(self._writer, some.batches))


class _Gathered(msgspec.Struct, array_like=True):
    """Where a partition stands."""

    version: int = 1
    block: int = -1
    """The highest block that has messages waiting."""
    due: float = 0.0
    """When the timer of processing time is set to."""
    rows: int = 0
    """Records of a shard that wait."""
    bytes: int = 0


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
        batch = _CODER.decode(element[1])
        if not len(batch):
            return
        if isinstance(batch, KinesisBatch):
            yield from self._gather(state, element[1], batch, waiting)
        else:
            yield from self._cut(state, element[1], batch, waiting)
        moment = self._clock()
        if moment > state.due + _LOST or not state.due:
            state.due = moment + self._after
            roll.set(Timestamp(state.due))
        end.set(_END)
        cell.write(msgspec.msgpack.encode(state))

    def _gather(self, state: _Gathered, encoded: bytes, batch: KinesisBatch, waiting: Any) -> Iterator[ArchivedObject]:
        """Records of a shard: so many make an object."""
        waiting.add(encoded)
        state.rows += len(batch)
        state.bytes += batch.nbytes
        if state.rows >= self._size or state.bytes >= _FULL_BYTES:
            yield from self._write_all(waiting)
            state.rows = state.bytes = 0

    def _cut(self, state: _Gathered, encoded: bytes, batch: PayloadBatch, waiting: Any) -> Iterator[ArchivedObject]:
        """Messages of a partition: those of blocks before the highest go out."""
        highest = int(np.max(batch.positions)) // self._size * self._size
        if state.block >= 0 and highest > state.block:
            pieces = [*map(_CODER.decode, waiting.read()), batch]
            waiting.clear()
            for block, some in _blocks(pieces, self._size).items():
                if block < highest:
                    yield from self._write(block, some)
                else:
                    waiting.add(PayloadBatch.concatenate(some).in_order().encode())
        else:
            waiting.add(encoded)
        state.block = max(state.block, highest)

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
        yield from self._write_all(waiting)
        cell.clear()

    def _write_all(self, waiting: Any) -> Iterator[ArchivedObject]:
        some = list(map(_CODER.decode, waiting.read()))
        runs = [batch for batch in some if isinstance(batch, KinesisBatch)]
        if runs:
            yield write_run(self._writer, runs)
        else:
            for block, pieces in _blocks(some, self._size).items():
                yield from self._write(block, pieces)
        waiting.clear()


_CODER: Final = PayloadBatchCoder()
_GATHERED: Final = msgspec.msgpack.Decoder(_Gathered)


def _blocks(batches: Iterable[PayloadBatch], size: int) -> dict[int, list[PayloadBatch]]:
    found: dict[int, list[PayloadBatch]] = {}
    for batch in batches:
        for block, piece in blocks_of(batch, size):
            found.setdefault(block, []).append(piece)
    return dict(sorted(found.items()))
