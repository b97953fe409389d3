"""What each attribute was, or grew by, in each period: Home Assistant's long-term statistics, and time in each state.

The rules for numbers follow Home Assistant's `sensor` recorder platform:
https://github.com/home-assistant/core/blob/dev/homeassistant/components/sensor/recorder.py
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple, TypeVar

from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.records import Event, Usage
from thingbeam.transforms.rules.order import rule_order
from thingbeam.transforms.rules.periods import Period, ZoneOf, bounds, local_text
from thingbeam.transforms.rules.roles import (
    ACTIVITY,
    IGNORED,
    MEASUREMENT,
    METER,
    STATE,
    TOTAL,
    USAGE_ROLES,
    Role,
    RoleOf,
    has_attribute,
    is_ignored,
    number_of,
    state_text,
)

__all__ = [
    "UsageStatistics",
    "count_changes",
    "ends_hold",
    "increasing_sum",
    "is_reset",
    "seconds_in_state",
    "time_weighted",
    "total_sum",
    "value_in_series",
]

_HeldT = TypeVar("_HeldT", float, str)


def time_weighted(points: Sequence[tuple[int, float]], start: int, end: int) -> float:
    """The mean of the values, each weighted by how long it held within [start, end).

    A value holds until the next, the last one until `end`. Where the first is later than `start` the mean is that of
    the time from it on. It is exact until it is rounded to a double.

    Args:
        points: (microseconds, value), in order, at least one, all before `end`; only the first may be before `start`.
        start: microseconds.
        end: microseconds.

    >>> time_weighted([(-1, 10.0), (15, 20.0), (45, 0.0)], start=0, end=60)
    12.5
    """
    area = Fraction(0)
    duration = 0
    for value, held in _holds(points, start, end):
        area += Fraction(value) * held
        duration += held
    return float(area / duration)


def seconds_in_state(points: Sequence[tuple[int, str]], start: int, end: int) -> dict[str, float]:
    """For each state how many seconds it held within [start, end). States that held no time are left out.

    Args:
        points: (microseconds, state), in order, all before `end`; only the first may be before `start`.
        start: microseconds.
        end: microseconds.

    >>> seconds_in_state([(-1, "on"), (15_000_000, "off")], start=0, end=60_000_000)
    {'on': 15.0, 'off': 45.0}
    """
    held_in: defaultdict[str, int] = defaultdict(int)
    for state, held in _holds(points, start, end):
        held_in[state] += held
    return {state: held / 1_000_000 for state, held in held_in.items() if held}


def count_changes(states: Sequence[str]) -> int:
    """How often a state differs from the one before it.

    >>> count_changes(["on", "on", "off", "on"])
    2
    """
    return sum(state != before for before, state in pairwise(states))


def is_reset(reading: float, before: float) -> bool:
    """Whether a meter that only increases began again: by more than a tenth below the reading before.

    >>> is_reset(89.0, 100.0), is_reset(90.0, 100.0)
    (True, False)
    """
    return reading < 0.9 * before


def increasing_sum(readings: Sequence[float]) -> list[float]:
    """The sum after each reading of a meter that only increases.

    The first is the zero point. A reset adds the reading itself, anything else the difference, if it is a small dip
    a negative one.

    Args:
        readings: in order, none below 0.

    >>> increasing_sum([1000, 1010, 0, 5])
    [0.0, 10.0, 10.0, 15.0]
    """
    sums: list[float] = []
    total = 0.0
    for index, reading in enumerate(readings):
        if index > 0:
            before = readings[index - 1]
            total += reading if is_reset(reading, before) else reading - before
        sums.append(total)
    return sums


def total_sum(readings: Sequence[tuple[float, int | None]]) -> list[float]:
    """The sum after each reading of a meter that may fall.

    The first is the zero point. Where `last_reset` changed the reading itself is added, else the difference. A reading
    without a `last_reset` changes nothing about it.

    Args:
        readings: (reading, last_reset in microseconds or None), in order.

    >>> total_sum([(1000, 1), (1010, 1), (1005, 1), (0, 2), (5, 2)])
    [0.0, 10.0, 5.0, 5.0, 10.0]
    """
    sums: list[float] = []
    total = 0.0
    known: int | None = None
    for index, (reading, last_reset) in enumerate(readings):
        changed = last_reset is not None and last_reset != known
        if index > 0:
            total += reading if changed else reading - readings[index - 1][0]
        if changed:
            known = last_reset
        sums.append(total)
    return sums


def value_in_series(event: Event, role: Role) -> float | str | None:
    """What an event adds to its series: a number or a state; None where the series skips it.

    >>> value_in_series(Event.of("e1", Timestamp(0), "d1", "energyMeter", "energy", -1.0), Role("meter")) is None
    True
    """
    if role.role in (ACTIVITY, STATE):
        return state_text(event)
    if role.role == IGNORED:
        return None
    number = number_of(event, role.field)
    if role.role == METER and number is not None and number < 0:
        return None
    return number


def ends_hold(event: Event) -> bool:
    """Whether after this event its device is away, so that it lives no longer until its next event.

    >>> ends_hold(Event("e1", Timestamp(0), "d1", "DEVICE_HEALTH_EVENT", value_type="string", text="OFFLINE"))
    True
    """
    return (event.kind, event.text) in {("DEVICE_HEALTH_EVENT", "OFFLINE"), ("DEVICE_LIFECYCLE_EVENT", "DELETE")}


class _Point(NamedTuple):
    """One event in its series. `sum` is the meter's after it, 0 for other roles."""

    micros: int
    value: float | str
    event: Event
    sum: float = 0.0


