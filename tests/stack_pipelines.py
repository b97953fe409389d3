"""Pipelines for the stack's tests, in a module that workers in other processes can import."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from fleet import BEGIN, DAY, key_of, plain
from thingbeam.io.kafka import JsonTime, ReadFromKafka, WriteToKafka
from thingbeam.schemas import Activity, Session, Usage, from_record_batch
from thingbeam.transforms import DeviceHistory, HomeZones, ParseEvents

KEYS = 4
FLOODED = 500


class CountInState(beam.DoFn):
    """The n-th element of a key gets the number n, from state."""

    COUNT = ReadModifyWriteStateSpec("count", VarIntCoder())

    def process(self, element: tuple[str, int], count: Any = beam.DoFn.StateParam(COUNT)) -> Iterator[str]:
        number = (count.read() or 0) + 1
        count.write(number)
        yield f"{element[0]} {element[1]} {number} {os.getpid()} {time.time()}"


class Append(beam.DoFn):
    """Lines to a file; each comes at least once."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, line: str) -> None:
        with Path(self._path).open("a") as file:
            file.write(line + "\n")


def keyed(at: Timestamp, start: float, interval: float) -> tuple[str, int]:
    """The number of an impulse, by its key."""
    number = round((float(at) - start) / interval)
    return str(number % KEYS), number


def counted_impulses(
    pipeline: beam.Pipeline, start: float, count: int, interval: float, path: str, *, release: int = 1
) -> None:
    """Numbers one after the other in real time, counted by key in state: `key number count worker time` per line.

    A second release has one step more, behind what keeps state.
    """
    stop = Timestamp(start + (count - 0.5) * interval)
    impulses = pipeline | "Impulses" >> PeriodicImpulse(Timestamp(start), stop, interval, apply_windowing=False)
    numbers = impulses | "Key" >> beam.Map(
        lambda _, at=beam.DoFn.TimestampParam: keyed(at, start, interval)
    ).with_output_types(tuple[str, int])
    lines = numbers | "Count" >> beam.ParDo(CountInState())
    if release > 1:
        lines |= "Strip" >> beam.Map(str.strip)
    _ = lines | "Append" >> beam.ParDo(Append(path))


class Worked(beam.DoFn):
    """Says which process a step works in: `step process`."""

    def __init__(self, step: str, path: str) -> None:
        self._step, self._path = step, path

    def process(self, grouped: tuple[int, Any]) -> Iterator[tuple[int, int]]:
        with Path(self._path).open("a") as file:
            file.write(f"{self._step} {os.getpid()}\n")
        yield grouped[0], 0


def steps_that_are_shuffled(pipeline: beam.Pipeline, path: str) -> None:
    """Three steps with a shuffle before each, of many keys."""
    numbers = pipeline | beam.Create([(number, 0) for number in range(400)]).with_output_types(tuple[int, int])
    for step in ("first", "second", "third"):
        grouped = numbers | f"Group {step}" >> beam.GroupByKey()
        numbers = grouped | step >> beam.ParDo(Worked(step, path)).with_output_types(tuple[int, int])


