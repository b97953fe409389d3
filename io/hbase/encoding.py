"""Records, dicts and Arrow batches as rows of a layout, and rows as records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import pyarrow as pa
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.hbase.keys import KeyProblemError
from thingbeam.io.hbase.layout import TableLayout
from thingbeam.io.hbase.rows import HBaseRow
from thingbeam.io.hbase.values import ValueProblemError
from thingbeam.schemas import codes
from thingbeam.schemas.fields import fields_of

__all__ = ["Fault", "Outgoing", "RowDecoder", "RowEncoder"]

_HIGHEST: Final = (1 << 63) - 2
"""Long.MAX_VALUE is HBase's own word for "now"."""


class Fault(NamedTuple):
    """Why an element is no row, or a row no record."""

    code: str
    """Of thingbeam.schemas.codes."""
    reason: str
    """For a person; it names fields and types, and no values."""


class Outgoing(NamedTuple):
    """A row and what it was made of, for its dead letter."""

    row: HBaseRow | None
    """None where the element is no row."""
    fault: Fault | None
    """Why."""
    origin: Any
    """The element, or the Arrow batch."""
    number: int = -1
    """The row of the batch."""


class RowEncoder:
    r"""Elements to rows.

    Args:
        layout: of the table.

    >>> from thingbeam.io.hbase.keys import RowKey
    >>> from thingbeam.io.hbase.layout import Column
    >>> layout = TableLayout(RowKey("device_id"), (Column("model", "text"),), revision=None, deleted=None)
    >>> RowEncoder(layout).row({"device_id": "d1", "model": "WM5000"}).cells
    {b'd:_v': b'\x01', b'd:model': b'WM5000'}
    """

    def __init__(self, layout: TableLayout) -> None:
        self._layout = layout
        self._version = bytes([layout.version])

    def row(self, element: Any) -> HBaseRow | Fault:
        """The row of a record (a NamedTuple) or dict."""
        if isinstance(element, Mapping):
            fields: Mapping[str, Any] = element
        elif isinstance(element, tuple) and hasattr(element, "_asdict"):
            as_dict: Any = element
            fields = as_dict._asdict()
        else:
            return Fault(codes.WRONG_TYPE, f"{type(element).__name__} where a record or a dict is expected")
        layout = self._layout
        try:
            key = layout.key.of([fields.get(name) for name in layout.key.fields])
            revision = None if layout.revision is None else self._timestamp(fields.get(layout.revision))
        except ValueProblemError as problem:
            return _fault(problem)
        if layout.deleted is not None and fields.get(layout.deleted):
            return HBaseRow(key, {}, revision, True)
        cells = {layout.version_column: self._version}
        for column, name, encode in layout.encoders:
            value = fields.get(column.field)
            if value is None and not column.optional:
                return Fault(codes.MISSING_FIELD, f"{column.field}: it is absent, and may not be")
            try:
                cells[name] = encode(value)
            except ValueProblemError as problem:
                return _fault(problem, column.field)
        return HBaseRow(key, cells, revision)

    def rows(self, batch: pa.RecordBatch) -> Iterator[HBaseRow | Fault]:
        """The rows of an Arrow batch with a column of each field's name, as `arrow_schema` of a record has them."""
        layout = self._layout
        columns: dict[str, list[Any]] = {}
        named = set(batch.schema.names)
        special = {layout.revision, layout.deleted} - {None}
        for field in {*layout.key.fields, *(column.field for column in layout.columns), *special}:
            if field in named:
                columns[str(field)] = _values(batch.column(field))
        encoded: list[tuple[bytes, list[Any]]] = []
        for column, name, encode in layout.encoders:
            values = columns.get(column.field)
            encoded.append((name, [None] * len(batch) if values is None else _each(values, encode, column.optional)))
        key, keys = layout.key, [columns.get(name) or [None] * len(batch) for name in layout.key.fields]
        revisions = columns.get(layout.revision or "", [None] * len(batch))
        deleted = columns.get(layout.deleted or "", [False] * len(batch))
        names = [name for name, _ in encoded]
        cells_of = list(zip(*(values for _, values in encoded), strict=True)) or [()] * len(batch)
        for number, parts in enumerate(zip(*keys, strict=True)):
            try:
                row_key = key.of(parts)
                revision = None if layout.revision is None else self._timestamp(revisions[number])
            except ValueProblemError as problem:
                yield _fault(problem)
                continue
            if deleted[number]:
                yield HBaseRow(row_key, {}, revision, True)
                continue
            encoded_row = cells_of[number]
            if None in encoded_row:
                # Again, one at a time, to say which and why.
                yield self.row({name: column[number] for name, column in columns.items()})
                continue
            cells = dict(zip(names, encoded_row, strict=True))
            cells[layout.version_column] = self._version
            yield HBaseRow(row_key, cells, revision)

    def _timestamp(self, revision: Any) -> int:
        if revision is None:
            absent = f"{self._layout.revision}: it is absent, and it orders the states of a row"
            raise KeyProblemError(absent, codes.MISSING_FIELD)
        if isinstance(revision, bool) or not isinstance(revision, int):
            strange = f"{self._layout.revision}: {type(revision).__name__} where a whole number is expected"
            raise ValueProblemError(strange)
        if not 0 <= revision <= _HIGHEST:
            raise ValueProblemError(
                f"{self._layout.revision}: HBase has timestamps from 0 to 2^63 - 2", codes.OUT_OF_RANGE
            )
        return self._layout.timestamp(revision)


