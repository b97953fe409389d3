"""ReadFromKafka, a splittable DoFn, beside the same source as Beam's `UnboundedSource` (unbounded_kafka.py).

    python benchmarks/kafka_sources.py [--records 2000000] [--turns 3] [--engine prism] [--engine flink] [--what rate …]

On Prism and on Flink (parallelism 2, Python workers as processes, a checkpoint each second), each with a broker of 8
partitions, by turns:
- rate: records a second from the first to the last, batches; and of a quarter as many, one by one.
- latency: from the record's time to its step of the pipeline, at 20,000 records/s.
- idle: how long after their end windows of a second come out while one partition of eight is silent.
- crash: workers are killed three times while records come. On Flink the job goes on by itself; on Prism it is sent
  again and begins at the group's offset. What was lost, what came twice, and whether a committed offset was ever ahead
  of what was out.

The job writes a line for each run of records of a partition, `NOW PARTITION FIRST LAST DELAYS_MS…`, before its bundle
ends.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows
from confluent_kafka.admin import AdminClient, NewTopic
from processes import ROOT, end_cleanly
from samples import Memory
from unbounded_kafka import KafkaSource, Partition

from thingbeam.io.kafka import KafkaRecord, ReadFromKafka
from thingbeam.io.watermark import WatermarkPolicy
from thingbeam.runners.prism import prism
from thingbeam.runners.stack import Stack, running
from thingbeam.runners.stack.components.flink import Flink
from thingbeam.runners.stack.components.kafka import Kafka
from thingbeam.runners.stack.flink_cluster import FlinkCluster, beam_options, boot_script

sys.path.append(str(ROOT / "tests"))
from kafka_running import committed, produce

ENGINES, SOURCES, WHAT = ("prism", "flink"), ("splittable", "unbounded"), ("rate", "latency", "idle", "crash")
PARTITIONS = 8
_PATIENCE_S = 180.0
_LONGEST_RUN = 500
_RATE, _LATENCY_S, _WARM_S = 20_000, 20.0, 6.0
_IDLE_S = 25.0
_CRASH_RATE, _CRASH_S, _KILLS = 10_000, 45.0, 3


class Lines(beam.DoFn):
    """What came, to a file."""

    def __init__(self, path: str, *, delays: bool) -> None:
        self._path, self._delays = path, delays

    def start_bundle(self) -> None:
        """None yet."""
        self._lines: list[str] = []
        self._run: tuple[int, int, int] | None = None

    def process(self, element: Any) -> Iterator[Any]:
        """A batch's line, or one more record of a run."""
        if isinstance(element, KafkaRecord):
            number, offset = element.partition, element.offset
            first = self._run[1] if self._run is not None and self._run[::2] == (number, offset - 1) else offset
            if first == offset or offset - first >= _LONGEST_RUN:
                self._end_run()
                first = offset
            self._run = (number, first, offset)
        else:
            now, times = time.time(), element.times
            delays = " ".join(map(str, ((now * 1e6 - times) / 1000).astype(int).tolist())) if self._delays else ""
            number, first, last = element.part.partition("=")[2], element.positions[0], element.positions[-1]
            self._lines.append(f"{now:.4f} {number} {first} {last} {delays}\n")
        yield element

    def _end_run(self) -> None:
        if self._run is not None:
            self._lines.append(f"{time.time():.4f} {' '.join(map(str, self._run))} \n")

    def finish_bundle(self) -> None:
        """Safe from this process's death."""
        self._end_run()
        append(self._path, "".join(self._lines))


class WindowLines(beam.DoFn):
    """How long after its end a window came."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, _: Any, window: Any = beam.DoFn.WindowParam) -> None:
        """A line."""
        append(self._path, f"{time.time() - float(window.end):.3f}\n")


def append(path: str, text: str) -> None:
    """At once, whole."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, text.encode())
    os.close(file)


