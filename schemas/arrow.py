"""Arrow schemas of the records, and records to and from Arrow batches."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.fields import FieldType, RecordType, fields_of

__all__ = ["arrow_schema", "from_record_batch", "to_record_batch"]

_ARROW: dict[FieldType, Any] = {
    "string": pa.string(),
    "double": pa.float64(),
    "long": pa.int64(),
    "boolean": pa.bool_(),
    "bytes": pa.binary(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "map_of_double": pa.map_(pa.string(), pa.float64()),
}


@functools.cache
def arrow_schema(record: type) -> pa.Schema:
    """The Arrow schema of a record type.

    >>> from thingbeam.schemas.records import Session
    >>> arrow_schema(Session).field("start").type
    TimestampType(timestamp[us, tz=UTC])
    """
    return pa.schema([pa.field(f.name, _ARROW[f.type], nullable=f.optional) for f in fields_of(record)])


def to_record_batch(records: Iterable[RecordType], record: type[RecordType]) -> pa.RecordBatch:
    """Records as one Arrow batch, in their order.

    >>> from thingbeam.schemas.records import Event
    >>> to_record_batch([Event.of("e1", Timestamp(0), "d1", "switch", "switch", "on")], Event).num_rows
    1
    """
    fields = fields_of(record)
    columns: Iterable[tuple[Any, ...]] = zip(*records, strict=True)
    values = list(columns) or [()] * len(fields)
    arrays = []
    for field, column in zip(fields, values, strict=True):
        if field.type == "timestamp":
            micros = [None if time is None else time.micros for time in column]
            arrays.append(pa.array(micros, pa.int64()).cast(_ARROW[field.type]))
        elif field.type == "map_of_double":
            arrays.append(pa.array([list(pairs.items()) for pairs in column], _ARROW[field.type]))
        else:
            arrays.append(pa.array(column, _ARROW[field.type]))
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(record))


def from_record_batch(batch: pa.RecordBatch, record: type[RecordType]) -> list[RecordType]:
    """The records of an Arrow batch (or table) of `arrow_schema(record)`.

    >>> from thingbeam.schemas.records import Event
    >>> event = Event.of("e1", Timestamp(0), "d1", "switch", "switch", "on")
    >>> from_record_batch(to_record_batch([event], Event), Event) == [event]
    True
    """
    columns: list[list[Any]] = []
    for field in fields_of(record):
        column = batch.column(field.name)
        if field.type == "timestamp":
            micros = column.cast(pa.int64()).to_pylist()
            columns.append([None if time is None else Timestamp(micros=time) for time in micros])
        elif field.type == "map_of_double":
            columns.append([dict(pairs) for pairs in column.to_pylist()])
        else:
            columns.append(column.to_pylist())
    return [record(*row) for row in zip(*columns, strict=True)]