class RowDecoder:
    r"""Rows to records, or to dicts where the layout names no record.

    Args:
        layout: of the table; rows of its earlier versions are read by those.
        fields: only these columns were read: rows become dicts of them and the key's fields. None for all.

    >>> from thingbeam.io.hbase.keys import RowKey
    >>> from thingbeam.io.hbase.layout import Column
    >>> layout = TableLayout(RowKey("device_id"), (Column("model", "text"),), revision=None, deleted=None)
    >>> RowDecoder(layout).record(HBaseRow(b"d1", {b"d:_v": b"\x01", b"d:model": b"WM5000"}))
    {'device_id': 'd1', 'model': 'WM5000'}
    """

    def __init__(self, layout: TableLayout, fields: frozenset[str] | None = None) -> None:
        self._layout = layout
        self._fields = fields
        self._by_version = {one.version: one for one in (*layout.earlier, layout)}
        self._defaults: frozenset[str] = frozenset()
        if layout.record is not None:
            self._defaults = frozenset(one.name for one in fields_of(layout.record) if one.has_default)

    def record(self, row: HBaseRow) -> Any:
        """The record of a row, or a Fault."""
        # A row without a version was written by others, who mean the layout as it is.
        mark = row.cells.get(self._layout.version_column)
        version = self._layout.version if not mark else mark[0]
        layout = self._by_version.get(version)
        if layout is None:
            return Fault(
                codes.SCHEMA_MISMATCH,
                f"the row is of version {version} of its layout, and this reads "
                f"{', '.join(map(str, sorted(self._by_version)))}",
            )
        try:
            values = layout.key.decode(row.key)
        except ValueProblemError as problem:
            return _fault(problem)
        for column, name, decode in layout.decoders:
            if self._fields is not None and column.field not in self._fields:
                continue
            data = row.cells.get(name)
            if data is None:
                if column.optional:
                    values[column.field] = None
                elif column.field not in self._defaults:
                    return Fault(codes.MISSING_FIELD, f"{column.field}: the row has no {name.decode()}")
                continue
            try:
                values[column.field] = decode(data)
            except ValueProblemError as problem:
                return _fault(problem, column.field)
        if self._layout.record is None or self._fields is not None:
            return values
        try:
            return self._layout.record(**values)
        except TypeError as error:
            return Fault(codes.MISSING_FIELD, f"no {self._layout.record.__name__} can be made of the row: {error}")


def _values(column: Any) -> list[Any]:
    """A column's values as Python has them in records."""
    if pa.types.is_timestamp(column.type):
        micros = column.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.int64()).to_pylist()
        return [None if time is None else Timestamp(micros=time) for time in micros]
    if pa.types.is_map(column.type):
        return [None if pairs is None else dict(pairs) for pairs in column.to_pylist()]
    values: list[Any] = column.to_pylist()
    return values


def _each(values: list[Any], encode: Any, optional: bool) -> list[Any]:
    """The bytes of each value; None for one that cannot be."""
    try:
        if optional or None not in values:
            return [encode(value) for value in values]
    except ValueProblemError:
        pass
    encoded: list[Any] = []
    for value in values:
        try:
            encoded.append(None if value is None and not optional else encode(value))
        except ValueProblemError:
            encoded.append(None)
    return encoded


def _fault(problem: ValueProblemError, field: str = "") -> Fault:
    return Fault(problem.code, f"{field}: {problem}" if field else str(problem))
