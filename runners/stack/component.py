"""What the stack needs to know of a component."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec

from thingbeam.runners.stack.ports import LOOPBACK

__all__ = ["Command", "Component", "Place"]


@dataclass(frozen=True)
class Place:
    """Where one component of one stack lives."""

    directory: Path
    """Its folder: data, configuration, logs."""
    ports: Mapping[str, int]
    """Its ports, by what they are for."""

    @property
    def temporary(self) -> Path:
        """The folder for what libraries unpack to load it: killed servers leave it behind. It is there."""
        return self.directory / "tmp"

    def address(self, port: str) -> str:
        """`127.0.0.1:PORT` of one of its ports.

        >>> Place(Path("."), {"rest": 8081}).address("rest")
        '127.0.0.1:8081'
        """
        return f"{LOOPBACK}:{self.ports[port]}"


@dataclass(frozen=True)
class Command:
    """How one process of a component is started."""

    argv: Sequence[str]
    """Program and arguments."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those of the process that starts it."""


@dataclass(frozen=True, kw_only=True)
class Component(abc.ABC):
    """A server and how it is had, started and known to be ready. The fields of a subclass are its settings.

    Everything it listens on is on 127.0.0.1. Its methods may be called by several processes, one after the other, and
    only `directory` lives on between them.
    """

    kind: ClassVar[str]
    """The name that `thingbeam stack up` takes."""
    start_seconds: ClassVar[float] = 60.0
    """How long it may take to be ready, on a busy machine."""

    @classmethod
    def of(cls, settings: Mapping[str, Any], *, strict: bool = True) -> Self:
        """A component with the settings given, the others as they are by default.

        Args:
            settings: by name.
            strict: whether a number or a boolean must be one, or may be its text.

        Raises:
            ValueError: there is no such setting, or the value is none for it; the message names those that there are.
        """
        names = [each.name for each in fields(cls)]
        strange = [name for name in settings if name not in names]
        if strange:
            raise ValueError(f"{cls.kind} has no setting {strange[0]}; it has {', '.join(names) or 'none'}")
        try:
            return msgspec.convert(dict(settings), cls, strict=strict)
        except msgspec.ValidationError as error:
            raise ValueError(f"{cls.kind}: {error}") from error

    @abc.abstractmethod
    def ports(self) -> Mapping[str, int | None]:
        """The ports it needs, by what they are for; None where any free one will do."""

    @abc.abstractmethod
    def install(self) -> None:
        """Brings what it needs into the cache, where it is not there yet.

        Raises:
            StackError: that failed; one line with the log's path.
            MissingToolError: a program for it is not there; the message says how to get it.
        """

    @abc.abstractmethod
    def prepare(self, place: Place) -> None:
        """Writes configuration and, before the first start, makes its storage. Called before every start.

        Raises:
            StackError: that failed; one line with the log's path.
        """

    @abc.abstractmethod
    def commands(self, place: Place) -> Mapping[str, Command]:
        """Its processes by name; "" names the only one."""

    @abc.abstractmethod
    def ready(self, place: Place, process: str) -> None:
        """Asks one of its processes, as a client would, whether it does its work; returns within about two seconds.

        Raises:
            Exception: it does not, yet.
        """

    @abc.abstractmethod
    def uri(self, place: Place, process: str) -> str:
        """What a client is told to find it, or "" for a process that clients do not speak to."""

    def started(self, place: Place) -> None:  # noqa: B027
        """Called when all its processes are ready, after every start; to be done again without harm.

        Raises:
            StackError: what it does failed.
        """
