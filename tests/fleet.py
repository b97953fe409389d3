"""A small fleet's events on their way through Kafka, and what they must come to.

Hours of event time go through in a minute or two, so that sessions, activities and hours are open whenever something is
killed. Event times are long past: a stream of them ends with a sentinel in each partition, three days on, by which all
that the fleet did is final. What it must come to is the bounded job's answer to the same payloads, on DirectRunner.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import confluent_kafka
from apache_beam.utils.timestamp import Timestamp
from confluent_kafka import TopicPartition

from pipelines_under_test import Given, run
from thingbeam.schemas import Blob
from thingbeam.transforms import DeviceHistory, ParseEvents

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
BEGIN: Final = round(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * SECOND
DISORDER_S: Final = 30.0
"""How much older than the newest one of its partition an event may be."""
KINDS: Final = ("activities", "sessions", "usage")
_SENTINEL: Final = "00000000-0000-4000-8000-"
_SPEAKS: Final[tuple[tuple[str, str, Sequence[str] | None], ...]] = (
    ("switch", "switch", ("on", "off")),
    ("contactSensor", "contact", ("open", "closed")),
    ("washerOperatingState", "machineState", ("run", "pause", "stop")),
    ("powerMeter", "power", None),
    ("temperatureMeasurement", "temperature", None),
    ("energyMeter", "energy", None),
)


def payloads(count: int, seed: int = 7, devices: int = 60, hours: float = 12.0) -> list[bytes]:
    """Events as SmartThings sends them, as they arrive: out of order, 2 % twice, 0.1 % unreadable."""
    assert hours <= 36, "the sentinels come three days on; an activity that nothing ends lasts for a day"
    return list(stream(count, seed, devices, hours))


def stream(count: int, seed: int = 7, devices: int = 60, hours: float = 12.0) -> Iterator[bytes]:
    """The same one by one, for more of them than memory holds."""
    chance = random.Random(seed)
    fleet = [
        (str(uuid.UUID(int=chance.getrandbits(128), version=4)), _SPEAKS[n % len(_SPEAKS)]) for n in range(devices)
    ]
    last = b""
    for number in range(count):
        roll = chance.random()
        if not (last and roll < 0.02):
            last = _payload(number, roll, number / count * hours * 3600, fleet, chance)
        yield last


def _payload(number: int, roll: float, seconds: float, fleet: Sequence[Any], chance: random.Random) -> bytes:
    if roll < 0.021:
        return b'{"eventTime": "unreadable %d' % number
    at = BEGIN + round((seconds - chance.random() * DISORDER_S) * SECOND)
    device, (capability, attribute, values) = chance.choice(fleet)
    value = chance.choice(values) if values else round(number / 10 + chance.random(), 2)
    return _event(device, at // 1000, capability, attribute, value, chance)


def sentinels(partitions: int, days: float = 3.0) -> list[bytes]:
    """One event for each partition, days after the fleet began, of devices that are nobody's."""
    at, chance = (BEGIN + round(days * DAY)) // 1000, random.Random(0)
    return [_event(f"{_SENTINEL}{n:012d}", at, "switch", "switch", "on", chance) for n in range(partitions)]


def _event(device: str, millis: int, capability: str, attribute: str, value: object, chance: random.Random) -> bytes:
    said = {
        "eventTime": millis,
        "eventType": "DEVICE_EVENT",
        "deviceEvent": {
            "eventId": str(uuid.UUID(int=chance.getrandbits(128), version=4)), "deviceId": device,
            "locationId": "6c5f8d2e-2a3b-4c4d-8e5f-0a1b2c3d4e5f", "componentId": "main", "capability": capability,
            "attribute": attribute, "value": value, "stateChange": True,
        },
    }  # fmt: skip
    return json.dumps(said, separators=(",", ":")).encode()


def key_of(kind: str, row: dict[str, Any]) -> str:
    """What identifies a result, as its message's key."""
    names = {
        "sessions": ("device_id", "start"),
        "activities": ("device_id", "component", "capability", "start"),
        "usage": ("device_id", "component", "capability", "attribute", "role", "period", "start"),
    }[kind]
    return json.dumps([kind, *(row[name] for name in names)])


def plain(row: Any) -> dict[str, Any]:
    """A record as JSON can hold it, the same for every engine."""
    return {name: value.micros if isinstance(value, Timestamp) else value for name, value in row._asdict().items()}


Rows = dict[str, dict[str, Any]]


def truth(events: Sequence[bytes], history: DeviceHistory) -> Rows:
    """By key, what the bounded job gives for the payloads, values held to the end."""
    data = b"".join(payload + b"\n" for payload in events)

    def build(pipeline: Any) -> dict[str, Any]:
        parsed = pipeline | Given([Blob("events", 0, data)], Blob) | ParseEvents(batches=True)
        return (parsed.events | history)._asdict() | {"unparsed": parsed.dead_letters}

    ran = run(build)
    rows = {kind: [plain(row) for row in ran.records(kind)] for kind in KINDS}
    found = {key_of(kind, row): row for kind in KINDS for row in rows[kind]}
    assert len(found) == sum(map(len, rows.values()))
    return found


