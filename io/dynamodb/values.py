"""Python's values as DynamoDB's attribute values and back, exactly or not at all.

| Python | DynamoDB | and back |
|---|---|---|
| str | S | str |
| int, Decimal | N, to 38 digits | Decimal; int, where a record's field is one |
| float | N, the shortest digits that read back as the same double | Decimal; float, where a record's field is one |
| bool | BOOL | bool |
| None | NULL in a dict; nothing in a record | None |
| bytes | B | bytes |
| Timestamp | S, RFC 3339 in UTC with six digits of fraction: as text they sort as times | str; Timestamp in a record |
| dict | M | dict |
| list, tuple | L | list |
| set, of one sort | SS, NS, BS | set |

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.writing.store import Refused
from thingbeam.schemas import codes

__all__ = ["Item", "Wire", "from_wire", "number_text", "size_of", "size_of_item", "time_text", "to_wire"]

Wire = dict[str, Any]
"""One attribute value as the API has it: `{"S": "text"}`."""
Item = dict[str, Wire]

_DIGITS: Final = 38
_MOST: Final = Decimal("1E+126")
_LEAST: Final = Decimal("1E-130")
_DEEPEST: Final = 32
_SMALL: Final = 10**_DIGITS
_EPOCH: Final = datetime(1970, 1, 1)
_FIRST: Final = (datetime.min - _EPOCH) // timedelta(microseconds=1)
_LAST: Final = (datetime.max - _EPOCH) // timedelta(microseconds=1)
_EXACT: Final = decimal.Context(prec=400, traps=[decimal.Inexact])


def number_text(number: float | Decimal) -> str:
    """A number as DynamoDB takes it.

    Raises:
        Refused: not finite, or beyond 38 digits or the magnitudes from 1E-130 to 9.9E+125.

    >>> number_text(0.1), number_text(12), number_text(Decimal("1.10"))
    ('0.1', '12', '1.10')
    """
    if isinstance(number, int):
        if -_SMALL < number < _SMALL:
            return str(number)
        exact = Decimal(number)
    elif isinstance(number, float):
        if not math.isfinite(number):
            raise Refused(codes.NOT_FINITE, f"the number is {number}, which DynamoDB does not hold")
        if number == 0.0 or 1e-130 <= abs(number) < 1e126:
            return repr(number)
        exact = Decimal(repr(number))
    else:
        exact = number
    if not exact.is_finite():
        raise Refused(codes.NOT_FINITE, f"the number is {exact}, which DynamoDB does not hold")
    if exact:
        if not _LEAST <= abs(exact) < _MOST:
            raise Refused(codes.OUT_OF_RANGE, "the number is not between 1E-130 and 9.9E+125")
        if len(exact.as_tuple().digits) > _DIGITS and len(_EXACT.normalize(exact).as_tuple().digits) > _DIGITS:
            raise Refused(codes.OUT_OF_RANGE, f"the number has more than {_DIGITS} digits")
    return str(exact)


def time_text(micros: int) -> str:
    """Microseconds since 1970 as text that sorts as time does.

    Raises:
        Refused: outside the years 1 to 9999.

    >>> time_text(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    if not _FIRST <= micros <= _LAST:
        raise Refused(codes.IMPOSSIBLE_TIME, "a time outside the years 1 to 9999")
    return (_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds") + "Z"


def to_wire(value: Any, depth: int = 0) -> Wire:
    """A value as the API takes it.

    Raises:
        Refused: DynamoDB has no such value.

    >>> to_wire({"watts": 3.5, "on": True})
    {'M': {'watts': {'N': '3.5'}, 'on': {'BOOL': True}}}
    """
    if isinstance(value, str):
        return {"S": value}
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, (int, float, Decimal)):
        return {"N": number_text(value)}
    if isinstance(value, (bytes, bytearray)):
        return {"B": bytes(value)}
    if isinstance(value, Timestamp):
        return {"S": time_text(value.micros)}
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise Refused(codes.IMPOSSIBLE_TIME, "a time without a zone")
        return {"S": value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"}
    if depth >= _DEEPEST:
        raise Refused(codes.TOO_DEEP, f"nested deeper than the {_DEEPEST} levels of DynamoDB")
    if isinstance(value, Mapping):
        return {"M": {_name(name): to_wire(one, depth + 1) for name, one in value.items()}}
    if isinstance(value, AbstractSet):
        return _set(value)
    if isinstance(value, Sequence):
        return {"L": [to_wire(one, depth + 1) for one in value]}
    raise Refused(codes.WRONG_TYPE, f"a {type(value).__name__}, which DynamoDB does not hold")


def from_wire(wire: Wire) -> Any:
    """A value as Python has it; numbers are Decimals, exact.

    >>> from_wire({"M": {"watts": {"N": "3.5"}}})
    {'watts': Decimal('3.5')}
    """
    ((kind, value),) = wire.items()
    if kind in ("S", "BOOL"):
        return value
    if kind == "N":
        return Decimal(value)
    if kind == "NULL":
        return None
    if kind == "B":
        return bytes(value)
    if kind == "M":
        return {name: from_wire(one) for name, one in value.items()}
    if kind == "L":
        return [from_wire(one) for one in value]
    if kind == "NS":
        return {Decimal(one) for one in value}
    return set(map(bytes, value)) if kind == "BS" else set(value)


def size_of_item(item: Item) -> int:
    """An item's size as DynamoDB counts it, in bytes; of numbers, which it says only roughly, not below.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html

    Raises:
        Refused: a text that is no Unicode.
    """
    size = 0
    for name, wire in item.items():
        ((kind, value),) = wire.items()
        size += len(name) if name.isascii() else _length(name)
        # Said here for the two that nearly all are: a row has many attributes.
        if kind == "S" and value.isascii():
            size += len(value)
        elif kind == "N":
            size += (len(value) + 1) // 2 + 2
        else:
            size += size_of(wire)
    return size


def size_of(wire: Wire) -> int:
    """An attribute value's size, in bytes."""
    ((kind, value),) = wire.items()
    if kind == "S":
        return _length(value)
    if kind == "N":
        return (len(value) + 1) // 2 + 2
    if kind == "B":
        return len(value)
    if kind == "M":
        return 3 + sum(1 + _length(name) + size_of(one) for name, one in value.items())
    if kind == "L":
        return 3 + sum(1 + size_of(one) for one in value)
    if kind in ("SS", "NS", "BS"):
        return sum(size_of({kind[0]: one}) for one in value)
    return 1


def _length(text: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise Refused(codes.INVALID_UTF8, "a text holds half of a surrogate pair, which is no character") from error


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise Refused(codes.WRONG_TYPE, f"the name of an attribute is {type(name).__name__}, not text")
    return name


def _set(values: AbstractSet[Any]) -> Wire:
    wires = [to_wire(one) for one in values]
    kinds = {next(iter(wire)) for wire in wires}
    if len(kinds) != 1 or not kinds <= {"S", "N", "B"}:
        raise Refused(codes.WRONG_TYPE, "a set must hold texts, numbers or bytes, of one sort, and not be empty")
    kind = kinds.pop()
    return {f"{kind}S": sorted(wire[kind] for wire in wires)}
