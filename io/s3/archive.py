"""Raw archives: messages as a broker had them, in objects named by topic, partition and fixed blocks of offsets.

What has no offsets, Kinesis' shards, is in `thingbeam.io.s3.runs`.

    PREFIX/events/partition=3/00000000000000700000-00000000000000700000.avro

The first number is the block, the second the first position in the object. No object crosses a block. A message's
position never changes, so what is written again, by a retry or by a job that began further back, holds the same
messages; a reader takes each position of a block once. So an archive needs no manifest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

import msgspec
import numpy as np
import pyarrow as pa
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.kinesis.records import KinesisBatch
from thingbeam.io.s3.runs import run_name
from thingbeam.io.s3.writing import ObjectWriter
from thingbeam.schemas.arrow import arrow_schema
from thingbeam.schemas.coders import register_rows
from thingbeam.schemas.payloads import Headers, PayloadBatch

__all__ = [
    "ArchivedMessage",
    "ArchivedObject",
    "Span",
    "blocks_of",
    "object_name",
    "span_of_name",
    "times_of",
    "to_payloads",
    "to_rows",
    "write_block",
    "write_run",
]

_EARLIEST: Final = "thingbeam-earliest"
_LATEST: Final = "thingbeam-latest"
_LAST: Final = "thingbeam-last"
_NAME: Final = re.compile(r"(?P<source>[^/]+)/(?P<part>[^/]+)/(?P<block>\d{20})-(?P<first>\d{20})\.[a-z.]+")
_SAFE: Final = "=._-+"
_HEADERS: Final = msgspec.json.Decoder(list[tuple[str, bytes | None]])


class ArchivedMessage(NamedTuple):
    """One message of an archive."""

    source: str
    """The topic or stream."""
    part: str
    """The partition or shard: `partition=3`."""
    position: int
    """The offset; of a stream the sub-sequence number, -1 for a record that came alone."""
    time: Timestamp
    """As the source said it."""
    key: bytes | None = None
    payload: bytes | None = None
    """None for a tombstone."""
    sequence: str | None = None
    """Of a stream, the sequence number."""
    headers: str | None = None
    """Where there are any: `[["name","base64 of the value"],…]`, in their order; null for a header without a value."""
    stamp: Timestamp | None = None
    """The record's own time, where `time` is another."""


class ArchivedObject(NamedTuple):
    """An object of an archive that is in place, whole."""

    name: str
    """Below the prefix."""
    rows: int
    bytes: int


register_rows(ArchivedMessage, ArchivedObject)


class Span(NamedTuple):
    """What the name of an archive's object says."""

    source: str
    part: str
    block: int
    """The first position that could be in it."""
    first: int
    """The first that is."""


def object_name(span: Span) -> str:
    """The name of an object, below the prefix and without its ending.

    >>> object_name(Span("events", "partition=3", 700_000, 700_003))
    'events/partition=3/00000000000000700000-00000000000000700003'
    """
    return f"{quote(span.source, _SAFE)}/{quote(span.part, _SAFE)}/{span.block:020d}-{span.first:020d}"


