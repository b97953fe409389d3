"""Rows cut by window and shard, and those that no file can hold taken out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.files.batches import check_batch
from thingbeam.schemas import codes
from thingbeam.schemas.arrow import arrow_schema, to_record_batch
from thingbeam.schemas.coders import ArrowBatchCoder
from thingbeam.schemas.fields import fields_of
from thingbeam.schemas.names import id_words, mix
from thingbeam.schemas.records import DeadLetter

__all__ = ["Cut", "Cutter", "batch_of", "checked", "packed", "shards_of", "start_of", "time_field"]

_TIMES: Final = ("event_time", "start", "time")
_CODER: Final = ArrowBatchCoder()
_KEPT_BYTES: Final = 64 << 10
_WRONG: Final = (ValueError, TypeError, OverflowError, AttributeError, pa.ArrowException)


class Cut(NamedTuple):
    """Rows of one window and one shard."""

    start: int
    """Of the window, in microseconds since 1970."""
    shard: int
    batch: pa.RecordBatch


def packed(cut: Cut) -> bytes:
    """Rows and their window as bytes, as they wait in state: the start (8 bytes, big-endian), then an Arrow stream."""
    return cut.start.to_bytes(8, "big", signed=True) + _CODER.encode(cut.batch)


def start_of(packed_rows: bytes) -> int:
    """The start of the window of packed rows."""
    return int.from_bytes(packed_rows[:8], "big", signed=True)


def batch_of(packed_rows: bytes) -> pa.RecordBatch:
    """The rows of packed rows."""
    return _CODER.decode(packed_rows[8:])


def time_field(record_type: type[tuple[Any, ...]], name: str | None) -> str:
    """The field that says a row's window: the one named, or event_time, start or time.

    Raises:
        ValueError: there is none, or it may be empty.
    """
    kinds = {field.name: field for field in fields_of(record_type)}
    found = name or next((one for one in _TIMES if one in kinds), None)
    if found is None or found not in kinds or kinds[found].type != "timestamp" or kinds[found].optional:
        times = [one.name for one in kinds.values() if one.type == "timestamp" and not one.optional]
        raise ValueError(f"time={name!r}: {record_type.__name__} has {', '.join(times) or 'no time'} to go by")
    return found


def shard_field(record_type: type[tuple[Any, ...]], name: str | None) -> str:
    """The field whose hash says a row's shard: the one named, or device_id, or the first text.

    Raises:
        ValueError: there is no such text.
    """
    texts = [field.name for field in fields_of(record_type) if field.type == "string"]
    found = name or ("device_id" if "device_id" in texts else next(iter(texts), None))
    if found not in texts:
        raise ValueError(f"shard_by={name!r}: {record_type.__name__} has the texts {', '.join(texts)}")
    return found


def shards_of(column: pa.Array, shards: int) -> Any:
    """The shard of each text of a column, the same in every process and release.

    >>> shards_of(pa.array(["a", "b", "a", None]), 4).tolist()
    [1, 3, 1, 3]
    """
    encoded = column.dictionary_encode()
    words, _ = id_words([*encoded.dictionary.to_pylist(), None])
    numbers = (mix(words[:, 0], words[:, 1]) % np.uint64(shards)).astype(np.int64)
    return numbers[encoded.indices.fill_null(len(words) - 1).to_numpy()]


def checked(
    rows: pa.RecordBatch | Sequence[Any],
    record_type: type[tuple[Any, ...]],
    letter: Callable[[bytes, str, str], DeadLetter],
) -> Iterator[pa.RecordBatch | DeadLetter]:
    """The rows that a file can hold, as batches, and a dead letter for each other: found by halving.

    Args:
        rows: a batch, or records.
        record_type: what they are.
        letter: makes a dead letter of a payload, a code and an error.

    Raises:
        ValueError: a batch of other columns: no row of it would do.
    """
    arrow: pa.RecordBatch | None = rows if isinstance(rows, pa.RecordBatch) else None
    if arrow is not None and arrow.schema.names != arrow_schema(record_type).names:
        raise ValueError(f"not a batch of {record_type.__name__}: its columns are {', '.join(arrow.schema.names)}")
    try:
        yield check_batch(to_record_batch(rows, record_type) if arrow is None else arrow, record_type)
    except _WRONG as error:
        count = len(rows)
        if count > 1:
            half = count // 2
            yield from checked(_part(rows, 0, half), record_type, letter)
            yield from checked(_part(rows, half, count), record_type, letter)
            return
        text = " ".join(str(error).split())
        yield letter(_payload(rows), _code(text), text)


def _part(rows: Any, first: int, last: int) -> Any:
    return rows.slice(first, last - first) if isinstance(rows, pa.RecordBatch) else rows[first:last]


def _payload(rows: Any) -> bytes:
    row: Any = rows.to_pylist()[0] if isinstance(rows, pa.RecordBatch) else rows[0]
    fields = row._asdict() if hasattr(row, "_asdict") else row
    return json.dumps(fields, default=str, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _code(error: str) -> str:
    if "not finite" in error:
        return codes.NOT_FINITE
    if "years 1 to 9999" in error:
        return codes.IMPOSSIBLE_TIME
    return codes.MISSING_FIELD if "null in row" in error else codes.WRONG_TYPE


class Cutter:
    """Cuts batches by window and shard.

    Args:
        record_type: what the rows are.
        time: the field that says the window; None for the type's own.
        length: of a window, in microseconds.
        shards: how many.
        shard_by: the field whose hash says the shard; None for the type's own.
        step: what dead letters name as the step.
        source: what they name as the source.
        redact: blanks secrets in what they keep.

    Raises:
        ValueError: no such field.
    """

    def __init__(
        self,
        record_type: type[tuple[Any, ...]],
        time: str | None,
        length: int,
        shards: int,
        shard_by: str | None,
        step: str,
        source: str,
        redact: Callable[[bytes], bytes] | None,
    ) -> None:
        self.record_type = record_type
        self._time, self._shard_by = time_field(record_type, time), shard_field(record_type, shard_by)
        self._length, self._shards = length, shards
        self._step, self._source, self._redact = step, source, redact

    def check(self, rows: pa.RecordBatch | Sequence[Any]) -> Iterator[pa.RecordBatch | DeadLetter]:
        """The rows that a file can hold, in their order; and dead letters."""
        return checked(rows, self.record_type, self._letter)

    def cut(self, rows: pa.RecordBatch | Sequence[Any]) -> Iterator[Cut | DeadLetter]:
        """Rows of one window and shard together, in their order; and dead letters."""
        for batch in self.check(rows):
            if isinstance(batch, DeadLetter):
                yield batch
            elif batch.num_rows:
                yield from self._cut(batch)

    def _cut(self, batch: pa.RecordBatch) -> Iterator[Cut]:
        windows = batch.column(self._time).cast(pa.int64()).to_numpy() // self._length
        shards = shards_of(batch.column(self._shard_by), self._shards)
        order = np.lexsort((shards, windows))
        windows, shards = windows[order], shards[order]
        edges = np.flatnonzero((np.diff(windows) != 0) | (np.diff(shards) != 0)) + 1
        if len(edges):
            batch = batch.take(pa.array(order))
        for first, last in zip([0, *edges.tolist()], [*edges.tolist(), batch.num_rows], strict=True):
            yield Cut(int(windows[first]) * self._length, int(shards[first]), batch.slice(first, last - first))

    def _letter(self, payload: bytes, code: str, error: str) -> DeadLetter:
        # Cut after the secrets are gone: half a secret is one still.
        kept = (payload if self._redact is None else self._redact(payload))[:_KEPT_BYTES]
        return DeadLetter(kept, self._source, "", self._step, code, error, Timestamp.now())
