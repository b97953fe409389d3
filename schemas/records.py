"""The records that flow between the parts, each defined once.

A record is a NamedTuple of types that Beam's row coder knows, so `beam.Select`, `SqlTransform` and Beam YAML work on
it as it is. Its Avro schema (`thingbeam.schemas.avro`) and Arrow schema (`thingbeam.schemas.arrow`) follow from these
annotations. A field may be added with a default and never removed or retyped: released schemas are read for ever.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from apache_beam.utils.timestamp import Timestamp

__all__ = ["Activity", "DeadLetter", "Event", "Session", "Usage", "Value"]

Value = str | float | bool | None | dict[str, object] | list[object]
"""What a device attribute can hold: a string, a number, a boolean, nothing, or a JSON object or array."""


class Event(NamedTuple):
    """One thing that a device, or the platform on its behalf, said at one time.

    `value_type` says which of the value columns holds the value: `string` and `json` are in `text`, `number` is in
    `number` (with its digits in `text` too where a double would lose some), `boolean` is 1.0 or 0.0 in `number`,
    `null` is in neither. Read it as `event.value`, make one with `Event.of`.
    """

    event_id: str
    """The platform's id, or a UUID v5 of the content and its path where the platform gives none."""
    event_time: Timestamp
    """When it happened, by the device's or platform's clock."""
    device_id: str | None
    """None for what concerns no device (a location's life cycle)."""
    kind: str = "DEVICE_EVENT"
    """What sort of message it came in: SmartThings' eventType, or MATTER_ATTRIBUTE or MATTER_EVENT."""
    component: str = "main"
    """The part of the device: a SmartThings component or a Matter endpoint."""
    capability: str = ""
    """A SmartThings capability or the name of a Matter cluster."""
    attribute: str = ""
    """The attribute of the capability that has the value."""
    value_type: str = "null"
    """string, number, boolean, json or null."""
    text: str | None = None
    number: float | None = None
    unit: str | None = None
    state_change: bool | None = None
    """Whether the platform says that the value differs from the one before."""
    home_id: str | None = None
    """SmartThings' location, or a Matter fabric."""
    ingest_time: Timestamp | None = None
    """When the platform or broker took it in."""
    last_reset: Timestamp | None = None
    """When a meter that may fall last began at zero, where the device says so."""

    @property
    def value(self) -> Value:
        """The value as Python has it.

        >>> Event.of("e1", Timestamp(0), "d1", "switch", "switch", "on").value
        'on'
        """
        if self.value_type == "string":
            return self.text
        if self.value_type == "number":
            return self.number
        if self.value_type == "boolean":
            return bool(self.number)
        if self.value_type == "json" and self.text is not None:
            decoded: Value = json.loads(self.text)
            return decoded
        return None

    @classmethod
    def of(
        cls,
        event_id: str,
        event_time: Timestamp,
        device_id: str | None,
        capability: str,
        attribute: str,
        value: Value,
        *,
        kind: str = "DEVICE_EVENT",
        component: str = "main",
        unit: str | None = None,
        state_change: bool | None = None,
        home_id: str | None = None,
        ingest_time: Timestamp | None = None,
        last_reset: Timestamp | None = None,
    ) -> Event:
        """An event of a plain Python value.

        >>> Event.of("e1", Timestamp(0), "d1", "powerMeter", "power", 3480.0, unit="W").number
        3480.0
        """
        value_type, text, number = value_columns(value)
        return cls(
            event_id=event_id,
            event_time=event_time,
            device_id=device_id,
            kind=kind,
            component=component,
            capability=capability,
            attribute=attribute,
            value_type=value_type,
            text=text,
            number=number,
            unit=unit,
            state_change=state_change,
            home_id=home_id,
            ingest_time=ingest_time,
            last_reset=last_reset,
        )


def value_columns(value: Value) -> tuple[str, str | None, float | None]:
    """A value as the columns (value_type, text, number) of an Event.

    Raises:
        OverflowError: an integer that no double can hold.

    >>> value_columns(True)
    ('boolean', None, 1.0)
    """
    if value is None:
        return "null", None, None
    if isinstance(value, str):
        return "string", value, None
    if isinstance(value, bool):
        return "boolean", None, float(value)
    if isinstance(value, int):
        number = float(value)
        return "number", None if int(number) == value else str(value), number
    if isinstance(value, float):
        return "number", None, value
    return "json", json.dumps(value, separators=(",", ":"), ensure_ascii=False), None


class Activity(NamedTuple):
    """One thing that a device did, from its start to its stop. Key: device_id, component, capability, start."""

    device_id: str
    component: str
    capability: str
    start: Timestamp
    start_local: str
    """The start as the home's clock showed it, RFC 3339 with the offset."""
    end: Timestamp | None
    """None while it runs."""
    duration_s: float | None
    """Seconds from start to end; None while it runs."""
    state: str
    """running or done."""
    closed_by: str | None
    """stop (a stop event) or max_length; None while it runs."""
    revision: int
    """The higher wins, for the same key."""
    home_id: str | None = None
    final: bool = True
    """Whether the exact pass made it. A provisional row is replaced by a final one or taken back by a tombstone."""
    deleted: bool = False
    """A tombstone: this key is no more."""


class Session(NamedTuple):
    """A run of events of one device with no silence as long as the gap. Key: device_id, start."""

    device_id: str
    start: Timestamp
    """The first event."""
    start_local: str
    last: Timestamp
    """The last event."""
    end: Timestamp
    """last plus the gap, when it was over."""
    count: int  # type: ignore[assignment]  # hides tuple.count
    """Distinct events."""
    revision: int
    home_id: str | None = None
    final: bool = True
    deleted: bool = False


class Usage(NamedTuple):
    """One attribute of one device over one period, as Home Assistant's long-term statistics have it.

    Key: device_id, component, capability, attribute, role, period, start. What each role fills is in
    docs/semantics.md: measurements have min, max, mean; meters sum and change; states changes and seconds_in_state.
    """

    device_id: str
    component: str
    capability: str
    attribute: str
    role: str
    """measurement, meter or state."""
    period: str
    """The length as ISO 8601 has it: PT1H."""
    start: Timestamp
    start_local: str
    end: Timestamp
    count: int  # type: ignore[assignment]  # hides tuple.count
    """Distinct events in the period."""
    changes: int
    """How often a state's value became another."""
    min: float | None
    max: float | None
    mean: float | None
    """Time-weighted."""
    sum: float | None
    """A meter's growth since its zero point."""
    change: float | None
    """A meter's growth within the period."""
    last: float | None
    """The last number."""
    last_state: str | None
    """The last state."""
    seconds_in_state: Mapping[str, float]
    revision: int
    unit: str | None = None
    home_id: str | None = None
    final: bool = True
    deleted: bool = False


class DeadLetter(NamedTuple):
    """What could not be understood, kept so that it can be mended and sent again. Holds no secrets."""

    payload: bytes
    """The original bytes, secrets blanked out."""
    source: str
    """The file, topic or stream."""
    position: str
    """Where in the source: `offset=1234` in the uncompressed file, `partition=3 offset=77` in a topic."""
    step: str
    """The transform that gave up on it."""
    code: str
    """What was wrong, for grouping: see thingbeam.schemas.codes."""
    error: str
    """What was wrong, for a person."""
    time: Timestamp
    """When it was given up."""
    trace: str = ""
    """The last frames of the traceback, where there was one."""
