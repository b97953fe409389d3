"""What devices did, from start to stop."""

from __future__ import annotations

from dataclasses import dataclass

from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.records import Activity, Event
from thingbeam.transforms.rules.order import DeviceClocks
from thingbeam.transforms.rules.periods import ZoneOf, local_text, utc_zone
from thingbeam.transforms.rules.roles import ACTIVITY, RoleOf, has_attribute, state_text

__all__ = ["ActivityTracker"]

_Stream = tuple[str, str, str]  # device, component, capability


@dataclass
class _Open:
    first: Event
    start: int
    limit: int
    """The last instant at which a stop still closes it."""


class ActivityTracker:
    """Follows one activity at a time per device, component and capability.

    It takes counted events only (see `sift`), in rule order. An activity has the home, zone and maximum length of the
    event that opened it. One that is opened anew at the very instant of its start has the key of the one before, and
    replaces it: of rows with one key the one given later counts.

    Args:
        role_of: gives the role of an event's attribute, with its start, stop and pause states.
        zone_of: gives the zone for `start_local`.

    >>> from thingbeam.transforms.rules.roles import Role
    >>> light = Role("activity", start=frozenset({"on"}), stop=frozenset({"off"}))
    >>> tracker = ActivityTracker(lambda event: light)
    >>> tracker.feed(Event.of("e1", Timestamp(0), "d1", "switch", "switch", "on"))
    []
    >>> [lit] = tracker.feed(Event.of("e2", Timestamp(90), "d1", "switch", "switch", "off"))
    >>> lit.duration_s, lit.closed_by
    (90.0, 'stop')
    """

    def __init__(self, role_of: RoleOf, zone_of: ZoneOf = utc_zone) -> None:
        self.stops_without_start = 0
        """How many stops came while nothing was open."""
        self._role_of = role_of
        self._zone_of = zone_of
        self._clocks = DeviceClocks()
        self._open: dict[_Stream, _Open] = {}

    def feed(self, event: Event) -> list[Activity]:
        """Take the next event and give the activities that are over by it.

        An event of any kind moves the clock of its device, and so ends what exceeds its maximum length.

        Raises:
            ValueError: the event is older than one of its device before it.
        """
        if event.device_id is None:
            return []
        now = self._clocks.tick(event)
        over = self._close_longer([stream for stream in self._open if stream[0] == event.device_id], now)
        if not has_attribute(event):
            return over
        role = self._role_of(event)
        if role.role != ACTIVITY:
            return over
        state = state_text(event)
        stream = (event.device_id, event.component, event.capability)
        if state in role.start:
            if stream not in self._open:
                self._open[stream] = _Open(event, now, now + round(role.max_length_s * 1_000_000))
        elif state in role.stop:
            if stream in self._open:
                over.append(self._activity(self._open.pop(stream), now, "stop"))
            else:
                self.stops_without_start += 1
        # A pause, or any other value, changes nothing: what is open stays so.
        return over

    def advance(self, until: int) -> list[Activity]:
        """Give what exceeds its maximum length, where all events to come are at `until` (microseconds) or later."""
        return self._close_longer(list(self._open), until)

    def finish(self) -> list[Activity]:
        """Give what is left, once no event will come: each device's clock stands at its last event.

        By then what exceeds its maximum length is closed already, so all of these are running. To hold them until a
        later time instead, advance to it first.
        """
        left = [self._open.pop(stream) for stream in sorted(self._open)]
        return [self._activity(running, None, None) for running in left]

    def _close_longer(self, streams: list[_Stream], now: int) -> list[Activity]:
        """Close those of the streams whose limit is before `now`."""
        over = [self._open.pop(stream) for stream in sorted(streams) if self._open[stream].limit < now]
        return [self._activity(ended, ended.limit, "max_length") for ended in over]

    def _activity(self, activity: _Open, end: int | None, closed_by: str | None) -> Activity:
        first = activity.first
        assert first.device_id is not None
        return Activity(
            device_id=first.device_id,
            component=first.component,
            capability=first.capability,
            start=first.event_time,
            start_local=local_text(activity.start, self._zone_of(first)),
            end=None if end is None else Timestamp(micros=end),
            duration_s=None if end is None else (end - activity.start) / 1_000_000,
            state="running" if end is None else "done",
            closed_by=closed_by,
            revision=0,
            home_id=first.home_id,
        )
