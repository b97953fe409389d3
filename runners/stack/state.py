"""What a stack remembers: which components it has, where, and which processes are theirs."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from thingbeam.runners.stack.cache import locked
from thingbeam.runners.stack.errors import StackError
from thingbeam.runners.stack.processes import Identity

__all__ = ["Entry", "State", "StateFile", "default_directory"]

_FORMAT: Final = 1


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """One component of a stack."""

    kind: str
    """Which component it is."""
    settings: dict[str, Any]
    """Its fields."""
    ports: dict[str, int]
    """Its ports, kept over restarts."""
    processes: dict[str, Identity | None]
    """Its processes by name; None for one that was stopped."""


class State(msgspec.Struct, forbid_unknown_fields=True):
    """The content of a state file."""

    format: int = _FORMAT
    components: dict[str, Entry] = msgspec.field(default_factory=dict)


class StateFile:
    """state.json of a stack's folder: replaced as a whole, changed under a lock."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "state.json"
        self._lock = directory / "lock"

    def read(self) -> State:
        """What it says; an empty state where there is no file.

        Raises:
            StackError: it cannot be understood.
        """
        try:
            state = msgspec.json.decode(self._path.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except msgspec.DecodeError as error:
            raise StackError(f"{self._path} cannot be understood: {error}") from error
        if state.format != _FORMAT:
            raise StackError(f"{self._path} is of format {state.format}; this version knows {_FORMAT}")
        return state

    @contextmanager
    def changing(self) -> Generator[tuple[State, Save]]:
        """Holds the lock: gives the state, and what saves it. What was not saved is lost.

        Raises:
            StackError: the folder cannot be written, or the file not be understood.
        """
        with locked(self._lock):
            state = self.read()
            yield state, Save(self._path, state)


class Save:
    """Writes a state, so that a crash leaves the old file or the new one."""

    def __init__(self, path: Path, state: State) -> None:
        self._path, self._state = path, state

    def __call__(self) -> None:
        """Writes it."""
        whole = self._path.with_suffix(".new")
        whole.write_bytes(msgspec.json.format(msgspec.json.encode(self._state), indent=2) + b"\n")
        whole.replace(self._path)


def default_directory() -> Path:
    """The folder of a user's stack: $THINGBEAM_STACK, or thingbeam/stack in the user's state folder."""
    given = os.environ.get("THINGBEAM_STACK")
    if given:
        return Path(given).absolute()
    return Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local" / "state")) / "thingbeam" / "stack"
