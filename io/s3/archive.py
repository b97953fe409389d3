"""Raw archives: messages as a broker had them, in objects named by topic, partition and fixed blocks of offsets.

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

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.s3.writing import ObjectWriter
from thingbeam.schemas.arrow import arrow_schema
from thingbeam.schemas.payloads import PayloadBatch

__all__ = [
    "ArchivedMessage",
    "ArchivedObject",
    "Span",
    "blocks_of",
    "in_order",
    "object_name",
    "span_of_name",
    "times_of",
    "to_payloads",
    "to_rows",
    "write_block",
]

_EARLIEST: Final = "thingbeam-earliest"
_LATEST: Final = "thingbeam-latest"
_LAST: Final = "thingbeam-last"
_NAME: Final = re.compile(r"(?P<source>[^/]+)/(?P<part>[^/]+)/(?P<block>\d{20})-(?P<first>\d{20})\.[a-z.]+")
_SAFE: Final = "=._-+"


class ArchivedMessage(NamedTuple):
    """One message of an archive."""

    source: str
    """The topic or stream."""
    part: str
    """The partition or shard: `partition=3`."""
    position: int
    """The offset."""
    time: Timestamp
    """As the source said it."""
    key: bytes | None = None
    payload: bytes | None = None
    """None for a tombstone."""


class ArchivedObject(NamedTuple):
    """An object of an archive that is in place, whole."""

    name: str
    """Below the prefix."""
    rows: int
    bytes: int


for _record in (ArchivedMessage, ArchivedObject):
    beam.coders.registry.register_coder(_record, beam.coders.RowCoder)


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
        piece = batch if last - first == len(batch) else _slice(batch, first, last)
        yield int(numbers[first]) * size, piece


def _slice(batch: PayloadBatch, first: int, last: int) -> PayloadBatch:
    return PayloadBatch(
        batch.source, batch.part, batch.positions[first:last], batch.payloads[first:last], batch.keys[first:last],
        batch.times[first:last],
    )  # fmt: skip


def in_order(batches: Iterable[PayloadBatch]) -> PayloadBatch:
    """All messages of one partition's batches by position, each position once.

    Raises:
        ValueError: there are none.
    """
    some = list(batches)
    if not some:
        raise ValueError("no batches")
    positions = np.concatenate([batch.positions for batch in some])
    times = np.concatenate([batch.times for batch in some])
    payloads = [payload for batch in some for payload in batch.payloads]
    keys = [key for batch in some for key in batch.keys]
    unique, order = np.unique(positions, return_index=True)
    if len(unique) != len(positions) or not np.array_equal(order, np.arange(len(order))):
        numbers = order.tolist()
        positions, times = positions[order], times[order]
        payloads, keys = [payloads[n] for n in numbers], [keys[n] for n in numbers]
    return PayloadBatch(some[0].source, some[0].part, positions, payloads, keys, times)


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
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def to_payloads(rows: pa.RecordBatch) -> PayloadBatch:
    """Rows of ArchivedMessage, of one partition, as messages."""
    return PayloadBatch(
        rows.column("source")[0].as_py(),
        rows.column("part")[0].as_py(),
        rows.column("position").to_numpy().copy(),
        rows.column("payload").to_pylist(),
        rows.column("key").to_pylist(),
        rows.column("time").cast(pa.int64()).to_numpy().copy(),
    )


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
    batch = in_order(batches)
    span = Span(batch.source, batch.part, block, int(batch.positions[0]))
    last = int(batch.positions[-1])
    name = object_name(span)
    found = writer.requests.head(f"{prefix}{name}{writer.ending}")
    if found is not None and int(found["Metadata"].get(_LAST, -1)) >= last:
        return ArchivedObject(name + writer.ending, 0, 0)
    times = {_EARLIEST: str(int(batch.times.min())), _LATEST: str(int(batch.times.max())), _LAST: str(last)}
    full, rows, stored = writer.write(name, [to_rows(batch)], times)
    return ArchivedObject(full, rows, stored.bytes)


def times_of(metadata: Any) -> tuple[int, int] | None:
    """The earliest and latest time in an object, by its metadata."""
    try:
        return int(metadata[_EARLIEST]), int(metadata[_LATEST])
    except (KeyError, ValueError):
        return None
