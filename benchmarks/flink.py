"""The main job on a Flink of its own: engine and workers together on as many cores as there are tasks of each step."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from inputs import Inputs
from peers import job
from processes import ROOT, lines_of

from thingbeam.runners.stack import Stack
from thingbeam.runners.stack.flink_cluster import FlinkCluster

_SECONDS = 600.0
_CHECKPOINT_MS = 1000
_CLI = "thingbeam.runners.cli"


class OnFlink(NamedTuple):
    """What the main job comes to on Flink, with a checkpoint each second."""

    parallelism: int
    rate: float
    """Events a second by the clock, on as many cores as the parallelism."""
    start: float
    """Seconds by the clock from the command to the first event."""
    runs: list[float]
    """The rate of each run."""


def on_flink(inputs: Inputs, events: int, runs: int, parallelisms: tuple[int, ...] = (1, 2)) -> list[OnFlink]:
    """Rates from the difference of two files, and that each run has the rows of a direct one.

    Args:
        inputs: makes the files.
        events: of the large file; the small one has a fifth.
        runs: of each file.
        parallelisms: tasks of each step, and cores.

    Raises:
        SystemExit: a job failed, took too long, or has other results than on the direct runner.
    """
    small, large = inputs.file(events // 5), inputs.file(events)
    expected = {path: _direct(inputs.place / "direct", path) for path in (small, large)}
    found: list[OnFlink] = []
    for parallelism in parallelisms:
        with _cluster(inputs.place / f"flink-{parallelism}", parallelism) as environment:
            # The first job of a cluster warms its JVM.
            _run(inputs.place / "out", small, parallelism, environment)
            pairs: list[tuple[float, float]] = []
            for _ in range(runs):
                seconds: list[float] = []
                for path in (small, large):
                    wall, rows = _run(inputs.place / "out", path, parallelism, environment)
                    if rows != expected[path]:
                        raise SystemExit(f"bench: on Flink there are other rows: {rows}, not {expected[path]}")
                    seconds.append(wall)
                pairs.append((seconds[0], seconds[1]))
        few, many = lines_of(small), lines_of(large)
        costs = [(after - before) / (many - few) for before, after in pairs]
        cost = statistics.median(costs)
        start = statistics.median(before for before, _ in pairs) - cost * few
        found.append(OnFlink(parallelism, 1 / cost, max(0.0, start), [1 / each for each in costs]))
    return found


@contextmanager
def _cluster(folder: Path, cores: int) -> Iterator[dict[str, str]]:
    """A cluster whose processes, workers among them, have so many cores; gives what its user's environment says."""
    environment = os.environ | {"THINGBEAM_STACK": str(folder), "OMP_NUM_THREADS": "1"}
    pinned = ["taskset", "-c", f"0-{cores - 1}", sys.executable, "-m", _CLI]
    subprocess.run([*pinned, "stack", "up", "flink"], check=True, cwd=ROOT, env=environment, capture_output=True)
    try:
        yield environment
    finally:
        subprocess.run([*pinned, "stack", "down"], check=True, cwd=ROOT, env=environment, capture_output=True)


def _run(output: Path, path: Path, parallelism: int, environment: dict[str, str]) -> tuple[float, dict[str, int]]:
    """Seconds until all results of a file are there, and how many rows of each kind there are."""
    command = ["taskset", "-c", f"0-{parallelism - 1}", *job(output, "parquet"), "--input", str(path), "--runner=flink"]
    command += ["--streaming", f"--checkpointing_interval={_CHECKPOINT_MS}", f"--parallelism={parallelism}"]
    cluster = FlinkCluster(Stack(Path(environment["THINGBEAM_STACK"])).uri("flink/jobmanager"))
    manifest = output / "manifest.json"
    manifest.unlink(missing_ok=True)
    clock = time.monotonic()
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=quiet, stderr=quiet) as process:
        try:
            while not manifest.exists():
                if process.poll() is not None:
                    raise SystemExit(f"bench: {' '.join(command)} ended with {process.returncode}")
                if time.monotonic() > clock + _SECONDS:
                    raise SystemExit(f"bench: {' '.join(command)} did not end in {_SECONDS} s")
                time.sleep(0.01)
            seconds = time.monotonic() - clock
            # Flink's runner leaves the sources of a job with checkpoints open: it is over, and does not end.
            for running in cluster.jobs():
                if running.state == "RUNNING":
                    cluster.cancel(running.id)
        finally:
            process.terminate()
    return seconds, _rows(manifest)


def _direct(output: Path, path: Path) -> dict[str, int]:
    subprocess.run([*job(output, "parquet"), "--input", str(path)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return _rows(output / "manifest.json")


def _rows(manifest: Path) -> dict[str, int]:
    """Rows of each kind."""
    found: dict[str, int] = {}
    for file in json.loads(manifest.read_text())["files"]:
        kind = re.sub(r"-s?[0-9].*", "", file["name"])
        found[kind] = found.get(kind, 0) + file["rows"]
    return found
