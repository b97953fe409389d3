"""Streams that are written and resharded while tests read them, and what their readers wrote."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from kafka_running import Job, collect, collected
from stack_fixtures import Streams
from structure import CHECKOUT
from thingbeam.io.kinesis import ReadFromKinesis
from thingbeam.runners.prism import prism

JOB = CHECKOUT / "tests" / "kinesis_job.py"
HIGHEST = (1 << 128) - 1


@contextlib.contextmanager
def running(arguments: Mapping[str, Any], folder: Path) -> Iterator[Job]:
    """The job, until the block ends."""
    given = folder / "arguments.json"
    given.write_text(json.dumps(dict(arguments)))
    log = folder / f"job-{time.time_ns()}.log"
    path = os.pathsep.join((str(CHECKOUT / "src"), str(CHECKOUT / "tests")))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    with prism() as endpoint, log.open("wb") as output:
        argv = [sys.executable, str(JOB), endpoint, str(given)]
        process = subprocess.Popen(argv, stdout=output, stderr=output, env=environment, start_new_session=True)
        job = Job(process, log)
        try:
            yield job
        finally:
            job.kill()


def read(streams: Streams, stream: str, **how: Any) -> list[Any]:
    """What a stream holds, by the connector."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        name = collect(pipeline | ReadFromKinesis(stream, streams.config(), **({"stop": "latest"} | how)))
    return collected.pop(name)


def read_plainly(client: Any, stream: str) -> list[tuple[str, bytes]]:
    """Keys and data of all shards, by the client alone, in no order of shards."""
    found = []
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        iterator = client.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            answer = client.get_records(ShardIterator=iterator)
            found += [(record["PartitionKey"], record["Data"]) for record in answer["Records"]]
            iterator = answer["NextShardIterator"] if answer["Records"] else None
    return found


def put(client: Any, stream: str, records: Sequence[tuple[str, bytes]]) -> None:
    """Keys and data, in their order, all acknowledged."""
    for begin in range(0, len(records), 500):
        some = [{"PartitionKey": key, "Data": data} for key, data in records[begin : begin + 500]]
        while some:
            answer = client.put_records(StreamName=stream, Records=some)
            some = [one for one, said in zip(some, answer["Records"], strict=True) if "ErrorCode" in said]


class Producer:
    """Writes numbers, rising by one for each of some keys, in a thread.

    Args:
        client: to write with.
        stream: to write to.
        keys: how many.
        batch: records of one call; no more than keys, since Kinesis keeps no order within a call.
        pause: seconds between calls.
        most: of all records; `allow` may raise it. None for no end.
    """

    def __init__(
        self, client: Any, stream: str, keys: int = 40, batch: int = 40, pause: float = 0.01, most: int | None = None
    ) -> None:
        self._client, self._stream, self._pause = client, stream, pause
        self._keys = itertools.cycle([f"k{number}" for number in range(keys)])
        self._batch = batch
        self._most = most
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.counts: dict[str, int] = {}
        self.total = 0
        """Records that were acknowledged."""
        self.failure: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def allow(self, most: int) -> None:
        """So many records in all, and no more for now."""
        self._most = most

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._pause):
                if self._most is not None and self.total >= self._most:
                    continue
                keys = list(itertools.islice(self._keys, self._batch))
                put(self._client, self._stream, [(key, str(self.counts.get(key, 0)).encode()) for key in keys])
                for key in keys:
                    self.counts[key] = self.counts.get(key, 0) + 1
                self.total += len(keys)
        except Exception as error:
            # For the test to raise: this thread has nobody who would see it.
            self.failure = error


def shards(client: Any, stream: str) -> list[dict[str, Any]]:
    """All shards, as ListShards has them."""
    found: list[dict[str, Any]] = client.list_shards(StreamName=stream)["Shards"]
    return found


def open_shards(client: Any, stream: str) -> list[dict[str, Any]]:
    """Those that no other has as parent, by their hash keys."""
    listed = shards(client, stream)
    parents = {shard.get(name) for shard in listed for name in ("ParentShardId", "AdjacentParentShardId")}
    return sorted(
        (shard for shard in listed if shard["ShardId"] not in parents),
        key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]),
    )


def wait_until_active(client: Any, stream: str) -> None:
    """A change of the stream is done."""
    while client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        time.sleep(0.02)


def split_all(client: Any, stream: str) -> None:
    """Each open shard becomes two."""
    for shard in open_shards(client, stream):
        low, high = (int(shard["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
        client.split_shard(
            StreamName=stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str((low + high) // 2 + 1)
        )
        wait_until_active(client, stream)


def merge_down_to(client: Any, stream: str, count: int) -> None:
    """Neighbours become one, until so many are open."""
    while len(opened := open_shards(client, stream)) > count:
        for left, right in itertools.islice(zip(opened[::2], opened[1::2], strict=False), len(opened) - count):
            client.merge_shards(StreamName=stream, ShardToMerge=left["ShardId"], AdjacentShardToMerge=right["ShardId"])
            wait_until_active(client, stream)


class Lines:
    """What the job has written."""

    def __init__(self, path: Path, since: int = 0) -> None:
        text = path.read_text() if path.exists() else ""
        self.rows = [line.split(" ") for line in text.splitlines()[since:]]

    def __len__(self) -> int:
        return len(self.rows)

    def by_key(self) -> dict[str, list[int]]:
        """Numbers by key, in the order of the lines, repeats included."""
        found: dict[str, list[int]] = {}
        for row in self.rows:
            found.setdefault(row[3], []).append(int(row[4]))
        return found

    def counts(self) -> dict[str, int]:
        """How many different numbers each key has."""
        return {key: len(set(numbers)) for key, numbers in self.by_key().items()}


class Tail:
    """What the job writes, taken up where it was last looked at: of a million lines each is read once."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0
        self.rows: list[tuple[str, int]] = []
        """Keys and numbers, in the order of the lines."""
        self._seen: dict[str, set[int]] = {}

    def __len__(self) -> int:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._at)
                whole, newline, _ = file.read().rpartition(b"\n")
            self._at += len(whole) + len(newline)
            for line in whole.decode().splitlines():
                *_, key, number = line.split(" ")
                self.rows.append((key, int(number)))
                self._seen.setdefault(key, set()).add(int(number))
        return len(self.rows)

    def distinct(self) -> int:
        """How many different numbers of all keys there are."""
        return sum(map(len, self._seen.values())) if len(self) else 0

    @staticmethod
    def by_key(rows: Sequence[tuple[str, int]]) -> dict[str, list[int]]:
        """Numbers by key, in their order, repeats included."""
        found: dict[str, list[int]] = {}
        for key, number in rows:
            found.setdefault(key, []).append(number)
        return found