class Plan(NamedTuple):
    """What a job is told."""

    servers: str
    topic: str
    group: str
    source: str
    out: str
    batches: bool = True
    delays: bool = False
    windows: bool = False

    def build(self, pipeline: beam.Pipeline) -> None:
        """Its steps."""
        records = pipeline | self._read() | "Lines" >> beam.ParDo(Lines(self.out, delays=self.delays))
        if self.windows:
            ones = records | beam.Map(lambda batch: ("all", len(batch))).with_output_types(tuple[str, int])
            counted = ones | beam.WindowInto(FixedWindows(1)) | beam.CombinePerKey(sum)
            counted | beam.ParDo(WindowLines(f"{self.out}.windows"))

    def _read(self) -> Any:
        if self.source == "splittable":
            return ReadFromKafka(
                self.servers, self.topic, group=self.group, start="committed", batches=self.batches,
                out_of_orderness="1s", idle_after="3s",
            )  # fmt: skip
        begins = committed(self.servers, self.group, self.topic, PARTITIONS)
        policy = WatermarkPolicy(1_000_000, 3_000_000)
        partitions = [
            Partition(self.servers, self.topic, number, self.group, begins.get(number, 0), self.batches, policy)
            for number in range(PARTITIONS)
        ]
        return beam.io.Read(KafkaSource(partitions))


class Output:
    """What came of a plan so far."""

    def __init__(self, path: str) -> None:
        self.ended: list[float] = []
        self.delays: list[int] = []
        self.offsets: dict[int, list[range]] = {number: [] for number in range(PARTITIONS)}
        text = Path(path).read_text() if Path(path).exists() else ""
        for line in text.splitlines():
            now, number, first, last, *delays = line.split()
            self.ended.append(float(now))
            self.offsets[int(number)].append(range(int(first), int(last) + 1))
            self.delays += map(int, delays)
        self.records = sum(len(some) for spans in self.offsets.values() for some in spans)
        self.distinct: dict[int, set[int]] = {number: set().union(*spans) for number, spans in self.offsets.items()}
        self.count = sum(map(len, self.distinct.values()))
        self.first = sum(len(spans[0]) for spans in self.offsets.values() if spans[:1])


class Engine(NamedTuple):
    """Where jobs run, and the broker."""

    name: str
    servers: str
    folder: Path
    job: Callable[[Plan], contextlib.AbstractContextManager[Callable[[], None]]]
    """Runs a plan until the block ends; gives what kills its workers, after which it goes on."""

    def topic(self) -> str:
        """A new one."""
        name = f"t{uuid.uuid4().hex[:8]}"
        admin = AdminClient({"bootstrap.servers": self.servers})
        admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(30)
        return name

    def plan(self, source: str, topic: str, **more: bool) -> Plan:
        """With a group and a file of its own."""
        mark = uuid.uuid4().hex[:8]
        return Plan(self.servers, topic, f"g-{mark}", source, str(self.folder / mark), **more)


class OnPrism:
    """A process that is a Prism's worker, and that Prism: a job of before, left in it, would take part."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._held = contextlib.ExitStack()

    def start(self) -> None:
        """At the group's offsets, where it has any."""
        endpoint = self._held.enter_context(prism())
        log = os.open(f"{self._plan.out}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._held.callback(os.close, log)
        argv = [sys.executable, __file__, "--job", json.dumps(self._plan._asdict()), "--endpoint", endpoint]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment, start_new_session=True)
        self._held.callback(process.wait)
        self._held.callback(process.kill)

    def stop(self) -> None:
        """As a crash would."""
        self._held.close()

    def kill(self) -> None:
        """It dies, and another one comes."""
        self.stop()
        self.start()


@contextlib.contextmanager
def on_prism(plan: Plan) -> Iterator[Callable[[], None]]:
    """Until the block ends."""
    job = OnPrism(plan)
    job.start()
    try:
        yield job.kill
    finally:
        job.stop()


@contextlib.contextmanager
def on_flink(stack: Stack, plan: Plan) -> Iterator[Callable[[], None]]:
    """Until the block ends."""
    name = f"sources-{uuid.uuid4().hex[:8]}"
    options = beam_options(
        stack.uri("flink/jobserver"), environment="PROCESS", boot=boot_script(stack.place("flink")),
        parallelism=2, max_parallelism=720, checkpoint_ms=1000, more=[f"--job_name={name}"],
    )  # fmt: skip
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    plan.build(pipeline)
    pipeline.run()
    cluster, memory = FlinkCluster(stack.uri("flink/jobmanager")), Memory(stack)
    job = cluster.job(name).id
    cluster.wait_for_tasks(job)

    def kill() -> None:
        for pid in memory.workers():
            os.kill(pid, signal.SIGKILL)

    try:
        yield kill
    finally:
        cluster.cancel(job)


