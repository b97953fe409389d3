"""The pipelines that every engine is tried with, in a module that workers in other processes can import."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from streams import disorder, random_stream
from thingbeam.io import ReadBlobs
from thingbeam.io.kafka import ReadFromKafka
from thingbeam.schemas import Event
from thingbeam.transforms import Activities, Deduplicate, DeviceHistory, ParseEvents, Sessions, UsageByHour

SECOND: Final = 1_000_000
TICK: Final = 0.25
TICKS: Final = 40
LATE_TICK: Final = 33
"""The one whose event is older than anything that waits."""
GAP: Final = "2s"


class Note(beam.DoFn):
    """Results to a file, one JSON object a line; where a bundle is tried again they come again."""

    def __init__(self, path: str, kind: str) -> None:
        self._path, self._kind = path, kind

    def process(self, row: Any) -> None:
        fields = row._asdict() if hasattr(row, "_asdict") else {"value": row}
        plain = {name: value.micros if isinstance(value, Timestamp) else value for name, value in fields.items()}
        with Path(self._path).open("a") as file:
            file.write(json.dumps([self._kind, plain], default=str) + "\n")


def noted(path: Path) -> dict[str, list[dict[str, Any]]]:
    """What was written, by kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        kind, row = json.loads(line)
        found.setdefault(kind, []).append(row)
    return found


def bounded_events() -> list[Event]:
    """Random events on the edges of the rules, disordered and repeated; of no home and known capabilities."""
    chance = random.Random(3)
    known = {"switch", "powerMeter", "temperatureMeasurement", "energyMeter", "thermostatMode"}
    events = [event._replace(home_id=None) for event in random_stream(3, events=400, long_silence=False)]
    return disorder([event for event in events if event.capability in known], chance, 600)


def write_lines(path: Path) -> None:
    """A file of SmartThings' messages, with one line that is none."""
    chance = random.Random(4)
    lines = ["no JSON"]
    for number in range(300):
        said = {
            "eventTime": 1_175_378_400_000 + number * 20_000 + chance.randint(-60_000, 60_000),
            "eventType": "DEVICE_EVENT",
            "deviceEvent": {
                "eventId": f"e{number}", "deviceId": f"d{number % 5}", "capability": "switch", "attribute": "switch",
                "value": chance.choice(["on", "off"]), "stateChange": True,
            },
        }  # fmt: skip
        lines.append(json.dumps(said))
    path.write_text("\n".join(lines) + "\n")


def files(pipeline: beam.Pipeline, source: str, path: str) -> None:
    """Files through parsing and the main transform."""
    _note_history((pipeline | ReadBlobs([source])).blobs, path)


def topic(pipeline: beam.Pipeline, servers: str, name: str, path: str) -> None:
    """What is in a topic, batch by batch, through the same."""
    _note_history(pipeline | ReadFromKafka(servers, name, stop="latest", batches=True), path)


def _note_history(read: Any, path: str) -> None:
    parsed = read | ParseEvents(batches=True)
    history = parsed.events | DeviceHistory(session_gap="10m")
    for kind in ("activities", "sessions", "usage"):
        _ = getattr(history, kind) | f"Note {kind}" >> beam.ParDo(Note(path, kind))
    _ = parsed.dead_letters | beam.Map(lambda letter: letter.code) | beam.ParDo(Note(path, "dead"))


def transform(pipeline: beam.Pipeline, name: str, path: str) -> None:
    """Events, one at a time, through one transform."""
    made: dict[str, Callable[[], Any]] = {
        "sessions": lambda: Sessions(gap="10m"),
        "activities": Activities,
        "usage": UsageByHour,
        "deduplicate": lambda: Deduplicate(horizon="2m"),
    }
    events = pipeline | beam.Create(bounded_events())
    found = events | name >> made[name]()
    _ = found.results | beam.ParDo(Note(path, name))


def tick_event(number: int, start: float) -> Event | None:
    """What the n-th tick brings: runs of two devices' events, repeats, a pair the wrong way round, one that is late."""
    base = round(start * SECOND)
    if number == LATE_TICK:
        return Event.of("late", Timestamp(micros=base - 3600 * SECOND), "d0", "switch", "switch", "on")
    # A silence of 10 ticks (2.5 s) ends a session of a gap of 2 s; number 16 of device 0 arrives after number 18.
    if 20 <= number < 30:
        return None
    swapped = {16: 18, 18: 16}.get(number, number)
    number = number - 1 if number % 7 == 5 else swapped
    at = base + round(number * TICK * SECOND)
    value = "on" if number % 4 < 2 else "off"
    return Event.of(f"e{number}", Timestamp(micros=at), f"d{number % 2}", "switch", "switch", value)


class Tick(beam.DoFn):
    """The event of an impulse."""

    def __init__(self, start: float) -> None:
        self._start = start

    def process(self, _: Any, at: Any = beam.DoFn.TimestampParam) -> Iterator[Any]:
        event = tick_event(round((float(at) - self._start) / TICK), self._start)
        if event is not None:
            yield TimestampedValue(event, at)


def stream(pipeline: beam.Pipeline, start: float, provisional: str | None, path: str) -> None:
    """Events in real time through the main transform: state, timers, sessions that end, repeats, what is late."""
    stop = Timestamp(start + (TICKS - 0.5) * TICK)
    impulses = pipeline | PeriodicImpulse(Timestamp(start), stop, TICK, apply_windowing=False)
    events = impulses | beam.ParDo(Tick(start)).with_output_types(Event)
    history = events | DeviceHistory(
        session_gap=GAP, allowed_lateness="2s", slice_length="1s", provisional=provisional, shards=4, horizon="60s"
    )
    for kind in ("activities", "sessions", "usage", "late"):
        _ = getattr(history, kind) | f"Note {kind}" >> beam.ParDo(Note(path, kind))
