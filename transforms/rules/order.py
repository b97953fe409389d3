"""The order in which a device's events count, and the hashes that settle ties."""

from __future__ import annotations

import hashlib
import re
import struct
import uuid
from collections.abc import Iterable
from typing import Final

from thingbeam.schemas.records import Event

__all__ = ["DeviceClocks", "id_key", "payload_hash", "rule_order"]

_CANONICAL_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def id_key(event_id: str) -> int:
    """An event id as the unsigned 128-bit number by which ids compare.

    A UUID in its canonical text (lower case, with hyphens) is its 16 bytes, the first being the highest; any other
    text is the 16-byte BLAKE2b digest of its UTF-8, read the same way.

    >>> id_key("00000000-0000-0000-0000-0000000000ff")
    255
    >>> hex(id_key("e1"))
    '0xafdd4403c41069df839dbe2249f98aee'
    """
    if _CANONICAL_UUID.fullmatch(event_id):
        return uuid.UUID(event_id).int
    return int.from_bytes(hashlib.blake2b(_utf8(event_id), digest_size=16).digest(), "big")


def payload_hash(event: Event) -> int:
    """What an event says, as an unsigned 64-bit number: of two with one id and one time the smaller is accepted.

    It is the 8-byte BLAKE2b digest, read as little endian, of eight fields one after the other: kind, component,
    capability, attribute, value_type, text, number, unit. A text is its length in UTF-8 bytes (unsigned, 4 bytes,
    little endian) and those bytes; a number is the byte 08 and its IEEE 754 double, little endian; an absent text is
    the four bytes FF FF FF FF and an absent number the byte 00. Text is present for the value types string and json
    only (digits that a double would lose do not count), number for number and boolean only.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> on, off = (Event.of("e1", Timestamp(0), "d1", "switch", "switch", value) for value in ("on", "off"))
    >>> payload_hash(on) == payload_hash(on._replace(device_id="d2", event_time=Timestamp(9)))
    True
    >>> payload_hash(on) == payload_hash(off)
    False
    """
    text = event.text if event.value_type in ("string", "json") else None
    number = event.number if event.value_type in ("number", "boolean") else None
    before = (event.kind, event.component, event.capability, event.attribute, event.value_type, text)
    parts = [_text_bytes(part) for part in before]
    parts.append(b"\x00" if number is None else b"\x08" + struct.pack("<d", number))
    parts.append(_text_bytes(event.unit))
    return int.from_bytes(hashlib.blake2b(b"".join(parts), digest_size=8).digest(), "little")


def rule_order(events: Iterable[Event]) -> list[Event]:
    """The events in the order in which the rules take them: by time, then id, then payload hash.

    Args:
        events: any events, of any devices, in any order.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> later, sooner = Event("a", Timestamp(2), "d1"), Event("b", Timestamp(1), "d1")
    >>> [event.event_id for event in rule_order([later, sooner])]
    ['b', 'a']
    """
    return sorted(events, key=lambda event: (event.event_time.micros, id_key(event.event_id), payload_hash(event)))


class DeviceClocks:
    """The time of the last event of each device, which never goes back."""

    def __init__(self) -> None:
        self._last: dict[str | None, int] = {}

    def tick(self, event: Event) -> int:
        """Set the clock of the event's device to the event's time, in microseconds since 1970, and return it.

        Raises:
            ValueError: the event is older than one of its device before it.

        >>> from apache_beam.utils.timestamp import Timestamp
        >>> DeviceClocks().tick(Event("a", Timestamp(2), "d1"))
        2000000
        """
        now = int(event.event_time.micros)
        last = self._last.get(event.device_id, now)
        if now < last:
            raise ValueError(
                f"event {event.event_id!r} of device {event.device_id!r} is {last - now} µs older than the one before; "
                "feed the rules in rule order"
            )
        self._last[event.device_id] = now
        return now


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text_bytes(text: str | None) -> bytes:
    if text is None:
        return b"\xff\xff\xff\xff"
    encoded = _utf8(text)
    return struct.pack("<I", len(encoded)) + encoded
