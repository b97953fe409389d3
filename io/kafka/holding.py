"""Finalised offsets until they may be committed, for engines that finalise before what follows a shuffle is done. Pure.

An offset waits for two things:
- `margin` seconds by the clock: what was output may be on its way that long.
- `behind` of event time: the watermark of everything that is read, as it stood a margin ago, is that much past the
  records before the offset. So every result that began before them, and is done `behind` after it began, is out.
"""

from __future__ import annotations

import collections
from typing import Final, NamedTuple

__all__ = ["HeldOffsets", "Offset", "Partition"]

Partition = tuple[str, int]
Offset = tuple[int, str]
"""The next offset, and the words beside it."""

_PARTS: Final = 256
"""Into how many parts what is waited for is divided: offsets in one part wait together."""


class _Held(NamedTuple):
    since: float
    reached: int
    offset: Offset


class HeldOffsets:
    """Offsets that wait.

    Args:
        margin: in seconds.
        behind: in microseconds of event time; 0 waits for no watermark.

    >>> held = HeldOffsets(margin=30.0, behind=0)
    >>> held.add(("events", 0), (7, ""), reached=0, now=100.0)
    >>> held.take(now=129.0), held.take(now=130.0)
    ({}, {('events', 0): (7, '')})
    """

    def __init__(self, margin: float, behind: int = 0) -> None:
        self._margin = margin
        self._behind = behind
        self._held: dict[Partition, collections.deque[_Held]] = {}
        self._watermarks: dict[Partition, int] = {}
        self._passed: collections.deque[tuple[float, int]] = collections.deque()

    def __bool__(self) -> bool:
        return any(self._held.values())

    def hear(self, partition: Partition, watermark: int, now: float) -> None:
        """The watermark of a partition, in microseconds, as often as it is read."""
        if not self._behind:
            return
        self._watermarks[partition] = watermark
        lowest = min(self._watermarks.values())
        if len(self._passed) > 1 and now - self._passed[-2][0] < self._margin / _PARTS:
            self._passed[-1] = (now, lowest)
        else:
            self._passed.append((now, lowest))
        self._let_go(now)

    def forget(self, partition: Partition) -> None:
        """It is read no more: it holds the others back no more."""
        self._watermarks.pop(partition, None)

    def drop(self, partition: Partition) -> None:
        """Nothing of it is to be committed any more."""
        self.forget(partition)
        self._held.pop(partition, None)

    def add(self, partition: Partition, offset: Offset, reached: int, now: float) -> None:
        """The runner is done with everything before the offset, by which the partition's watermark was at `reached`."""
        held = self._held.setdefault(partition, collections.deque())
        new = _Held(now, reached, offset)
        if len(held) > 1 and self._together(held[-2], new):
            # A day's offsets, two a second, would not fit into memory.
            held[-1] = new
        else:
            held.append(new)

    def take(self, now: float) -> dict[Partition, Offset]:
        """What has waited long enough, the newest of each partition."""
        taken: dict[Partition, Offset] = {}
        self._let_go(now)
        passed = self._passed[0][1] if self._passed and self._passed[0][0] <= now - self._margin else None
        for partition, held in self._held.items():
            while held and held[0].since + self._margin <= now and self._is_past(held[0].reached, passed):
                offset = held.popleft().offset
                if offset[0] > taken.get(partition, (-1, ""))[0]:
                    taken[partition] = offset
        return taken

    def _let_go(self, now: float) -> None:
        while len(self._passed) > 1 and self._passed[1][0] <= now - self._margin:
            self._passed.popleft()

    def _is_past(self, reached: int, passed: int | None) -> bool:
        return not self._behind or (passed is not None and passed >= reached + self._behind)

    def _together(self, one: _Held, other: _Held) -> bool:
        return (
            other.since - one.since < self._margin / _PARTS
            or (bool(self._behind) and 0 <= other.reached - one.reached < self._behind / _PARTS)
        )  # fmt: skip