class _Series(NamedTuple):
    """Points of one attribute of one device that carry into one another, from the first on."""

    role: Role
    points: list[_Point]


@dataclass(frozen=True)
class _Device:
    """When a device gave a sign of life, and whether each was its last before it went away."""

    times: list[int]
    away: list[bool]

    def lives(self, start: int, end: int, hold: int) -> bool:
        last = bisect_left(self.times, end) - 1
        if last < 0:
            return False
        if self.times[last] >= start:
            return True
        return not self.away[last] and start - self.times[last] < hold

    def next_time(self, start: int) -> int | None:
        """The time of the first event at or after `start`."""
        index = bisect_left(self.times, start)
        return self.times[index] if index < len(self.times) else None


class UsageStatistics:
    """The usage rows of a bounded stream, worked out period by period from all its events.

    A series, and each new beginning of it after `retention_s` of silence, has the home and zone of its first event.
    A row has the unit of the event that `last` or `last_state` is from.

    Args:
        role_of: gives the role of an event's attribute.
        zone_of: gives the zone of an event's home; one zone for all events of a series.
        period: the length of the periods.
        hold_s: seconds; a device without events for so long before a period does not live in it.
        retention_s: seconds; a series without events for so long before a period carries nothing into it.

    >>> from zoneinfo import ZoneInfo
    >>> statistics = UsageStatistics(lambda event: Role("meter"), lambda event: ZoneInfo("UTC"), Period(3600))
    >>> readings = [(600, 1000.0), (1200, 1010.0), (4000, 0.0), (4010, 5.0)]
    >>> rows = statistics.compute(
    ...     Event.of(f"e{at}", Timestamp(at), "d1", "energyMeter", "energy", value) for at, value in readings
    ... )
    >>> [(row.start_local, row.sum, row.change) for row in rows]
    [('1970-01-01T00:00:00+00:00', 10.0, 10.0), ('1970-01-01T01:00:00+00:00', 15.0, 5.0)]
    """

    def __init__(
        self,
        role_of: RoleOf,
        zone_of: ZoneOf,
        period: Period,
        hold_s: float = 86_400,
        retention_s: float = 35 * 86_400,
    ) -> None:
        self._role_of = role_of
        self._zone_of = zone_of
        self._period = period
        self._hold = round(hold_s * 1_000_000)
        self._retention = round(retention_s * 1_000_000)

    def compute(self, events: Iterable[Event], until: int | None = None) -> list[Usage]:
        """All rows, by series and in the order of their periods.

        Args:
            events: counted events (see `sift`); those to ignore are ignored here too.
            until: microseconds; values are held in the periods that start before it, as in a stream that got there.
                Without it, and never sooner with it, a device's rows end with the period of its last event.
        """
        of_device: defaultdict[str, list[Event]] = defaultdict(list)
        for event in rule_order(event for event in events if not is_ignored(event, self._role_of)):
            assert event.device_id is not None
            of_device[event.device_id].append(event)
        rows: list[Usage] = []
        for _, device_events in sorted(of_device.items()):
            device = _Device(
                [event.event_time.micros for event in device_events], [ends_hold(event) for event in device_events]
            )
            for series in self._series(device_events):
                rows.extend(self._rows(series, device, until))
        return rows

    def _series(self, events: Iterable[Event]) -> Iterator[_Series]:
        """The series of one device, cut where one begins anew."""
        points_of: defaultdict[tuple[str, str, str, str], list[_Point]] = defaultdict(list)
        role_of: dict[tuple[str, str, str, str], Role] = {}
        for event in events:
            if not has_attribute(event):
                continue
            role = self._role_of(event)
            value = value_in_series(event, role)
            if value is not None:
                key = (event.component, event.capability, event.attribute, USAGE_ROLES[role.role])
                role_of.setdefault(key, role)
                points_of[key].append(_Point(int(event.event_time.micros), value, event))
        for key, points in sorted(points_of.items(), key=lambda item: item[0]):
            part: list[_Point] = []
            for point in points:
                start, _ = bounds(self._zone_of(point.event), point.micros, self._period)
                if part and start >= part[-1].micros + self._retention:
                    yield _summed(_Series(role_of[key], part))
                    part = []
                part.append(point)
            yield _summed(_Series(role_of[key], part))

    def _rows(self, series: _Series, device: _Device, until: int | None) -> Iterator[Usage]:
        times = [point.micros for point in series.points]
        zone = self._zone_of(series.points[0].event)
        last_start = device.times[-1] if until is None else max(device.times[-1], until - 1)
        at = times[0]
        while at <= last_start:
            start, end = bounds(zone, at, self._period)
            before, after = bisect_left(times, start), bisect_left(times, end)
            carried = series.points[before - 1] if before else None
            if carried is not None and start >= carried.micros + self._retention:
                carried = None
            within = series.points[before:after]
            if within or (carried is not None and device.lives(start, end, self._hold)):
                yield self._row(series, carried, within, start, end)
            elif carried is None:
                return  # Nothing is carried any more, and no point is left: the series' next part begins anew.
            at = end
            if not device.lives(*bounds(zone, at, self._period), self._hold):
                # No row can come before the device's next event.
                awake = device.next_time(end)
                if awake is None:
                    return
                at = awake

    def _row(self, series: _Series, carried: _Point | None, within: list[_Point], start: int, end: int) -> Usage:
        role, first = series.role, series.points[0].event
        assert first.device_id is not None
        points = [*([carried] if carried else []), *within]
        last = points[-1]
        numbers = [(point.micros, point.value) for point in points if isinstance(point.value, float)]
        states = [(point.micros, point.value) for point in points if isinstance(point.value, str)]
        is_measurement = role.role == MEASUREMENT
        is_meter = role.role in (METER, TOTAL)
        return Usage(
            device_id=first.device_id,
            component=first.component,
            capability=first.capability,
            attribute=first.attribute,
            role=USAGE_ROLES[role.role],
            period=self._period.iso,
            start=Timestamp(micros=start),
            start_local=local_text(start, self._zone_of(first)),
            end=Timestamp(micros=end),
            count=len(within),
            changes=count_changes([state for _, state in states]),
            min=min(number for _, number in numbers) if is_measurement else None,
            max=max(number for _, number in numbers) if is_measurement else None,
            mean=time_weighted(numbers, start, end) if is_measurement else None,
            sum=last.sum if is_meter else None,
            change=last.sum - (carried.sum if carried else 0.0) if is_meter else None,
            last=numbers[-1][1] if numbers else None,
            last_state=states[-1][1] if states else None,
            seconds_in_state=seconds_in_state(states, start, end),
            revision=0,
            unit=last.event.unit,
            home_id=first.home_id,
        )


def _summed(series: _Series) -> _Series:
    """The series with the sum after each point, where it is a meter's."""
    readings = [point.value for point in series.points if isinstance(point.value, float)]
    if series.role.role == METER:
        sums = increasing_sum(readings)
    elif series.role.role == TOTAL:
        resets = [point.event.last_reset for point in series.points]
        sums = total_sum(
            [(reading, reset.micros if reset else None) for reading, reset in zip(readings, resets, strict=True)]
        )
    else:
        return series
    return series._replace(points=[point._replace(sum=total) for point, total in zip(series.points, sums, strict=True)])


def _holds(points: Sequence[tuple[int, _HeldT]], start: int, end: int) -> Iterator[tuple[_HeldT, int]]:
    """Each value with the microseconds for which it held within [start, end)."""
    for index, (micros, value) in enumerate(points):
        until = points[index + 1][0] if index + 1 < len(points) else end
        yield value, until - max(micros, start)
