"""An event, of what an envelope says and what the caller knows."""

from __future__ import annotations

from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.records import Event
from thingbeam.transforms.envelopes.context import Reading
from thingbeam.transforms.envelopes.fields import columns, content_id

__all__ = ["build_event"]


def build_event(
    reading: Reading,
    path: str,
    content: object,
    time: Timestamp,
    kind: str,
    device_id: str | None,
    value: object,
    *,
    event_id: str | None = None,
    home_id: str | None = None,
    component: str = "main",
    capability: str = "",
    attribute: str = "",
    unit: str | None = None,
    state_change: bool | None = None,
    last_reset: Timestamp | None = None,
) -> Event:
    """An event whose home is the caller's where the envelope names none, and whose id follows from its content.

    Args:
        reading: what the caller knows, and the limits.
        path: where in the document it stands.
        content: what its id follows from, where `event_id` is None or empty.
        time: of the event.
        kind: of the event.
        device_id: of the device, or None.
        value: decoded JSON.
        event_id: as the envelope says.
        home_id: as the envelope says.
        component: of the device.
        capability: of the component.
        attribute: of the capability.
        unit: of the value.
        state_change: whether the value is another than before.
        last_reset: of a meter.

    Raises:
        ParseError: the value is too large, or no double can hold it.
    """
    value_type, text, number = columns(value, reading)
    return Event(
        event_id=event_id or content_id(path, kind, device_id, time, content),
        event_time=time,
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
        home_id=home_id or reading.context.home_id,
        ingest_time=reading.context.ingest_time,
        last_reset=last_reset,
    )
