"""What the sink base asks of a store, and the words in which a store answers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple, Protocol, TypeVar

__all__ = ["Again", "Failure", "FailureKind", "Limits", "Refused", "RefusedBatch", "Store", "Throttled"]

R_contra = TypeVar("R_contra", contravariant=True)

FailureKind = Literal["throttled", "again", "untried", "refused", "superseded"]
"""throttled: the store asks for less. again: it failed and may not the next time. untried: it was not stored since
another of its call was not, and goes with the next call at once. refused: it can never be stored, and becomes a dead
letter. superseded: the store holds a newer revision of the key, so there is nothing to do."""


class Limits(NamedTuple):
    """The most that one call takes."""

    rows: int
    bytes: int


class Failure(NamedTuple):
    """What became of one row of a call that was not stored."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    """Its place in the call."""
    kind: FailureKind
    code: str = ""
    """For a refused row, of thingbeam.schemas.codes."""
    reason: str = ""
    """For a person, without secrets."""


class Refused(Exception):  # noqa: N818 - an answer, no error
    """This row can never be stored: it becomes a dead letter.

    Args:
        code: of thingbeam.schemas.codes.
        reason: for a person, without secrets.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class RefusedBatch(Refused):
    """Some row of the call can never be stored, nobody says which, and none was stored: it is found by bisection."""


class Throttled(Exception):  # noqa: N818 - an answer, no error
    """None of the call's rows was stored, since there were too many at once: tried again, slower."""


class Again(Exception):  # noqa: N818 - an answer, no error
    """None of the call's rows is known to be stored; the next attempt may do it."""


class Store(Protocol[R_contra]):
    """Where rows go. One for each worker process, used by several threads at once.

    Writing a row twice must be the same as writing it once: a call whose answer was lost is made again.
    """

    def limits(self) -> Limits:
        """The most that one call takes."""
        ...

    def measure(self, row: R_contra) -> int:
        """A row's size in bytes, as the store counts it.

        Raises:
            Refused: it can never be stored.
        """
        ...

    def key(self, row: R_contra) -> Hashable | None:
        """What makes two rows the same one: of those the newest revision is stored, and no two are underway at once.

        None: every row is one of its own.
        """
        ...

    def revision(self, row: R_contra) -> int:
        """The higher wins among rows of one key; among equals the later."""
        ...

    def write(self, rows: Sequence[R_contra]) -> Sequence[Failure]:
        """Store rows with one call, and say which of them were not.

        Raises:
            Throttled: none was stored; slower.
            Again: none is known to be stored.
            RefusedBatch: none was stored, and some row never can be.
            ConnectorError: no row ever can be (no table, no permission): the bundle fails at once.
        """
        ...

    def close(self) -> None:
        """Let connections go. Nobody uses it afterwards."""
        ...
