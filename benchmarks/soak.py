"""Whether memory, state and lag stay as they are while a stream goes on and on.

    scripts/bench soak [--minutes 60] [--rate 1000] [--speed 60] [--output FOLDER]

A broker and a Flink cluster with Python workers as processes run the job of tests/stack_pipelines.py: Kafka, parsing,
`DeviceHistory`, Kafka, a checkpoint each second. Events of a fleet come evenly by the clock while their own time goes
`speed` times as fast, so that hours, sessions, activities, what is remembered against repeats, and timers come and go
many times over. Every few seconds all processes are looked at. In the end the newest row of each key must be what
DirectRunner makes of the same payloads, nothing late, nothing lost.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from processes import ROOT, end_cleanly
from rich.console import Console
from rich.table import Table
from samples import Memory, Samples, Trend

from thingbeam.runners.stack import Stack, running
from thingbeam.runners.stack.components.flink import Flink
from thingbeam.runners.stack.components.kafka import Kafka
from thingbeam.runners.stack.flink_cluster import FlinkCluster, beam_options, boot_script

sys.path.append(str(ROOT / "tests"))
from fleet import Feeder, Sink, Tail, assert_exact, sentinels, stream, truth
from kafka_running import committed
from stack_pipelines import fleet_history, fleet_job

PARTITIONS = 8
_EVENT_EVERY_S = 75.0
"""Of event time, between a device's events: longer silences than the sessions' gap of 5 minutes come by."""
_AFTER_H = 30.0
"""Of event time, from the last event to the sentinels: values are held for 24 h."""
_PARTS = 8
GROWING = ("sent, count", "checkpoints, count")
"""Series that are to grow."""
_PATIENCE_S = 300.0
_QUIET_S = 10.0
_DEVICE = re.compile(rb'"deviceId":"([^"]+)"')


class Plan(NamedTuple):
    """What a soak is."""

    minutes: float
    """For which events come, by the clock."""
    rate: float
    """Events a second, by the clock."""
    speed: float
    """Seconds of event time in one of the clock."""
    every: float = 5.0
    """Seconds between looks."""
    collections: int = 48
    """How often the TaskManagers' garbage is collected to see what is in use."""
    warm: float = 0.2
    """Share of the time that is warm-up: imports, pools, arenas, the first hours of state."""

    @property
    def count(self) -> int:
        """How many events."""
        return round(self.minutes * 60 * self.rate / PARTITIONS) * PARTITIONS

    @property
    def hours(self) -> float:
        """Of event time."""
        return self.minutes / 60 * self.speed

    @property
    def devices(self) -> int:
        """So many that a device has an event every so often."""
        return max(60, round(self.rate / self.speed * _EVENT_EVERY_S))


class Soaked(NamedTuple):
    """What came of it."""

    plan: Plan
    trends: list[Trend]
    series: dict[str, list[tuple[float, float]]]
    lag: int
    """Records that were not yet committed when the last event was sent."""
    behind: float
    """Seconds from then until all were."""
    restarts: int
    rows: int
    """Distinct results, every one as DirectRunner has it."""

    def trend(self, series: str) -> Trend:
        """That of one series."""
        return next(trend for trend in self.trends if trend.series == series)


class Events(Sequence[bytes]):
    """A fleet's payloads and the sentinels, made while they are sent, and kept in files by device for the truth."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.parts = [folder / f"part-{number}" for number in range(_PARTS)]
        self._plan = plan
        self._last = sentinels(PARTITIONS, (plan.hours + _AFTER_H) / 24)

    def __len__(self) -> int:
        return self._plan.count + len(self._last)

    def __getitem__(self, index: Any) -> Any:
        raise TypeError("events come one after the other")

    def __iter__(self) -> Iterator[bytes]:
        files: list[IO[bytes]] = [path.open("wb") for path in self.parts]
        for payload in stream(self._plan.count, devices=self._plan.devices, hours=self._plan.hours):
            named = _DEVICE.search(payload)
            files[part_of(named[1]) if named else 0].write(payload + b"\n")
            yield payload
        for file in files:
            file.close()
        yield from self._last


def part_of(device: bytes) -> int:
    """Which file has a device's events."""
    return zlib.crc32(device) % _PARTS


