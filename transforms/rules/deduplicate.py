"""Which of the events that came are new."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from thingbeam.schemas.records import Event
from thingbeam.transforms.rules.order import DeviceClocks, payload_hash, rule_order
from thingbeam.transforms.rules.roles import RoleOf, is_ignored

__all__ = ["Deduplicator", "Sifted", "payload_hash", "sift"]


class Deduplicator:
    """Tells which events are new: not within `horizon_s` after an accepted one of the same device and id.

    The time that counts is that of the accepted event, so repeats of repeats do not stretch the horizon.

    Args:
        horizon_s: seconds of event time, 0 or more; at exactly this distance an event is still a duplicate.

    Raises:
        ValueError: a horizon below 0.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> deduplicator = Deduplicator(horizon_s=60)
    >>> [deduplicator.accept(Event("e1", Timestamp(seconds), "d1")) for seconds in (0, 50, 100, 160, 160.000001)]
    [True, False, True, False, True]
    """

    def __init__(self, horizon_s: float = 60.0) -> None:
        if not horizon_s >= 0:
            raise ValueError(f"horizon_s must be 0 or more, not {horizon_s!r}")
        self._horizon = round(horizon_s * 1_000_000)
        self._clocks = DeviceClocks()
        self._accepted: dict[tuple[str | None, str], int] = {}

    def accept(self, event: Event) -> bool:
        """Whether the event is new. Events come in rule order.

        Raises:
            ValueError: the event is older than one of its device before it.
        """
        now = self._clocks.tick(event)
        identity = (event.device_id, event.event_id)
        accepted = self._accepted.get(identity)
        if accepted is not None and now - accepted <= self._horizon:
            return False
        self._accepted[identity] = now
        return True


class Sifted(NamedTuple):
    """All events of a bounded input, each in one of the lists, in rule order."""

    counted: list[Event]
    duplicates: list[Event]
    ignored: list[Event]


def sift(events: Iterable[Event], role_of: RoleOf, horizon_s: float = 60.0) -> Sifted:
    """Sort out the events of a bounded input; the counted ones are what the other rules take.

    What is ignored is put aside first, so it is never a duplicate and makes no other event one.

    Args:
        events: in any order.
        role_of: gives the role of an event's attribute.
        horizon_s: see `Deduplicator`.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> from thingbeam.transforms.rules.roles import Role
    >>> on = Event.of("e1", Timestamp(0), "d1", "switch", "switch", "on")
    >>> sifted = sift([on, on, on._replace(device_id=None)], lambda event: Role("state"))
    >>> len(sifted.counted), len(sifted.duplicates), len(sifted.ignored)
    (1, 1, 1)
    """
    deduplicator = Deduplicator(horizon_s)
    sifted = Sifted([], [], [])
    for event in rule_order(events):
        if is_ignored(event, role_of):
            sifted.ignored.append(event)
        elif deduplicator.accept(event):
            sifted.counted.append(event)
        else:
            sifted.duplicates.append(event)
    return sifted
