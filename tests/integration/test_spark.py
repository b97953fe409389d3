"""The main job on Spark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from packaged import direct_results, home, results, thingbeam
from stack_fixtures import Server, stack_of
from thingbeam.runners.stack.components.spark import Spark
from thingbeam.runners.stack.flink_cluster import boot_script


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Beam's job server for Spark, with two cores."""
    with stack_of(tmp_path_factory, Spark()) as stack:
        yield Server(stack, "spark")


@pytest.mark.slow
def test_the_main_job_gives_what_the_embedded_runner_gives(spark: Server, tmp_path: Path) -> None:
    boot = boot_script(spark.stack.place("spark"))
    said = thingbeam(
        "run",
        *home(tmp_path / "out"),
        "--runner=portable",
        f"--job_endpoint={spark.uri}",
        "--environment_type=PROCESS",
        f"--environment_config={json.dumps({'command': str(boot)})}",
    )
    assert said.startswith("28,340 events in ")
    assert results(tmp_path / "out") == direct_results(tmp_path / "direct")
