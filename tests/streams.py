"""Random small streams of events that sit on the edges of every rule, the same for the same seed.

`random_stream` gives the events in rule order, with repeats, ignored and unusable ones among them; `disorder` gives
them as they might arrive. `role_of` and `zone_of` are what the rules need to know about them.
"""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final
from zoneinfo import ZoneInfo

from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.records import Event, Value
from thingbeam.transforms.rules.order import payload_hash, rule_order
from thingbeam.transforms.rules.roles import Role, state_text

SECOND: Final = 1_000_000
HOUR: Final = 3600 * SECOND

HOMES: Final[dict[str, str]] = {
    "6c5f8d2e-2a3b-4c4d-8e5f-0a1b2c3d4e5f": "Europe/Paris",
    "home-lord-howe": "Australia/Lord_Howe",
    "f00dbabe-0000-4000-8000-00000000cafe": "Asia/Kathmandu",
    "home-são-paulo": "America/Sao_Paulo",
}
"""The zone of each home."""

STREAM_ROLES: Final[dict[tuple[str, str], Role]] = {
    ("switch", "switch"): Role("activity", start=frozenset({"on"}), stop=frozenset({"off"}), max_length_s=7200),
    ("washerOperatingState", "machineState"): Role(
        "activity", start=frozenset({"run"}), stop=frozenset({"stop"}), pause=frozenset({"pause"}), max_length_s=1800
    ),
    ("OnOff", "OnOff"): Role("activity", start=frozenset({"true"}), stop=frozenset({"false"})),
    ("powerMeter", "power"): Role("measurement"),
    ("temperatureMeasurement", "temperature"): Role("measurement"),
    ("energyMeter", "energy"): Role("meter"),
    ("powerConsumptionReport", "powerConsumption"): Role("meter", field="energy"),
    ("netMeter", "balance"): Role("total"),
    ("thermostatMode", "thermostatMode"): Role("state"),
    ("fanSpeed", "fanSpeed"): Role("state"),
    ("firmwareUpdate", "currentVersion"): Role("ignored"),
}
"""The role of each (capability, attribute) that the streams have."""

_NIGHTS: Final = (
    1_174_766_400,  # 2007-03-24T20:00Z: Lord Howe has gone back half an hour, Paris goes forward five hours later
    1_174_744_800,  # 2007-03-24T14:00Z: an hour before Lord Howe goes back half an hour
    1_193_518_800,  # 2007-10-27T21:00Z: Lord Howe has gone forward, Paris goes back four hours later
    1_193_497_200,  # 2007-10-27T15:00Z: half an hour before Lord Howe goes forward half an hour
    1_508_029_200,  # 2017-10-15T01:00Z: two hours before São Paulo skips midnight
    1_518_915_600,  # 2018-02-18T01:00Z: an hour before São Paulo has the hour before midnight twice
    1_400_000_123,  # an ordinary night
)


def role_of(event: Event) -> Role:
    """The role of an event's attribute; what the table does not have is ignored."""
    return STREAM_ROLES.get((event.capability, event.attribute), Role("ignored"))


def zone_name(home_id: str | None) -> str:
    """The name of a home's zone."""
    return HOMES.get(home_id or "", "UTC")


def zone_of(event: Event) -> ZoneInfo:
    """The zone of an event's home."""
    return ZoneInfo(zone_name(event.home_id))


@dataclass(frozen=True)
class Edges:
    """The lengths, in seconds, about which the times of the stream gather."""

    gap_s: float = 600
    horizon_s: float = 60
    hold_s: float = 86_400
    retention_s: float = 35 * 86_400


@dataclass
class _Thing:
    """A device: where it is, and what it last said."""

    device_id: str
    home_id: str | None
    attributes: list[tuple[str, str]]
    now: int
    levels: dict[tuple[str, str], float] = field(default_factory=dict)
    open: dict[tuple[str, tuple[str, str]], int] = field(default_factory=dict)
    """Of each activity that is open, by component and attribute, when it has its maximum length."""
    events: list[Event] = field(default_factory=list)


