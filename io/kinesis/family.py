"""The restriction of the source: some shards of a stream, where each stands, and which wait for their parents. Pure.

Resharding is followed inside of a restriction. A shard that ended gives way to its children in the value that the
runner keeps, so that "the parent is done" and "the child may begin" are one write, however the worker dies. A child
that has a parent in another restriction waits until a checkpoint store says that it is done.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from apache_beam.coders import Coder
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.transforms.core import RestrictionProvider

from thingbeam.io.kinesis.positions import HORIZON, Position

__all__ = ["Family", "FamilyCoder", "FamilyProvider", "FamilyTracker", "Shard", "State", "plan"]

_VERSION: Final = 1


class Shard(NamedTuple):
    """A shard, as ListShards names it."""

    id: str
    parents: tuple[str, ...] = ()
    """None of the first shards, one after a split, two after a merge. The first is the one that Kinesis calls
    ParentShardId, whose family takes the child up."""


class State(NamedTuple):
    """Where one shard stands."""

    position: Position
    waits_for: tuple[str, ...] = ()
    """Parents that are not done. Empty where it is read."""


class Family(NamedTuple):
    """Shards that are read together."""

    stream: str
    shards: Mapping[str, State]
    """By id. Those that are done are not in it."""
    first: Position
    """Where a child begins: at the horizon, or at the time at which the whole read began."""
    stop_ms: int | None = None
    """Records that arrived from here on, in milliseconds since 1970, are not read; None reads for ever."""
    alone: bool = True
    """Whether all shards of the stream that are read are in it."""

    def reading(self) -> list[str]:
        """The shards that wait for none."""
        return [shard for shard, state in self.shards.items() if not state.waits_for]

    def moved(self, shard: str, position: Position) -> Family:
        """One shard was read up to a position."""
        return self._replace(shards={**self.shards, shard: State(position)})

    def stopped(self, shard: str) -> Family:
        """One shard was read up to the end of a bounded read."""
        return self._replace(shards={name: state for name, state in self.shards.items() if name != shard})

    def ended(self, shard: str, listed: Mapping[str, Shard]) -> Family:
        """One shard was closed, and all of it is read: its children take its place.

        A child of two parents is taken up by the family of the first, and waits for the second: here till that ends,
        too; if that is in another family, till the child is `freed`.

        Args:
            shard: which.
            listed: the stream's shards, its children among them.
        """
        shards = {name: state for name, state in self.shards.items() if name != shard}
        for child in sorted(listed.values()):
            if shard not in child.parents:
                continue
            if child.id in shards:
                state = shards[child.id]
                shards[child.id] = state._replace(waits_for=tuple(p for p in state.waits_for if p != shard))
                continue
            others = tuple(parent for parent in child.parents if parent != shard and parent in listed)
            if self.alone:
                # What is not in the family and comes from none of it is done.
                others = tuple(p for p in others if p in shards or shards.keys() & _ancestors(listed, [p]))
            elif child.parents[0] != shard and child.parents[0] in listed and child.parents[0] not in shards:
                continue
            shards[child.id] = State(self.first, others)
        return self._replace(shards=shards)

    def freed(self, done: Iterable[str]) -> Family:
        """Parents were found to be done elsewhere."""
        finished = set(done)
        shards = {
            name: state._replace(waits_for=tuple(p for p in state.waits_for if p not in finished))
            for name, state in self.shards.items()
        }
        return self._replace(shards=shards)

    def foreign(self) -> set[str]:
        """The parents waited for that are in another family."""
        return {parent for state in self.shards.values() for parent in state.waits_for} - set(self.shards)


def plan(
    stream: str,
    shards: Iterable[Shard],
    known: Mapping[str, Position],
    first: Position,
    *,
    sequences: Mapping[str, str] | None = None,
    stop_ms: int | None = None,
    alone: bool = True,
) -> list[Family]:
    """The families that a read begins with.

    A shard is read from the start if none of its parents is still to be read; the others are taken up when their
    parents end.

    Args:
        stream: its name or ARN.
        shards: all that are listed.
        known: where some of them stand, by a checkpoint store.
        first: where the others begin, and all that come later if none is known.
        sequences: where some of them begin.
        stop_ms: see Family.
        alone: one family of all, else one for each shard that is read from the start.

    >>> shards = [Shard("a"), Shard("b"), Shard("c", ("a", "b"))]
    >>> [list(family.shards) for family in plan("s", shards, {}, Position("horizon"), alone=False)]
    [['a'], ['b']]
    >>> [list(family.shards) for family in plan("s", shards, {"a": Position("ended")}, Position("horizon"))]
    [['b', 'c']]
    """
    listed = {shard.id: shard for shard in shards}
    given = {name: Position("at", sequence) for name, sequence in (sequences or {}).items()}
    missing = sorted(set(given) - set(listed))
    if missing:
        raise ValueError(f"stream {stream} has no shard {', '.join(missing)}; it has {', '.join(listed)}")
    done = {name for name, position in known.items() if position.kind == "ended"}
    # What lies before a shard from which a read begins is not read.
    skipped = _ancestors(listed, given)
    done |= skipped - set(given)
    position = {name: known.get(name, given.get(name, first)) for name in listed}
    to_do = [shard for shard in listed.values() if shard.id not in done]
    waits = {shard.id: tuple(p for p in shard.parents if p in listed and p not in done) for shard in to_do}
    states = {
        shard.id: State(position[shard.id], waits[shard.id])
        for shard in to_do
        # With one parent done and the other not, no end of a parent would bring it: it is known from the start.
        if len(waits[shard.id]) < max(1, len(shard.parents))
    }
    later = HORIZON if known or given else first
    if alone:
        return [Family(stream, states, later, stop_ms)] if states else []
    families: dict[str, dict[str, State]] = {
        name: {name: state} for name, state in states.items() if not state.waits_for
    }

    def home(name: str) -> str:
        """The family that will have come to a shard when it is read."""
        while name not in families:
            pending = [parent for parent in listed[name].parents if parent in listed and parent not in done]
            name = pending[0]
        return name

    for name, state in states.items():
        if state.waits_for:
            families[home(name)][name] = state
    return [Family(stream, members, later, stop_ms, alone=False) for members in families.values()]


def _ancestors(listed: Mapping[str, Shard], names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        shard = listed.get(waiting.pop())
        for parent in () if shard is None else shard.parents:
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found


class FamilyCoder(Coder):
    """JSON: readable in a checkpoint, and the same in every release."""

    def encode(self, value: Family) -> bytes:
        """The family as bytes."""
        shards = [[name, s.position.encode(), list(s.waits_for)] for name, s in sorted(value.shards.items())]
        content = [_VERSION, value.stream, value.first.encode(), value.stop_ms, value.alone, shards]
        return json.dumps(content, separators=(",", ":")).encode()

    def decode(self, encoded: bytes) -> Family:
        """The family of these bytes.

        Raises:
            ValueError: not what `encode` made, or of a later release.
        """
        content: Any = json.loads(encoded)
        if content[0] != _VERSION:
            raise ValueError(f"a checkpoint of Kinesis of version {content[0]}: this release knows {_VERSION}")
        _, stream, first, stop_ms, alone, shards = content
        states = {name: State(Position.decode(at), tuple(waits)) for name, at, waits in shards}
        return Family(stream, states, Position.decode(first), stop_ms, alone)

    def is_deterministic(self) -> bool:
        """Equal families have equal bytes."""
        return True


class FamilyTracker(RestrictionTracker):
    """A claim replaces the family by what it became. Only checkpoints split it.

    >>> tracker = FamilyTracker(Family("s", {"a": State(Position("horizon"))}, Position("horizon")))
    >>> tracker.try_claim(tracker.current_restriction().moved("a", Position("after", "7")))
    True
    >>> tracker.try_split(0)[1].shards["a"].position.sequence, tracker.try_claim(tracker.current_restriction())
    ('7', False)
    """

    def __init__(self, family: Family) -> None:
        self._family = family
        self._ended = False

    def current_restriction(self) -> Family:
        """What this bundle answers for, as it stands."""
        return self._family

    def try_claim(self, position: Family) -> bool:
        """Whether what led to this is the bundle's to output."""
        if self._ended:
            return False
        self._family = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Family, Family] | None:
        """Leave the rest for later, where a checkpoint (0) is asked."""
        if fraction_of_remainder or self._ended or not self._family.shards:
            return None
        self._ended = True
        return self._family._replace(shards={}), self._family

    def check_done(self) -> bool:
        """Beam asks at the end of a bundle.

        Raises:
            ValueError: shards were neither read to their end nor left for later.
        """
        if not self._ended and self._family.shards:
            raise ValueError(f"shards {', '.join(self._family.shards)} were neither read to the end nor left for later")
        return True

    def current_progress(self) -> RestrictionProgress:
        """Shards are all that is known of it."""
        # Beam's worker puts a mean of bytes, at first NaN, for what is done; a fraction it leaves as it is.
        return RestrictionProgress(fraction=0.0, completed=0.0, remaining=float(len(self._family.shards)))

    def is_bounded(self) -> bool:
        """Whether it ends."""
        return self._family.stop_ms is not None


class FamilyProvider(RestrictionProvider):
    """The element, encoded by FamilyCoder, says what is read first."""

    def initial_restriction(self, element: bytes) -> Family:
        """All of it."""
        return FamilyCoder().decode(element)

    def create_tracker(self, restriction: Family) -> FamilyTracker:
        """A tracker of the family."""
        return FamilyTracker(restriction)

    def restriction_size(self, element: bytes, restriction: Family) -> int:
        """Shards."""
        return max(1, len(restriction.shards))

    def restriction_coder(self) -> Coder:
        """Of the families."""
        return FamilyCoder()

    def truncate(self, element: bytes, restriction: Family) -> Family | None:
        """A drain ends what is endless and lets finish what is not."""
        return None if restriction.stop_ms is None else restriction
