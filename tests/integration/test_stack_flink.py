"""The stack's Flink: pipelines get there, and state is exact whatever is killed."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from stack_fixtures import Cluster
from stack_pipelines import KEYS, Append, acknowledged_impulses, counted_impulses, refuse
from thingbeam.runners.stack import StackError

INTERVAL = 0.1
# With Flink's own heartbeats a dead TaskManager is noticed after 50 s.
RECOVERY_SECONDS = 30


def options(flink: Cluster, name: str, **more: object) -> PipelineOptions:
    """Options of a streaming job with a checkpoint each second and workers as processes."""
    given = flink.options("PROCESS", checkpoint_ms=1000, max_parallelism=12, **more)
    return PipelineOptions([*given, f"--job_name={name}"])


def numbers_in(path: Path) -> dict[str, list[tuple[int, int]]]:
    """(number, count) by key, as they were written."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for line in path.read_text().splitlines() if path.exists() else []:
        key, number, count = line.split()[:3]
        found[key].append((int(number), int(count)))
    return found


def assert_state_is_exact(path: Path, total: int) -> None:
    """Every number came, and each key's count says how many: none was lost from state, none counted twice."""
    found = numbers_in(path)
    assert sorted({number for rows in found.values() for number, _ in rows}) == list(range(total))
    assert {key: max(count for _, count in rows) for key, rows in found.items()} == {
        str(key): len(range(key, total, KEYS)) for key in range(KEYS)
    }


def await_numbers(flink: Cluster, path: Path, job: str, enough: Callable[[set[int]], bool], seconds: float) -> None:
    """Waits until the numbers that have come are enough."""
    until = time.monotonic() + seconds
    while not enough({number for rows in numbers_in(path).values() for number, _ in rows}):
        if time.monotonic() > until or not path.exists():
            # Of a job that is over, this says why.
            flink.rest.wait(job, "RUNNING")
        assert time.monotonic() < until, f"not enough numbers came in {seconds} s: {numbers_in(path)}"
        time.sleep(0.1)


def newest_worker(path: Path) -> float:
    """When the worker was first heard of that wrote the newest line."""
    first: dict[str, float] = {}
    last = ""
    for line in path.read_text().splitlines():
        *_, last, at = line.split()
        first.setdefault(last, float(at))
    return first[last]


def loopback_only(flink: Cluster) -> None:
    """What the cluster's processes listen on, of IPv4 and IPv6, is the loopback address."""
    inodes: set[str] = set()
    pids = [status.pid for status in flink.stack.status()]
    for pid in [*pids, *flink.workers()]:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = os.readlink(descriptor)
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    listening = [
        line.split()[1].rpartition(":")[0]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[9] in inodes
    ]
    assert len(listening) >= 8
    # 127.0.0.1, the same in IPv6, and ::1, in the byte order of /proc/net.
    local = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert set(listening) <= local


def test_the_parts_of_a_cluster(flink: Cluster) -> None:
    assert {status.name: status.state for status in flink.stack.status()} == {
        "flink/jobmanager": "ready",
        "flink/taskmanager-1": "ready",
        "flink/taskmanager-2": "ready",
        "flink/jobserver": "ready",
        "flink/zookeeper": "ready",
    }
    assert flink.rest.taskmanagers() == ["taskmanager-1", "taskmanager-2"]


# A worker in this process says so when its engine hangs up.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_batch_with_workers_in_this_process(flink: Cluster, tmp_path: Path) -> None:
    out = str(tmp_path / "sums")
    with beam.Pipeline(options=PipelineOptions(flink.options(parallelism=2))) as pipeline:
        numbers = pipeline | beam.Create([(number % 3, number) for number in range(300)])
        sums = numbers | beam.CombinePerKey(sum) | beam.MapTuple(lambda key, total: f"{key} {total}")
        _ = sums | beam.ParDo(Append(out))
    assert sorted(Path(out).read_text().splitlines()) == [f"{key} {sum(range(key, 300, 3))}" for key in range(3)]


@pytest.mark.slow
def test_a_job_that_fails_every_time_is_given_up_and_says_why(flink: Cluster) -> None:
    name = f"failing-{uuid.uuid4().hex[:8]}"
    pipeline = beam.Pipeline(options=PipelineOptions(flink.options("PROCESS", more=[f"--job_name={name}"])))
    _ = pipeline | beam.Create([1]) | beam.Map(refuse)
    with pytest.raises(RuntimeError, match="this element is not for me"):
        pipeline.run().wait_until_finish()
    job = flink.rest.job(name)
    assert job.state == "FAILED"
    with pytest.raises(StackError, match=rf"^job {job.id} is FAILED: "):
        flink.rest.wait(job.id, "FINISHED")


