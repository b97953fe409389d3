"""What ends a command, each as one line on stderr and an exit status."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Generator
from typing import Any, Final

import click

__all__ = [
    "FAILED", "INTERRUPTED", "KAFKA_LOGGER", "MISTAKE", "TRACEBACK", "RunFailedError", "exit_status", "quiet",
]  # fmt: skip

FAILED: Final = 1
MISTAKE: Final = 2
INTERRUPTED: Final = 130
"""As shells have it: 128 and the number of SIGINT."""

TRACEBACK: Final = "THINGBEAM_TRACEBACK"
"""The environment variable that, set to anything, asks for tracebacks too."""


KAFKA_LOGGER: Final = "thingbeam.kafka"
"""What the client of Kafka logs to."""


class RunFailedError(RuntimeError):
    """A run that began and did not end well. The message is one line."""


def exit_status(command: Callable[[], Any]) -> int:
    """Run a command and say in one line what is wrong with it, if anything is; gives the exit status.

    A ValueError, an ImportError or an error of the system is a mistake in what was asked, found before anything ran.
    Any other exception is a bug and passes through.

    >>> exit_status(lambda: None)
    0
    """
    try:
        command()
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.Abort:
        return _say("interrupted", INTERRUPTED)
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        return _say(error.format_message() + (f" See {where} --help" if where else ""), MISTAKE)
    except RunFailedError as error:
        return _say(str(error), FAILED)
    except (ValueError, ImportError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            # Who read what we say has gone.
            return FAILED
        return _say(str(error), MISTAKE)
    return 0


@contextlib.contextmanager
def quiet(name: str) -> Generator[None]:
    """Silence a logger: a client says at each attempt, several times a second, what we say once."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _say(message: str, status: int) -> int:
    if os.environ.get(TRACEBACK) and status in (FAILED, MISTAKE):
        traceback.print_exc(file=sys.stderr)
    click.echo("thingbeam: " + " ".join(message.split()), err=True)
    return status
