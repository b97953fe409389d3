"""A Flink cluster by its REST API, and the options that send it a Beam pipeline."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from thingbeam.runners.stack import rest
from thingbeam.runners.stack.component import Place
from thingbeam.runners.stack.errors import StackError

__all__ = ["FlinkCluster", "Job", "beam_options", "boot_script"]

_PAUSE_SECONDS: Final = 0.1
_OVER: Final = frozenset({"FINISHED", "CANCELED", "FAILED", "SUSPENDED"})
T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """A job of a cluster."""

    id: str
    """Flink's."""
    name: str
    """As its pipeline calls it."""
    state: str
    """INITIALIZING, CREATED, RUNNING, FAILING, FAILED, CANCELLING, CANCELED, FINISHED, RESTARTING, SUSPENDED…"""


class FlinkCluster:
    """A cluster's jobs: list, savepoint, stop, cancel (Flink's REST API, https://nightlies.apache.org/flink).

    Args:
        url: of the REST API: `http://127.0.0.1:8081`.
        seconds: limit of time for what is waited for.
    """

    def __init__(self, url: str, seconds: float = 120.0) -> None:
        self._url = url.rstrip("/")
        self._seconds = seconds

    def jobs(self) -> list[Job]:
        """All the jobs that it remembers, the newest first."""
        found = self._get("/jobs/overview")["jobs"]
        found.sort(key=lambda job: -int(job["start-time"]))
        return [Job(job["jid"], job["name"], job["state"]) for job in found]

    def job(self, name: str) -> Job:
        """The newest job of a name, waited for.

        Raises:
            StackError: there is none within the limit.
        """
        return self._await(f"a job {name}", lambda: next((job for job in self.jobs() if job.name == name), None))

    def state(self, job: str) -> str:
        """The state of a job."""
        state: str = self._get(f"/jobs/{job}")["state"]
        return state

    def wait(self, job: str, *states: str) -> str:
        """Waits until a job is in one of the states, or over if none is named; a JobManager that is away is waited for.

        Raises:
            StackError: it is over in another one, with the exception that ended it, or not there within the limit.
        """
        wanted = frozenset(states) or _OVER

        def look() -> str | None:
            state = self.state(job)
            if state not in wanted and state in _OVER:
                raise StackError(f"job {job} is {state}: {self.failure(job) or 'it says nothing'}")
            return state if state in wanted else None

        return self._await(f"job {job} to be {' or '.join(sorted(wanted))}", look)

    def wait_for_tasks(self, job: str) -> None:
        """Waits until every task of a job runs.

        Raises:
            StackError: not within the limit.
        """

        def look() -> bool | None:
            vertices = self._get(f"/jobs/{job}")["vertices"]
            return True if vertices and all(vertex["status"] == "RUNNING" for vertex in vertices) else None

        self._await(f"all tasks of job {job} to run", look)

    def failure(self, job: str) -> str:
        """The first line of the newest exception in a job's history, or ""."""
        history = self._get(f"/jobs/{job}/exceptions").get("exceptionHistory", {}).get("entries", [])
        lines = str(history[0].get("stacktrace", "")).splitlines() if history else []
        causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
        return (causes or lines or [""])[-1 if causes else 0]

    def checkpoints(self, job: str) -> int:
        """How many checkpoints of a job are complete."""
        count: int = self._get(f"/jobs/{job}/checkpoints")["counts"]["completed"]
        return count

    def wait_for_checkpoints(self, job: str, more: int = 1) -> None:
        """Waits until so many more checkpoints are complete.

        Raises:
            StackError: not within the limit.
        """
        goal = self.checkpoints(job) + more
        self._await(f"{more} more checkpoints of job {job}", lambda: self.checkpoints(job) >= goal or None)

    def checkpoint(self, job: str) -> str:
        """Where the newest complete checkpoint of a job is; `savepoint` of beam_options resumes from it.

        Raises:
            StackError: there is none.
        """
        newest = self._get(f"/jobs/{job}/checkpoints")["latest"].get("completed")
        if newest is None or not newest.get("external_path"):
            raise StackError(f"job {job} has no complete checkpoint")
        path: str = newest["external_path"]
        return path

    def savepoint(self, job: str) -> str:
        """Makes a savepoint and gives its place.

        Raises:
            StackError: it failed.
        """
        return self._triggered(job, rest.call("POST", f"{self._url}/jobs/{job}/savepoints", {"cancel-job": False}))

    def stop(self, job: str, *, drain: bool = False) -> str:
        """Makes a savepoint, ends the job, and gives the savepoint's place.

        Args:
            job: which.
            drain: whether event time is driven to its end first, so that everything open is emitted; such a savepoint
                is not to be resumed from.

        Raises:
            StackError: it failed.
        """
        place = self._triggered(job, rest.call("POST", f"{self._url}/jobs/{job}/stop", {"drain": drain}))
        self.wait(job, "FINISHED")
        return place

    def cancel(self, job: str) -> None:
        """Ends a job as it is; its checkpoints stay. One that is over is left alone.

        Raises:
            StackError: it does not end.
        """
        if self.state(job) not in _OVER:
            rest.call("PATCH", f"{self._url}/jobs/{job}?mode=cancel")
            self.wait(job)

    def taskmanagers(self) -> list[str]:
        """Names of the TaskManagers that it knows."""
        return sorted(manager["id"] for manager in self._get("/taskmanagers")["taskmanagers"])

    def _triggered(self, job: str, answer: Any) -> str:
        url = f"/jobs/{job}/savepoints/{answer['request-id']}"

        def look() -> dict[str, Any] | None:
            found = self._get(url)
            return found["operation"] if found["status"]["id"] == "COMPLETED" else None

        operation = self._await(f"a savepoint of job {job}", look)
        if "location" not in operation:
            cause = operation.get("failure-cause", {}).get("stack-trace", "no reason given").splitlines()[0]
            raise StackError(f"no savepoint of job {job}: {cause}")
        place: str = operation["location"]
        return place

    def _get(self, path: str) -> Any:
        return rest.call("GET", self._url + path)

    def _await(self, what: str, look: Callable[[], T | None]) -> T:
        until = time.monotonic() + self._seconds
        last = ""
        while True:
            try:
                found = look()
                if found is not None:
                    return found
            except (OSError, rest.RestError) as error:
                last = f": {error}"
            if time.monotonic() > until:
                raise StackError(f"waited {self._seconds:.0f} s for {what}{last}")
            time.sleep(_PAUSE_SECONDS)


