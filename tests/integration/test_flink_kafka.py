"""Kafka to Kafka on a real Flink cluster, with open sessions and hours in state: exact whatever is killed.

One job reads a fleet's events from eight partitions, parses them, works out their history and writes the results by
key, for ever, with a checkpoint each second. What its sink holds in the end, newest row by key and tombstones honoured,
is what DirectRunner makes of the same payloads. tests/fleet.py has the events and the comparison.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from fleet import Feeder, Sink, Tail, assert_exact, payloads, round_the_partitions, truth
from kafka_job import build
from kafka_running import Output, committed, produce, wait_for
from stack_fixtures import Broker, Cluster
from stack_pipelines import fleet_history, fleet_job

EVENTS = int(os.environ.get("THINGBEAM_TEST_EVENTS", "20000"))
"""1,000,000 is what the issue asks; the default keeps the suite short."""
PARTITIONS = 8
PATIENCE = 180.0


class Fleet:
    """The job, its topics, and what came out so far."""

    def __init__(
        self, flink: Cluster, kafka: Broker, provisional: str | None = None, checkpoint_ms: int = 1000
    ) -> None:
        self.flink, self.kafka = flink, kafka
        self.topic = kafka.topic("events", PARTITIONS)
        self.results, self.seen = kafka.topic("results", 2), kafka.topic("seen")
        self.group = f"group-{self.topic}"
        self.sink = Sink()
        self.offsets: dict[int, set[int]] = {number: set() for number in range(PARTITIONS)}
        self.late: list[bytes] = []
        self.job = ""
        self._provisional, self._checkpoint_ms = provisional, checkpoint_ms
        self._tails = Tail(kafka.address, self.results, 2), Tail(kafka.address, self.seen, 1)

    def submit(self, parallelism: int = 2, savepoint: str = "") -> None:
        """Starts the job, or resumes it from a savepoint."""
        name = f"fleet-{uuid.uuid4().hex[:8]}"
        given = self.flink.options(
            "PROCESS", checkpoint_ms=self._checkpoint_ms, parallelism=parallelism, max_parallelism=720,
            savepoint=savepoint, more=[f"--job_name={name}"],
        )  # fmt: skip
        pipeline = beam.Pipeline(options=PipelineOptions(given))
        fleet_job(
            pipeline, self.kafka.address, self.topic, self.group, self.results, self.seen, self._provisional
        )  # fmt: skip
        pipeline.run()
        self.job = self.flink.rest.job(name).id
        self.flink.rest.wait_for_tasks(self.job)

    def look(self, seconds: float = 0.0) -> None:
        """Takes in what has come out."""
        results, seen = self._tails
        for key, value in results.read(seconds):
            self.sink.take(key.decode(), json.loads(value))
        for key, value in seen.read():
            if key == b"seen":
                number, first, last = map(int, value.split())
                self.offsets[number].update(range(first, last + 1))
            elif key == b"late":
                self.late.append(value)

    def check_commits(self) -> int:
        """No committed offset is ahead of what was output; gives how many records are committed."""
        held = committed(self.kafka.address, self.group, self.topic, PARTITIONS)
        self.look(0.5)
        for number, offset in held.items():
            missing = set(range(offset)) - self.offsets[number]
            assert not missing, f"partition {number} is committed to {offset} without {sorted(missing)[:5]}"
        return sum(held.values())

    def wait_for(self, what: str, so: Callable[[], bool]) -> None:
        """Until it is so; a job that is over says why."""
        until = time.monotonic() + PATIENCE
        while not so():
            assert time.monotonic() < until, (
                f"{what}: not within {PATIENCE:.0f} s; {self.flink.rest.state(self.job)}, of each partition "
                f"{[(len(some), max(some, default=-1)) for some in self.offsets.values()]} came, {self.sink.seen} rows"
            )
            self.flink.rest.wait(self.job, "RUNNING", "RESTARTING", "CREATED", "INITIALIZING", "FAILING")
            self.look(0.2)

    def survive(self, what: str, fault: Callable[[], object], feeder: Feeder, more: int) -> None:
        """Something is killed while records are under way; the job goes on, and commits what it has done since."""
        feeder.release(more // 2)
        time.sleep(1)
        clock = time.monotonic()
        fault()
        self.check_commits()
        feeder.release(more - more // 2)
        self.wait_for(f"records after {what}", lambda: self.read >= feeder.may)
        seconds = time.monotonic() - clock
        self.wait_for(f"commits after {what}", lambda: self.check_commits() >= feeder.may)
        print(f"{what} killed: all records after {seconds:.1f} s, committed after {time.monotonic() - clock:.1f} s")

    @property
    def read(self) -> int:
        """How many records have come."""
        return sum(map(len, self.offsets.values()))

    def feeder(self, events: list[bytes], most: int) -> Feeder:
        """Writes the events and then the sentinels, of which so many may go out at once."""
        rounds = round_the_partitions(events, PARTITIONS)
        return Feeder(self.kafka.address, self.topic, PARTITIONS, rounds, max(500, len(events) / 240), most)

    def finish(self, events: list[bytes], feeder: Feeder) -> None:
        """All is written; every event has come, nothing is late, and the sink holds what it must."""
        feeder.finish()
        expected = truth(events, fleet_history())
        self.wait_for("every event", lambda: list(map(len, self.offsets.values())) == feeder.counts)
        self.wait_for(
            "every result",
            lambda: all(key in self.sink.rows and self.sink.rows[key]["final"] for key in expected),
        )
        self.look(2.0)
        assert self.late == []
        # A provisional row that a crash made the job forget stays where its key came to nothing: docs/engines.md.
        held = {key: row for key, row in self.sink.final.items() if key in expected or row["final"]}
        assert_exact(held, expected)
        assert self._provisional or len(held) == len(self.sink.final)
        self.wait_for("all committed", lambda: self.check_commits() == sum(feeder.counts))

    def end(self) -> None:
        """Ends the job."""
        if self.job:
            self.flink.rest.cancel(self.job)
        for tail in self._tails:
            tail.close()


@contextlib.contextmanager
def working(
    flink: Cluster, kafka: Broker, events: list[bytes], most: int, **how: Any
) -> Iterator[tuple[Fleet, Feeder]]:
    """A fleet's job, and what writes its events, of which so many may go out at once; until the block ends."""
    fleet = Fleet(flink, kafka, **how)
    try:
        fleet.submit()
        with fleet.feeder(events, most) as feeder:
            yield fleet, feeder
    finally:
        fleet.end()


