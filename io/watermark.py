"""The watermark of one partition: how far in event time nothing more is to be expected. Pure; times in microseconds.

The rules:
- What was read holds it at the latest time seen, less `out_of_orderness`. Times that are ahead of the clock count as
  the clock's: one device set to the year 2100 must not make all others late.
- A partition that has been silent for `idle_after`, its end confirmed by the broker, goes with the time of that
  confirmation, less `idle_after` and `out_of_orderness`. So live data sees no jump when a partition falls silent, and a
  message that was underway for as long as that is not late. A broker that does not answer makes no partition idle.
- `max_delay`, where given, lets it fall no further than that behind the clock: what comes from before is late.
- It never goes back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNKNOWN_TIME", "LeastWatermark", "PartitionWatermark", "WatermarkPolicy", "fill_unknown"]

UNKNOWN_TIME: Final = int(np.iinfo(np.int64).min)
"""What an `event_time` function gives where a payload does not say: the record's own time is taken."""

Longs = NDArray[np.int64]


class WatermarkPolicy(NamedTuple):
    """Lengths, in microseconds."""

    out_of_orderness: int
    """How much older than the newest one a message may be without being late."""
    idle_after: int
    """How long a partition is silent before it holds the others no more."""
    max_delay: int | None = None
    """The furthest behind the clock; None waits for ever."""


class PartitionWatermark:
    """The watermark of one partition.

    Args:
        policy: the lengths.
        reached: where it stood when the partition was last read; UNKNOWN_TIME for a partition not yet read.
        now: the clock, in microseconds.

    >>> second = 1_000_000
    >>> watermark = PartitionWatermark(WatermarkPolicy(5 * second, 10 * second), UNKNOWN_TIME, now=100 * second)
    >>> watermark.observe(latest=90 * second, now=100 * second)
    >>> watermark.current // second
    85
    >>> watermark.confirm_end(at=109 * second)
    >>> watermark.current // second
    85
    >>> watermark.confirm_end(at=160 * second)
    >>> watermark.current // second
    145
    """

    __slots__ = ("_policy", "_silent_since", "current")

    def __init__(self, policy: WatermarkPolicy, reached: int, now: int) -> None:
        self._policy = policy
        self._silent_since = now
        self.current = reached

    def observe(self, latest: int, now: int) -> None:
        """Messages came of which the latest was at `latest`; UNKNOWN_TIME, of which none said, tells nothing."""
        if latest == UNKNOWN_TIME:
            return
        self._silent_since = now
        self._raise_to(min(latest, now) - self._policy.out_of_orderness)

    def confirm_end(self, at: int) -> None:
        """At the time `at` the broker said that there was nothing more to read."""
        if at - self._silent_since >= self._policy.idle_after:
            self._raise_to(at - self._policy.idle_after - self._policy.out_of_orderness)

    def pass_time(self, now: int) -> None:
        """The clock went on, whatever the broker says."""
        if self._policy.max_delay is not None:
            self._raise_to(now - self._policy.max_delay)

    def _raise_to(self, time: int) -> None:
        self.current = max(self.current, time)


class LeastWatermark:
    """The least of the watermarks of the partitions that a process reads by turns.

    Each of them says this one, not its own. For an engine that holds its watermark by every partition it comes to the
    same, a turn later. One that knows only those of the bundle that was last (Prism 2.77) would pass the others, and
    their messages would be late.

    Args:
        forgotten_after: seconds after which one that says nothing more counts no longer: it is read elsewhere now.
        clock: seconds, monotonic.

    >>> least = LeastWatermark()
    >>> least.told("a", 5), least.told("b", 9), least.told("a", 7), least.told("a", 12)
    (5, 5, 7, 9)
    >>> least.forget("b")
    >>> least.told("a", 12)
    12
    """

    def __init__(self, forgotten_after: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._forgotten_after = forgotten_after
        self._clock = clock
        self._told: dict[Hashable, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def told(self, partition: Hashable, current: int) -> int:
        """A partition's watermark is this; gives the least. Microseconds, or UNKNOWN_TIME."""
        with self._lock:
            now = self._clock()
            self._told[partition] = current, now
            since = now - self._forgotten_after
            return min(each for each, at in self._told.values() if at >= since)

    def forget(self, partition: Hashable) -> None:
        """It has ended."""
        with self._lock:
            self._told.pop(partition, None)


def fill_unknown(times: Longs, otherwise: Longs) -> Longs:
    """The times, and where one is UNKNOWN_TIME the other's.

    >>> fill_unknown(np.array([5, UNKNOWN_TIME]), np.array([1, 2])).tolist()
    [5, 2]
    """
    return np.where(times == UNKNOWN_TIME, otherwise, times)