class Soak:
    """The job and its topics on servers that run.

    Args:
        plan: what is done.
        flink: a stack with a cluster `flink`.
        kafka: a stack with a broker `kafka`.
        folder: where samples go, and what is in the TaskManagers' heaps early and late.
        build: of the pipeline, as `fleet_job`.
    """

    def __init__(
        self, plan: Plan, flink: Stack, kafka: Stack, folder: Path, build: Callable[..., None] = fleet_job
    ) -> None:
        self.plan, self.folder = plan, folder
        self.cluster = FlinkCluster(flink.uri("flink/jobmanager"))
        self.memory = Memory(flink)
        self._flink, self._build = flink, build
        self._servers = kafka.uri("kafka").partition("://")[2]
        mark = uuid.uuid4().hex[:8]
        self._topic, self._results, self._seen = (f"{name}-{mark}" for name in ("events", "results", "seen"))
        broker = kafka.component("kafka")
        assert isinstance(broker, Kafka)
        for name, partitions in ((self._topic, PARTITIONS), (self._results, 2), (self._seen, 1)):
            broker.make_topic(kafka.place("kafka"), name, partitions)
        self._job = ""

    def run(self) -> Soaked:
        """All of it.

        Raises:
            AssertionError: results are not exact.
            StackError: the job is over before its time.
        """
        self._submit()
        try:
            with tempfile.TemporaryDirectory() as place:
                return self._soak(Events(self.plan, Path(place)))
        finally:
            self.cluster.cancel(self._job)

    def _soak(self, events: Events) -> Soaked:
        samples = Samples(self.folder / "samples.csv")
        with Feeder(self._servers, self._topic, PARTITIONS, events, self.plan.rate, self.plan.count) as feeder:
            self._watch(samples, feeder)
            lag, clock = feeder.sent - self._committed(), time.monotonic()
            self._wait_for("all events", lambda: self._committed() >= self.plan.count)
            behind = time.monotonic() - clock
            feeder.finish()
            self._wait_for("all committed", lambda: self._committed() >= sum(feeder.counts))
            rows = self._check(events)
        restarts = self.memory.restarts(self._job)
        warm = self.plan.warm * self.plan.minutes * 60
        return Soaked(self.plan, samples.trends(warm), samples.series(), lag, behind, restarts, rows)

    def _submit(self) -> None:
        name = f"soak-{self._topic}"
        options = beam_options(
            self._flink.uri("flink/jobserver"), environment="PROCESS", boot=boot_script(self._flink.place("flink")),
            parallelism=2, max_parallelism=720, checkpoint_ms=1000, more=[f"--job_name={name}"],
        )  # fmt: skip
        pipeline = beam.Pipeline(options=PipelineOptions(options))
        self._build(pipeline, self._servers, self._topic, f"group-{self._topic}", self._results, self._seen)
        pipeline.run()
        self._job = self.cluster.job(name).id
        self.cluster.wait_for_tasks(self._job)

    def _watch(self, samples: Samples, feeder: Feeder) -> None:
        """Looks until the events are sent."""
        steps = self.plan.collections
        due = [round(step / steps * self.plan.count) for step in range(steps)]
        listed = (due[round(steps * 0.3)], due[-1])
        while feeder.sent < self.plan.count:
            until = time.monotonic() + self.plan.every
            values = self.memory.resident() | self.memory.metrics() | self.memory.checkpoint(self._job)
            if due and feeder.sent >= due[0]:
                values |= self.memory.live(self.folder if due[0] in listed else None)
                due = [later for later in due[1:] if later > feeder.sent]
            values |= {"sent, count": feeder.sent, "lag, count": feeder.sent - self._committed()}
            samples.take(values)
            self.cluster.wait(self._job, "RUNNING", "RESTARTING", "CREATED", "INITIALIZING", "FAILING")
            while feeder.sent < self.plan.count and time.monotonic() < until:
                time.sleep(0.1)

    def _check(self, events: Events) -> int:
        """That the newest rows are the truth; gives how many there are."""
        sink = Sink()
        results, seen = Tail(self._servers, self._results, 2), Tail(self._servers, self._seen, 1)
        quiet = time.monotonic()
        while time.monotonic() < quiet + _QUIET_S:
            for key, value in results.read(1.0):
                sink.take(key.decode(), json.loads(value))
                quiet = time.monotonic()
        late = [value for key, value in seen.read(1.0) if key == b"late"]
        results.close()
        seen.close()
        assert late == [], f"{len(late)} batches late, as {late[0]!r}"
        found: list[dict[str, Any]] = [{} for _ in range(_PARTS)]
        for key, row in sink.final.items():
            found[part_of(row["device_id"].encode())][key] = row
        for number, part in enumerate(events.parts):
            assert_exact(found[number], truth(part.read_bytes().splitlines(), fleet_history()))
        return sum(map(len, found))

    def _committed(self) -> int:
        return sum(committed(self._servers, f"group-{self._topic}", self._topic, PARTITIONS).values())

    def _wait_for(self, what: str, so: Callable[[], bool]) -> None:
        until = time.monotonic() + _PATIENCE_S
        while not so():
            assert time.monotonic() < until, f"{what}: not within {_PATIENCE_S:.0f} s"
            self.cluster.wait(self._job, "RUNNING", "RESTARTING", "CREATED", "INITIALIZING", "FAILING")
            time.sleep(0.5)


