"""Elements that go to their worker as they come, and timers that fire meanwhile: neither waits for the other."""

from __future__ import annotations

import uuid
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from kafka_running import wait_for
from stack_fixtures import Cluster
from stack_pipelines import FLOODED, flooded_timers

EACH = 8
SIZE = 20_000


@pytest.mark.slow
def test_timers_fire_while_the_channel_to_the_worker_is_full(flink: Cluster, tmp_path: Path) -> None:
    """Were a timer sent at once, with the state's lock held, the job would stand still here (Promptness.java)."""
    path, name = tmp_path / "counts", f"flooded-{uuid.uuid4().hex[:8]}"
    given = flink.options("PROCESS", checkpoint_ms=10_000, bundle_ms=1000, more=[f"--job_name={name}"])
    assert "--experiments=data_buffer_size_limit=0" in given
    pipeline = beam.Pipeline(options=PipelineOptions(given))
    flooded_timers(pipeline, EACH, SIZE, str(path))
    pipeline.run()
    job = flink.rest.job(name).id
    expected = {f"{key} {number}" for key in range(FLOODED) for number in range(1, EACH + 1)}
    try:
        wait_for(lambda: path.exists() and set(path.read_text().splitlines()) == expected, 90, "all counts")
    finally:
        flink.rest.cancel(job)
