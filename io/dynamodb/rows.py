"""Elements of a PCollection as rows of a table: records, dicts, and Arrow batches column by column."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import pyarrow as pa

from thingbeam.io.dynamodb.layout import TableLayout
from thingbeam.io.dynamodb.values import Item, Wire, number_text, size_of_item, to_wire
from thingbeam.io.writing.payloads import payload_of
from thingbeam.io.writing.store import Refused
from thingbeam.schemas import codes

__all__ = ["Row", "RowMaker", "payload_of_row", "position_of_row"]

_MOST_BYTES: Final = 400 << 10


class Row:
    """One row on its way into a table."""

    __slots__ = ("delete", "fault", "item", "key", "origin", "revision", "size")

    def __init__(self, origin: Any) -> None:
        self.origin = origin
        """The element it was, or (batch, index)."""
        self.item: Item = {}
        self.key: tuple[Any, ...] = ()
        self.revision = 0
        self.size = 0
        self.delete = False
        """Whether the item of this key is removed; `item` then holds the key alone."""
        self.fault: Refused | None = None
        """Why it cannot be a row."""


class RowMaker:
    """Makes rows of elements.

    Args:
        layout: of the table.
        keep_tombstones: seconds that a tombstone stays in the table as an item; None to remove the item at once.
        clock: seconds since 1970, for what lives from the time of writing.
    """

    def __init__(
        self, layout: TableLayout, keep_tombstones: int | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._layout = layout
        self._keep_tombstones = keep_tombstones
        self._clock = clock

    def __call__(self, element: Any) -> Iterable[Row]:
        """The rows of an element.

        Raises:
            Refused: it is none of what can be one.
        """
        found: Any = element
        if isinstance(element, tuple) and len(found) == 2 and isinstance(found[1], pa.RecordBatch):
            element = found[1]
        if isinstance(element, pa.RecordBatch):
            return self._rows_of_batch(element)
        if hasattr(found, "_asdict"):
            # A record's field that holds nothing is not written: readers know it all the same.
            pairs = [(name, value) for name, value in found._asdict().items() if value is not None]
            return [self._row_of(pairs, element)]
        if isinstance(element, Mapping):
            return [self._row_of(element.items(), element)]
        raise Refused(
            codes.WRONG_TYPE, f"a {type(element).__name__}: DynamoDB takes records, dicts and pyarrow.RecordBatch"
        )

    def _row_of(self, pairs: Iterable[tuple[Any, Any]], origin: Any) -> Row:
        row = Row(origin)
        fault: Refused | None = None
        for name, value in pairs:
            if not isinstance(name, str):
                fault = Refused(codes.WRONG_TYPE, f"the name of an attribute is {type(name).__name__}, not text")
                continue
            try:
                row.item[name] = to_wire(value)
            except Refused as refusal:
                fault = Refused(refusal.code, f"{name}: {refusal.reason}")
        self._finish(row, fault)
        return row

    def _rows_of_batch(self, batch: pa.RecordBatch) -> Iterable[Row]:
        faults: dict[int, Refused] = {}
        names = batch.schema.names
        columns = [_column(name, column, faults) for name, column in zip(names, batch.columns, strict=True)]
        for index, values in enumerate(zip(*columns, strict=True)):
            row = Row((batch, index))
            row.item = {name: wire for name, wire in zip(names, values, strict=True) if wire is not None}
            self._finish(row, faults.get(index))
            yield row

    def _finish(self, row: Row, fault: Refused | None) -> None:
        try:
            # Of what is refused, too: its dead letter tells the key.
            row.key = self._layout.put_key(row.item)
            if fault is None:
                self._complete(row)
        except Refused as refusal:
            fault = fault or refusal
        row.fault = fault

    def _complete(self, row: Row) -> None:
        """Revision, tombstone, expiry and size, from the item."""
        layout, item = self._layout, row.item
        if layout.revision is not None:
            wire = item.get(layout.revision)
            text = None if wire is None else wire.get("N")
            if text is None or not text.lstrip("-").isdigit():
                raise Refused(codes.MISSING_FIELD, f"{layout.revision}, the revision, is no whole number")
            row.revision = int(text)
        if layout.deleted is not None and item.get(layout.deleted, {}).get("BOOL"):
            row.item = self._tombstone(item)
            row.delete = self._keep_tombstones is None
        elif layout.ttl is not None:
            item[layout.ttl.attribute] = {"N": str(layout.ttl.expiry(item, self._clock()))}
        row.size = size_of_item(row.item)
        if row.size > _MOST_BYTES:
            raise Refused(codes.TOO_LARGE, f"the item has {row.size} bytes, over the 400 KB of DynamoDB")

    def _tombstone(self, item: Item) -> Item:
        layout = self._layout
        kept = layout.key_item(item)
        if self._keep_tombstones is None:
            return kept
        for name in (layout.revision, layout.deleted):
            if name is not None:
                kept[name] = item[name]
        if layout.ttl is not None:
            kept[layout.ttl.attribute] = {"N": str(int(self._clock()) + self._keep_tombstones)}
        return kept


def payload_of_row(row: Any) -> bytes:
    """What a dead letter keeps: the row as JSON; an element that is none, as it can be shown."""
    origin = row.origin if isinstance(row, Row) else row
    if isinstance(origin, tuple) and len(origin) == 2 and isinstance(origin[0], pa.RecordBatch):
        batch, index = origin
        origin = batch.slice(index, 1).to_pylist()[0]
    return payload_of(origin)


def position_of_row(row: Row) -> str:
    """The key, for a dead letter; empty where the row has none."""
    return "#".join(map(str, row.key))


def _column(name: str, column: pa.Array, faults: dict[int, Refused]) -> list[Wire | None]:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [None if value is None else {"S": value} for value in column.to_pylist()]
    if pa.types.is_boolean(kind):
        return [None if value is None else {"BOOL": value} for value in column.to_pylist()]
    if pa.types.is_integer(kind):
        return [None if value is None else {"N": str(value)} for value in column.to_pylist()]
    if pa.types.is_timestamp(kind):
        return _times(name, column, faults)
    if pa.types.is_floating(kind):
        return [
            None if value is None else {"N": repr(value)} if _is_plain(value) else _checked(name, at, value, faults)
            for at, value in enumerate(column.to_pylist())
        ]
    values = column.to_pylist()
    if pa.types.is_map(kind):
        values = [None if value is None else dict(value) for value in values]
    return [None if value is None else _checked(name, at, value, faults) for at, value in enumerate(values)]


def _is_plain(value: float) -> bool:
    return value == 0.0 or 1e-130 <= abs(value) < 1e126


def _checked(name: str, at: int, value: Any, faults: dict[int, Refused]) -> Wire | None:
    try:
        return {"N": number_text(value)} if isinstance(value, float) else to_wire(value)
    except Refused as refusal:
        faults.setdefault(at, Refused(refusal.code, f"{name}: {refusal.reason}"))
        return None


def _times(name: str, column: pa.Array, faults: dict[int, Refused]) -> list[Wire | None]:
    from apache_beam.utils.timestamp import Timestamp

    micros = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64()).to_pylist()
    # Times repeat within a batch: the periods of usage, the starts of sessions.
    known: dict[int | None, Wire | None] = {None: None}
    wires: list[Wire | None] = []
    for at, one in enumerate(micros):
        if one not in known:
            wire = _checked(name, at, Timestamp(micros=one), faults)
            if wire is None:
                wires.append(None)
                continue
            known[one] = wire
        wires.append(known[one])
    return wires
