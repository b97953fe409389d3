"""Runs of events without a long silence."""

from __future__ import annotations

from dataclasses import dataclass

from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.records import Event, Session
from thingbeam.transforms.rules.order import DeviceClocks
from thingbeam.transforms.rules.periods import ZoneOf, local_text, utc_zone
from thingbeam.transforms.rules.roles import has_attribute

__all__ = ["Sessionizer"]


@dataclass
class _Open:
    first: Event
    last: int
    count: int


class Sessionizer:
    """Joins the events of each device that have less than the gap between neighbours.

    It takes counted events only (see `sift`), in rule order. A session has the home and zone of its first event.

    Args:
        gap_s: seconds of silence, above 0, that end a session; a silence of exactly the gap ends it.
        zone_of: gives the zone for `start_local`.

    Raises:
        ValueError: a gap of less than a microsecond.

    >>> sessionizer = Sessionizer(gap_s=600)
    >>> events = [Event.of(str(s), Timestamp(s), "d1", "switch", "switch", "on") for s in (0, 599, 1199)]
    >>> [len(sessionizer.feed(event)) for event in events]
    [0, 0, 1]
    >>> [(float(session.start), session.count) for session in sessionizer.finish()]
    [(1199.0, 1)]
    """

    def __init__(self, gap_s: float, zone_of: ZoneOf = utc_zone) -> None:
        self._gap = round(gap_s * 1_000_000)
        if self._gap <= 0:
            raise ValueError(f"gap_s must be above 0, not {gap_s!r}")
        self._zone_of = zone_of
        self._clocks = DeviceClocks()
        self._open: dict[str, _Open] = {}

    def feed(self, event: Event) -> list[Session]:
        """Take the next event and give the session that it shows to be over, if there is one.

        Raises:
            ValueError: the event is older than one of its device before it.
        """
        if event.device_id is None or not has_attribute(event):
            return []
        now = self._clocks.tick(event)
        current = self._open.get(event.device_id)
        if current is not None and now - current.last < self._gap:
            current.last = now
            current.count += 1
            return []
        self._open[event.device_id] = _Open(event, now, 1)
        return [] if current is None else [self._session(current)]

    def advance(self, until: int) -> list[Session]:
        """Give the sessions that no event can join any more, where all to come are at `until` (microseconds) or later.

        In the order of their devices' ids.
        """
        over = [device for device, current in self._open.items() if until - current.last >= self._gap]
        return [self._session(self._open.pop(device)) for device in sorted(over)]

    def finish(self) -> list[Session]:
        """Give all sessions that are left, once no event will come."""
        left = sorted(self._open)
        return [self._session(self._open.pop(device)) for device in left]

    def _session(self, ended: _Open) -> Session:
        first = ended.first
        assert first.device_id is not None
        return Session(
            device_id=first.device_id,
            start=first.event_time,
            start_local=local_text(first.event_time.micros, self._zone_of(first)),
            last=Timestamp(micros=ended.last),
            end=Timestamp(micros=ended.last + self._gap),
            count=ended.count,
            revision=0,
            home_id=first.home_id,
        )