def beam_options(
    jobs: str,
    *,
    environment: Literal["LOOPBACK", "PROCESS", "EXTERNAL"] = "LOOPBACK",
    boot: Path | None = None,
    pool: str = "",
    parallelism: int = 1,
    max_parallelism: int = 0,
    checkpoint_ms: int = 0,
    bundle_ms: int = 100,
    at_once: bool = True,
    savepoint: str = "",
    more: Sequence[str] = (),
) -> list[str]:
    """Options that send a Beam pipeline to Flink through its job server.

    Args:
        jobs: HOST:PORT of the job server.
        environment: where Python runs: in the process that submits (LOOPBACK: it must live as long as the job; for one
            TaskManager, as Beam mixes up the workers of several), in processes that the TaskManagers start (PROCESS),
            in those of a worker pool (EXTERNAL; thingbeam.runners.loopback has one of threads of this process).
        boot: the program that starts a worker, of `boot_script`; for PROCESS.
        pool: HOST:PORT of the worker pool; for EXTERNAL.
        parallelism: how many tasks of each step.
        max_parallelism: of key groups, which bounds a later parallelism; 0 leaves it to Flink.
        checkpoint_ms: milliseconds between checkpoints; 0 for none. With them, bundles are finished first: without
            that a step after Impulse buffers at a checkpoint and never goes on, silently.
        bundle_ms: milliseconds after which a bundle ends, of a job with checkpoints. What one bundle's timers set fires
            in the next: event time that is behind goes on by one timer of a key a bundle, so with Flink's own 1,000 ms
            a backlog of a day in slices of a minute takes 24 minutes.
        at_once: whether elements go to their worker as they come, in a job with checkpoints: the stack's job server can
            do that safely.
        savepoint: a savepoint or checkpoint to resume from.
        more: further options.

    Raises:
        ValueError: what the environment needs is not given.
    """
    options = ["--runner=PortableRunner", f"--job_endpoint={jobs}", f"--environment_type={environment}"]
    if environment == "PROCESS":
        if boot is None:
            raise ValueError("PROCESS needs boot, the program that starts a worker")
        options.append(f"--environment_config={json.dumps({'command': str(boot)})}")
    if environment == "EXTERNAL":
        if not pool:
            raise ValueError("EXTERNAL needs pool, the address of the worker pool")
        options.append(f"--environment_config={pool}")
    options.append(f"--parallelism={parallelism}")
    if max_parallelism:
        options.append(f"--max_parallelism={max_parallelism}")
    if checkpoint_ms:
        options += ["--streaming", f"--checkpointing_interval={checkpoint_ms}", "--finish_bundle_before_checkpointing"]
        options.append(f"--max_bundle_time_mills={bundle_ms}")
        if at_once:
            options.append("--experiments=data_buffer_size_limit=0")
    if savepoint:
        options.append(f"--savepoint_path={savepoint}")
    return [*options, *more]


def boot_script(place: Place) -> Path:
    """Writes a program that starts Python workers in this interpreter, with the packages that this process can import.

    Args:
        place: of the component, in whose folder it is written.
    """
    # What belongs to the interpreter it finds by itself.
    own = (Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve())
    folders = [Path(path).resolve() for path in sys.path if path and Path(path).is_dir()]
    paths = [str(folder) for folder in folders if not any(folder.is_relative_to(prefix) for prefix in own)]
    script = place.directory / "boot"
    module = "thingbeam.runners.stack.boot"
    lines = [
        "#!/bin/sh",
        f"export PYTHONPATH={shlex.quote(os.pathsep.join(paths))}",
        f'exec {shlex.quote(sys.executable)} -m {module} "$@"',
    ]
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    script.chmod(0o755)
    return script
