"""What keeps a record from being an Event that can be worked on."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Final

import msgspec
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas import codes
from thingbeam.schemas.batch import TEXT_TYPES, VALUE_TYPES
from thingbeam.schemas.records import Event
from thingbeam.transforms.envelopes import Limits, redact

__all__ = ["as_payload", "fault_of"]

_TEXTS: Final = ("event_id", "kind", "component", "capability", "attribute", "value_type")
_OPTIONAL_TEXTS: Final = ("device_id", "home_id", "text", "unit")
_OPTIONAL_TIMES: Final = ("ingest_time", "last_reset")
_LIMITS: Final = Limits()


def fault_of(event: object, limits: Limits = _LIMITS) -> tuple[str, str] | None:
    """The code and message of what is wrong with an element that should be an Event; None if nothing is.

    >>> fault_of("a line")
    ('not_an_event', 'a str, not an Event')
    """
    if not isinstance(event, Event):
        return codes.NOT_AN_EVENT, f"a {type(event).__name__}, not an Event"
    wrong = _wrong_type(event)
    if wrong:
        return codes.WRONG_TYPE, wrong
    if not limits.earliest <= event.event_time <= limits.latest:
        return codes.IMPOSSIBLE_TIME, "event_time is outside the years that devices can mean"
    if not event.event_id:
        return codes.MISSING_FIELD, "event_id is empty"
    if event.text is not None and len(event.text) > limits.max_value_bytes:
        return codes.TOO_LARGE, f"text has {len(event.text)} characters, over {limits.max_value_bytes}"
    if not _is_unicode(event):
        return codes.INVALID_UTF8, "a text holds half of a surrogate pair, which is no character"
    return _fault_of_value(event)


def _wrong_type(event: Event) -> str | None:
    # What comes over a PCollection is what its annotations say only if its maker kept to them.
    for names, kind, wanted in (
        (_TEXTS, str, "text"),
        (_OPTIONAL_TEXTS, str | None, "text"),
        (("event_time",), Timestamp, "a Timestamp"),
        (_OPTIONAL_TIMES, Timestamp | None, "a Timestamp"),
        (("number",), float | int | None, "a number"),
        (("state_change",), bool | None, "a boolean"),
    ):
        for name in names:
            value = getattr(event, name)
            if not isinstance(value, kind):
                return f"{name} is {type(value).__name__}, not {wanted}"
    return None if event.value_type in VALUE_TYPES else "value_type is none that there is"


def _is_unicode(event: Event) -> bool:
    try:
        for name in (*_TEXTS, *_OPTIONAL_TEXTS):
            text = getattr(event, name)
            if text and not text.isascii():
                text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fault_of_value(event: Event) -> tuple[str, str] | None:
    """What is wrong with the columns that hold the value, by the type that it is said to have."""
    if event.value_type in TEXT_TYPES:
        if event.text is None:
            return codes.MISSING_FIELD, f"text is empty, where value_type is {event.value_type}"
        if event.value_type == "json":
            try:
                msgspec.json.decode(event.text)
            except (msgspec.DecodeError, RecursionError):
                return codes.INVALID_JSON, "text is not JSON, where value_type is json"
    if event.value_type in ("number", "boolean") and event.number is None:
        return codes.MISSING_FIELD, f"number is empty, where value_type is {event.value_type}"
    if event.number is not None:
        try:
            finite = math.isfinite(event.number)
        except OverflowError:
            finite = False
        if not finite:
            return codes.NOT_FINITE, "number is NaN, infinite, or too large for a double"
    return None


def as_payload(event: object) -> bytes:
    """An element as bytes for a dead letter, secrets blanked out: its fields as JSON, or what Python shows of it."""
    text = _as_json(event) if isinstance(event, Event) else repr(event)
    return redact(text.encode("utf-8", "backslashreplace"))


def _as_json(event: Event) -> str:
    return json.dumps(event._asdict(), default=_plain, ensure_ascii=False)


def _plain(value: object) -> str:
    if isinstance(value, Timestamp):
        with contextlib.suppress(ValueError, OverflowError):
            return value.to_rfc3339()
    return str(value)
