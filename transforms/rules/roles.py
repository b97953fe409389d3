"""What an attribute is for, and its value as a number or a state."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from thingbeam.schemas.records import Event

__all__ = [
    "ACTIVITY",
    "ATTRIBUTE_KINDS",
    "IGNORED",
    "MEASUREMENT",
    "METER",
    "ROLES",
    "STATE",
    "TOTAL",
    "USAGE_ROLES",
    "Role",
    "RoleOf",
    "has_attribute",
    "is_ignored",
    "number_of",
    "number_text",
    "state_text",
]

ACTIVITY: Final = "activity"
MEASUREMENT: Final = "measurement"
METER: Final = "meter"
TOTAL: Final = "total"
STATE: Final = "state"
IGNORED: Final = "ignored"

ROLES: Final = frozenset({ACTIVITY, MEASUREMENT, METER, TOTAL, STATE, IGNORED})
"""Every role: a meter only increases, a total is a meter that may fall."""

USAGE_ROLES: Final[dict[str, str]] = {
    ACTIVITY: "state",
    STATE: "state",
    MEASUREMENT: "measurement",
    METER: "meter",
    TOTAL: "meter",
}
"""The `Usage.role` of each role that makes usage rows."""

ATTRIBUTE_KINDS: Final = frozenset({"DEVICE_EVENT", "MATTER_ATTRIBUTE", "MATTER_EVENT"})
"""The kinds of event that carry an attribute. The others make no rows; they say only that the device lives."""


@dataclass(frozen=True)
class Role:
    """What one attribute of one capability is for.

    `start`, `stop` and `pause` hold the states (see `state_text`) that open, close and keep open an activity;
    they matter to the role `activity` only.

    Raises:
        ValueError: a role that is none of `ROLES`, or a maximum length that is not above 0.

    >>> Role("activity", start=frozenset({"on"}), stop=frozenset({"off"})).max_length_s
    86400.0
    """

    role: str
    start: frozenset[str] = frozenset()
    stop: frozenset[str] = frozenset()
    pause: frozenset[str] = frozenset()
    max_length_s: float = 86400.0
    """Seconds after which an open activity ends by itself."""
    field: str | None = None
    """The member of a JSON object that is the number, as `energy` in SmartThings' powerConsumptionReport."""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"no such role: {self.role!r}; one of {', '.join(sorted(ROLES))}")
        if not self.max_length_s > 0:
            raise ValueError(f"max_length_s must be above 0, not {self.max_length_s!r}")


RoleOf = Callable[[Event], Role]
"""Gives the role of the attribute that an event is about."""


def has_attribute(event: Event) -> bool:
    """Whether the event is about an attribute, and so can be part of sessions, activities and usage.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> has_attribute(Event("e1", Timestamp(0), "d1", kind="DEVICE_HEALTH_EVENT"))
    False
    """
    return event.kind in ATTRIBUTE_KINDS


def is_ignored(event: Event, role_of: RoleOf) -> bool:
    """Whether no rule looks at the event: it has no device, or its attribute is an ignored one.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> is_ignored(Event.of("e1", Timestamp(0), None, "switch", "switch", "on"), lambda event: Role("state"))
    True
    """
    return event.device_id is None or (has_attribute(event) and role_of(event).role == IGNORED)


def number_of(event: Event, field: str | None = None) -> float | None:
    """The finite number that an event says, or None where it says none.

    A boolean and a string of digits are no numbers.

    Args:
        event: any event.
        field: where the value is a JSON object, the member that is the number.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> report = Event.of("e1", Timestamp(0), "d1", "powerConsumptionReport", "powerConsumption", {"energy": 1234})
    >>> number_of(report), number_of(report, "energy")
    (None, 1234.0)
    """
    number: object = None
    if event.value_type == "number":
        number = event.number
    elif event.value_type == "json" and field is not None:
        value = _json(event.text)
        number = value.get(field) if isinstance(value, dict) else None
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    try:
        number = float(number)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def number_text(number: float) -> str:
    """The shortest digits that read back as the number, without a needless `.0`.

    >>> [number_text(number) for number in (1.0, 0.5, -0.0, 1e22)]
    ['1', '0.5', '0', '1e+22']
    """
    return "0" if number == 0 else repr(float(number)).removesuffix(".0")


def state_text(event: Event) -> str | None:
    """The state that an event says, or None where its value (JSON, null, a number that is not finite) is no state.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> [state_text(Event.of("e1", Timestamp(0), "d1", "c", "a", value)) for value in ("on", True, 1.0, None)]
    ['on', 'true', '1', None]
    """
    if event.value_type == "string":
        return event.text
    if event.value_type == "boolean":
        return "true" if event.number else "false"
    if event.value_type == "number" and event.number is not None and math.isfinite(event.number):
        return number_text(event.number)
    return None


def _json(text: str | None) -> object:
    try:
        value: object = json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
    return value