@dataclass
class Sink:
    """What a sink that keeps the newest of each key holds, and what came by on the way."""

    rows: Rows = field(default_factory=dict)
    """Tombstones too."""
    seen: int = 0
    provisional: int = 0
    tombstones: int = 0
    went_back: int = 0
    """Final rows that a newer row that is not final replaced."""

    def take(self, key: str, row: dict[str, Any]) -> None:
        """One more row, in any order."""
        self.seen += 1
        self.provisional += not row["final"]
        self.tombstones += row["deleted"]
        held = self.rows.get(key)
        if held is None or row["revision"] >= held["revision"]:
            self.went_back += held is not None and held["final"] and not row["final"] and not held["deleted"]
            self.rows[key] = row

    @property
    def final(self) -> Rows:
        """What is there for a reader in the end, the sentinels' apart."""
        held = {key: row for key, row in self.rows.items() if not row["deleted"]}
        return {key: row for key, row in held.items() if not row["device_id"].startswith(_SENTINEL)}


def assert_exact(found: Rows, expected: Rows) -> None:
    """Keys and values are the same, but for revisions and the last digits of floating point."""
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    provisional = [key for key, row in found.items() if not row["final"]]
    assert not missing, f"{len(missing)} missing, as {sorted(missing)[:3]}"
    assert not extra, f"{len(extra)} too many, as {[found[key] for key in sorted(extra)[:3]]}"
    assert not provisional, f"{len(provisional)} stay provisional, as {provisional[:3]}"
    for key, row in expected.items():
        ours = dict(found[key], revision=row["revision"])
        for name, value in row.items():
            if isinstance(value, float):
                assert abs(ours[name] - value) <= 1e-6 + 1e-9 * abs(value), (key, name, ours[name], value)
            elif name == "seconds_in_state":
                told = {state: seconds for state, seconds in value.items() if seconds}
                assert ours[name].keys() == told.keys() or ours[name].keys() == value.keys(), (key, ours[name], value)
                assert all(abs(ours[name][state] - seconds) < 1e-6 for state, seconds in told.items()), (key, value)
            else:
                assert ours[name] == value, (key, name, ours[name], value)


class Feeder:
    """Writes payloads round the partitions of a topic in a thread, as far as it may; until acknowledged, tried on.

    Args:
        servers: of Kafka.
        topic: where to.
        partitions: how many it has.
        events: the payloads.
        rate: of a second.
        most: how many may be written, until `release` says more.
    """

    def __init__(
        self, servers: str, topic: str, partitions: int, events: Sequence[bytes], rate: float, most: int | None = None
    ) -> None:
        self.may = len(events) if most is None else most
        """How many may be written so far."""
        self._partitions = partitions
        self._topic = topic
        self._events = events
        self._rate = rate
        self.sent = 0
        self.counts = [0] * partitions
        self._producer = confluent_kafka.Producer(
            {"bootstrap.servers": servers, "enable.idempotence": True, "linger.ms": 20, "log_level": 0,
             "message.timeout.ms": 300_000, "queue.buffering.max.messages": 1_100_000}
        )  # fmt: skip
        self._failed: list[object] = []
        self._ending = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Feeder:
        """Begins."""
        self._thread.start()
        return self

    def __enter__(self) -> Feeder:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self._thread.join(30)

    def release(self, more: int) -> None:
        """So many more may be written."""
        self.may += more

    def finish(self, seconds: float = 600.0) -> None:
        """All may be written; waits until all is acknowledged."""
        self.may = len(self._events)
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        assert self._producer.flush(60) == 0
        assert not self._failed, self._failed[:3]

    def _run(self) -> None:
        began, millis = time.monotonic(), BEGIN // 1000
        for number, event in enumerate(self._events):
            while number >= self.may and not self._ending:
                self._producer.poll(0.05)
                began = time.monotonic() - number / self._rate
            if self._ending:
                return
            # What cannot be read has the time of its record: as old as the events around it.
            millis = int(event[13:26]) if event[13:26].isdigit() else millis
            self._producer.produce(
                self._topic, event, partition=number % self._partitions, timestamp=millis, on_delivery=self._told
            )
            self.counts[number % self._partitions] += 1
            self.sent += 1
            if not number % 100:
                self._producer.poll(0)
                ahead = number / self._rate - (time.monotonic() - began)
                if ahead > 0:
                    time.sleep(ahead)
        self._producer.flush(300)

    def _told(self, error: object, _: object) -> None:
        if error is not None:
            self._failed.append(error)


class Tail:
    """Reads a topic from its beginning, on and on, whatever happens to its broker."""

    def __init__(self, servers: str, topic: str, partitions: int) -> None:
        self._consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": servers, "group.id": uuid.uuid4().hex, "enable.auto.commit": False, "log_level": 0,
             "reconnect.backoff.max.ms": 500}
        )  # fmt: skip
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])

    def read(self, seconds: float = 0.0) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values that have come since the last call; at least so long is waited for the first."""
        until = time.monotonic() + seconds
        while True:
            messages = self._consumer.consume(2000, 0.2)
            good = [message for message in messages if message.error() is None]
            if not good and time.monotonic() >= until:
                return
            yield from ((message.key() or b"", message.value() or b"") for message in good)

    def close(self) -> None:
        """Ends."""
        self._consumer.close()


def round_the_partitions(events: Sequence[bytes], partitions: int) -> list[bytes]:
    """Events and then a sentinel in each partition, for a Feeder that goes round them."""
    events = list(events)
    # The sentinels must not all go to the first partitions: fill up to a whole round.
    filler = [b'{"eventTime": "unreadable filler %d' % n for n in range(-len(events) % partitions)]
    return list(itertools.chain(events, filler, sentinels(partitions)))
