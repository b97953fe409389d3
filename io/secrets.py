"""Secrets by reference: `env:NAME` or `file:PATH`, read on the worker when a client is made.

A configuration travels in the job's graph, which many can read; a reference gives nothing away there.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["check_reference", "secret"]


def secret(reference: str, what: str = "the secret") -> str:
    """What a reference stands for: `env:NAME` or `file:PATH` (its text, without the line end).

    Raises:
        ValueError: it is no reference; the message does not repeat it. Or there is no such variable or file.

    >>> os.environ["STORE_PASSWORD"] = "x"
    >>> secret("env:STORE_PASSWORD")
    'x'
    """
    check_reference(reference, what)
    kind, _, name = reference.partition(":")
    if kind == "env":
        value = os.environ.get(name)
        if value is None:
            raise ValueError(f"{what}: there is no environment variable {name} on this worker")
        return value
    try:
        return Path(name).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{what}: cannot read {name} on this worker: {error.strerror}") from error


def check_reference(reference: str, what: str) -> None:
    """Refuse a secret in plain text.

    Raises:
        ValueError: it is no reference; the message does not repeat it.
    """
    kind, _, name = reference.partition(":")
    if kind not in ("env", "file") or not name:
        raise ValueError(f"{what} must be a reference, env:NAME or file:PATH, so that it stays out of the job's graph")
