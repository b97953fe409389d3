"""Prism, Beam's embedded engine for streams: built from its Go module, started and ended by us.

Prism that Beam starts is orphaned when its client is killed; and Beam would download a binary of its own.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator
from pathlib import Path

from thingbeam.runners.stack.cache import cache_directory
from thingbeam.runners.stack.components.prism import Prism, binary
from thingbeam.runners.stack.supervisor import running

__all__ = ["cache_directory", "install_prism", "prism"]


def install_prism() -> Path:
    """The path of Prism's binary, of the same version as this Beam; built where it is not there (about two minutes).

    Raises:
        FileNotFoundError: there is no Go to build it with.
        RuntimeError: the build failed; the message is one line and names the log.
    """
    return binary()


@contextlib.contextmanager
def prism() -> Generator[str]:
    """A Prism of one's own: gives the address of its job service, and ends it afterwards.

    Raises:
        FileNotFoundError: there is no Go to build it with.
        RuntimeError: it could not be built, or did not start.
    """
    with tempfile.TemporaryDirectory(prefix="prism-") as directory, running(directory, Prism()) as stack:
        yield stack.uri("prism")
