"""SmartThings: events from its sinks and server-sent events, SmartApp webhooks, Enterprise v2, and device states.

Sources: https://developer.smartthings.com/docs/connected-services/lifecycles (webhook),
https://developer.smartthings.com/docs/service-integrations/webhook-events (webhook, `messageType`),
https://developer.smartthings.com/docs/enterprise/enterprise-api-overview/eventing/event-types (Enterprise v2),
https://developer.smartthings.com/docs/api/public (device states and health).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas import codes
from thingbeam.schemas.records import Event
from thingbeam.transforms.envelopes.build import build_event
from thingbeam.transforms.envelopes.context import Reading
from thingbeam.transforms.envelopes.errors import Failure, ParseError
from thingbeam.transforms.envelopes.fields import (
    attempt,
    child,
    event_time,
    flag,
    is_object,
    lenient_text,
    moment,
    optional_text,
    required_array,
    required_object,
    required_text,
)

__all__ = ["HEALTH_CAPABILITY", "LIFECYCLE_CAPABILITY", "read", "recognises"]

DEVICE_EVENT: Final = "DEVICE_EVENT"
DEVICE_HEALTH_EVENT: Final = "DEVICE_HEALTH_EVENT"
DEVICE_LIFECYCLE_EVENT: Final = "DEVICE_LIFECYCLE_EVENT"

HEALTH_CAPABILITY: Final = ("healthCheck", "healthStatus")
"""The capability and attribute under which a DEVICE_HEALTH_EVENT's status goes."""
LIFECYCLE_CAPABILITY: Final = ("deviceLifecycle", "lifecycle")
"""The capability and attribute under which a DEVICE_LIFECYCLE_EVENT's lifecycle goes."""

_KNOWN: Final = {
    DEVICE_EVENT: "deviceEvent",
    DEVICE_HEALTH_EVENT: "deviceHealthEvent",
    DEVICE_LIFECYCLE_EVENT: "deviceLifecycleEvent",
}
"""The types whose fields we read, with the name of their body."""


def recognises(document: dict[str, object]) -> bool:
    """Whether a document looks like anything of SmartThings'."""
    return (
        any(name in document for name in ("eventType", "notificationType", "lifecycle", "messageType"))
        or isinstance(document.get("components"), dict)
        or ("state" in document and ("deviceId" in document or "lastUpdatedDate" in document))
        or any(name in document for name in _KNOWN.values())
    )


def read(document: dict[str, object], path: str, reading: Reading) -> Iterator[Event | Failure]:
    """The events of one document that `recognises` said yes to."""
    if "eventType" in document or "notificationType" in document:
        yield from attempt(_one_event, document, path, reading)
    elif "lifecycle" in document or "messageType" in document:
        yield from _webhook(document, path, reading)
    elif "components" in document:
        yield from _states(document, path, reading)
    elif any(name in document for name in _KNOWN.values()):
        yield Failure(codes.MISSING_FIELD, "eventType is missing", path)
    else:
        yield from attempt(_health_document, document, path, reading)


def _body_name(kind: str) -> str:
    """DEVICE_EVENT -> deviceEvent, as every SmartThings envelope names the body of an event after its type."""
    first, *rest = kind.lower().split("_")
    return first + "".join(word.capitalize() for word in rest)


def _one_event(document: dict[str, object], path: str, reading: Reading) -> Iterator[Event]:
    kind = required_text(document, "notificationType" if "notificationType" in document else "eventType")
    if kind in _KNOWN:
        yield _device_event(kind, document, path, reading)
    else:
        yield _as_itself(kind, document, path, reading)


def _time_of(document: dict[str, object], body: dict[str, object], reading: Reading) -> Timestamp:
    said = document.get("eventTime")
    if said is None:
        # Enterprise v2 has no eventTime; the body holds the time as `timestamp`.
        said = body.get("timestamp")
    return event_time(said, "eventTime", reading)


def _device_event(kind: str, document: dict[str, object], path: str, reading: Reading) -> Event:
    body = required_object(document, _KNOWN[kind])
    time = _time_of(document, body, reading)
    device_id = required_text(body, "deviceId")
    component, unit, change, last_reset = "main", None, None, None
    value: object
    if kind == DEVICE_EVENT:
        component = optional_text(body, "componentId") or "main"
        capability, attribute = required_text(body, "capability"), required_text(body, "attribute")
        value = body.get("value")
        unit = optional_text(body, "unit")
        change = flag(body, "stateChange")
        last_reset = _last_reset(body)
    elif kind == DEVICE_HEALTH_EVENT:
        (capability, attribute), value = HEALTH_CAPABILITY, required_text(body, "status")
    else:
        (capability, attribute), value = LIFECYCLE_CAPABILITY, required_text(body, "lifecycle")
    return build_event(
        reading,
        path,
        body,
        time,
        kind,
        device_id,
        value,
        event_id=optional_text(body, "eventId"),
        home_id=optional_text(body, "locationId"),
        component=component,
        capability=capability,
        attribute=attribute,
        unit=unit,
        state_change=change,
        last_reset=last_reset,
    )


