"""Archives of Kinesis' shards: objects named by the first and last sequence number that they hold.

    PREFIX/events/shard=shardId-000000000003/49590338…0018.0-49590338…0274.0-1f0c2a9be1d04a55.avro

Sequence numbers have up to 129 digits and are far apart, so there are no blocks of them. An object holds what a worker
had of a shard; a restart may write some of it again, in an object that begins and ends elsewhere. Readers take objects
whose spans overlap together, and each record once. The digest of all that an object's records are told apart by is in
its name: another try that had the same replaces it, one that had less does not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from thingbeam.io.kinesis.records import KinesisBatch

__all__ = ["Run", "overlapping", "run_name", "run_of_name"]

_DIGITS: Final = 60
"""Numbers of AWS have 56; so names sort as numbers do."""
_POSITION: Final = r"\d{60,129}\.\d+"
_NAME: Final = re.compile(
    rf"(?P<source>[^/]+)/(?P<part>[^/]+)/(?P<first>{_POSITION})-(?P<last>{_POSITION})-[0-9a-f]{{16}}\.[a-z.]+"
)
_SAFE: Final = "=._-+"

Place = tuple[int, int]
"""A sequence number, and the place in an aggregate from 1; 0 for a record that came alone."""


class Run(NamedTuple):
    """What the name of an object says."""

    source: str
    part: str
    first: Place
    last: Place


def run_name(batch: KinesisBatch) -> str:
    """The name of an object that holds these records, in their order; below the prefix and without its ending.

    >>> import numpy as np
    >>> some = KinesisBatch("events", "shard=s", np.array([-1]), [b"{}"], [b"d1"], np.array([0]), ["4959"])
    >>> run_of_name(run_name(some) + ".avro")
    Run(source='events', part='shard=s', first=(4959, 0), last=(4959, 0))
    """
    places = _places(batch)
    told = "\n".join(f"{sequence}.{sub}" for sequence, sub in places)
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    first, last = (f"{sequence:0{_DIGITS}d}.{sub}" for sequence, sub in (places[0], places[-1]))
    return f"{quote(batch.source, _SAFE)}/{quote(batch.part, _SAFE)}/{first}-{last}-{digest}"


def run_of_name(name: str) -> Run | None:
    """What a name says; None where it is of no shard's archive."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return Run(unquote(found["source"]), unquote(found["part"]), _place(found["first"]), _place(found["last"]))


def overlapping(runs: Sequence[tuple[Run, str]]) -> Iterator[tuple[str, ...]]:
    """What belongs to runs, in groups of one shard whose spans overlap.

    >>> a, b, c = (Run("s", "p", (first, 0), (last, 0)) for first, last in ((1, 5), (6, 9), (3, 6)))
    >>> list(overlapping([(a, "a"), (b, "b")])), list(overlapping([(a, "a"), (b, "b"), (c, "c")]))
    ([('a',), ('b',)], [('a', 'c', 'b')])
    """
    group: list[str] = []
    until: tuple[str, str, Place] | None = None
    for run, name in sorted(runs):
        if until is None or (run.source, run.part) != until[:2] or run.first > until[2]:
            if group:
                yield tuple(group)
            group, until = [], (run.source, run.part, run.last)
        group.append(name)
        until = (run.source, run.part, max(until[2], run.last))
    if group:
        yield tuple(group)


def _places(batch: KinesisBatch) -> list[Place]:
    return [(int(sequence), sub + 1) for sequence, sub in zip(batch.sequences, batch.positions.tolist(), strict=True)]


def _place(text: str) -> Place:
    sequence, _, sub = text.partition(".")
    return int(sequence), int(sub)
