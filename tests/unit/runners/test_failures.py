"""Each way for a command to end: a status, and at most one line."""

from __future__ import annotations

import errno

import click
import pytest

from thingbeam.runners.failures import RunFailedError, exit_status


@click.command()
def some() -> None:
    """Some command."""


USAGE = click.UsageError("no such thing", ctx=click.Context(some, info_name="thingbeam some"))


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (click.exceptions.Exit(0), 0, ""),
        (click.exceptions.Exit(3), 3, ""),
        (click.Abort(), 130, "thingbeam: interrupted\n"),
        (click.ClickException("over\n  two lines"), 2, "thingbeam: over two lines\n"),
        (USAGE, 2, "thingbeam: no such thing See thingbeam some --help\n"),
        (RunFailedError("it broke"), 1, "thingbeam: it broke\n"),
        (ValueError("a slip"), 2, "thingbeam: a slip\n"),
        (ImportError("pip install it"), 2, "thingbeam: pip install it\n"),
        (PermissionError(13, "Permission denied", "f"), 2, "thingbeam: [Errno 13] Permission denied: 'f'\n"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, ""),
    ],
)
def test_each_end(error: Exception, status: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise error

    assert exit_status(fail) == status
    assert capsys.readouterr() == ("", line)


def test_a_mistake_of_ours_is_not_hidden() -> None:
    def fail() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        exit_status(fail)


def test_who_asks_gets_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("THINGBEAM_TRACEBACK", "1")

    def fail() -> None:
        raise ValueError("a slip")

    assert exit_status(fail) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert shown.endswith("thingbeam: a slip\n")
