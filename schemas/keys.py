"""What identifies a result: of rows with one key the highest revision is right, and a keyed sink holds one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from thingbeam.schemas.records import Activity, DeadLetter, Event, Session, Usage

__all__ = ["KEY_FIELDS", "key_of"]

KEY_FIELDS: Final[Mapping[type[Any], tuple[str, ...]]] = MappingProxyType(
    {
        Activity: ("device_id", "component", "capability", "start"),
        Session: ("device_id", "start"),
        Usage: ("device_id", "component", "capability", "attribute", "role", "period", "start"),
        Event: ("device_id", "event_id", "event_time"),
        DeadLetter: ("source", "position", "step"),
    }
)
"""The fields that make a record's key, in the order in which they are put together."""


def key_of(record: Any) -> tuple[Any, ...]:
    """The key of a record.

    Raises:
        KeyError: a type that has none.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> key_of(Event.of("e1", Timestamp(0), "d1", "switch", "switch", "on"))
    ('d1', 'e1', Timestamp(0))
    """
    return tuple(getattr(record, name) for name in KEY_FIELDS[type(record)])
