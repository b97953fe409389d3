"""What an application's output over the sink base says of what it wrote."""

from __future__ import annotations

from typing import Any, NoReturn

import apache_beam as beam

from thingbeam.io.endpoints import Kind, Stored
from thingbeam.io.errors import MismatchError
from thingbeam.schemas.records import DeadLetter

__all__ = ["stored"]


def stored(elements: Any, write: Any, kind: Kind, label: str) -> Stored:
    """Write elements by a transform that gives WriteResults; what it does not take are dead letters.

    Args:
        elements: a PCollection of records or of batches.
        write: the transform.
        kind: of the records. A dead letter that is not taken fails the run: where else should it go?
        label: sets the steps apart from those of other sinks.
    """
    done = elements | f"Write{label}" >> write
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
