"""Order and completeness while a stream is split and merged, and while its reader dies."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kafka_running import wait_for
from kinesis_running import Lines, Producer, Tail, merge_down_to, open_shards, put, read, running, shards, split_all
from stack_fixtures import Streams
from thingbeam.io.kinesis import FileCheckpoints

ROWS = int(os.environ.get("THINGBEAM_TEST_ROWS", "20000"))
KEYS = 40 if ROWS < 100_000 else 400
SOME = ROWS // 40
PATIENCE_S = 60 + ROWS / 1_000


def first_seen(numbers: list[int]) -> list[int]:
    """Each number where it first stands."""
    return list(dict.fromkeys(numbers))


def backwards(numbers: list[int]) -> int:
    """How often the next number is not greater."""
    return sum(after <= before for before, after in itertools.pairwise(numbers))


def job_of(kinesis: Streams, stream: str, folder: Path, *, store: bool, **source: Any) -> dict[str, Any]:
    """The job's arguments."""
    return {
        "stream": stream,
        "kinesis": kinesis.config().endpoint,
        "source": {"poll_interval": "100ms", "bundle_time": "200ms", **source},
        "checkpoints": str(folder / "checkpoints") if store else None,
        "out": str(folder / "out"),
    }


@pytest.mark.parametrize("batches", [False, True])
def test_split_and_merged_while_it_is_read_and_the_reader_killed(
    kinesis: Streams, tmp_path: Path, batches: bool
) -> None:
    """A third of the records each: into 4 shards, while they are split to 8, and while those are merged to 2."""
    stream, client, out = kinesis.stream(shards=4), kinesis.client(), Tail(tmp_path / "out")
    job = job_of(kinesis, stream, tmp_path, store=True, batches=batches)
    begins: list[int] = []

    def read_until(records: int, then: Callable[[], None] = lambda: None) -> None:
        """Read, do what is to be done while it reads, read some more, and die."""
        begins.append(len(out))
        with running(job, tmp_path) as running_job:
            wait_for(lambda: len(out) >= begins[-1] + records, PATIENCE_S, "records", running_job)
            then()
            wait_for(lambda: len(out) >= begins[-1] + records + SOME, PATIENCE_S, "more records", running_job)
            running_job.kill()

    with Producer(client, stream, KEYS, KEYS, most=ROWS // 3) as producer:
        read_until(SOME)
        producer.allow(2 * ROWS // 3)
        read_until(ROWS // 3, lambda: split_all(client, stream))
        assert len(open_shards(client, stream)) == 8
        producer.allow(ROWS)
        read_until(ROWS // 3, lambda: merge_down_to(client, stream, 2))
        assert len(open_shards(client, stream)) == 2
        begins.append(len(out))
        with running(job, tmp_path) as last:
            wait_for(lambda: producer.total >= ROWS, PATIENCE_S, "all are put", last)
            wait_for(lambda: out.distinct() == producer.total, PATIENCE_S, "all records", last)
    assert len(shards(client, stream)) == 18
    for key, numbers in Tail.by_key(out.rows).items():
        assert first_seen(numbers) == list(range(producer.counts[key])), key
    for begin, end in zip(begins, [*begins[1:], None], strict=True):
        assert all(backwards(numbers) == 0 for numbers in Tail.by_key(out.rows[begin:end]).values())
    # What was finalised before the last kill is not read again.
    assert len(out) < 2 * producer.total


def test_followed_by_one_worker_without_a_store(kinesis: Streams, tmp_path: Path) -> None:
    stream, client, out = kinesis.stream(shards=4), kinesis.client(), tmp_path / "out"
    with running(job_of(kinesis, stream, tmp_path, store=False), tmp_path) as job:
        with Producer(client, stream) as producer:
            wait_for(lambda: len(Lines(out)) > 200, 60, "records", job)
            split_all(client, stream)
            merge_down_to(client, stream, 2)
            before = producer.total
            wait_for(lambda: producer.total > before + 200, 30, "more records", job)
        wait_for(lambda: len(Lines(out)) >= producer.total, 60, "all records", job)
        for key, numbers in Lines(out).by_key().items():
            assert numbers == list(range(producer.counts[key])), key


@pytest.mark.parametrize("how", ["alone", "store", "unordered"])
def test_a_backfill_reads_all_generations(kinesis: Streams, tmp_path: Path, how: str) -> None:
    stream, client = kinesis.stream(shards=4), kinesis.client()
    expected: dict[str, list[int]] = {f"k{number}": [] for number in range(20)}
    for generation in range(3):
        rows = [(f"k{number % 20}", generation * 10 + number // 20) for number in range(200)]
        put(client, stream, [(key, str(number).encode()) for key, number in rows])
        for key, number in rows:
            expected[key].append(number)
        if generation == 0:
            split_all(client, stream)
        elif generation == 1:
            merge_down_to(client, stream, 2)
    # kinesalite dates what it puts into new shards ahead, by a second for each generation.
    time.sleep(3)
    more: dict[str, Any] = {"alone": {}, "store": {"checkpoints": FileCheckpoints(str(tmp_path))}, "unordered": {}}[how]
    found: dict[str, list[int]] = {}
    for record in read(kinesis, stream, ordered=how != "unordered", **more):
        found.setdefault(record.partition_key, []).append(int(record.data))
    if how == "unordered":
        found = {key: sorted(numbers) for key, numbers in found.items()}
    assert found == expected
    if how == "store":
        kept = FileCheckpoints(str(tmp_path)).read(stream)
        assert sorted(position.kind for position in kept.values()) == ["after"] * 2 + ["ended"] * 16
        assert read(kinesis, stream, **more) == []
        put(client, stream, [("k0", b"99")])
        assert [record.data for record in read(kinesis, stream, **more)] == [b"99"]