@contextlib.contextmanager
def engine(name: str) -> Iterator[Engine]:
    """A broker, and the engine."""
    servers_of = (Kafka(), Flink(taskmanagers=1, slots=2)) if name == "flink" else (Kafka(),)
    with tempfile.TemporaryDirectory() as place, running(Path(place) / "stack", *servers_of) as stack:
        servers = stack.uri("kafka").partition("://")[2]
        yield Engine(name, servers, Path(place), partial(on_flink, stack) if name == "flink" else on_prism)


def wait(so: Callable[[], bool], what: str) -> None:
    """Until it is so."""
    until = time.monotonic() + _PATIENCE_S
    while not so():
        if time.monotonic() > until:
            raise SystemExit(f"bench: {what}: not within {_PATIENCE_S:.0f} s")
        time.sleep(0.25)


def messages(topic: str, count: int, partitions: int = PARTITIONS) -> Iterator[tuple[str, int, bytes, int]]:
    """Records of 500 bytes, hard to compress."""
    values = [os.urandom(500) for _ in range(1000)]
    for number in range(count):
        yield topic, number % partitions, values[number % 1000], 0


def rate(on: Engine, source: str, topic: str, count: int, *, batches: bool) -> float:
    """Records a second, without the first element of each partition."""
    plan = on.plan(source, topic, batches=batches)
    with on.job(plan):
        wait(lambda: Output(plan.out).records >= count, f"{count} records on {on.name}, {source}")
    found = Output(plan.out)
    if found.count != count:
        raise SystemExit(f"bench: {found.records} of {count} records")
    return (count - found.first) / (max(found.ended) - min(found.ended))


def send(servers: str, topic: str, per_s: float, seconds: float, partitions: int = PARTITIONS) -> int:
    """Records of now, evenly; gives how many."""

    def paced() -> Iterator[tuple[str, int, bytes, int]]:
        began = time.monotonic()
        for number, message in enumerate(messages(topic, int(per_s * seconds), partitions)):
            ahead = number / per_s - (time.monotonic() - began)
            if ahead > 0.005:
                time.sleep(ahead)
            yield (*message[:3], int(time.time() * 1000))

    return produce(servers, paced())


@contextlib.contextmanager
def started(on: Engine, source: str, **more: bool) -> Iterator[Plan]:
    """A job that has read one record of each partition of a new topic, until the block ends."""
    plan = on.plan(source, on.topic(), **more)
    with on.job(plan):
        produce(on.servers, messages(plan.topic, PARTITIONS))
        wait(lambda: Output(plan.out).records >= PARTITIONS, "the first records")
        yield plan


def latency(on: Engine, source: str) -> tuple[float, float]:
    """p50 and p99, in seconds."""
    with started(on, source, delays=True) as plan:
        count = send(on.servers, plan.topic, _RATE, _LATENCY_S) + PARTITIONS
        wait(lambda: Output(plan.out).records >= count, "all records")
    # By arrival: the first seconds warm up.
    delays = np.array(Output(plan.out).delays[int(_WARM_S * _RATE) :]) / 1000
    p50, p99 = np.percentile(delays, [50, 99]).tolist()
    return p50, p99


def idle(on: Engine, source: str) -> tuple[float, float]:
    """p50 and the most, in seconds after a window's end."""
    with started(on, source, windows=True) as plan:
        send(on.servers, plan.topic, 700, _IDLE_S, PARTITIONS - 1)
        # All fell silent: what is open closes by the rules' 4 s.
        time.sleep(8)
    lines = Path(f"{plan.out}.windows")
    delays = [float(line) for line in lines.read_text().split()][5:] if lines.exists() else []
    return (statistics.median(delays), max(delays)) if delays else (float("inf"), float("inf"))


