"""What of a table is read."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Selection"]


@dataclass(frozen=True)
class Selection:
    """What of a table is read.

    Attributes:
        columns: on the wire; none for all.
        where: a filter in HBase's filter language.
        rows: with each call.
    """

    columns: tuple[bytes, ...] = ()
    where: str | None = None
    rows: int = 1_000
