"""Running `thingbeam run home` between topics, as a person does, and looking at what comes of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import confluent_kafka
import msgspec
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from stack_fixtures import Broker
from structure import CHECKOUT

KINDS = ("activities", "sessions", "usage", "late", "dead-letters")
RESULTS = ("activities", "sessions", "usage")

Row = dict[str, Any]
Rows = dict[bytes, Row]


def command(*arguments: str) -> list[str]:
    """The command line of the home application."""
    return [sys.executable, "-m", "thingbeam.runners.cli", "run", "home", "--timezone", "Europe/Paris", *arguments]


def environment() -> dict[str, str]:
    """With our code on the path."""
    return os.environ | {"PYTHONPATH": str(CHECKOUT / "src"), "PYTHONUNBUFFERED": "1"}


def run(*arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=seconds, env=environment(), check=False
    )


@dataclass
class Home:
    """The application while it runs."""

    process: subprocess.Popen[str]
    log: Path

    def worker(self) -> int | None:
        """The number of the process that works for it."""
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            for entry in Path("/proc").iterdir():
                if not entry.name.isdigit():
                    continue
                with contextlib.suppress(OSError):
                    parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                    if int(parent) == self.process.pid and b"--launch" in (entry / "cmdline").read_bytes():
                        return int(entry.name)
        return None

    def kill_worker(self) -> None:
        """As a crash would."""
        pid = self.worker()
        assert pid is not None, self.log.read_text()
        os.kill(pid, signal.SIGKILL)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Asked to end, it does; gives its exit status."""
        self.process.send_signal(how)
        return self.process.wait(40)


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Home]:
    """The application, until the block ends."""
    log = folder / f"home-{time.time_ns()}.log"
    with log.open("w") as output:
        process = subprocess.Popen(command(*arguments), stdout=output, stderr=output, text=True, env=environment())
        try:
            yield Home(process, log)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(40)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def topics_of(broker: Broker, name: str) -> str:
    """What the names of five topics begin with that are there, and nobody else's."""
    prefix = f"{name}-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": broker.address})
    for made in admin.create_topics([NewTopic(f"{prefix}-{kind}", 1, 1) for kind in KINDS]).values():
        made.result(30)
    return prefix


def _end(consumer: confluent_kafka.Consumer, topic: str, number: int) -> int:
    _, high = consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, number), timeout=20)
    return int(high)


def messages(broker: Broker, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    """All that is in a topic, in the order of its partitions."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": broker.address, "group.id": "tests", "enable.partition.eof": True,
         "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )  # fmt: skip
    try:
        partitions = consumer.list_topics(topic, 20).topics[topic].partitions
        consumer.assign([confluent_kafka.TopicPartition(topic, number, 0) for number in partitions])
        found: list[tuple[bytes | None, bytes | None]] = []
        ends = {number: _end(consumer, topic, number) for number in partitions}
        left = {number for number, end in ends.items() if end}
        until = time.monotonic() + 60
        while left:
            assert time.monotonic() < until, f"{topic} does not end: {left} of {ends}, {len(found)} read"
            for message in consumer.consume(1000, 0.1):
                error, number = message.error(), message.partition()
                if error is None:
                    found.append((message.key(), message.value()))
                elif error.code() != confluent_kafka.KafkaError._PARTITION_EOF:
                    raise AssertionError(error.str())
                if error is not None or message.offset() + 1 >= ends[number]:
                    left.discard(number)
        return found
    finally:
        consumer.close()


def newest(broker: Broker, topic: str) -> Rows:
    """What a keyed sink holds: of each key the row of the highest revision, without it."""
    rows: Rows = {}
    for key, value in messages(broker, topic):
        assert key is not None
        if value is None:
            rows.pop(key, None)
            continue
        row = json.loads(value)
        if key not in rows or row.get("revision", 0) >= rows[key].get("revision", 0):
            rows[key] = row
    return rows


def without(rows: Mapping[bytes, Row], *names: str) -> Rows:
    """Rows without some fields."""
    return {key: {name: value for name, value in row.items() if name not in names} for key, row in rows.items()}


def rounded(rows: Mapping[bytes, Row]) -> Rows:
    """Rows with numbers as near as floating point is: a change is of two sums, from wherever those began."""
    return {
        key: {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}
        for key, row in rows.items()
    }


def differences(found: Mapping[bytes, Row], expected: Mapping[bytes, Row], limit: int = 3) -> str:
    """What is not as it should be, for a person."""
    missing = [key for key in expected if key not in found]
    more = [key for key in found if key not in expected]
    other = [(found[key], expected[key]) for key in expected if key in found and found[key] != expected[key]]
    return (
        f"{len(missing)} missing {missing[:limit]}, {len(more)} too many {more[:limit]}, "
        f"{len(other)} others {other[:limit]}"
    )


def wait_until(condition: Callable[[], str], home: Home, seconds: float) -> None:
    """Until nothing is wrong any more.

    Raises:
        AssertionError: something still is, or it ended.
    """
    until = time.monotonic() + seconds
    while problem := condition():
        assert home.process.poll() is None, home.log.read_text()[-3000:]
        assert time.monotonic() < until, f"not within {seconds} s: {problem}\n{home.log.read_text()[-3000:]}"
        time.sleep(0.5)


def expected_of(folder: Path, lines: Sequence[bytes], until: str, *arguments: str) -> dict[str, Rows]:
    """What the embedded engine makes of a file, by the keys that the messages would have."""
    source, output = folder / "expected.jsonl", folder / "expected"
    source.write_bytes(b"".join(lines))
    done = run("--input", str(source), "--output", str(output), "--until", until, *arguments)
    assert done.returncode == 0, done.stderr
    return {kind: keyed(output, kind) for kind in RESULTS}


def keyed(output: Path, kind: str) -> Rows:
    """The rows of a directory's files by the keys that their messages would have."""
    names = {
        "activities": ("device_id", "component", "capability", "start"),
        "sessions": ("device_id", "start"),
        "usage": ("device_id", "component", "capability", "attribute", "role", "period", "start"),
    }[kind]
    rows = [json.loads(line) for path in output.glob(f"{kind}-*.jsonl") for line in path.read_text().splitlines()]
    found = {msgspec.json.encode([row[name] for name in names]): row for row in rows}
    assert len(found) == len(rows)
    return found
