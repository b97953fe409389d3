"""The local stack: real servers without containers, for tests and for trying things."""

from __future__ import annotations

from thingbeam.runners.stack.component import Command, Component, Place
from thingbeam.runners.stack.errors import MissingToolError, StackError
from thingbeam.runners.stack.state import default_directory
from thingbeam.runners.stack.supervisor import Stack, Status, running

__all__ = [
    "Command",
    "Component",
    "MissingToolError",
    "Place",
    "Stack",
    "StackError",
    "Status",
    "default_directory",
    "running",
]
