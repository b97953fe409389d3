"""How fast a store lets us write, learnt from what it takes and what it throttles."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["Throttle"]

_SLICES: Final = 10
_GROWTH: Final = 1.25
"""How fast a limit is lifted again, each slice of the window."""
_LEAST: Final = 0.25
"""How far a limit may fall below the first: where that does not help, going slower is no help, and backoff must do."""
_SLOWEST: Final = 10.0
"""Rows a second that are always let through: somebody must find out that the store has room again."""
_FEWEST: Final = 20
"""Answers below which a share of them says nothing: by chance it may be any."""
_LONGEST_S: Final = 2.0
"""The longest that a call waits here, so that a limit which is gone is soon forgotten."""


class Throttle:
    """A limit on rows per second, there only while the store throttles much of what it is given.

    Rows that were throttled wait anyway, each with backoff, and mostly that is enough. Where more than `tolerated` of
    the rows of the last `window` were throttled all the same, rows may start at no more than the rate at which others
    were taken, divided by 1 - `tolerated`: of what is then sent about that share is throttled, and so it is seen when
    there is more room. The limit grows while less is throttled, and is gone when nothing is. A store that throttles a
    share of all calls, however slowly they come, is not slowed to a standstill by it.

    One for each worker process; several threads use it at once.

    Args:
        window: seconds that are remembered.
        tolerated: the share of rows.
        clock: seconds that never go back.

    >>> now = [0.0]
    >>> throttle = Throttle(window=5.0, clock=lambda: now[0])
    >>> throttle.ask(100)
    0.0
    >>> for _ in range(20):
    ...     throttle.answered(taken=1, throttled=4)
    >>> throttle.limit()
    80.0
    """

    def __init__(
        self, window: float = 5.0, tolerated: float = 0.5, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._window = window
        self._slice = window / _SLICES
        self._tolerated = tolerated
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: deque[tuple[float, list[int]]] = deque()
        """Rows taken, rows throttled and answers, by slices of time in which there was one."""
        self._rate: float | None = None
        self._floor = _SLOWEST
        self._changed = 0.0
        self._next = 0.0

    def ask(self, rows: int) -> float:
        """Seconds to wait before so many rows may go. They count as gone."""
        with self._lock:
            now = self._clock()
            rate = self._update(now)
            if rate is None:
                self._next = now
                return 0.0
            start = max(now, self._next)
            self._next = min(start + rows / rate, now + _LONGEST_S)
            return start - now

    def answered(self, taken: int, throttled: int) -> None:
        """What the store did with the rows of a call; those that it refused for their own sake count as taken."""
        with self._lock:
            now = self._clock()
            if not self._answers or now - self._answers[-1][0] >= self._slice:
                self._answers.append((now, [0, 0, 0]))
            counts = self._answers[-1][1]
            counts[0] += taken
            counts[1] += throttled
            counts[2] += 1

    def limit(self) -> float | None:
        """Rows a second that are let through now; None for any number."""
        with self._lock:
            return self._update(self._clock())

    def _update(self, now: float) -> float | None:
        while self._answers and now - self._answers[0][0] > self._window:
            self._answers.popleft()
        taken = throttled = answers = 0
        for _, counts in self._answers:
            taken += counts[0]
            throttled += counts[1]
            answers += counts[2]
        if not throttled:
            self._rate = None
        elif answers >= _FEWEST and throttled > self._tolerated * (taken + throttled):
            # While nothing is answered the store is away, not slow: that time does not count.
            rate = taken / (len(self._answers) * self._slice * (1 - self._tolerated))
            if self._rate is None:
                self._floor = max(_SLOWEST, rate * _LEAST)
            self._rate = max(self._floor, rate if self._rate is None else min(self._rate, rate))
            self._changed = now
        elif self._rate is not None and now - self._changed >= self._slice:
            self._rate *= _GROWTH
            self._changed = now
        return self._rate