def span_of_name(name: str) -> Span | None:
    """What a name says; None where it is not of an archive.

    >>> span_of_name("events/partition=3/00000000000000700000-00000000000000700003.avro").first
    700003
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return Span(unquote(found["source"]), unquote(found["part"]), int(found["block"]), int(found["first"]))


def blocks_of(batch: PayloadBatch, size: int) -> Iterator[tuple[int, PayloadBatch]]:
    """A batch cut where blocks end: (first position of the block, its messages)."""
    if not len(batch):
        return
    numbers = np.asarray(batch.positions) // size
    edges = np.flatnonzero(np.diff(numbers) != 0) + 1
    for first, last in zip([0, *edges.tolist()], [*edges.tolist(), len(batch)], strict=True):
        piece = batch if last - first == len(batch) else batch.take(np.arange(first, last))
        yield int(numbers[first]) * size, piece


def to_rows(batch: PayloadBatch) -> pa.RecordBatch:
    """Messages as rows of ArchivedMessage."""
    schema = arrow_schema(ArchivedMessage)
    count = len(batch)
    columns = [
        pa.array([batch.source] * count, pa.string()),
        pa.array([batch.part] * count, pa.string()),
        pa.array(np.asarray(batch.positions, np.int64)),
        pa.array(np.asarray(batch.times, np.int64)).cast(schema.field("time").type),
        pa.array(batch.keys, pa.binary()),
        pa.array(batch.payloads, pa.binary()),
        pa.array(batch.sequences if isinstance(batch, KinesisBatch) else [None] * count, pa.string()),
        pa.array([_header_text(some) for some in batch.headers or [()] * count], pa.string()),
        pa.array([None] * count if batch.stamps is None else batch.stamps, pa.int64()).cast(schema.field("stamp").type),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def to_payloads(rows: pa.RecordBatch) -> PayloadBatch:
    """Rows of ArchivedMessage, of one partition or shard, as messages."""
    sequences, headers, stamps = (rows.column(name) for name in ("sequence", "headers", "stamp"))
    columns = (
        rows.column("source")[0].as_py(),
        rows.column("part")[0].as_py(),
        rows.column("position").to_numpy().copy(),
        rows.column("payload").to_pylist(),
        rows.column("key").to_pylist(),
        rows.column("time").cast(pa.int64()).to_numpy().copy(),
    )
    if not sequences.null_count:
        return KinesisBatch(*columns, sequences.to_pylist())
    return PayloadBatch(
        *columns,
        None if headers.null_count == len(headers) else list(map(_headers, headers.to_pylist())),
        None if stamps.null_count else stamps.cast(pa.int64()).to_numpy().copy(),
    )


def _header_text(headers: Headers) -> str | None:
    return msgspec.json.encode(list(headers)).decode() if headers else None


def _headers(text: str | None) -> Headers:
    return tuple(_HEADERS.decode(text)) if text else ()


def write_block(writer: ObjectWriter, prefix: str, block: int, batches: Sequence[PayloadBatch]) -> ArchivedObject:
    """The messages of a block, or what there is of them, as one object.

    An object of that name that goes as far or further stays: what it holds is the same and more.

    Args:
        writer: writes.
        prefix: the key of the archive, for the object that may be there.
        block: the first position of the block.
        batches: of one partition and that block.

    Raises:
        ConnectorError: it could not be stored.
    """
    batch = PayloadBatch.concatenate(batches).in_order()
    span = Span(batch.source, batch.part, block, int(batch.positions[0]))
    last = int(batch.positions[-1])
    name = object_name(span)
    found = writer.requests.head(f"{prefix}{name}{writer.ending}")
    if found is not None and int(found["Metadata"].get(_LAST, -1)) >= last:
        return ArchivedObject(name + writer.ending, 0, 0)
    full, rows, stored = writer.write(name, [to_rows(batch)], _times(batch) | {_LAST: str(last)})
    return ArchivedObject(full, rows, stored.bytes)


def write_run(writer: ObjectWriter, batches: Iterable[KinesisBatch]) -> ArchivedObject:
    """Records of one shard as one object.

    Raises:
        ConnectorError: it could not be stored.
    """
    batch = KinesisBatch.concatenate(batches).in_order()
    full, rows, stored = writer.write(run_name(batch), [to_rows(batch)], _times(batch))
    return ArchivedObject(full, rows, stored.bytes)


def _times(batch: PayloadBatch) -> dict[str, str]:
    return {_EARLIEST: str(int(batch.times.min())), _LATEST: str(int(batch.times.max()))}


def times_of(metadata: Any) -> tuple[int, int] | None:
    """The earliest and latest time in an object, by its metadata."""
    try:
        return int(metadata[_EARLIEST]), int(metadata[_LATEST])
    except (KeyError, ValueError):
        return None