def kill_workers(flink: Cluster) -> None:
    """All Python workers, as a crash would."""
    workers = flink.workers()
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGKILL)


def die_for_a_while(kafka: Broker) -> None:
    """The broker is killed, and comes back after two seconds."""
    with kafka.killed():
        time.sleep(2)


@pytest.mark.slow
def test_results_are_exact_whatever_is_killed(flink: Cluster, kafka: Broker) -> None:
    """Worker, TaskManager, JobManager, broker twice; then a savepoint, and on at another parallelism."""
    events = payloads(EVENTS)
    with working(flink, kafka, events, EVENTS // 10) as (fleet, feeder):
        fleet.wait_for("the first commits", lambda: fleet.check_commits() > 0)
        more = EVENTS // 8
        fleet.survive("worker", lambda: kill_workers(flink), feeder, more)
        fleet.survive("taskmanager", lambda: flink.restart("taskmanager-1"), feeder, more)
        fleet.survive("jobmanager", lambda: flink.restart("jobmanager"), feeder, more)
        fleet.survive("broker", lambda: die_for_a_while(kafka), feeder, more)
        fleet.survive("broker", lambda: die_for_a_while(kafka), feeder, more)
        before = fleet.check_commits()
        savepoint = flink.rest.stop(fleet.job)
        feeder.release(more)
        fleet.submit(4, savepoint)
        fleet.wait_for("commits at parallelism 4", lambda: fleet.check_commits() > before)
        fleet.finish(events, feeder)


@pytest.mark.slow
def test_results_are_exact_with_state_in_rocksdb(flink_rocksdb: Cluster, kafka: Broker) -> None:
    """Worker and TaskManager are killed: state comes back from what each checkpoint added; and by a savepoint."""
    events = payloads(EVENTS // 2)
    with working(flink_rocksdb, kafka, events, EVENTS // 10) as (fleet, feeder):
        fleet.wait_for("the first commits", lambda: fleet.check_commits() > 0)
        more = EVENTS // 10
        fleet.survive("worker", lambda: kill_workers(flink_rocksdb), feeder, more)
        fleet.survive("taskmanager", lambda: flink_rocksdb.restart("taskmanager-1"), feeder, more)
        savepoint = flink_rocksdb.rest.stop(fleet.job)
        fleet.submit(4, savepoint)
        fleet.finish(events, feeder)


# By hand: THINGBEAM_TEST_EVENTS=1000000.
if EVENTS >= 200_000:

    @pytest.mark.slow
    def test_a_million_events_and_many_kills(flink: Cluster, kafka: Broker) -> None:
        """Workers killed five times at random while the topic is worked off, the broker twice."""
        events, chance = payloads(EVENTS, hours=36.0), random.Random(5)
        faults = ["worker"] * 5 + ["broker"] * 2
        chance.shuffle(faults)
        with working(flink, kafka, events, EVENTS // 16) as (fleet, feeder):
            fleet.wait_for("the first commits", lambda: fleet.check_commits() > 0)
            for what in faults:
                kill = (lambda: kill_workers(flink)) if what == "worker" else (lambda: die_for_a_while(kafka))
                fleet.survive(what, kill, feeder, EVENTS // 8)
                time.sleep(chance.uniform(0, 5))
            fleet.finish(events, feeder)


@contextlib.contextmanager
def windows_of(flink: Cluster, kafka: Broker, out: Path, **source: Any) -> Iterator[Callable[[], Output]]:
    """A job that counts records in windows of five seconds, until the block ends; gives what it wrote so far."""
    name = f"windows-{uuid.uuid4().hex[:8]}"
    given = flink.options("PROCESS", checkpoint_ms=1000, parallelism=2, more=[f"--job_name={name}"])
    pipeline = beam.Pipeline(options=PipelineOptions(given))
    build(pipeline, {"servers": kafka.address, "out": str(out), "source": source, "windows": 5})
    pipeline.run()
    job = flink.rest.job(name).id
    flink.rest.wait_for_tasks(job)
    try:
        yield lambda: Output.read(out)
    finally:
        flink.rest.cancel(job)


def live(topic: str, partitions: list[int], count: int, late_s: float = 0.0) -> Iterator[tuple[str, int, bytes, int]]:
    """Messages of now, or of a while ago."""
    for number in range(count):
        yield topic, partitions[number % len(partitions)], b"x", int((time.time() - late_s) * 1000)


@pytest.mark.slow
def test_an_idle_partition_of_eight_holds_no_window(flink: Cluster, kafka: Broker, tmp_path: Path) -> None:
    topic, sent = kafka.topic("idle", PARTITIONS), 0
    source = {"topics": topic, "out_of_orderness": "1s", "idle_after": "3s"}
    with windows_of(flink, kafka, tmp_path / "out", **source) as output:
        until = time.monotonic() + PATIENCE
        while len(output().windows) < 2:
            assert time.monotonic() < until, "no window closes while one partition is silent"
            sent += produce(kafka.address, live(topic, list(range(7)), 70))
            time.sleep(0.2)
        # All fell silent: what is open closes too.
        wait_for(lambda: sum(count for _, count in output().windows) == sent, PATIENCE, "the last window")
        assert 7 not in output().offsets
        # After 4 s the silent one holds nothing; half a minute longer if windows waited for a rare look for partitions.
        assert statistics.median(output().after) < 9
        assert len(dict(output().windows)) == len(output().windows), "each window closed once"


@pytest.mark.slow
def test_the_others_do_not_wait_for_a_partition_a_day_behind(flink: Cluster, kafka: Broker, tmp_path: Path) -> None:
    """They go on by `max_delay`, and what the slow one has comes out all the same, though late for its windows."""
    topic, sent, began = kafka.topic("behind", 2), 0, time.time()
    source = {"topics": topic, "out_of_orderness": "1s", "max_delay": "4s"}
    with windows_of(flink, kafka, tmp_path / "out", **source) as output:
        until = time.monotonic() + PATIENCE
        while sum(end > began for end, _ in output().windows) < 2:
            assert time.monotonic() < until, "no window closes while one partition is a day behind"
            sent += produce(kafka.address, live(topic, [1], 20, late_s=86_400))
            sent += produce(kafka.address, live(topic, [0], 20))
            time.sleep(0.2)
        wait_for(lambda: len(output().values) >= sent, PATIENCE, "all records")
        offsets = output().offsets
        assert {number: len(some) for number, some in offsets.items()} == {0: sent // 2, 1: sent // 2}
        assert {number: set(some) for number, some in offsets.items()} == {n: set(range(sent // 2)) for n in range(2)}


@pytest.mark.slow
def test_the_final_wins_over_what_a_crash_forgot(flink: Cluster, kafka: Broker) -> None:
    """Workers die when provisional rows have reached the sink, and before the checkpoint that knows of them."""
    count = min(EVENTS, 10_000)
    events = payloads(count)
    with working(flink, kafka, events, count // 3, provisional="500ms", checkpoint_ms=8000) as (fleet, feeder):
        unknown = 0
        for _ in range(6):
            fleet.flink.rest.wait_for_checkpoints(fleet.job)
            fleet.look()
            feeder.release(count // 10)
            complete, shown = fleet.flink.rest.checkpoints(fleet.job), fleet.sink.provisional
            fleet.wait_for("provisional rows", lambda: fleet.sink.provisional > shown)  # noqa: B023
            kill_workers(flink)
            unknown += fleet.flink.rest.checkpoints(fleet.job) == complete
            fleet.wait_for("going on", lambda: fleet.flink.rest.checkpoints(fleet.job) > complete)  # noqa: B023
            if unknown == 2:
                break
        assert unknown, "no kill came before the checkpoint that knows of them"
        fleet.finish(events, feeder)
    assert fleet.sink.provisional > 0
