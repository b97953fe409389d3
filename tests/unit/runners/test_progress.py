"""A bar where a person looks on, and nothing where not."""

from __future__ import annotations

import io
import threading
import time

import pytest
from rich.console import Console

from thingbeam.io.files.paths import InputFile
from thingbeam.io.files.progress import read_so_far
from thingbeam.runners.progress import watching

INPUTS = [InputFile("a.jsonl", 1000), InputFile("b.jsonl", 3000)]


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def wait_for(console: Console, words: str) -> None:
    end = time.monotonic() + 10
    while words not in shown(console):
        assert time.monotonic() < end, shown(console)
        time.sleep(0.02)


def test_it_shows_how_far_reading_is_and_that_work_goes_on_and_then_nothing() -> None:
    console = terminal()
    with watching(INPUTS, console):
        wait_for(console, "reading")
        read_so_far.add(2000)
        wait_for(console, "2.0/4.0 kB")
        # Nothing more is read: what was read is worked on.
        wait_for(console, "working out")
        read_so_far.add(2000)
        wait_for(console, "4.0/4.0 kB")
    # The last line is erased.
    assert shown(console).endswith("\x1b[2K")
    assert "progress" not in {thread.name for thread in threading.enumerate()}


def test_the_whole_of_compressed_files_is_not_known() -> None:
    console = terminal()
    with watching([*INPUTS, InputFile("c.jsonl.gz", 10)], console):
        read_so_far.add(2000)
        wait_for(console, "2.0/? kB")


def test_what_was_read_before_does_not_count() -> None:
    read_so_far.add(100_000)
    console = terminal()
    with watching(INPUTS, console):
        wait_for(console, "0/4.0 kB")


@pytest.mark.parametrize(
    ("inputs", "console"),
    [
        pytest.param(INPUTS, Console(file=io.StringIO()), id="no terminal"),
        pytest.param(None, terminal(), id="read elsewhere"),
    ],
)
def test_nothing_is_shown(inputs: list[InputFile] | None, console: Console) -> None:
    with watching(inputs, console):
        read_so_far.add(10)
        time.sleep(0.3)
    assert shown(console) == ""


def test_an_error_ends_the_bar_too() -> None:
    console = terminal()

    def fail() -> None:
        with watching(INPUTS, console):
            wait_for(console, "reading")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert shown(console).endswith("\x1b[2K")
    assert "progress" not in {thread.name for thread in threading.enumerate()}
