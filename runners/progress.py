"""A progress bar while an embedded runner reads, and a clock while it works."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from thingbeam.io.files.paths import InputFile, compression_of
from thingbeam.io.files.progress import read_so_far

__all__ = ["watching"]


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