class Crash(NamedTuple):
    """What three kills did."""

    sent: int
    lost: int
    twice: int
    ahead: int
    """The most records by which a committed offset was ahead of what was out."""
    silent_s: float
    """The longest that nothing came out."""


def crash(on: Engine, source: str) -> Crash:
    """Workers die while records come."""
    topic = on.topic()
    plan = on.plan(source, topic)
    sent: list[int] = []
    sending = threading.Thread(target=lambda: sent.append(send(on.servers, topic, _CRASH_RATE, _CRASH_S)))
    ahead = 0

    def look() -> dict[int, int]:
        nonlocal ahead
        # The commits first: what is out only grows meanwhile.
        held = committed(on.servers, plan.group, topic, PARTITIONS)
        distinct = Output(plan.out).distinct
        ahead = max(ahead, *(len(set(range(held.get(number, 0))) - distinct[number]) for number in distinct))
        return held

    sending.start()
    with on.job(plan) as kill:
        wait(lambda: bool(look()), "the first commits")
        for _ in range(_KILLS):
            time.sleep(3)
            kill()
            before = Output(plan.out).records
            wait(lambda before=before: look() is not None and Output(plan.out).records > before, "records after a kill")
        sending.join()
        with contextlib.suppress(SystemExit):
            wait(lambda: look() is not None and Output(plan.out).count >= sum(sent), "all records")
        found = Output(plan.out)
    silent = float(np.diff(np.sort(found.ended)).max())
    return Crash(sum(sent), sum(sent) - found.count, found.records - found.count, ahead, silent)


def lines_of(what: str, on: Engine, records: int, turns: int) -> Iterator[str]:
    """What was measured, for a person."""
    if what == "rate":
        for form, count in (("batches", records), ("records", records // 4)):
            topic = on.topic()
            produce(on.servers, messages(topic, count))
            found: dict[str, list[float]] = {source: [] for source in SOURCES}
            # The first turn warms the broker up.
            for turn in range(turns + 1):
                for source in SOURCES if turn % 2 else SOURCES[::-1]:
                    some = rate(on, source, topic, count, batches=form == "batches")
                    found[source] += [some] if turn else []
            for source, rates in found.items():
                shown = ", ".join(f"{each:,.0f}" for each in rates)
                yield f"{on.name}, {source}, {form}: median {statistics.median(rates):,.0f} records/s of {shown}"
        return
    for source in SOURCES:
        if what == "latency":
            p50, p99 = latency(on, source)
            yield f"{on.name}, {source}: at {_RATE:,} records/s p50 {p50:.2f} s, p99 {p99:.2f} s"
        elif what == "idle":
            p50, most = idle(on, source)
            yield f"{on.name}, {source}: an idle partition, windows {p50:.1f} s after their end, longest {most:.1f} s"
        else:
            of = crash(on, source)
            yield (
                f"{on.name}, {source}: {_KILLS} kills, {of.sent:,} records, {of.lost:,} lost, {of.twice:,} twice, "
                f"commits at most {of.ahead:,} ahead of what was out, silent for at most {of.silent_s:.1f} s"
            )


def main() -> None:
    """Measure and print; or be the job on Prism."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=2_000_000, help="in a turn of the rate (default 2,000,000)")
    parser.add_argument("--turns", type=int, default=3, help="of the rate (default 3)")
    for name, all_of in (("engine", ENGINES), ("what", WHAT)):
        parser.add_argument(f"--{name}", action="append", default=[], choices=all_of, help="one of them (default all)")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    given = parser.parse_args()
    end_cleanly()
    if given.job:
        argv = ["--runner=PortableRunner", f"--job_endpoint={given.endpoint}", "--environment_type=LOOPBACK"]
        pipeline = beam.Pipeline(options=PipelineOptions([*argv, "--streaming"]))
        Plan(**json.loads(given.job)).build(pipeline)
        pipeline.run().wait_until_finish()
        return
    for name in given.engine or ENGINES:
        with engine(name) as on:
            for what in given.what or WHAT:
                for line in lines_of(what, on, given.records, given.turns):
                    print(line, flush=True)


if __name__ == "__main__":
    main()
