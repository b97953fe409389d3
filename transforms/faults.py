"""What keeps a record from being an Event that can be worked on."""

from __future__ import annotations

import json
import math
from typing import Final, cast

from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas import codes
from thingbeam.schemas.batch import VALUE_TYPES
from thingbeam.schemas.records import Event
from thingbeam.transforms.envelopes import Limits, redact

__all__ = ["as_payload", "fault_of"]

_TEXTS: Final = ("event_id", "kind", "component", "capability", "attribute", "value_type")
_OPTIONAL_TEXTS: Final = ("device_id", "home_id", "text", "unit")
_LIMITS: Final = Limits()


def fault_of(event: object, limits: Limits = _LIMITS) -> tuple[str, str] | None:
    """The code and message of what is wrong with an element that should be an Event; None if nothing is.

    >>> fault_of("a line")
    ('not_an_event', 'a str, not an Event')
    """
    if not isinstance(event, Event):
        return codes.NOT_AN_EVENT, f"a {type(event).__name__}, not an Event"
    for name in _TEXTS:
        if not isinstance(getattr(event, name), str):
            return codes.WRONG_TYPE, f"{name} is {type(getattr(event, name)).__name__}, not text"
    for name in _OPTIONAL_TEXTS:
        if not isinstance(getattr(event, name), str | None):
            return codes.WRONG_TYPE, f"{name} is {type(getattr(event, name)).__name__}, not text"
    # What comes over a PCollection is what its annotations say only if its maker kept to them.
    time, number = cast(object, event.event_time), cast(object, event.number)
    if not isinstance(time, Timestamp):
        return codes.WRONG_TYPE, f"event_time is {type(time).__name__}, not a Timestamp"
    if not limits.earliest <= time <= limits.latest:
        return codes.IMPOSSIBLE_TIME, "event_time is outside the years that devices can mean"
    if not event.event_id:
        return codes.MISSING_FIELD, "event_id is empty"
    if event.value_type not in VALUE_TYPES:
        return codes.WRONG_TYPE, "value_type is none that there is"
    if number is not None and not isinstance(number, float | int):
        return codes.WRONG_TYPE, f"number is {type(number).__name__}, not a number"
    if number is not None and not math.isfinite(number):
        return codes.NOT_FINITE, "number is NaN or infinite"
    if event.text is not None and len(event.text) > limits.max_value_bytes:
        return codes.TOO_LARGE, f"text has {len(event.text)} characters, over {limits.max_value_bytes}"
    return None


def as_payload(event: object) -> bytes:
    """An element as bytes for a dead letter, secrets blanked out: its fields as JSON, or what Python shows of it."""
    is_event = isinstance(event, Event)
    text = json.dumps(event._asdict(), default=str, ensure_ascii=False) if is_event else repr(event)
    return redact(text.encode("utf-8", "backslashreplace")[: _LIMITS.max_value_bytes])
