"""Batches of rows as our record types have them: checked before they are written, resolved when they are read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from thingbeam.io.files.times import FIRST_MICROS, LAST_MICROS
from thingbeam.schemas.arrow import arrow_schema
from thingbeam.schemas.fields import Field, fields_of

__all__ = ["Fault", "SchemaMismatchError", "check_batch", "resolve_batch"]


class Fault(NamedTuple):
    """What of a file could not be read."""

    code: str
    """One of thingbeam.schemas.codes."""
    position: str
    error: str
    payload: bytes = b""


class SchemaMismatchError(ValueError):
    """Columns that cannot be read as the record asked for."""


def check_batch(batch: pa.RecordBatch, record_type: type[tuple[Any, ...]]) -> pa.RecordBatch:
    """A batch as `arrow_schema(record_type)`, columns of like types cast to it, sure to be the same when read again.

    Raises:
        ValueError: columns of another record, a null where the record has none, a number that is not finite, a time
            outside the years 1 to 9999. The same for every format.
    """
    schema = arrow_schema(record_type)
    if batch.schema.names != schema.names:
        raise ValueError(f"not a batch of {record_type.__name__}: its columns are {', '.join(batch.schema.names)}")
    columns = []
    for field, column in zip(fields_of(record_type), batch.columns, strict=True):
        kind = schema.field(field.name).type
        columns.append(column if column.type.equals(kind) else column.cast(kind))
        fault = _fault(columns[-1], field)
        if fault:
            raise ValueError(f"{record_type.__name__}.{field.name}: {fault}")
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _fault(column: pa.Array, field: Field) -> str | None:
    if column.null_count and not field.optional:
        return f"null in row {column.is_null().to_pylist().index(True)}, where none may be"
    if field.type == "double" and not np.isfinite(column.drop_null().to_numpy()).all():
        return "a number that is not finite"
    if field.type == "map_of_double" and len(column):
        # A map array's items are those of the whole array that it may be a slice of.
        ends = column.offsets
        items = column.items.slice(ends[0].as_py(), ends[len(column)].as_py() - ends[0].as_py())
        if items.null_count or not np.isfinite(items.to_numpy()).all():
            return "a number that is not finite"
    if field.type == "timestamp":
        micros = column.cast(pa.int64()).drop_null().to_numpy()
        if len(micros) and not FIRST_MICROS <= micros.min() <= micros.max() <= LAST_MICROS:
            return "a time outside the years 1 to 9999"
    return None


def resolve_batch(batch: pa.RecordBatch, record_type: type[tuple[Any, ...]]) -> pa.RecordBatch:
    """A batch that another release wrote, as `arrow_schema(record_type)`.

    Columns go by name; those that it lacks have their defaults, those that are unknown are left out.

    Raises:
        SchemaMismatchError: a column without a default is missing, or has a type that cannot become the one asked for.
    """
    schema = arrow_schema(record_type)
    columns = []
    for field in fields_of(record_type):
        kind = schema.field(field.name).type
        at = batch.schema.get_field_index(field.name)
        if at < 0:
            if not (field.has_default or field.optional):
                raise SchemaMismatchError(f"no column {field.name}, which {record_type.__name__} needs")
            columns.append(pa.array([field.default] * batch.num_rows, kind))
            continue
        try:
            columns.append(batch.column(at).cast(kind))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SchemaMismatchError(f"column {field.name} is {batch.schema.field(at).type}, not {kind}") from error
        if columns[-1].null_count and not field.optional:
            raise SchemaMismatchError(f"column {field.name} has nulls, which {record_type.__name__} does not")
    return pa.RecordBatch.from_arrays(columns, schema=schema)
