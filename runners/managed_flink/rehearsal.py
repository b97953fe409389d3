"""A package run on this machine as on one KPU: one core, 4 GB, nothing installed but Python."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple

from thingbeam.runners.managed_flink.kpu import Kpu
from thingbeam.runners.managed_flink.rules import check_package
from thingbeam.runners.packaging.submit import run_jar
from thingbeam.runners.stack import Stack, StackError, rest, running
from thingbeam.runners.stack.flink_cluster import FlinkCluster
from thingbeam.runners.stack.processes import members
from thingbeam.runners.stack.state import StateFile

__all__ = ["Rehearsal", "rehearse", "rehearse_on"]

_TASKMANAGER: Final = "taskmanager-1"
_LOOK_SECONDS: Final = 0.2
_LONGEST: Final = 400


class Rehearsal(NamedTuple):
    """What came of it.

    Attributes:
        state: of the job in the end: FINISHED; of an endless one RUNNING, until it was cancelled.
        seconds: from the upload to that.
        peak: most bytes that the TaskManager and its Python workers held at one time.
        workers: command lines of the Python workers that were seen.
    """

    state: str
    seconds: float
    peak: int
    workers: frozenset[str]


def rehearse(package: Path, *, seconds: float = 300.0, directory: Path | None = None) -> Rehearsal:
    """Runs a package to its end, or for a while.

    Args:
        package: of `write_package`.
        seconds: limit of time; an endless job that runs then is well, and is cancelled.
        directory: for the cluster's data and logs; a temporary one if None.

    Raises:
        ValueError: it is no package that AWS takes.
        StackError: the job failed, or no cluster could be had; one line.
        MissingToolError: a program for the cluster is not there.
    """
    check_package(package)
    with tempfile.TemporaryDirectory(prefix="kpu-") as temporary, running(directory or temporary, Kpu()) as stack:
        return rehearse_on(stack, package, seconds=seconds)


def rehearse_on(stack: Stack, package: Path, *, seconds: float = 300.0) -> Rehearsal:
    """Runs any jar on a KPU that is there.

    Args:
        stack: with a `Kpu` that runs.
        package: of `write_package` or `write_jar`.
        seconds: limit of time.

    Raises:
        StackError: the job failed, or did not start; one line.
    """
    url = stack.uri(f"{Kpu.kind}/jobmanager")
    with _Watch(stack) as watch:
        clock = time.monotonic()
        job = run_jar(url, package)
        state = _await(url, job, seconds)
        took = time.monotonic() - clock
    return Rehearsal(state, took, watch.peak, frozenset(watch.workers))


def _await(url: str, job: str, seconds: float) -> str:
    cluster, until = FlinkCluster(url, seconds), time.monotonic() + seconds
    while time.monotonic() < until:
        state = cluster.state(job)
        if state in ("FINISHED", "FAILED", "CANCELED"):
            return cluster.wait(job, "FINISHED")
        if state in ("RESTARTING", "FAILING"):
            # Flink would try for ever what fails each time.
            reason = _reason(url, job)
            cluster.cancel(job)
            raise StackError(f"job {job} failed: {reason or 'it says nothing'}")
        time.sleep(_LOOK_SECONDS)
    state = cluster.state(job)
    cluster.cancel(job)
    return state


def _reason(url: str, job: str) -> str:
    """What the newest exception of a job says: of its causes, the first that holds what the last one says."""
    history = rest.call("GET", f"{url}/jobs/{job}/exceptions").get("exceptionHistory", {}).get("entries", [])
    lines = [line.strip() for line in str(history[0].get("stacktrace", "")).splitlines()] if history else []
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")] or lines[:1]
    if not causes:
        return ""
    said = causes[-1].partition(": ")[2] or causes[-1]
    return next(cause for cause in causes if said in cause)[:_LONGEST]


class _Watch:
    """Looks at the TaskManager and what it started, a few times a second."""

    def __init__(self, stack: Stack) -> None:
        self.peak = 0
        self.workers: set[str] = set()
        identity = StateFile(stack.directory).read().components[Kpu.kind].processes[_TASKMANAGER]
        assert identity is not None
        self._identity = identity
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            pids = members(self._identity)
            self.peak = max(self.peak, sum(_memory(pid) for pid in pids))
            self.workers |= {_command(pid) for pid in pids if pid != self._identity.pid}
            self.workers.discard("")


def _memory(pid: int) -> int:
    """Bytes of a process, pages that it shares counted in parts (proc(5), smaps_rollup)."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except (OSError, IndexError, ValueError):
        pass
    return 0


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
