"""A progress bar while an embedded runner reads files, and a line while a stream is worked on."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from thingbeam.io.files.paths import InputFile, compression_of
from thingbeam.io.files.progress import read_so_far
from thingbeam.runners.relaunch import Report

__all__ = ["StreamLine", "watching"]

_EVERY_S: Final = 300.0
_RATE_S: Final = 5.0


@contextmanager
def watching(inputs: Sequence[InputFile] | None, console: Console) -> Generator[None]:
    """Show how far reading is, where the console is a terminal; nothing of it is left when it is over.

    Args:
        inputs: what is read in this process, or None where the reading is done elsewhere. Of compressed files the whole
            is not known.
        console: where to show it.
    """
    if inputs is None or not console.is_terminal:
        yield
        return
    known = not any(compression_of(file.path) for file in inputs)
    total = sum(file.size for file in inputs) if known else None
    before = read_so_far.bytes
    done = threading.Event()
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reading", total=total)

        def follow() -> None:
            last = -1
            while not done.wait(0.2):
                read = read_so_far.bytes - before
                working = read > 0 and read in (last, total)
                progress.update(task, completed=read, description="working out" if working else "reading")
                last = read

        thread = threading.Thread(target=follow, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


class StreamLine:
    """What a stream's job does: at a terminal one line that changes, elsewhere a line every five minutes.

    Args:
        console: where to show it.
        every: seconds between lines where it is no terminal.
    """

    def __init__(self, console: Console, every: float = _EVERY_S) -> None:
        self._console = console
        self._every = every
        self._status = console.status("starting") if console.is_terminal else None
        self._said = time.monotonic()
        self._before: list[tuple[float, int]] = []

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, report: Report) -> None:
        """What is counted by now."""
        if not report.counts:
            return
        now = time.monotonic()
        line = self._line(report, now)
        if self._status is not None:
            self._status.update(line)
        elif now - self._said >= self._every:
            self._said = now
            self._console.print(line, soft_wrap=True, highlight=False)

    def say(self, line: str) -> None:
        """Something that is to stay."""
        self._console.print(f"thingbeam: {line}", soft_wrap=True, highlight=False, markup=False)

    def _line(self, report: Report, now: float) -> str:
        counts = report.counts
        events = counts["events"]
        if self._before and events < self._before[-1][1]:
            # Launched again, it counts from 0.
            self._before.clear()
        self._before = [*(each for each in self._before if now - each[0] < _RATE_S), (now, events)]
        since, first = self._before[0]
        rate = (events - first) / (now - since) if now > since else 0.0
        parts = [f"{events:,} events", f"{rate:,.0f}/s"]
        if report.lag is not None:
            parts.append(f"{report.lag[0]:,} records ({report.lag[1]:,.0f} s) behind")
        parts += [f"{counts[name]:,} {name.replace('_', ' ')}" for name in ("late", "dead_letters") if counts[name]]
        return ", ".join(parts)