def _as_itself(kind: str, document: dict[str, object], path: str, reading: Reading) -> Event:
    """An event of a type of which nothing is demanded but a time."""
    body = document.get(_body_name(kind))
    if not is_object(body):
        body = {key: value for key, value in document.items() if key not in ("eventTime", "eventType")}
    time = _time_of(document, body, reading)
    device_id = lenient_text(body, "deviceId")
    event_id, home_id = lenient_text(body, "eventId"), lenient_text(body, "locationId")
    return build_event(reading, path, body, time, kind, device_id, body, event_id=event_id, home_id=home_id)


def _last_reset(body: dict[str, object]) -> Timestamp | None:
    data = body.get("data")
    if not is_object(data):
        return None
    said = data.get("lastReset", data.get("last_reset"))
    # Without bounds: 1970-01-01 is how platforms write that a meter was never reset.
    return None if said is None else moment(said, "lastReset")


def _webhook(document: dict[str, object], path: str, reading: Reading) -> Iterator[Event | Failure]:
    if document.get("lifecycle", document.get("messageType")) != "EVENT":
        yield from attempt(_app_lifecycle, document, path, reading)
        return
    place = child(path, "eventData")
    try:
        data = required_object(document, "eventData")
        events = required_array(data, "events")
    except ParseError as error:
        yield Failure.of(error, path if "eventData" not in document else place)
        return
    home_id = lenient_text(data.get("installedApp"), "locationId")
    if home_id is not None:
        reading = replace(reading, context=replace(reading.context, home_id=home_id))
    place = child(place, "events")
    for index, event in enumerate(events):
        yield from attempt(_one_event, event, f"{place}[{index}]", reading)


def _app_lifecycle(document: dict[str, object], path: str, reading: Reading) -> Iterator[Event]:
    """A call to the app itself (PING, INSTALL, …), which says nothing of a device."""
    name = required_text(document, "lifecycle" if "lifecycle" in document else "messageType")
    kind = f"LIFECYCLE_{name}"
    time = event_time(None, "eventTime", reading)
    body = document.get(_body_name(name) + "Data")
    app = body.get("installedApp") if is_object(body) else None
    value = body if is_object(body) else document
    event_id, home_id = lenient_text(document, "executionId"), lenient_text(app, "locationId")
    yield build_event(reading, path, document, time, kind, None, value, event_id=event_id, home_id=home_id)


def _states(document: dict[str, object], path: str, reading: Reading) -> Iterator[Event | Failure]:
    """The state of a whole device: one event for each attribute that has a value."""
    components_path = child(path, "components")
    try:
        device_id = optional_text(document, "deviceId") or reading.context.device_id
        components = required_object(document, "components")
    except ParseError as error:
        yield Failure.of(error, path)
        return
    for component, capabilities in components.items():
        component_path = child(components_path, component)
        if not is_object(capabilities):
            yield Failure(codes.WRONG_TYPE, "a component is no object", component_path)
            continue
        for capability, attributes in capabilities.items():
            capability_path = child(component_path, capability)
            if not is_object(attributes):
                yield Failure(codes.WRONG_TYPE, "a capability is no object", capability_path)
                continue
            for attribute, state in attributes.items():
                if is_object(state) and state.get("value") is None:
                    continue
                if device_id is None:
                    yield Failure(codes.MISSING_FIELD, "a device state names no device, and the caller gave none", path)
                    return
                make = partial(_attribute, device_id, component, capability, attribute)
                yield from attempt(make, state, child(capability_path, attribute), reading)


def _attribute(
    device_id: str,
    component: str,
    capability: str,
    attribute: str,
    state: dict[str, object],
    path: str,
    reading: Reading,
) -> Iterator[Event]:
    time = event_time(state.get("timestamp"), "timestamp", reading)
    yield build_event(
        reading,
        path,
        state,
        time,
        DEVICE_EVENT,
        device_id,
        state.get("value"),
        component=component,
        capability=capability,
        attribute=attribute,
        unit=optional_text(state, "unit"),
        last_reset=_last_reset(state),
    )


def _health_document(document: dict[str, object], path: str, reading: Reading) -> Iterator[Event]:
    time = event_time(document.get("lastUpdatedDate"), "lastUpdatedDate", reading)
    device_id = required_text(document, "deviceId")
    (capability, attribute), value = HEALTH_CAPABILITY, required_text(document, "state")
    yield build_event(
        reading,
        path,
        document,
        time,
        DEVICE_HEALTH_EVENT,
        device_id,
        value,
        capability=capability,
        attribute=attribute,
    )
