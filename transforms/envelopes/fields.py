"""Reading the fields of a decoded document, strictly, and the parts that events of every envelope share."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Final, TypeGuard, cast

from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas import codes
from thingbeam.schemas.records import Event, Value, value_columns
from thingbeam.transforms.envelopes.context import Reading
from thingbeam.transforms.envelopes.decode import NotFinite, has_not_finite
from thingbeam.transforms.envelopes.errors import Failure, ParseError
from thingbeam.transforms.envelopes.redact import redact_value
from thingbeam.transforms.envelopes.times import micros_of

__all__ = [
    "EVENT_NAMESPACE",
    "attempt",
    "child",
    "columns",
    "content_id",
    "event_time",
    "flag",
    "is_array",
    "is_object",
    "json_text",
    "lenient_text",
    "moment",
    "optional_text",
    "required_array",
    "required_object",
    "required_text",
]

EVENT_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "event.thingbeam")
"""The namespace of the ids of events that come without one; see `content_id`."""

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_LONGEST_DOUBLE: Final = 308
_LONG_NUMBER: Final = re.compile(r"[0-9]{309}")
_OLDEST: Final = -(1 << 62)


def json_type(value: object) -> str:
    """The name of a value's JSON type, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def child(path: str, key: str) -> str:
    """The path of a member: `a.b`, or `a["b.c"]` where the key has more than letters, digits, _ and -.

    >>> child("components", "main"), child("components", "hca.main")
    ('components.main', 'components["hca.main"]')
    """
    if _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{json.dumps(key)}]"


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Whether a decoded value is a JSON object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[object]]:
    """Whether a decoded value is a JSON array."""
    return isinstance(value, list)


def required_object(owner: dict[str, object], name: str) -> dict[str, object]:
    """A member that must be there and be an object."""
    value = owner.get(name)
    if is_object(value):
        return value
    raise _not(value, name, "an object")


def required_array(owner: dict[str, object], name: str) -> list[object]:
    """A member that must be there and be an array."""
    value = owner.get(name)
    if is_array(value):
        return value
    raise _not(value, name, "an array")


def _not(value: object, name: str, wanted: str) -> ParseError:
    if value is None:
        return ParseError(codes.MISSING_FIELD, f"{name} is missing")
    if isinstance(value, NotFinite):
        return ParseError(codes.NOT_FINITE, f"{name} is not a finite number")
    return ParseError(codes.WRONG_TYPE, f"{name} is {json_type(value)}, not {wanted}")


def required_text(owner: dict[str, object], name: str) -> str:
    """A member that must be there, a string, and not empty."""
    value = owner.get(name)
    if isinstance(value, str):
        if value:
            return value
        raise ParseError(codes.MISSING_FIELD, f"{name} is empty")
    raise _not(value, name, "a string")


def optional_text(owner: dict[str, object], name: str) -> str | None:
    """A string, or None where the member is not there, null or empty; anything else is an error."""
    value = owner.get(name)
    if value is None or isinstance(value, str):
        return value or None
    raise _not(value, name, "a string")


def lenient_text(owner: object, name: str) -> str | None:
    """A string, or None where there is no such thing; for documents of which nothing can be demanded."""
    value = owner.get(name) if is_object(owner) else None
    return value if isinstance(value, str) and value else None


def flag(owner: dict[str, object], name: str) -> bool | None:
    """A boolean, or None where the member is not there or null."""
    value = owner.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise _not(value, name, "a boolean")


def moment(value: object, name: str, earliest: int = _OLDEST, latest: int = -_OLDEST) -> Timestamp:
    """A time, within bounds given in microseconds since 1970.

    Raises:
        ParseError: wrong_type, not_finite or impossible_time.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _not(value, name, "a time")
    try:
        micros = micros_of(value)
    except ValueError as error:
        raise ParseError(codes.IMPOSSIBLE_TIME, f"{name} is {error}") from None
    if not earliest <= micros <= latest:
        raise ParseError(codes.IMPOSSIBLE_TIME, f"{name} is outside the years that devices can mean")
    return Timestamp(micros=micros)


def event_time(value: object, name: str, reading: Reading) -> Timestamp:
    """The time of an event: what the document says, else what the caller knows.

    Raises:
        ParseError: neither says anything (missing_field), or the time is not possible.
    """
    if value is None:
        if reading.context.event_time is None:
            raise ParseError(codes.MISSING_FIELD, f"{name} is missing, and the caller gave no event_time")
        return reading.context.event_time
    limits = reading.limits
    return moment(value, name, limits.earliest.micros, limits.latest.micros)


def json_text(value: object) -> str:
    """A decoded JSON value as compact JSON, secrets blanked out."""
    return json.dumps(redact_value(value), separators=(",", ":"), ensure_ascii=False)


def columns(value: object, reading: Reading) -> tuple[str, str | None, float | None]:
    """A decoded JSON value as (value_type, text, number) of an Event; secrets inside objects are blanked out.

    Raises:
        ParseError: too_large, where its text is over the limit; not_finite, where no double can hold a number.
    """
    if isinstance(value, dict | list):
        text = json_text(value)
        if len(text) > _LONGEST_DOUBLE and _LONG_NUMBER.search(text) and has_not_finite(value):
            raise _beyond()
        limit = reading.limits.max_value_bytes
        if len(text) * 4 > limit and len(text.encode()) > limit:
            raise ParseError(codes.TOO_LARGE, f"the value's JSON has over {limit} bytes")
        return "json", text, None
    try:
        return value_columns(cast(Value, value))
    except OverflowError:
        raise _beyond() from None


def _beyond() -> ParseError:
    return ParseError(codes.NOT_FINITE, "a number is NaN, infinite, or too large for a double")


def content_id(path: str, kind: str, device_id: str | None, time: Timestamp, content: object) -> str:
    """The id of an event that comes without one: the same for the same content at the same place and time.

    It is the UUID v5 in `EVENT_NAMESPACE`, which is the UUID v5 of `event.thingbeam` in the DNS namespace, of the
    compact JSON array [path, kind, device_id, microseconds since 1970, content], keys sorted, not escaped to ASCII.
    So a state that is polled twice without having changed is one event, told twice; the same reading at another
    time, of another device, or twice in one payload is another event.

    >>> content_id("components.main.switch.switch", "DEVICE_EVENT", "d1", Timestamp(0), {"value": "on"})
    '829186ce-fdbb-5423-ac8c-f57b5ac35b4f'
    """
    name = [path, kind, device_id, time.micros, content]
    text = json.dumps(name, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    return str(uuid.uuid5(EVENT_NAMESPACE, text))


def attempt(
    make: Callable[[dict[str, object], str, Reading], Iterator[Event]],
    document: object,
    path: str,
    reading: Reading,
) -> Iterator[Event | Failure]:
    """What `make` gives of an object at a path; where it raises, a failure with that path."""
    try:
        if not is_object(document):
            raise ParseError(codes.WRONG_TYPE, f"{json_type(document)} stands where an object belongs")
        if reading.tainted and has_not_finite(document):
            raise _beyond()
        yield from make(document, path, reading)
    except ParseError as error:
        yield Failure.of(error, error.path or path)