class Acknowledge(beam.DoFn):
    """As a source does: says of each number, once its bundle is finalised, what had come out of the job by then."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(
        self, numbered: tuple[str, int], finalizer: Any = beam.DoFn.BundleFinalizerParam
    ) -> Iterator[tuple[str, int]]:
        finalizer.register(lambda: self._acknowledge(numbered[1]))
        yield numbered

    def _acknowledge(self, number: int) -> None:
        written = Path(self._path)
        lines = written.read_text().splitlines() if written.exists() else []
        out = any(int(line.split()[1]) == number for line in lines)
        with written.with_name("acknowledged").open("a") as file:
            file.write(f"{number} {'out' if out else 'ahead'} {len(lines)}\n")


class Behind(beam.DoFn):
    """Is seconds behind what it is given from the first element on, so that checkpoints take as long."""

    def process(self, line: str) -> Iterator[str]:
        time.sleep(1 if line.split()[1] == "0" else 0.04)
        yield line


def acknowledged_impulses(pipeline: beam.Pipeline, start: float, count: int, interval: float, path: str) -> None:
    """Numbers one after the other in real time, written a while later."""
    stop = Timestamp(start + (count - 0.5) * interval)
    impulses = pipeline | "Impulses" >> PeriodicImpulse(Timestamp(start), stop, interval, apply_windowing=False)
    numbers = impulses | "Key" >> beam.Map(
        lambda _, at=beam.DoFn.TimestampParam: keyed(at, start, interval)
    ).with_output_types(tuple[str, int])
    taken = numbers | "Acknowledge" >> beam.ParDo(Acknowledge(path)).with_output_types(tuple[str, int])
    counted = taken | "Count" >> beam.ParDo(CountInState())
    _ = counted | "Behind" >> beam.ParDo(Behind()) | "Append" >> beam.ParDo(Append(path))


class Flood(beam.DoFn):
    """Many long elements at once, by key."""

    def __init__(self, count: int, size: int) -> None:
        self._count, self._size = count, size

    def process(self, _: object) -> Iterator[tuple[int, bytes]]:
        for number in range(self._count):
            yield number % FLOODED, bytes(self._size)


def _later() -> Timestamp:
    """Some time in the next bundles, so that timers fire amid their elements."""
    return Timestamp(time.time() + random.uniform(1, 3))


class TickingCount(beam.DoFn):
    """Counts the elements of a key, slowly, while a timer of each key fires again and again."""

    COUNT = ReadModifyWriteStateSpec("count", VarIntCoder())
    TICK = TimerSpec("tick", TimeDomain.REAL_TIME)

    def __init__(self, each: int) -> None:
        self._each = each

    def process(
        self,
        element: tuple[int, bytes],
        count: Any = beam.DoFn.StateParam(COUNT),
        tick: Any = beam.DoFn.TimerParam(TICK),
    ) -> Iterator[str]:
        number = (count.read() or 0) + 1
        count.write(number)
        time.sleep(0.005)
        tick.set(_later())
        yield f"{element[0]} {number}"

    @on_timer(TICK)
    def ticked(self, count: Any = beam.DoFn.StateParam(COUNT), tick: Any = beam.DoFn.TimerParam(TICK)) -> None:
        """Come again, until all elements have."""
        if count.read() < self._each:
            tick.set(_later())


def flooded_timers(pipeline: beam.Pipeline, each: int, size: int, path: str) -> None:
    """Elements faster than they are worked on, of some keys, each with a timer: `key count` per line."""
    flood = beam.ParDo(Flood(each * FLOODED, size)).with_output_types(tuple[int, bytes])
    counts = pipeline | beam.Impulse() | "Flood" >> flood | "Count" >> beam.ParDo(TickingCount(each))
    _ = counts | "Append" >> beam.ParDo(Append(path))


def refuse(_: object) -> None:
    """Fails."""
    raise ValueError("this element is not for me")


class Told(beam.DoFn):
    """Which offsets were worked on: `PARTITION FIRST LAST` for a sink that is in the source's own stage."""

    def process(self, batch: Any) -> Iterator[tuple[bytes, bytes]]:
        number = batch.part.partition("=")[2]
        yield b"seen", f"{number} {batch.positions[0]} {batch.positions[-1]}".encode()


class ToMessages(beam.DoFn):
    """Results to messages by key, of (name, RecordBatch)."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def process(self, named: tuple[str, Any]) -> Iterator[tuple[bytes, bytes]]:
        record = {"activities": Activity, "sessions": Session, "usage": Usage}[self._kind]
        for row in from_record_batch(named[1], record):
            held = plain(row)
            yield key_of(self._kind, held).encode(), json.dumps(held).encode()


def fleet_history(provisional: str | None = None) -> DeviceHistory:
    """The rules of the fleet's job."""
    return DeviceHistory(
        zones=HomeZones("Europe/Paris"), batches=True, session_gap="5m", shards=12, provisional=provisional,
        slice_length="5m", hold_until=BEGIN + 40 * DAY,
    )  # fmt: skip


def fleet_job(
    pipeline: beam.Pipeline,
    servers: str,
    topic: str,
    group: str,
    results: str,
    seen: str,
    provisional: str | None = None,
    **source: Any,
) -> None:
    """Kafka -> parse -> DeviceHistory -> Kafka, for ever.

    Args:
        pipeline: to build it in.
        servers: of Kafka.
        topic: of events.
        group: in which offsets are committed.
        results: the topic of results, by key.
        seen: the topic that says which offsets were worked on, which were late and which dead.
        provisional: how often provisional results are given.
        source: what else ReadFromKafka is told.
    """
    how = {"event_time": JsonTime("eventTime"), "out_of_orderness": "60s", "idle_after": "1d", "discover_every": "5s"}
    batches = pipeline | "Read" >> ReadFromKafka(servers, topic, group=group, batches=True, **(how | source))
    parsed = batches | "Parse" >> ParseEvents(batches=True)
    history = parsed.events | "History" >> fleet_history(provisional)
    for kind in ("activities", "sessions", "usage"):
        messages = getattr(history, kind) | f"Messages {kind}" >> beam.ParDo(ToMessages(kind))
        messages | f"Write {kind}" >> WriteToKafka(servers, results)
    told = (
        batches | "Told" >> beam.ParDo(Told()),
        history.late | "Late" >> beam.MapTuple(lambda name, batch: (b"late", f"{name} {len(batch)}".encode())),
        parsed.dead_letters | "Dead" >> beam.Map(lambda letter: (b"dead", letter.position.encode())),
    )
    for number, messages in enumerate(told):
        messages | f"Tell {number}" >> WriteToKafka(servers, seen)