def random_stream(
    seed: int, *, devices: int = 4, events: int = 160, edges: Edges | None = None, long_silence: bool = True
) -> list[Event]:
    """A stream of events in rule order, the same for the same arguments.

    Args:
        seed: any integer.
        devices: how many devices say something; they share the homes of `HOMES`, and some have none.
        events: about how many events all devices say.
        edges: the lengths to gather about.
        long_silence: whether some devices fall silent for longer than `hold_s` and `retention_s`.
    """
    rng = random.Random(seed)
    lengths = edges or Edges()
    begin = rng.choice(_NIGHTS) * SECOND
    things = [_thing(rng, begin) for _ in range(devices)]
    for _ in range(events):
        thing = rng.choice(things)
        _wait(rng, thing, lengths, long_silence)
        _say(rng, thing, things, lengths)
    said = [event for thing in things for event in thing.events]
    for _ in range(events // 40):
        like = rng.choice(said)
        said.append(like._replace(event_id=_fresh_id(rng), device_id=None, kind="LOCATION_LIFECYCLE_EVENT"))
    return rule_order(said)


def disorder(events: Sequence[Event], rng: random.Random, slack_s: float, repeat: float = 0.05) -> list[Event]:
    """The events as they might arrive: each up to `slack_s` after its time, some of them twice.

    No event comes after one that is more than `slack_s` newer.

    Args:
        events: in any order.
        rng: what decides.
        slack_s: seconds.
        repeat: the share of events that come once more.
    """
    arrivals: list[tuple[float, int, Event]] = []
    for event in events:
        for _ in range(2 if rng.random() < repeat else 1):
            arrivals.append((event.event_time.micros + rng.uniform(0, slack_s * SECOND), len(arrivals), event))
    return [event for _, _, event in sorted(arrivals, key=lambda arrival: arrival[:2])]


def _thing(rng: random.Random, begin: int) -> _Thing:
    count = rng.randint(1, 5)
    return _Thing(
        device_id=_fresh_id(rng),
        home_id=rng.choice([*HOMES, *HOMES, None]),
        attributes=rng.sample(list(STREAM_ROLES), count),
        now=begin + rng.randrange(0, 3 * HOUR, SECOND // 2),
    )


def _wait(rng: random.Random, thing: _Thing, edges: Edges, long_silence: bool) -> None:
    """Move the device's time on, often to an edge or one microsecond beside it."""
    beside = rng.choice((-1, 0, 0, 1))
    hour = -(-thing.now // HOUR) * HOUR
    ahead = [limit for limit in thing.open.values() if thing.now < limit]
    waits: list[tuple[int, Callable[[], int]]] = [
        (16, lambda: 0),
        (25, lambda: rng.randrange(0, 120 * SECOND)),
        (20, lambda: rng.randrange(0, 2400) * SECOND),
        (8, lambda: round(edges.gap_s * SECOND) + beside),
        (6, lambda: round(edges.horizon_s * SECOND) + beside),
        (8, lambda: hour + beside - thing.now),
        (4, lambda: hour + rng.choice((15, 30, 45)) * 60 * SECOND - thing.now),
        (6, lambda: rng.choice(ahead) + beside - thing.now if ahead else 0),
        (4, lambda: rng.randrange(0, 8) * HOUR),
    ]
    if long_silence:
        long = rng.choice((edges.hold_s, edges.hold_s, edges.retention_s))
        waits += [
            (2, lambda: round(long * SECOND) + beside),
            (1, lambda: round(long * SECOND) + rng.choice((-1, 0, 1, 2)) * HOUR + hour - thing.now),
        ]
    [(_, wait)] = rng.choices(waits, [weight for weight, _ in waits])
    thing.now += max(0, wait())


def _say(rng: random.Random, thing: _Thing, things: list[_Thing], edges: Edges) -> None:
    """Add an event at the device's time, or a repeat of one that it or another device said."""
    event = _sign_of_life(rng, thing) if rng.random() < 0.04 else _attribute_event(rng, thing)
    others = [other for other in things if other.events]
    chance = rng.random()
    if thing.events and chance < 0.06:
        # An id again: at once, within the horizon or beyond it.
        event = event._replace(event_id=rng.choice(thing.events[-6:]).event_id)
    elif thing.events and chance < 0.09:
        # The id and the time again, with another payload or the very same.
        before = thing.events[-1]
        again = event._replace(event_id=before.event_id, event_time=before.event_time)
        event = before if payload_hash(again) == payload_hash(before) else again
    elif thing.events and chance < 0.11:
        # The same event at exactly the horizon, or a microsecond beside it.
        before = thing.events[-1]
        thing.now = max(thing.now, before.event_time.micros + round(edges.horizon_s * SECOND) + rng.choice((-1, 0, 1)))
        event = before._replace(event_time=Timestamp(micros=thing.now))
    elif others and chance < 0.13:
        event = event._replace(event_id=rng.choice(rng.choice(others).events).event_id)
    if any(_rivals(event, before) for before in thing.events):
        return
    thing.events.append(event)
    _remember(thing, event)


def _remember(thing: _Thing, event: Event) -> None:
    role, at = role_of(event), event.event_time.micros
    stream = (event.component, (event.capability, event.attribute))
    if state_text(event) in role.stop or thing.open.get(stream, at) < at:
        thing.open.pop(stream, None)
    if state_text(event) in role.start:
        thing.open.setdefault(stream, at + round(role.max_length_s * SECOND))


def _rivals(event: Event, before: Event) -> bool:
    """Whether two differ only in what no rule orders by, so that either could be the duplicate of the other."""
    return (
        (event.event_id, event.event_time) == (before.event_id, before.event_time)
        and payload_hash(event) == payload_hash(before)
        and event.last_reset != before.last_reset
    )


def _sign_of_life(rng: random.Random, thing: _Thing) -> Event:
    kind, value = rng.choice(
        (
            ("DEVICE_HEALTH_EVENT", "OFFLINE"),
            ("DEVICE_HEALTH_EVENT", "OFFLINE"),
            ("DEVICE_HEALTH_EVENT", "ONLINE"),
            ("DEVICE_HEALTH_EVENT", "UNHEALTHY"),
            ("DEVICE_LIFECYCLE_EVENT", "DELETE"),
            ("DEVICE_LIFECYCLE_EVENT", "UPDATE"),
            ("DEVICE_LIFECYCLE_EVENT", "OFFLINE"),
        )
    )
    return _event(rng, thing, "", "", value, kind=kind)


def _attribute_event(rng: random.Random, thing: _Thing) -> Event:
    due = [stream for stream, limit in thing.open.items() if abs(limit - thing.now) <= 1]
    if due and rng.random() < 0.7:
        component, key = rng.choice(due)
        value: Value = rng.choice([*sorted(STREAM_ROLES[key].stop), *sorted(STREAM_ROLES[key].start)])
        return _event(rng, thing, *key, value == "true" if key[0] == "OnOff" else value, component=component)
    capability, attribute = key = rng.choice(thing.attributes)
    kind = rng.choices(("DEVICE_EVENT", "MATTER_ATTRIBUTE", "MATTER_EVENT", "DEVICE_COMMANDS_EVENT"), (90, 5, 3, 2))[0]
    value = _VALUES[STREAM_ROLES[key].role](rng, thing, key)
    resets = (None, None, Timestamp(1_170_000_000), Timestamp(1_170_086_400))
    return _event(
        rng,
        thing,
        capability,
        attribute,
        value,
        kind=kind,
        component=rng.choices(("main", "rack-2"), (9, 1))[0],
        unit=rng.choices((None, "W", "kWh"), (6, 2, 2))[0],
        last_reset=rng.choice(resets) if STREAM_ROLES[key].role == "total" else None,
    )


def _event(
    rng: random.Random,
    thing: _Thing,
    capability: str,
    attribute: str,
    value: Value,
    *,
    kind: str = "DEVICE_EVENT",
    component: str = "main",
    unit: str | None = None,
    last_reset: Timestamp | None = None,
) -> Event:
    return Event.of(
        _fresh_id(rng),
        Timestamp(micros=thing.now),
        thing.device_id,
        capability,
        attribute,
        value,
        kind=kind,
        component=component,
        unit=unit,
        state_change=rng.choice((None, True, False)),
        home_id=thing.home_id,
        last_reset=last_reset,
    )


def _pick(rng: random.Random, *values: Value) -> Value:
    return rng.choice(values)


def _fresh_id(rng: random.Random) -> str:
    unique = uuid.UUID(int=rng.getrandbits(128), version=4)
    return rng.choices((str(unique), f"évt-{unique.int % 10**9}", str(unique).upper()), (8, 2, 1))[0]


_Key = tuple[str, str]


def _activity(rng: random.Random, thing: _Thing, key: _Key) -> Value:
    role = STREAM_ROLES[key]
    if rng.random() < 0.04:
        return _pick(rng, None, "unknown", {"on": True}, 1.0)
    value = rng.choice([*sorted(role.start), *sorted(role.stop), *sorted(role.pause)])
    return value == "true" if key == ("OnOff", "OnOff") and rng.random() < 0.9 else value


def _measurement(rng: random.Random, thing: _Thing, key: _Key) -> Value:
    if rng.random() < 0.1:
        return _pick(rng, math.nan, math.inf, -math.inf, "21.5", None, True, [1.0], {"power": 3.0})
    return _pick(rng, 0.0, -0.0, rng.uniform(-20, 40), rng.uniform(0, 4000), float(rng.randint(-3, 3)), 1e15)


def _meter(rng: random.Random, thing: _Thing, key: _Key) -> Value:
    level = thing.levels.get(key, 1000.0)
    threshold = 0.9 * level
    level = rng.choice(
        (
            level + rng.uniform(0, 5),
            level + rng.uniform(0, 5),
            level + rng.randint(0, 10),
            level,
            threshold,
            math.nextafter(threshold, -math.inf),
            math.nextafter(threshold, math.inf),
            0.97 * level,
            0.5 * level,
            0.0,
        )
    )
    if rng.random() < 0.1:
        return _pick(rng, -5.0, math.nan, "12", None, False)
    thing.levels[key] = max(level, 0.0)
    if STREAM_ROLES[key].field is not None and rng.random() < 0.9:
        return _pick(rng, {"energy": level, "power": 3}, {"energy": level}, {"power": 3}, {"energy": "12"}, [level])
    return level


def _total(rng: random.Random, thing: _Thing, key: _Key) -> Value:
    if rng.random() < 0.08:
        return _pick(rng, math.nan, "12", None, True)
    level = thing.levels.get(key, 0.0) + rng.uniform(-50, 50)
    thing.levels[key] = level
    return _pick(rng, level, float(round(level)), 0.0)


def _state(rng: random.Random, thing: _Thing, key: _Key) -> Value:
    if key[0] == "fanSpeed":
        return _pick(rng, 0.0, -0.0, 1.0, 0.5, 1e22, math.nan, None, [1], True, "1")
    return _pick(rng, "heat", "cool", "heat", "aus–ß", "", True, False, None, {"mode": "heat"})


def _version(rng: random.Random, thing: _Thing, key: _Key) -> Value:
    return f"1.{rng.randint(0, 3)}"


_VALUES: Final[dict[str, Callable[[random.Random, _Thing, _Key], Value]]] = {
    "activity": _activity,
    "measurement": _measurement,
    "meter": _meter,
    "total": _total,
    "state": _state,
    "ignored": _version,
}
