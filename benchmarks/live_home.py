"""`thingbeam run home` from Kafka to Kafka on Flink, endless: how soon it has caught up, and how soon an event is seen.

    scripts/bench live [--rate 5000]
    python benchmarks/live_home.py [--rate 5000] [--parallelism 2] [--provisional-every 400ms] [--seconds 60]
        [further options of `thingbeam run home`]

A broker with 8 partitions, a Flink cluster of one TaskManager, and a process that sends, all on this machine's cores.
Ten minutes of events (`--backlog`) are there when the job is sent, and go on coming at the rate: it has caught up when
what is not committed is less than two seconds of them; a checkpoint, and so a commit, comes each second. From then on
an event's latency is from the broker's append of it to the append of the first revision of a session that contains it.
Every device sends an event each 100 s. Less than a minute would leave out when slices are closed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import confluent_kafka
import numpy as np
from confluent_kafka.admin import AdminClient, NewTopic
from processes import ROOT, end_cleanly

from thingbeam.io.kafka.clients import END, offsets_at
from thingbeam.runners.stack import running
from thingbeam.runners.stack.components.flink import Flink
from thingbeam.runners.stack.components.kafka import Kafka

sys.path.append(str(ROOT / "tests"))
from kafka_running import committed

EVENTS, RESULTS, GROUP = "events", "results", "home"
KINDS = ("activities", "sessions", "usage", "late", "dead-letters")
PARTITIONS = 8
_EACH_S = 100.0
_WARM_S, _LAST_S, _STEP_S = 5.0, 5.0, 0.01
_PATIENCE_S = 900.0
_HEAP_MB, _MANAGED_MB = 1024, 512


class Live(NamedTuple):
    """What came of it; seconds by the clock."""

    rate: float
    """Events a second that came."""
    backlog: int
    """Events that were there."""
    start_s: float
    """From the command to the first commit."""
    caught_up_s: float
    """From there until it had caught up."""
    sustained: float
    """Events a second that were worked off meanwhile."""
    events: int
    """Of which the latency was measured."""
    missing: int
    """Of them those that no session had at the end."""
    p50: float
    p99: float
    worst: float
    after_look: tuple[float, ...]
    """Of sessions, p50 and p99 from the clock of the look that made them to the append."""


def event(number: int, at_ms: int, devices: int) -> tuple[bytes, bytes]:
    """The device, and an event of about 460 bytes of it as SmartThings' sinks send them."""
    device = b"00000000-0000-4000-8000-%012d" % (number % devices)
    return device, (
        b'{"eventTime":%d,"eventType":"DEVICE_EVENT","deviceEvent":{"eventId":"00000000-0000-4000-9000-%012d","locationId":'
        b'"00000000-0000-4000-a000-%012d","ownerId":"00000000-0000-4000-a000-%012d","ownerType":"LOCATION","deviceId":"%s",'
        b'"componentId":"main","capability":"powerMeter","attribute":"power","value":%d.5,"valueType":"number","unit":"W",'
        b'"stateChange":true,"data":{},"subscriptionName":"all-of-this-home"}}'
        % (at_ms, number, number % devices // 8, number % devices // 8, device, number * 7919 % 3000)
    )  # fmt: skip


def send(servers: str, rate: float, begin: float) -> None:
    """Event number n at `begin + n / rate` by the clock, for ever; those of the past at once."""
    producer = confluent_kafka.Producer({"bootstrap.servers": servers, "linger.ms": 5, "compression.type": "lz4"})
    devices, number = round(rate * _EACH_S), 0
    while True:
        until = min(int((time.time() - begin) * rate), number + 20_000)
        while number < until:
            key, value = event(number, int((begin + number / rate) * 1000), devices)
            with contextlib.suppress(BufferError):
                producer.produce(EVENTS, value, key, number % devices % PARTITIONS)
                number += 1
                continue
            producer.poll(0.05)
        producer.poll(0)
        if until >= int((time.time() - begin) * rate):
            time.sleep(_STEP_S)


class Home(NamedTuple):
    """The stack's servers and what they are told."""

    environment: dict[str, str]
    servers: str

    def lag(self) -> tuple[int, int]:
        """Events that are not committed, and those that are."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.servers, "group.id": "bench"})
        try:
            ends = sum(offsets_at(consumer, [(EVENTS, number) for number in range(PARTITIONS)], END, 20).values())
        finally:
            consumer.close()
        done = sum(committed(self.servers, GROUP, EVENTS, PARTITIONS).values())
        return ends - done, done

    @contextlib.contextmanager
    def process(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Until the block ends."""
        quiet = subprocess.DEVNULL
        with subprocess.Popen([sys.executable, *command], cwd=ROOT, env=self.environment, stdout=quiet) as process:
            try:
                yield process
            finally:
                process.terminate()

    def job(self, parallelism: int, every: str, shards: int, more: Sequence[str]) -> list[str]:
        """The command."""
        uri = f"kafka://{self.servers}"
        return [
            "-m", "thingbeam.runners.cli", "run", "home", "--timezone", "UTC", "--revisions", "all",
            "--provisional-every", every, "--input", f"{uri}/{EVENTS}?group={GROUP}&start=earliest&out_of_orderness=1s",
            "--output", f"{uri}/{RESULTS}", "--runner", "flink", "--streaming", "--checkpointing_interval=1000",
            f"--parallelism={parallelism}", f"--shards={shards}", *more,
        ]  # fmt: skip

    def topics(self) -> None:
        """All that there are, with the broker's times."""
        config = {"message.timestamp.type": "LogAppendTime"}
        named = [NewTopic(f"{RESULTS}-{kind}", 2, 1, config=config) for kind in KINDS]
        admin = AdminClient({"bootstrap.servers": self.servers})
        for made in admin.create_topics([NewTopic(EVENTS, PARTITIONS, 1, config=config), *named]).values():
            made.result(30)


@contextlib.contextmanager
def home(folder: Path, backend: Literal["hashmap", "rocksdb"]) -> Iterator[Home]:
    """A broker and a cluster, until the block ends."""
    with running(folder, Kafka(), Flink(heap=_HEAP_MB, managed=_MANAGED_MB, backend=backend)) as stack:
        environment = os.environ | {"THINGBEAM_STACK": str(folder), "PYTHONPATH": str(ROOT / "src")}
        yield Home(environment, stack.uri("kafka").partition("://")[2])


def measure(
    rate: float,
    backlog_s: float,
    seconds: float,
    parallelism: int,
    every: str,
    shards: int,
    backend: Literal["hashmap", "rocksdb"],
    more: Sequence[str],
) -> Live:
    """All of it."""
    with tempfile.TemporaryDirectory() as place, home(Path(place) / "stack", backend) as found:
        found.topics()
        begin = time.time() - backlog_s
        sending = (str(Path(__file__).resolve()), "--send", found.servers, "--rate", str(rate), "--begin", str(begin))
        backlog = int(rate * backlog_s)
        with found.process(*sending) as sender:
            while found.lag()[0] < backlog:
                time.sleep(0.5)
            clock = time.monotonic()
            with found.process(*found.job(parallelism, every, shards, more)) as job:
                start = _until(job, found, clock, lambda _, done: done > 0)
                before, began = found.lag()[1], time.monotonic()
                caught = _until(job, found, began, lambda lag, _: lag < 2 * rate)
                worked = found.lag()[1] - before
                first = time.time() + _WARM_S
                time.sleep(_WARM_S + seconds)
                last = time.time()
                sender.terminate()
                time.sleep(_LAST_S)
        came = _read(found.servers, EVENTS, first)
        sessions = _read(found.servers, f"{RESULTS}-sessions", first)
        delays, missing = latencies(came, sessions, first, last)
    looked = [at - row["revision"] / 1e6 for at, row in sessions if first <= at < last and not row["final"]]
    p50, p99 = np.percentile(delays, [50, 99]).tolist()
    worst, count = float(delays.max()), len(delays) + missing
    after = tuple(np.percentile(looked, [50, 99]).tolist())
    return Live(rate, backlog, start, caught, worked / caught, count, missing, p50, p99, worst, after)


def _until(job: subprocess.Popen[bytes], found: Home, clock: float, so: Any) -> float:
    """Seconds from the clock until it is so."""
    while not so(*found.lag()):
        if job.poll() is not None:
            raise SystemExit(f"bench: the job ended with {job.returncode}")
        if time.monotonic() > clock + _PATIENCE_S:
            raise SystemExit(f"bench: not within {_PATIENCE_S:.0f} s; {found.lag()[0]:,} events are not committed")
        time.sleep(0.2)
    return time.monotonic() - clock


def _read(servers: str, topic: str, since: float) -> list[tuple[float, Any]]:
    """Append time and JSON of a topic's messages since some seconds before then."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": servers, "group.id": "bench", "enable.partition.eof": True, "enable.auto.commit": False,
         "auto.offset.reset": "earliest"}
    )  # fmt: skip
    numbers = consumer.list_topics(topic, 20).topics[topic].partitions
    at = int((since - 1) * 1000)
    consumer.assign(consumer.offsets_for_times([confluent_kafka.TopicPartition(topic, n, at) for n in numbers], 20))
    found: list[tuple[float, Any]] = []
    ended = 0
    while ended < len(numbers):
        for message in consumer.consume(2000, 0.2):
            if message.error() is None:
                found.append((message.timestamp()[1] / 1000, json.loads(message.value() or b"")))
            else:
                ended += 1
    consumer.close()
    return found


def latencies(
    came: list[tuple[float, Any]], sessions: list[tuple[float, Any]], first: float, last: float
) -> tuple[Any, int]:
    """Of the events between two times, seconds to the first session that has them; and how many no session has.

    >>> rows = [(2.5, {"device_id": "e", "last": "1970-01-01T00:00:09Z"})]
    >>> rows += [(3.0, {"device_id": "d", "last": "1970-01-01T00:00:01Z"})]
    >>> event = {"eventTime": 1000, "deviceEvent": {"deviceId": "d"}}
    >>> latencies([(1.0, event), (1.5, event | {"eventTime": 1500})], rows, 0.0, 2.0)
    (array([2.]), 1)
    """
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for at, row in sorted(sessions, key=lambda each: each[0]):
        reached = datetime.fromisoformat(row["last"]).timestamp()
        newest = seen[row["device_id"]]
        if not newest or reached > newest[-1][0]:
            newest.append((reached, at))
    delays: list[float] = []
    missing = 0
    for at, told in came:
        if first <= at < last:
            newest = seen[told["deviceEvent"]["deviceId"]]
            place = bisect_left(newest, (told["eventTime"] / 1000, 0.0))
            if place < len(newest):
                delays.append(newest[place][1] - at)
            else:
                missing += 1
    return np.array(delays), missing


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=5000, help="events a second (default 5,000)")
    parser.add_argument("--backlog", type=float, default=600, help="seconds of events that are there (default 600)")
    parser.add_argument("--seconds", type=float, default=60, help="of which the latency is measured (default 60)")
    parser.add_argument("--parallelism", type=int, default=2, help="tasks of each step (default 2)")
    parser.add_argument("--shards", type=int, default=12, help="see `thingbeam run home` (default 12)")
    parser.add_argument("--provisional-every", default="400ms", help="see `thingbeam run home` (default 400ms)")
    parser.add_argument("--backend", default="rocksdb", choices=("hashmap", "rocksdb"), help="of Flink's state")
    parser.add_argument("--output", type=Path, help="file for the figures as JSON")
    parser.add_argument("--send", help=argparse.SUPPRESS)
    parser.add_argument("--begin", type=float, default=0.0, help=argparse.SUPPRESS)
    given, more = parser.parse_known_args()
    end_cleanly()
    if given.send:
        send(given.send, given.rate, given.begin)
        return
    found = measure(
        given.rate,
        given.backlog,
        given.seconds,
        given.parallelism,
        given.provisional_every,
        given.shards,
        given.backend,
        more,
    )
    print(
        f"{found.backlog:,} events behind and {found.rate:,.0f}/s more: first commit after {found.start_s:.1f} s, "
        f"caught up {found.caught_up_s:.1f} s later, {found.sustained:,.0f} events/s; then to the first session with "
        f"it p50 {found.p50:.2f} s, p99 {found.p99:.2f} s, longest {found.worst:.2f} s, of {found.events:,} events, "
        f"{found.missing:,} missing; of that from the look to the topic p50 {found.after_look[0]:.2f} s, "
        f"p99 {found.after_look[1]:.2f} s"
    )
    if given.output:
        given.output.write_text(json.dumps(found._asdict()))


if __name__ == "__main__":
    main()
