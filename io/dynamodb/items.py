"""Items of a table as records or dicts: the way back from thingbeam.io.dynamodb.rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.dynamodb.layout import TableLayout
from thingbeam.io.dynamodb.values import Item, Wire, from_wire
from thingbeam.io.files.times import timestamp_of
from thingbeam.io.writing.store import Refused
from thingbeam.schemas import codes
from thingbeam.schemas.fields import Field, FieldType, fields_of

__all__ = ["ItemReader"]


class ItemReader:
    """Reads items of one table.

    Args:
        layout: of the table.
        tombstones: whether those are given, where there is no record type; a record cannot be made of one.

    >>> from thingbeam.io.dynamodb.layout import Key
    >>> reader = ItemReader(TableLayout("devices", Key(("device_id",)), revision=None))
    >>> reader.read({"device_id": {"S": "washer"}, "room": {"S": "bath"}}, now=0)
    {'device_id': 'washer', 'room': 'bath'}
    """

    def __init__(self, layout: TableLayout, *, tombstones: bool = False) -> None:
        if tombstones and layout.record is not None:
            raise ValueError(
                f"table {layout.name}: a tombstone holds no more than its key and is no {layout.record.__name__}: "
                "read dicts, with a layout without record="
            )
        self._layout = layout
        self._tombstones = tombstones
        self._fields = None if layout.record is None else fields_of(layout.record)

    def read(self, item: Item, now: float) -> Any:
        """The record or dict; None for a tombstone, and for what has expired by `now`, in seconds since 1970.

        Raises:
            Refused: it is no such record.
        """
        layout = self._layout
        if not self._tombstones and layout.deleted is not None and item.get(layout.deleted, {}).get("BOOL"):
            return None
        if layout.ttl is not None:
            expiry = item.get(layout.ttl.attribute, {}).get("N")
            if expiry is not None and float(expiry) <= now:
                return None
        if self._fields is None or layout.record is None:
            return {name: from_wire(wire) for name, wire in item.items()}
        return layout.record(*(_value(item.get(field.name), field) for field in self._fields))


def _value(wire: Wire | None, field: Field) -> Any:
    if wire is None or "NULL" in wire:
        if field.has_default and wire is None:
            return field.default
        if field.optional:
            return None
        raise Refused(codes.MISSING_FIELD, f"{field.name} is missing")
    ((kind, value),) = wire.items()
    wanted, read = _READERS[field.type]
    if kind != wanted:
        raise Refused(codes.WRONG_TYPE, f"{field.name} is {kind}, not {wanted}")
    try:
        return read(value)
    except ValueError:
        raise Refused(codes.WRONG_TYPE, f"{field.name}: no {field.type}") from None


def _time(text: str) -> Timestamp:
    return timestamp_of(datetime.fromisoformat(text))


def _whole(text: str) -> int:
    return int(text)


def _doubles(wires: Mapping[str, Wire]) -> dict[str, float]:
    try:
        return {name: float(wire["N"]) for name, wire in wires.items()}
    except KeyError:
        raise ValueError from None


_READERS: Final[dict[FieldType, tuple[str, Callable[[Any], Any]]]] = {
    "string": ("S", str),
    "double": ("N", float),
    "long": ("N", _whole),
    "boolean": ("BOOL", bool),
    "bytes": ("B", bytes),
    "timestamp": ("S", _time),
    "map_of_double": ("M", _doubles),
}
