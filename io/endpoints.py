"""What an application reads from and writes to, whatever service it is: see thingbeam.io.uris."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

__all__ = ["Kind", "Reading", "Redact", "Restart", "RestartableSource", "Sink", "Source", "Stored", "TableSink"]

Redact = Callable[[bytes], bytes]
"""Blanks the secrets of a payload."""


class Kind(NamedTuple):
    """One sort of what an application writes."""

    name: str
    """What the names of its files, topics or tables hold: `usage`."""
    record: type[Any]


class Reading(NamedTuple):
    """What is read of one source, in one form."""

    payloads: Any
    """A PCollection that `ParseEvents` takes."""
    dead_letters: tuple[Any, ...] = ()
    """PCollections of DeadLetter: what could not even be read."""
    form: str = ""
    """What sets it apart from the source's other forms, for the labels of steps."""


class Stored(NamedTuple):
    """What became of what was to be written."""

    rows: Any
    """A PCollection of int: how many rows are stored, once they are."""
    dead_letters: tuple[Any, ...] = ()
    """PCollections of DeadLetter: what the sink can never take."""
    written: Any = None
    """What the sink itself wants to know of it in the end."""


@runtime_checkable
class Source(Protocol):
    """Where payloads come from. Making one asks nobody; `check` does."""

    @property
    def shown(self) -> str:
        """The URI or path, for a person; without secrets."""
        ...

    @property
    def endless(self) -> bool:
        """Whether it is a stream."""
        ...

    @property
    def commits(self) -> bool:
        """Whether it has the engine say when a bundle is safe, to note how far it has read."""
        ...

    def check(self) -> None:
        """See that it is there and may be read, before anything is run.

        Raises:
            ValueError: what was asked cannot be.
            ConnectorError: it is not there, does not answer, or refuses.
        """
        ...

    def read(self, pipeline: Any, label: str, redact: Redact) -> list[Reading]:
        """Read it, in a pipeline.

        Args:
            pipeline: where.
            label: what sets its steps apart from those of other sources; "" for the first.
            redact: blanks secrets in what dead letters keep.
        """
        ...


class Restart(NamedTuple):
    """How a stream is gone on with."""

    source: Source
    """To be read in this run."""
    complete_from: int | None
    """Microseconds since 1970: results that begin earlier are out already, and would now be partial. None for a run
    that begins where the stream does: all are complete."""


@runtime_checkable
class RestartableSource(Source, Protocol):
    """A stream that an engine without checkpoints can go on with: see `thingbeam.pipelines.restarts`."""

    def restartable(self, longest: int) -> RestartableSource:
        """The same, read so that a restart can go on.

        Args:
            longest: how long, in microseconds, after it began a result is done at the latest.

        Raises:
            ValueError: what the URI says would lose results, or make wrong ones.
        """
        ...

    def pinned(self) -> str:
        """Where it begins, as the service says now: given to `restart`, so that `latest` means the same every time."""
        ...

    def restart(self, pinned: str) -> Restart:
        """The same, from where the last run's output is complete; and from when on this run's results are."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Where records go, kind by kind. Making one asks nobody; `check` does."""

    @property
    def shown(self) -> str:
        """The URI or path, for a person; without secrets."""
        ...

    @property
    def endless(self) -> bool:
        """Whether it takes a stream."""
        ...

    def check(self, kinds: Sequence[Kind]) -> None:
        """See that it is there and may be written, and make it ready, before anything is run.

        Raises:
            ValueError: what was asked cannot be.
            ConnectorError: it is not there, does not answer, or refuses.
        """
        ...

    def write_batches(self, batches: Any, kind: Kind, label: str) -> Stored:
        """Write a PCollection of (name, pyarrow.RecordBatch), whose steps the label sets apart from other sinks'."""
        ...

    def write_records(self, records: Any, kind: Kind, label: str) -> Stored:
        """Write a PCollection of the kind's records."""
        ...

    def finish(self, stored: Sequence[Stored], label: str) -> None:
        """Say that all is written, where that is said."""


@runtime_checkable
class TableSink(Sink, Protocol):
    """Where records go into tables, which `thingbeam tables create` makes."""

    def create(self, kinds: Sequence[Kind]) -> list[str]:
        """Make the tables that are not there yet, and give their names.

        Raises:
            ConnectorError: it does not answer, or refuses, or a table is there and is another.
        """
        ...
