"""What commands about other systems cannot do, as one line."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import click

__all__ = ["told"]


@contextmanager
def told() -> Generator[None]:
    """Errors of the stack and of services become click's, which are one line on stderr.

    >>> with told():
    ...     raise __import__("thingbeam.runners.stack.errors", fromlist=["StackError"]).StackError("no cluster")
    Traceback (most recent call last):
    click.exceptions.ClickException: no cluster
    """
    from thingbeam.io.errors import ConnectorError
    from thingbeam.runners.stack.errors import StackError

    try:
        yield
    except (ConnectorError, StackError) as error:
        raise click.ClickException(str(error)) from error
