"""What a record's annotations say, in the few types that every encoding knows."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeVar

from apache_beam.utils.timestamp import Timestamp

__all__ = ["Field", "FieldType", "RecordType", "fields_of", "name_of"]

RecordType = TypeVar("RecordType", bound=tuple)  # type: ignore[type-arg]

FieldType = Literal["string", "double", "long", "boolean", "bytes", "timestamp", "map_of_double"]

_TYPES: dict[object, FieldType] = {
    str: "string",
    float: "double",
    int: "long",
    bool: "boolean",
    bytes: "bytes",
    Timestamp: "timestamp",
}


class Field(NamedTuple):
    """One field of a record."""

    name: str
    type: FieldType
    optional: bool
    has_default: bool
    default: object


@functools.cache
def fields_of(record: type) -> tuple[Field, ...]:
    """The fields of a record type, in order.

    Raises:
        TypeError: an annotation that no encoding here knows.

    >>> from thingbeam.schemas.records import Session
    >>> fields_of(Session)[1].type
    'timestamp'
    """
    hints = typing.get_type_hints(record)
    defaults: dict[str, object] = getattr(record, "_field_defaults", {})
    fields: list[Field] = []
    for name, hint in hints.items():
        optional = False
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            members = [member for member in typing.get_args(hint) if member is not type(None)]
            optional = len(members) == 1
            hint = members[0] if optional else hint
        kind = "map_of_double" if _is_map_of_double(hint) else _TYPES.get(hint)
        if kind is None:
            raise TypeError(f"{record.__name__}.{name}: no encoding for {hint}")
        fields.append(Field(name, kind, optional, name in defaults, defaults.get(name)))
    return tuple(fields)


def _is_map_of_double(hint: object) -> bool:
    # Beam's row coder knows typing.Mapping and collections.abc.Mapping alike.
    return typing.get_origin(hint) is Mapping and typing.get_args(hint) == (str, float)


def name_of(record: type) -> str:
    """A record type's name in released schemas: dead_letter for DeadLetter."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in record.__name__).lstrip("_")
