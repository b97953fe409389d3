"""Plain calls of the columnar rules: events in, slice by slice, records out; and few roles to try them with.

Times are seconds after T0, so that what a test expects can be worked out by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import numpy as np
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas import Activity, Event, EventBatch, Session, Usage, Value, from_record_batch
from thingbeam.schemas.batch import Description
from thingbeam.transforms.columns.activities import ActivityColumns
from thingbeam.transforms.columns.closing import END_OF_TIME
from thingbeam.transforms.columns.deduplicate import DeduplicateColumns
from thingbeam.transforms.columns.history import History, HistoryState, Slice
from thingbeam.transforms.columns.rows import SortedRows, sort_rows
from thingbeam.transforms.columns.sessions import SessionColumns
from thingbeam.transforms.columns.usage import UsageColumns
from thingbeam.transforms.rules.roles import Role

SECOND: Final = 1_000_000
MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400
T0: Final = 1_175_040_000
"""2007-03-28T00:00Z"""

_GOLDEN: Final = 0x9E3779B97F4A7C15
_FACTORS: Final = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)

TABLE: Final[dict[str, Role]] = {
    "switch": Role("activity", start=frozenset({"on"}), stop=frozenset({"off"}), max_length_s=7200),
    "machine": Role(
        "activity", start=frozenset({"run"}), stop=frozenset({"stop"}), pause=frozenset({"pause"}), max_length_s=7200
    ),
    "power": Role("measurement"),
    "energy": Role("meter"),
    "report": Role("meter", field="energy"),
    "balance": Role("total"),
    "mode": Role("state"),
    "version": Role("ignored"),
}
"""The role of each attribute; the capability has the attribute's name."""

_ids = count()


def micros(seconds: float) -> int:
    """Seconds after T0 as microseconds since 1970."""
    return T0 * SECOND + round(seconds * SECOND)


def seconds(time: Timestamp | int) -> float:
    """A time as seconds after T0."""
    return ((time if isinstance(time, int) else time.micros) - T0 * SECOND) / SECOND


def said(
    at: float,
    value: Value,
    attribute: str = "power",
    *,
    device: str | None = "d1",
    event_id: str | None = None,
    component: str = "main",
    kind: str = "DEVICE_EVENT",
    unit: str | None = None,
    home_id: str | None = "h1",
    last_reset: float | None = None,
) -> Event:
    """An event; where no id is given, ids follow the order of the calls."""
    return Event.of(
        f"{next(_ids):08x}-0000-4000-8000-000000000000" if event_id is None else event_id,
        Timestamp(micros=micros(at)),
        device,
        attribute,
        attribute,
        value,
        kind=kind,
        component=component,
        unit=unit,
        home_id=home_id,
        last_reset=None if last_reset is None else Timestamp(last_reset),
    )


def sign(at: float, value: str = "ONLINE", kind: str = "DEVICE_HEALTH_EVENT", **named: Any) -> Event:
    """A sign of life: an event without attribute."""
    return said(at, value, "", kind=kind, **named)


def role_of(event: Event) -> Role:
    """The role of an event's attribute."""
    return TABLE[event.attribute]


def role_of_description(description: Description) -> Role:
    """The role of a description's attribute."""
    return TABLE[description.attribute]


def rows_of(events: Sequence[Event], zone: str = "UTC") -> SortedRows:
    """Events as rows in rule order."""
    return sort_rows(EventBatch.from_events(events, lambda home: zone))


def words_of(word: int, low: int = 0) -> str:
    """The UUID text of two words."""
    digits = f"{word:016x}{low:016x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def clash_of(high: int, low: int, other_high: int) -> int:
    """The low word that gives `other_high` the same mixed word (`thingbeam.schemas.names.mix`) as (high, low) has."""

    return finalised(high + _GOLDEN) ^ low ^ finalised(other_high + _GOLDEN)


def splitmix(high: int, low: int) -> int:
    """`thingbeam.schemas.names.mix`, by the integers of Python."""
    return finalised(finalised(high + _GOLDEN) ^ low)


def low_of(mixed: int, high: int) -> int:
    """The low word of which `splitmix` made a mixed one: there is just one for each high word."""
    word = _unshifted(mixed, 31) * pow(_FACTORS[1], -1, 2**64) % 2**64
    word = _unshifted(word, 27) * pow(_FACTORS[0], -1, 2**64) % 2**64
    return _unshifted(word, 30) ^ finalised(high + _GOLDEN)


def finalised(word: int) -> int:
    """SplitMix64's finaliser, https://prng.di.unimi.it/splitmix64.c"""
    word %= 2**64
    word = (word ^ (word >> 30)) * _FACTORS[0] % 2**64
    word = (word ^ (word >> 27)) * _FACTORS[1] % 2**64
    return word ^ (word >> 31)


def _unshifted(word: int, by: int) -> int:
    """The word that, with itself shifted right put over it, is this."""
    found = word
    for shift in range(by, 64, by):
        found ^= word >> shift
    return found


@dataclass
class Given:
    """What came out of a slice, or of several."""

    activities: list[Activity] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    rows: list[Event] = field(default_factory=list)
    counted: int = 0
    duplicates: int = 0
    stops_without_start: int = 0

    def add(self, done: Slice) -> None:
        """Take in what a slice gave."""
        for name, record in (("activities", Activity), ("sessions", Session), ("usage", Usage)):
            batch = getattr(done, name)
            if batch is not None:
                getattr(self, name).extend(from_record_batch(batch, record))
        self.rows += done.rows.to_batch().to_events()
        self.counted += done.counted
        self.duplicates += done.duplicates
        self.stops_without_start += done.stops_without_start


class Shard:
    """One shard's rules and state; the state goes through its encoding after each slice."""

    def __init__(self, rules: History, zone: str = "UTC") -> None:
        self.rules = rules
        self.state = HistoryState()
        self.zone = zone
        self.all = Given()

    def until(self, at: float, *events: Event) -> Given:
        """Advance to a time; the events are before it."""
        return self._take(micros(at), events)

    def end(self, *events: Event, hold_until: float | None = None) -> Given:
        """Bounded input ended."""
        held = None if hold_until is None else micros(hold_until)
        return self._take(END_OF_TIME, events, ended=True, hold_until=held)

    @property
    def due(self) -> float | None:
        """When there is something to do, in seconds after T0."""
        moment = self.rules.due(self.state)
        return None if moment is None else seconds(moment)

    def _take(self, until: int, events: Sequence[Event], **named: Any) -> Given:
        assert all(event.event_time.micros < until for event in events)
        batch = EventBatch.from_events(events, lambda home: self.zone)
        done = self.rules.advance(self.state, [batch], until, 0, **named)
        self.state = HistoryState.decode(self.state.encode())
        given = Given()
        given.add(done)
        self.all.add(done)
        return given


def deduplicating(horizon: float = 60) -> History:
    """Only what is distinct."""
    return History(deduplicate=DeduplicateColumns(round(horizon * SECOND)))


def sessions(gap: float = 600) -> History:
    """Only sessions."""
    return History(sessions=SessionColumns(round(gap * SECOND)))


def activities() -> History:
    """Only activities."""
    return History(activities=ActivityColumns(role_of_description))


def usage(period: float = HOUR, hold: float = DAY, retention: float = 35 * DAY) -> History:
    """Only usage."""
    lengths = (round(length * SECOND) for length in (period, hold, retention))
    return History(usage=UsageColumns(role_of_description, *lengths))


def words(*values: int) -> Any:
    """An array of words."""
    return np.array(values, np.uint64)
