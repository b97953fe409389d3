"""Whole processes on one core: what they cost, and what an event costs, without the start-up."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

Command = Callable[[Path], Sequence[str]]
"""What is run on a file."""


class Cost(NamedTuple):
    """What one run of a command took, its children's time counted."""

    cpu: float
    wall: float
    megabytes: float


class Measured(NamedTuple):
    """What a command comes to on two sizes of file."""

    name: str
    rate: float
    """Events a second of CPU time."""
    wall_rate: float
    start: float
    """CPU seconds before the first event."""
    megabytes: float
    """At its most."""
    runs: list[float]
    """The rate of each run."""


def end_cleanly() -> None:
    """Has SIGTERM end this process as an error does, so that the servers that it started end too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def run(command: Sequence[str], core: int, environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command on one core.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    pinned = ["taskset", "-c", str(core), *command] if shutil.which("taskset") else list(command)
    clock = time.monotonic()
    with tempfile.TemporaryFile() as log:
        variables = os.environ | {"OMP_NUM_THREADS": "1"} | dict(environment or {})
        process = subprocess.Popen(pinned, stdout=log, stderr=log, cwd=ROOT, env=variables)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            tail = log.read()[-2000:].decode(errors="replace")
            raise SystemExit(f"bench: {' '.join(command)} ended with {process.returncode}:\n{tail}")
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - clock, usage.ru_maxrss / 1024)


def measure(name: str, command: Command, small: Path, large: Path, runs: int, core: int) -> Measured:
    """Rates of one core from the difference of two files, and the start-up that remains."""
    few, many = lines_of(small), lines_of(large)
    pairs = [(run(command(small), core), run(command(large), core)) for _ in range(runs)]
    costs = [(after.cpu - before.cpu) / (many - few) for before, after in pairs]
    cost = statistics.median(costs)
    wall = statistics.median((after.wall - before.wall) / (many - few) for before, after in pairs)
    start = statistics.median(before.cpu for before, _ in pairs) - cost * few
    most = max(after.megabytes for _, after in pairs)
    return Measured(name, 1 / cost, 1 / wall, max(0.0, start), most, [1 / each for each in costs])


def lines_of(path: Path) -> int:
    """How many lines a file has."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
