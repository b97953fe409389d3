"""The JSON form of records: one object a line, and back without loss.

All fields in their order, nulls included. Times are RFC 3339 in UTC with `Z` (https://www.rfc-editor.org/rfc/rfc3339),
with a fraction only where it is not zero: of three digits for whole milliseconds, else of six. Bytes are base64
(https://www.rfc-editor.org/rfc/rfc4648#section-4). Maps are objects, by key. Numbers are the shortest digits that read
back as the same double; there is no JSON for one that is not finite, so it is refused. Readers ignore fields that they
do not know and give fields that are not there their defaults, so other releases' lines can be read.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
import pyarrow as pa

from thingbeam.io.files.batches import check_batch
from thingbeam.io.files.times import FIRST_MICROS, LAST_MICROS, time_text, time_texts, timestamp_of
from thingbeam.schemas.fields import Field, RecordType, fields_of

__all__ = ["decode_json_lines", "encode_json_line", "encode_json_lines"]

_ENCODER: Final = msgspec.json.Encoder()
_JSON_TYPES: Final[dict[str, Any]] = {
    "string": str,
    "double": float,
    "long": Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)],
    "boolean": bool,
    "bytes": bytes,
    "timestamp": Annotated[datetime, msgspec.Meta(tz=True)],
    "map_of_double": dict[str, float],
}


def encode_json_lines(batch: pa.RecordBatch, record_type: type[tuple[Any, ...]]) -> bytes:
    """The rows of a batch as JSON Lines, in their order, each line ended.

    Args:
        batch: of `arrow_schema(record_type)`.
        record_type: what its rows are.

    Raises:
        ValueError: columns of another record, a null where the record has none, a number that is not finite, a time
            outside the years 1 to 9999.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> from thingbeam.schemas import Session, to_record_batch
    >>> row = Session("d1", Timestamp(0), "1970-01-01T01:00:00+01:00", Timestamp(1), Timestamp(601.5), 2, 7)
    >>> print(encode_json_lines(to_record_batch([row], Session), Session).decode()[:63])
    {"device_id":"d1","start":"1970-01-01T00:00:00Z","start_local":
    """
    batch = check_batch(batch, record_type)
    columns = [_column(column, field) for column, field in zip(batch.columns, fields_of(record_type), strict=True)]
    return _ENCODER.encode_lines(list(map(_row_type(record_type), *columns)))


@functools.cache
def _row_type(record_type: type) -> Callable[..., msgspec.Struct]:
    # Not tracked by the garbage collector: rows live for one call and hold no cycles, and are made in half the time.
    return msgspec.defstruct(record_type.__name__, [(field.name, object) for field in fields_of(record_type)], gc=False)


def _column(column: pa.Array, field: Field) -> list[Any]:
    if field.type == "timestamp":
        return time_texts(column)
    if field.type == "map_of_double":
        empty: dict[str, float] = {}
        if column.offsets[0] == column.offsets[-1]:
            return [empty] * len(column)
        return [dict(sorted(pairs)) if pairs else empty for pairs in column.to_pylist()]
    values: list[Any] = column.to_pylist()
    return values


def encode_json_line(record: tuple[Any, ...]) -> bytes:
    """One record as a line: the bytes that `encode_json_lines` gives for its row.

    Raises:
        ValueError: a number that is not finite, a time outside the years 1 to 9999.
    """
    row: dict[str, Any] = {}
    for field, value in zip(fields_of(type(record)), record, strict=True):
        if value is not None:
            if field.type == "timestamp":
                if not FIRST_MICROS <= value.micros <= LAST_MICROS:
                    raise ValueError(f"{field.name}: a time outside the years 1 to 9999")
                value = time_text(value.micros)
            elif field.type == "map_of_double":
                value = dict(sorted(value.items()))
                _check_finite(field, value.values())
            elif field.type == "double":
                _check_finite(field, (value,))
        row[field.name] = value
    return _ENCODER.encode(row) + b"\n"


def _check_finite(field: Field, numbers: Iterable[float]) -> None:
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{field.name}: a number that is not finite")


def decode_json_lines(data: bytes, record_type: type[RecordType]) -> list[RecordType]:
    """The records of JSON Lines: what was encoded, and lines of older and newer releases. Blank lines are passed over.

    Raises:
        msgspec.DecodeError: a line that is not JSON.
        msgspec.ValidationError: JSON that is not of the record type; a kind of DecodeError.
        RecursionError: nested deeper than any record.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> from thingbeam.schemas import Event
    >>> event = Event.of("e1", Timestamp(1.5), "d1", "switch", "switch", "on")
    >>> decode_json_lines(encode_json_line(event), Event) == [event]
    True
    """
    decoder, readers = _decoder(record_type)
    rows: list[Any] = decoder.decode_lines(data)
    try:
        return list(map(record_type, *(read(rows) for read in readers)))
    except ValueError as error:
        raise msgspec.ValidationError(str(error)) from error


_ColumnReader = Callable[[list[Any]], Iterable[Any]]


@functools.cache
def _decoder(record_type: type) -> tuple[msgspec.json.Decoder[Any], list[_ColumnReader]]:
    required: list[Any] = []
    defaulted: list[Any] = []
    readers: list[_ColumnReader] = []
    for field in fields_of(record_type):
        kind = _JSON_TYPES[field.type]
        if field.optional:
            kind = kind | None
        if field.has_default or field.optional:
            defaulted.append((field.name, kind, field.default))
        else:
            required.append((field.name, kind))
        readers.append(_column_reader(field))
    row_type = msgspec.defstruct(record_type.__name__, required + defaulted, gc=False)
    return msgspec.json.Decoder(row_type), readers


def _column_reader(field: Field) -> _ColumnReader:
    get = operator.attrgetter(field.name)
    if field.type != "timestamp":
        return lambda rows: map(get, rows)
    return lambda rows: [None if time is None else timestamp_of(time) for time in map(get, rows)]
