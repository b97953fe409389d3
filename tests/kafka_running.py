"""Running tests/kafka_job.py, and looking at what it did."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam
import confluent_kafka

from kafka_job import END
from structure import CHECKOUT
from thingbeam.runners.prism import prism

collected: dict[str, list[Any]] = {}


class Collect(beam.DoFn):
    """Elements to a list, where the worker is a thread of this process."""

    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, element: Any) -> None:
        collected[self._name].append(element)


def collect(elements: Any) -> str:
    """The name under which `collected` has the elements of a PCollection when the embedded runner is done."""
    name = uuid.uuid4().hex
    collected[name] = []
    elements | f"Collect{name}" >> beam.ParDo(Collect(name))
    return name


_LOADING = {
    confluent_kafka.KafkaError.NOT_COORDINATOR,
    confluent_kafka.KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    confluent_kafka.KafkaError.COORDINATOR_NOT_AVAILABLE,
}
JOB = CHECKOUT / "tests" / "kafka_job.py"


@dataclass
class Job:
    """One run of the job, on a Prism of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """As a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def check(self) -> None:
        """It runs still."""
        assert self.process.poll() is None, self.log.read_text()[-3000:]


@contextlib.contextmanager
def running(arguments: Mapping[str, Any], folder: Path) -> Iterator[Job]:
    """The job, until the block ends."""
    given = folder / "arguments.json"
    given.write_text(json.dumps(dict(arguments)))
    log = folder / f"job-{time.time_ns()}.log"
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT / "src"), "PYTHONUNBUFFERED": "1"}
    with prism() as endpoint, log.open("wb") as output:
        argv = [sys.executable, str(JOB), endpoint, str(given)]
        process = subprocess.Popen(argv, stdout=output, stderr=output, env=environment, start_new_session=True)
        job = Job(process, log)
        try:
            yield job
        finally:
            job.kill()


@dataclass
class Output:
    """What the job wrote."""

    offsets: dict[int, list[int]] = field(default_factory=dict)
    """By partition, in the order of the lines, repeats included."""
    values: list[str] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    """Seconds from the event time to the line."""
    windows: list[tuple[int, int]] = field(default_factory=list)
    """End and count."""
    after: list[float] = field(default_factory=list)
    """Seconds after its end at which each window came."""

    @classmethod
    def read(cls, path: Path) -> Output:
        """The file as it is now."""
        found = cls()
        if not path.exists():
            return found
        for line in path.read_text(errors="replace").splitlines():
            if not line.endswith(END):
                continue
            words = line.removesuffix(END).split(" ", 4)
            if words[0] == "window":
                found.windows.append((int(words[1]), int(words[2])))
                found.after.append(float(words[3]))
                continue
            found.offsets.setdefault(int(words[1]), []).append(int(words[2]))
            found.delays.append(float(words[0]) - int(words[3]) / 1e6)
            found.values.append(words[4])
        return found


def wait_for(condition: Callable[[], bool], seconds: float, what: str, job: Job | None = None) -> None:
    """Until it is so.

    Raises:
        AssertionError: it is not in time, or the job ended.
    """
    until = time.monotonic() + seconds
    while not condition():
        if job is not None:
            job.check()
        tail = job.log.read_text()[-2000:] if job is not None else ""
        assert time.monotonic() < until, f"{what}: not within {seconds} s\n{tail}"
        time.sleep(0.1)


def committed(servers: str, group: str, topic: str, partitions: int) -> dict[int, int]:
    """The group's offsets; partitions without one are left out."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": servers, "group.id": group})
    try:
        asked = [confluent_kafka.TopicPartition(topic, number) for number in range(partitions)]
        until = time.monotonic() + 30
        while True:
            try:
                return {found.partition: found.offset for found in consumer.committed(asked, 20) if found.offset >= 0}
            except confluent_kafka.KafkaException as error:
                # A broker that has just come back has not yet loaded its groups.
                if error.args[0].code() not in _LOADING or time.monotonic() > until:
                    raise
                time.sleep(0.2)
    finally:
        consumer.close()


def produce(servers: str, messages: Iterator[tuple[str, int, bytes, int]], **settings: Any) -> int:
    """Writes (topic, partition, value, milliseconds), all acknowledged; gives how many. 0 ms is now."""
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": servers, "linger.ms": 5, "enable.idempotence": True, "log_level": 0} | settings
    )
    failed: list[object] = []
    count = 0
    for topic, partition, value, millis in messages:
        while True:
            try:
                producer.produce(
                    topic, value, partition=partition, timestamp=millis,
                    on_delivery=lambda error, _: failed.append(error) if error else None,
                )  # fmt: skip
                break
            except BufferError:
                producer.poll(0.1)
        count += 1
    assert producer.flush(120) == 0
    assert not failed
    return count
