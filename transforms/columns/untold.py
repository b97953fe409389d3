"""Rows that wait until their device speaks again: those of a few devices are taken at a cost of those few."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.encoding import Rows
from thingbeam.schemas.names import Words
from thingbeam.transforms.columns.devices import DeviceIndex
from thingbeam.transforms.columns.rows import Bools

__all__ = ["Untold"]

Useless = Callable[[Rows], Bools]
"""Of rows as in `EventBatch.rows`, which are of no use any more."""


class _Part:
    """Some rows, and which of them are gone."""

    __slots__ = ("_batch", "_gone", "_index", "left")

    def __init__(self, batch: EventBatch) -> None:
        self._batch = batch
        self._gone: Bools = np.zeros(len(batch), np.bool_)
        self._index = DeviceIndex(batch.rows["device_high"], batch.rows["device_low"])
        self.left = len(batch)

    @property
    def nbytes(self) -> int:
        return self._batch.nbytes + 17 * len(self._batch)

    def take(self, words: Words) -> EventBatch:
        at = self._index.rows(words)
        at = at[~self._gone[at]]
        self._gone[at] = True
        self.left -= len(at)
        return EventBatch(self._batch.rows.take(at), self._batch.names)

    def drop(self, useless: Useless) -> None:
        there = np.flatnonzero(~self._gone)
        self._gone[there[useless(self._batch.rows.take(there))]] = True
        self.left = len(self._gone) - int(np.count_nonzero(self._gone))

    def rest(self) -> EventBatch:
        if self.left == len(self._batch):
            return self._batch
        return self._batch.take(self._batch.rows.compress(~self._gone))


class Untold:
    """Rows by device, in parts that are merged as they grow.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> from thingbeam.schemas.names import mix
    >>> from thingbeam.schemas.records import Event
    >>> events = [Event.of(f"e{n}", Timestamp(n), f"d{n % 2}", "switch", "switch", "on") for n in range(4)]
    >>> batch = EventBatch.from_events(events)
    >>> untold = Untold()
    >>> untold.add(batch)
    >>> words = mix(batch.rows["device_high"], batch.rows["device_low"])
    >>> [event.event_id for event in untold.take(words[1:2]).to_events()], len(untold)
    (['e1', 'e3'], 2)
    >>> untold.drop(lambda rows: rows["time"] < 2_000_000)
    >>> [event.event_id for event in untold.take(np.unique(words)).to_events()], len(untold)
    (['e2'], 0)
    """

    __slots__ = ("_fresh", "_parts")

    def __init__(self) -> None:
        self._fresh: list[EventBatch] = []
        self._parts: list[_Part] = []

    def __len__(self) -> int:
        return sum(map(len, self._fresh)) + sum(part.left for part in self._parts)

    @property
    def nbytes(self) -> int:
        """About how many bytes it takes."""
        return sum(batch.nbytes for batch in self._fresh) + sum(part.nbytes for part in self._parts)

    def add(self, batch: EventBatch) -> None:
        """Let rows wait."""
        if len(batch):
            self._fresh.append(batch)

    def take(self, words: Words) -> EventBatch:
        """The rows of some devices, which do not wait any longer.

        Args:
            words: the mixed words of the devices, ascending.
        """
        if self._fresh:
            self._push(_Part(EventBatch.concatenate(self._fresh)))
            self._fresh = []
        found = [part.take(words) for part in self._parts]
        return EventBatch.concatenate(batch for batch in found if len(batch))

    def drop(self, useless: Useless) -> None:
        """Forget the rows of which it is said that they are of no use."""
        kept = (batch.take(batch.rows.compress(~useless(batch.rows))) for batch in self._fresh)
        self._fresh = [batch for batch in kept if len(batch)]
        parts, self._parts = self._parts, []
        for part in parts:
            part.drop(useless)
            if part.left:
                self._push(part)

    def _push(self, part: _Part) -> None:
        """Put a part on top, and merge those of like size: every row is copied a logarithm of times."""
        self._parts.append(part)
        while len(self._parts) > 1 and self._parts[-2].left < 2 * self._parts[-1].left:
            below, top = self._parts[-2:]
            self._parts[-2:] = [_Part(EventBatch.concatenate((below.rest(), top.rest())))]
