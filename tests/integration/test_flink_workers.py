"""Several Python workers of one TaskManager: all have work, and one that dies is no end."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections import Counter
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from kafka_running import wait_for
from stack_fixtures import Cluster
from stack_pipelines import counted_impulses, steps_that_are_shuffled

TASKS = 4
"""On two TaskManagers of two slots each."""


def options(flink: Cluster, **more: object) -> PipelineOptions:
    """Of a job with a worker for each task."""
    given = flink.options("PROCESS", parallelism=TASKS, max_parallelism=720, **more)
    return PipelineOptions([*given, "--sdk_worker_parallelism=2"])


@pytest.mark.slow
def test_the_tasks_of_every_step_have_workers_of_their_own(flink: Cluster, tmp_path: Path) -> None:
    """Beam's own runner gives workers to whatever task opens next: two of one step may share one."""
    path = tmp_path / "worked"
    with beam.Pipeline(options=options(flink)) as pipeline:
        steps_that_are_shuffled(pipeline, str(path))
    worked = {tuple(line.split()) for line in path.read_text().splitlines()}
    assert Counter(step for step, _ in worked) == {"first": TASKS, "second": TASKS, "third": TASKS}


@pytest.mark.slow
def test_one_of_the_workers_dies(flink: Cluster, tmp_path: Path) -> None:
    """The job begins anew from its checkpoint, and state is exact."""
    path, total, name = tmp_path / "numbers", 200, f"workers-{uuid.uuid4().hex[:8]}"
    pipeline = beam.Pipeline(options=options(flink, checkpoint_ms=1000, more=[f"--job_name={name}"]))
    counted_impulses(pipeline, float(int(time.time()) + 5), total, 0.1, str(path))
    pipeline.run()
    job = flink.rest.job(name).id

    def numbers() -> set[int]:
        lines = path.read_text().splitlines() if path.exists() else []
        return {int(line.split()[1]) for line in lines}

    try:
        wait_for(lambda: len(numbers()) > 20, 90, "numbers")
        flink.rest.wait_for_checkpoints(job, 2)
        workers = flink.workers()
        assert len(workers) == TASKS
        os.kill(workers[0], signal.SIGKILL)
        wait_for(lambda: numbers() == set(range(total)), 120, "all numbers")
    finally:
        flink.rest.cancel(job)
    counts: dict[str, int] = {}
    for line in path.read_text().splitlines():
        key, _, count, *_ = line.split()
        counts[key] = max(counts.get(key, 0), int(count))
    assert sum(counts.values()) == total
