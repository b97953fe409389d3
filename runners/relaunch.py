"""A job that runs for ever in a process of its own, launched again when that dies. For engines that keep nothing.

The parent holds the engine and decides; the child submits the job and works for it. What a child was given and what it
says are files in a folder of the parent's. A child whose parent is gone ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from thingbeam.runners.failures import FAILED, TRACEBACK, RunFailedError

__all__ = ["AGAIN", "Launch", "Relaunches", "Report", "end_with_parent", "stopping", "supervise"]

AGAIN: Final = 75
"""A child's exit status where another try may do: sysexits' EX_TEMPFAIL."""
_LOOK_S: Final = 0.2
_GRACE_S: Final = 20.0
_SAID: Final = "said.log"


class Launch(msgspec.Struct):
    """What a child is given."""

    endpoint: str
    """The engine's job service."""
    pinned: list[str]
    """Where the streams began when the first child was launched."""
    report: str
    """The file that it writes its Report to."""


class Report(msgspec.Struct):
    """What a child says, over and over."""

    counts: dict[str, int] = {}
    written: list[dict[str, int]] = []
    """For each output, rows by kind."""
    lag: tuple[int, float] | None = None
    """Records, seconds."""
    problem: str = ""
    """Why it ended, in one line."""

    def write(self, path: str) -> None:
        """Write it, whole, in the place of the one before."""
        unfinished = f"{path}.new"
        Path(unfinished).write_bytes(msgspec.json.encode(self))
        os.replace(unfinished, path)

    @classmethod
    def read(cls, path: str) -> Report:
        """The newest; an empty one where there is none yet."""
        with contextlib.suppress(FileNotFoundError):
            return msgspec.json.decode(Path(path).read_bytes(), type=cls)
        return cls()


class Relaunches:
    """How long to wait before a job is launched again, and when to give up.

    Args:
        limit: how often in a row it is launched again.
        first: seconds before the first time; each next is twice as long.
        longest: seconds at most.
        healthy: a job that ran this many seconds starts a new row.

    >>> relaunches = Relaunches(limit=3, first=1.0, longest=3.0, healthy=300.0)
    >>> [relaunches.after(5.0) for _ in range(4)], relaunches.after(400.0)
    ([1.0, 2.0, 3.0, None], 1.0)
    """

    def __init__(self, limit: int, first: float = 1.0, longest: float = 60.0, healthy: float = 300.0) -> None:
        self.limit = limit
        self.done = 0
        self._first, self._longest, self._healthy = first, longest, healthy

    def after(self, seconds: float) -> float | None:
        """Seconds to wait after a run of that length; None where it is not launched again."""
        if seconds >= self._healthy:
            self.done = 0
        if self.done >= self.limit:
            return None
        self.done += 1
        return min(self._longest, self._first * 2.0 ** (self.done - 1))


def supervise(
    arguments: Sequence[str],
    pinned: Sequence[str],
    engine: Callable[[], contextlib.AbstractContextManager[str]],
    relaunches: Relaunches,
    show: Callable[[Report], None],
    say: Callable[[str], None],
) -> Report:
    """Run a command line again and again until it is stopped, by Ctrl-C or SIGTERM; gives its last report.

    Args:
        arguments: of `thingbeam`; `--launch FILE` is added.
        pinned: where its streams begin.
        engine: starts an engine of its own for each launch, and gives its address.
        relaunches: when to launch again.
        show: is given what the child says, several times a second.
        say: is told in one line each time that it is launched again.

    Raises:
        RunFailedError: it failed in a way that another try would not mend, or too often.
    """
    with tempfile.TemporaryDirectory(prefix="thingbeam-") as folder, stopping() as stop:
        file, report = str(Path(folder) / "launch.json"), str(Path(folder) / "report.json")
        while True:
            started = time.monotonic()
            with engine() as endpoint:
                Path(file).write_bytes(msgspec.json.encode(Launch(endpoint, list(pinned), report)))
                status = _child([*arguments, "--launch", file], stop, lambda: show(Report.read(report)), folder)
            last = Report.read(report)
            if stop.is_set() or not status:
                return last
            if status == FAILED:
                raise RunFailedError(last.problem)
            if status > 0 and status != AGAIN:
                raise RunFailedError(_last_line(Path(folder) / _SAID) or f"the worker ended with status {status}")
            problem = last.problem if status > 0 else f"the worker was ended by signal {-status}"
            pause = relaunches.after(time.monotonic() - started)
            if pause is None:
                raise RunFailedError(f"{problem}; it was launched again {relaunches.limit} times: see --relaunch")
            say(f"{problem}; launching it again in {pause:g} s ({relaunches.done} of {relaunches.limit})")
            Path(report).unlink(missing_ok=True)
            stop.wait(pause)
            if stop.is_set():
                return last


def _child(arguments: Sequence[str], stop: threading.Event, look: Callable[[], None], folder: str) -> int:
    """Run one child to its end; gives its exit status, below 0 for the signal that ended it."""
    argv = [sys.executable, "-m", "thingbeam.runners.cli", *arguments]
    with contextlib.ExitStack() as stack:
        # Beam's worker prints whole tracebacks; the report says in one line what is wrong.
        said = None if os.environ.get(TRACEBACK) else stack.enter_context((Path(folder) / _SAID).open("wb"))
        # Its standard input ends when this process does, however that is. Ctrl-C is for this process.
        process = stack.enter_context(
            subprocess.Popen(  # noqa: S603 - what this process was given
                argv, stdin=subprocess.PIPE, stdout=said, stderr=said, start_new_session=True
            )
        )
        asked = 0.0
        try:
            while process.poll() is None:
                if stop.is_set() and not asked:
                    process.terminate()
                    asked = time.monotonic()
                elif asked and time.monotonic() - asked > _GRACE_S:
                    process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_S)
                look()
        finally:
            if process.poll() is None:
                process.kill()
        return process.returncode


def _last_line(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        lines = path.read_text(errors="replace").split("\n")
        return next((line.removeprefix("thingbeam: ") for line in reversed(lines) if line.strip()), "")
    return ""


@contextlib.contextmanager
def stopping() -> Generator[threading.Event]:
    """Ctrl-C and SIGTERM set an event within this; outside the main thread, where no signal comes, nothing does."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(*_: Any) -> None:
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent() -> None:
    """In a child: end when the parent is gone."""

    def watch() -> None:
        while sys.stdin.buffer.read(1 << 10):
            pass
        os._exit(FAILED)

    threading.Thread(target=watch, name="thingbeam-parent", daemon=True).start()
