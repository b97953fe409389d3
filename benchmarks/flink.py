"""The main job on a Flink of its own beside itself without one, and beside others, by the clock on the same cores.

On Flink engine and workers together have as many cores as there are tasks of each step; the others have one.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from inputs import Inputs
from peers import job
from processes import ROOT, lines_of, run

from thingbeam.runners.stack import Stack
from thingbeam.runners.stack.flink_cluster import FlinkCluster

_SECONDS = 600.0
_CHECKPOINT_MS = 1000
_CLI = "thingbeam.runners.cli"


DIRECT = "direct"


class OnFlink(NamedTuple):
    """What a command comes to; on Flink with a checkpoint each second."""

    name: str
    cores: int
    """Which it has; on Flink as many as its parallelism."""
    rate: float
    """Events a second by the clock."""
    start: float
    """Seconds by the clock from the command to the first event."""
    runs: list[float]
    """The rate of each run."""


def on_flink(
    inputs: Inputs, events: int, runs: int, more: Mapping[str, Sequence[str]], parallelisms: Sequence[int] = (1, 2)
) -> list[OnFlink]:
    """Rates from the difference of two files, by turns, and that each run on Flink has the rows of a direct one.

    Args:
        inputs: makes the files.
        events: of the large file; the small one has a fifth.
        runs: of each file.
        more: commands of peers, by name; the file is their last argument.
        parallelisms: tasks of each step, and cores.

    Raises:
        SystemExit: a job failed, took too long, or has other results than on the direct runner.
    """
    files = inputs.file(events // 5), inputs.file(events)
    taken: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    for _ in range(runs):
        direct = [_direct(inputs.place / "direct", path) for path in files]
        expected = [rows for _, rows in direct]
        taken.setdefault((DIRECT, 1), []).append(tuple(seconds for seconds, _ in direct))
        for name, command in more.items():
            walls = tuple(run([*command, str(path)], 0).wall for path in files)
            taken.setdefault((name, 1), []).append(walls)
        for parallelism in parallelisms:
            with _cluster(inputs.place / f"flink-{parallelism}", parallelism) as environment:
                # A cluster runs for days: its JVM is warmed, as large a file as is measured, before anything counts.
                _run(inputs.place / "out", files[1], parallelism, environment)
                found = [_run(inputs.place / "out", path, parallelism, environment) for path in files]
            if [rows for _, rows in found] != expected:
                raise SystemExit(f"bench: on Flink there are other rows: {found}, not {expected}")
            name = f"Flink, parallelism {parallelism}"
            taken.setdefault((name, parallelism), []).append(tuple(seconds for seconds, _ in found))
    few, many = (lines_of(path) for path in files)
    measured: list[OnFlink] = []
    for (name, cores), pairs in taken.items():
        costs = [(after - before) / (many - few) for before, after in pairs]
        cost = statistics.median(costs)
        start = statistics.median(before for before, _ in pairs) - cost * few
        measured.append(OnFlink(name, cores, 1 / cost, max(0.0, start), [1 / each for each in costs]))
    return measured


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


def _direct(output: Path, path: Path) -> tuple[float, dict[str, int]]:
    """The same without Flink, on one core."""
    seconds = run([*job(output, "parquet"), "--input", str(path), "--runner=direct"], 0).wall
    return seconds, _rows(output / "manifest.json")


def _rows(manifest: Path) -> dict[str, int]:
    """Rows of each kind."""
    found: dict[str, int] = {}
    for file in json.loads(manifest.read_text())["files"]:
        kind = re.sub(r"-s?[0-9].*", "", file["name"])
        found[kind] = found.get(kind, 0) + file["rows"]
    return found