def table_of(soaked: Soaked) -> Table:
    """Each series' second quarter beside its last."""
    plan = soaked.plan
    table = Table(title=(
        f"{plan.minutes:g} minutes of {plan.rate:,.0f} events/s, {plan.hours:g} hours of {plan.devices:,} devices' time"
    ))  # fmt: skip
    for heading in ("MB, if not said", "second quarter", "last quarter", "ratio", "an hour", "most"):
        table.add_column(heading, justify="right" if table.columns else "left")
    for trend in soaked.trends:
        if trend.series in GROWING:
            continue
        values = f"{trend.second:,.1f}", f"{trend.last:,.1f}", f"{trend.ratio:.3f}", f"{trend.slope:+,.1f}"
        table.add_row(trend.series, *values, f"{trend.most:,.1f}")
    return table


def main() -> None:
    """Soak and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="for which events come (default 60)")
    parser.add_argument("--rate", type=float, default=1000, help="events a second by the clock (default 1000)")
    parser.add_argument("--speed", type=float, default=60, help="of event time beside the clock (default 60)")
    parser.add_argument("--every", type=float, default=5, help="seconds between looks (default 5)")
    parser.add_argument("--backend", default="hashmap", choices=("hashmap", "rocksdb"), help="of Flink's state")
    parser.add_argument("--output", type=Path, help="folder for samples.csv, heaps by class, soak.json")
    given = parser.parse_args()
    end_cleanly()
    with tempfile.TemporaryDirectory() as place:
        folder = given.output or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        plan = Plan(given.minutes, given.rate, given.speed, given.every)
        flink = Flink(taskmanagers=2, slots=1, backend=given.backend)
        with running(Path(place) / "stack", Kafka(), flink) as stack:
            soaked = Soak(plan, stack, stack, folder).run()
        (folder / "soak.json").write_text(json.dumps(soaked._asdict()))
    Console(width=110).print(table_of(soaked))
    print(
        f"{plan.count:,} events, {soaked.rows:,} rows, every one as DirectRunner has it, none late; "
        f"{soaked.lag:,} records not committed at the end, all after {soaked.behind:.1f} s; {soaked.restarts} restarts"
    )


if __name__ == "__main__":
    main()
