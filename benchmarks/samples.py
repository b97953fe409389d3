"""Memory, state and lag of a running job, looked at again and again, and whether they grow."""

from __future__ import annotations

import csv
import math
import re
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from thingbeam.runners.stack import Stack, rest
from thingbeam.runners.stack.processes import Identity, members
from thingbeam.runners.stack.rest import RestError
from thingbeam.runners.stack.state import StateFile
from thingbeam.runners.stack.tools import tool

MB = 1e6
_METRICS = {
    "heap": "Status.JVM.Memory.Heap.Used",
    "managed": "Status.Flink.Memory.Managed.Used",
    "metaspace": "Status.JVM.Memory.Metaspace.Used",
    "direct": "Status.JVM.Memory.Direct.MemoryUsed",
}
_TOTAL = re.compile(r"^Total\s+\d+\s+(\d+)", re.M)
_WORKER = b"sdk_worker_main"


class Trend(NamedTuple):
    """How a series goes, its warm-up left out."""

    series: str
    second: float
    """Mean of the second quarter of the time."""
    last: float
    """Mean of the last quarter."""
    slope: float
    """Of the straight line that is nearest to all, in its unit an hour."""
    most: float

    @property
    def ratio(self) -> float:
        """The last quarter beside the second."""
        return self.last / self.second if self.second else math.inf if self.last else 1.0


class Samples:
    """Values of several series by the clock.

    Args:
        path: a CSV file: seconds, then a column for each series; what was not looked at is empty.
    """

    def __init__(self, path: Path) -> None:
        self.rows: list[tuple[float, dict[str, float]]] = []
        self._path = path
        self._began = time.monotonic()

    def take(self, values: Mapping[str, float]) -> None:
        """Values of now."""
        self.rows.append((time.monotonic() - self._began, dict(values)))
        names = list(dict.fromkeys(name for _, row in self.rows for name in row))
        with self._path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["seconds", *names])
            for at, row in self.rows:
                writer.writerow([f"{at:.1f}", *(f"{row[name]:.3f}" if name in row else "" for name in names)])

    def series(self) -> dict[str, list[tuple[float, float]]]:
        """Seconds and value of each, by name."""
        names = dict.fromkeys(name for _, row in self.rows for name in row)
        return {name: [(at, row[name]) for at, row in self.rows if name in row] for name in names}

    def trends(self, warm: float) -> list[Trend]:
        """Of every series that was looked at often enough.

        Args:
            warm: seconds from the first sample that are left out.
        """
        return [trend for name, points in self.series().items() if (trend := trend_of(name, points, warm)) is not None]


def trend_of(name: str, points: Sequence[tuple[float, float]], warm: float) -> Trend | None:
    """The trend of one series, or None where a quarter has no sample.

    >>> trend_of("flat", [(second, 5.0) for second in range(100)], 20).slope
    0.0
    >>> growing = trend_of("growing", [(second, 100 + second / 3600) for second in range(3600)], 0)
    >>> round(growing.slope, 6), round(growing.ratio, 4)
    (1.0, 1.005)
    """
    counted = [(at, value) for at, value in points if at >= warm]
    if not counted:
        return None
    begin, end = counted[0][0], counted[-1][0]
    quarters: list[list[float]] = [[], [], [], []]
    for at, value in counted:
        quarters[min(3, int(4 * (at - begin) / (end - begin or 1)))].append(value)
    if not quarters[1] or not quarters[3]:
        return None
    times, values = [at for at, _ in counted], [value for _, value in counted]
    slope = statistics.linear_regression(times, values).slope * 3600
    return Trend(name, statistics.fmean(quarters[1]), statistics.fmean(quarters[3]), slope, max(values))


