"""One payload, whatever its envelope, into events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from thingbeam.schemas import codes
from thingbeam.schemas.records import Event
from thingbeam.transforms.envelopes import matter, smartthings
from thingbeam.transforms.envelopes.context import Context, Limits, Reading
from thingbeam.transforms.envelopes.decode import decode, has_not_finite
from thingbeam.transforms.envelopes.errors import Failure, ParseError
from thingbeam.transforms.envelopes.fields import is_array, is_object

__all__ = ["parse_each", "parse_payload"]

_NO_CONTEXT: Final = Context()
_DEFAULT_LIMITS: Final = Limits()


def parse_payload(payload: bytes, context: Context = _NO_CONTEXT, limits: Limits = _DEFAULT_LIMITS) -> list[Event]:
    """All events of one payload.

    Takes SmartThings events (sink, server-sent events, Enterprise v2), SmartApp webhooks, device states and health,
    Matter messages and node dumps as python-matter-server writes them, and a JSON array of any of these.

    Args:
        payload: one JSON document.
        context: what the caller knows, for what the document does not say.
        limits: on size, depth and time.

    Returns:
        The events in the order of the document; none where a document is understood and holds none.

    Raises:
        ParseError: the first thing in it that is wrong. Use `parse_each` to keep what is right beside it.

    >>> event, = parse_payload(b'''{"eventTime": 1739480496560, "eventType": "DEVICE_EVENT", "deviceEvent":
    ...     {"eventId": "e1", "deviceId": "d1", "capability": "switch", "attribute": "switch", "value": "on"}}''')
    >>> event.device_id, event.capability, event.value, event.event_time.to_rfc3339()
    ('d1', 'switch', 'on', '2025-02-13T21:01:36.560000Z')
    """
    events: list[Event] = []
    for item in parse_each(payload, context, limits):
        if isinstance(item, Failure):
            raise ParseError(item.code, item.message, item.path)
        events.append(item)
    return events


def parse_each(
    payload: bytes, context: Context = _NO_CONTEXT, limits: Limits = _DEFAULT_LIMITS
) -> Iterator[Event | Failure]:
    """The events of one payload, and of what is no event a failure that says where it is.

    Args and formats are those of `parse_payload`. Never raises for what is in the payload.

    >>> [item.code for item in parse_each(b'{"eventTime": 17') if isinstance(item, Failure)]
    ['invalid_json']
    """
    try:
        document, tainted = decode(payload, limits)
    except ParseError as error:
        yield Failure.of(error, error.path)
        return
    reading = Reading(context, limits, tainted)
    if is_array(document) and document:
        for index, member in enumerate(document):
            yield from _document(member, f"[{index}]", reading)
    else:
        yield from _document(document, "", reading)


def _document(document: object, path: str, reading: Reading) -> Iterator[Event | Failure]:
    if is_object(document) and smartthings.recognises(document):
        yield from smartthings.read(document, path, reading)
    elif is_object(document) and matter.recognises(document):
        yield from matter.read(document, path, reading)
    elif reading.tainted and has_not_finite(document):
        yield Failure(codes.NOT_FINITE, "a number is NaN, infinite, or too large for a double", path)
    elif is_object(document):
        yield Failure(codes.UNKNOWN_ENVELOPE, "a JSON object of no envelope that is known", path)
    else:
        yield Failure(codes.UNKNOWN_ENVELOPE, "not a JSON object with an event in it", path)
