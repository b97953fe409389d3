"""What a parser is told besides the payload: what the caller knows, and how much is too much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from apache_beam.utils.timestamp import Timestamp

__all__ = ["Context", "Limits", "Reading"]

YEAR_1971: Final = Timestamp(31_536_000)
YEAR_2200: Final = Timestamp(7_258_118_400)


@dataclass(frozen=True)
class Context:
    """What the caller knows of a payload, for what the document itself does not say.

    A device id is taken for device states only, whose format has none: an event that lacks the id its format
    demands is an error whatever the context says. A home and a time are taken for any document without one.

    >>> Context(device_id="fridge", event_time=Timestamp(1739480496)).device_id
    'fridge'
    """

    device_id: str | None = None
    event_time: Timestamp | None = None
    home_id: str | None = None
    ingest_time: Timestamp | None = None
    """When the platform or broker took the payload in; goes into every event as it is."""


@dataclass(frozen=True)
class Limits:
    """How large, how deep and how far away in time a payload may be.

    >>> Limits().max_value_bytes
    1048576
    """

    max_value_bytes: int = 1 << 20
    """Bytes of a payload, and of the text of one JSON value in it."""
    max_depth: int = 64
    """Objects and arrays inside each other. The deepest device state we know of has 12."""
    earliest: Timestamp = YEAR_1971
    """Event times before this are impossible. By default a year after 1970, where clocks that were never set are."""
    latest: Timestamp = YEAR_2200
    """Event times after this are impossible."""


@dataclass(frozen=True)
class Reading:
    """What every step of reading one payload shares."""

    context: Context
    limits: Limits
    tainted: bool = False
    """Whether the document holds a `NotFinite` somewhere."""
