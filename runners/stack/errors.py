"""What can go wrong with the local stack, each as one line that says what to do."""

from __future__ import annotations

__all__ = ["MissingToolError", "StackError"]


class StackError(RuntimeError):
    """A component could not be installed, started or stopped. The message is one line and names the log."""


class MissingToolError(FileNotFoundError):
    """A program that a component needs is not on this machine. The message says how to get it."""
