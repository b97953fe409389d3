"""What an application's output over the sink base says of what it wrote."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import apache_beam as beam

from thingbeam.io.endpoints import Kind, Stored
from thingbeam.io.errors import MismatchError
from thingbeam.schemas.records import DeadLetter

__all__ = ["WritingSink"]


class WritingSink(abc.ABC):
    """A Sink whose transform gives WriteResults. What it does not take are dead letters."""

    endless: Final = True

    @abc.abstractmethod
    def writer(self, kind: Kind) -> Any:
        """The transform that writes records, or batches, of a kind."""

    def write_batches(self, batches: Any, kind: Kind, label: str) -> Stored:
        """Many rows as one element."""
        return self._stored(batches, kind, label)

    def write_records(self, records: Any, kind: Kind, label: str) -> Stored:
        """One row each. A dead letter that is not taken fails the run: where else should it go?"""
        return self._stored(records, kind, label)

    def finish(self, stored: Sequence[Stored], label: str) -> None:  # noqa: B027 - there is nothing to say
        """Nothing is said in the end."""

    def _stored(self, elements: Any, kind: Kind, label: str) -> Stored:
        done = elements | f"Write{label}" >> self.writer(kind)
        rows = done.written | f"Rows{label}" >> beam.Map(_rows).with_output_types(int)
        if kind.record is not DeadLetter:
            return Stored(rows, (done.dead_letters,))
        _ = done.dead_letters | f"Undeliverable{label}" >> beam.Map(_refuse)
        return Stored(rows)


def _rows(done: Any) -> int:
    """Superseded ones too: a newer row of their key stands for them."""
    _, result = done
    count: int = result.stored + result.superseded
    return count


def _refuse(letter: DeadLetter) -> NoReturn:
    raise MismatchError(f"{letter.source} does not take a dead letter: {letter.error}")