@pytest.mark.slow
def test_state_is_exact_whatever_is_killed(flink: Cluster, tmp_path: Path) -> None:
    """A worker, a TaskManager and the JobManager, one after the other, while numbers come and are counted."""
    name, path, total = f"killed-{uuid.uuid4().hex[:8]}", tmp_path / "numbers", 450
    pipeline = beam.Pipeline(options=options(flink, name, parallelism=2))
    counted_impulses(pipeline, float(int(time.time()) + 5), total, INTERVAL, str(path))
    pipeline.run()
    cluster = flink.rest
    job = cluster.job(name).id
    try:
        await_numbers(flink, path, job, lambda numbers: len(numbers) > 10, 60)
        cluster.wait_for_checkpoints(job, 2)
        loopback_only(flink)

        def kill_workers() -> None:
            workers = flink.workers()
            assert workers
            for pid in workers:
                os.kill(pid, signal.SIGKILL)

        for what, kill in {
            "worker": kill_workers,
            "taskmanager": lambda: flink.restart("taskmanager-1"),
            "jobmanager": lambda: flink.restart("jobmanager"),
        }.items():
            killed, clock = time.time(), time.monotonic()
            kill()
            await_numbers(flink, path, job, lambda _, killed=killed: newest_worker(path) > killed, 60)
            cluster.wait_for_tasks(job)
            seconds = time.monotonic() - clock
            print(f"{what} killed: recovered after {seconds:.1f} s")
            assert seconds < RECOVERY_SECONDS
            cluster.wait_for_checkpoints(job, 1)
        await_numbers(flink, path, job, lambda numbers: len(numbers) == total, 90)
    finally:
        cluster.cancel(job)
    assert_state_is_exact(path, total)
    assert cluster.state(job) == "CANCELED"


@pytest.mark.slow
def test_what_is_acknowledged_has_come_out(flink: Cluster, tmp_path: Path) -> None:
    # The writer is seconds behind: a checkpoint is complete long after the source's part of it.
    path, total = tmp_path / "numbers", 150
    name = f"acknowledged-{uuid.uuid4().hex[:8]}"
    pipeline = beam.Pipeline(options=options(flink, name, parallelism=1))
    acknowledged_impulses(pipeline, float(int(time.time()) + 12), total, 0.05, str(path))
    pipeline.run()
    job = flink.rest.job(name).id
    await_numbers(flink, path, job, lambda numbers: len(numbers) == total, 60)
    time.sleep(3)  # two checkpoints
    flink.rest.cancel(job)
    said = [line.split() for line in (tmp_path / "acknowledged").read_text().splitlines()]
    assert sorted({int(number) for number, *_ in said}) == list(range(total))
    assert any(0 < int(written) < total for *_, written in said)
    assert [number for number, where, _ in said if where == "ahead"] == []


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after", "release"), [(2, 4, 1), (1, 4, 2)])
def test_stop_and_resume_at_another_parallelism_and_release(
    flink: Cluster, tmp_path: Path, before: int, after: int, release: int
) -> None:
    path, total = tmp_path / "numbers", 200
    # Late enough that workers have started by then, so that the stop is in the middle on a slow machine, too.
    start = float(int(time.time()) + 12)

    def submit(parallelism: int, release: int = 1, savepoint: str = "") -> str:
        name = f"rescaled-{uuid.uuid4().hex[:8]}"
        pipeline = beam.Pipeline(options=options(flink, name, parallelism=parallelism, savepoint=savepoint))
        counted_impulses(pipeline, start, total, INTERVAL, str(path), release=release)
        pipeline.run()
        return flink.rest.job(name).id

    cluster = flink.rest
    job = submit(before)
    await_numbers(flink, path, job, lambda numbers: len(numbers) > 10, 60)
    savepoint = cluster.stop(job)
    assert cluster.state(job) == "FINISHED"
    assert Path(savepoint.removeprefix("file:")).is_dir()
    assert len({number for rows in numbers_in(path).values() for number, _ in rows}) < total
    resumed = submit(after, release, savepoint)
    try:
        await_numbers(flink, path, resumed, lambda numbers: len(numbers) == total, 90)
    finally:
        cluster.cancel(resumed)
    assert_state_is_exact(path, total)