class Memory:
    """What the processes of a Flink cluster take, in MB.

    Args:
        stack: has the cluster.
        name: of its component.
    """

    def __init__(self, stack: Stack, name: str = "flink") -> None:
        self._stack, self._name = stack, name
        self._url = stack.uri(f"{name}/jobmanager")

    def workers(self) -> list[int]:
        """Numbers of the Python workers' processes."""
        found = [pid for manager in self._managers().values() for pid in members(manager)]
        return sorted(pid for pid in found if _WORKER in _read(f"/proc/{pid}/cmdline"))

    def processes(self) -> dict[str, int]:
        """Workers, TaskManagers and JobManager by name."""
        found = {f"worker {number}": pid for number, pid in enumerate(self.workers(), 1)}
        state = StateFile(self._stack.directory).read().components[self._name].processes
        ours = ("jobmanager", "taskmanager")
        return found | {name: held.pid for name, held in state.items() if held and name.startswith(ours)}

    def resident(self) -> dict[str, float]:
        """RSS of each, and of all workers together; and how many threads those have."""
        pids = self.processes()
        sizes = {name: status(pid, "VmRSS") * 1024 / MB for name, pid in pids.items()}
        workers = [name for name in sizes if name.startswith("worker")]
        together = {
            "workers, RSS": sum(sizes[name] for name in workers),
            "workers, threads": sum(status(pids[name], "Threads") for name in workers),
        }
        return together | {f"{name}, RSS": size for name, size in sizes.items()}

    def metrics(self) -> dict[str, float]:
        """What Flink says of its TaskManagers' memory."""
        found: dict[str, float] = {}
        for name in self._managers():
            asked = ",".join(_METRICS.values())
            try:
                answer = rest.call("GET", f"{self._url}/taskmanagers/{name}/metrics?get={asked}")
            except (OSError, HTTPException, RestError):
                continue
            values = {metric["id"]: float(metric["value"]) for metric in answer}
            found |= {f"{name}, {what}": values[metric] / MB for what, metric in _METRICS.items() if metric in values}
        return found

    def live(self, folder: Path | None = None) -> dict[str, float]:
        """What each TaskManager's heap holds after a full collection; with a folder, by class in a file there."""
        found: dict[str, float] = {}
        for name, manager in self._managers().items():
            jcmd = str(Path(tool("java")).resolve().with_name("jcmd"))
            done = subprocess.run([jcmd, str(manager.pid), "GC.class_histogram"], capture_output=True, text=True)
            total = _TOTAL.search(done.stdout)
            if total is not None:
                found[f"{name}, heap in use"] = int(total[1]) / MB
            if folder is not None:
                (folder / f"heap-{name}-{time.strftime('%H%M%S')}.txt").write_text(done.stdout[:20_000])
        return found

    def checkpoint(self, job: str) -> dict[str, float]:
        """The mean size of a job's newest complete checkpoints, how many there are, and how many failed."""
        try:
            answer = rest.call("GET", f"{self._url}/jobs/{job}/checkpoints")
        except (OSError, HTTPException, RestError):
            return {}
        sizes = [held["state_size"] / MB for held in answer["history"] if held["status"] == "COMPLETED"]
        counts = answer["counts"]
        size = {"checkpoint": statistics.fmean(sizes)} if sizes else {}
        return size | {"checkpoints, count": counts["completed"], "checkpoints that failed, count": counts["failed"]}

    def restarts(self, job: str) -> int:
        """How often a job was started again."""
        answer = rest.call("GET", f"{self._url}/jobs/{job}/metrics?get=numRestarts")
        return int(float(answer[0]["value"])) if answer else 0

    def _managers(self) -> dict[str, Identity]:
        state = StateFile(self._stack.directory).read().components[self._name].processes
        return {name: held for name, held in state.items() if held and name.startswith("taskmanager")}


def status(pid: int, what: str) -> int:
    """A number that the kernel has of a process, sizes in kB; 0 of one that is gone.

    >>> status(1 << 30, "Threads")
    0
    """
    found = re.search(rf"^{what}:\s+(\d+)".encode(), _read(f"/proc/{pid}/status"), re.M)
    return int(found[1]) if found else 0


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
