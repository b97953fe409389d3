"""How much goes into one call, how many calls at once, and how long what failed is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

from thingbeam.io.writing.store import Limits
from thingbeam.schemas.durations import Duration, micros_of_duration

__all__ = ["BatchPolicy", "RetryPolicy"]

_MOST_DOUBLINGS: Final = 30


@dataclass(frozen=True)
class BatchPolicy:
    """When a batch is full, and how many are underway.

    Attributes:
        rows: most in one call; None for the store's own limit, above which it cannot be.
        bytes: most in one call; None for the store's own limit.
        seconds: how long a row may wait for others of its bundle. The end of the bundle sends what waits, so that this
            only matters where bundles are long.
        in_flight: calls at once, of each thread that runs bundles.

    >>> BatchPolicy(rows=100).within(Limits(25, 1 << 20))
    Limits(rows=25, bytes=1048576)
    """

    rows: int | None = None
    bytes: int | None = None
    seconds: float = 1.0
    in_flight: int = 4

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in ("rows", "bytes", "in_flight"):
            value: Any = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} {value}: at least 1")
        if not self.seconds >= 0:
            raise ValueError(f"seconds {self.seconds}: at least 0")

    def within(self, limits: Limits) -> Limits:
        """The smaller of what was asked for and what the store takes."""
        return Limits(min(self.rows or limits.rows, limits.rows), min(self.bytes or limits.bytes, limits.bytes))


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with full jitter: a pause is anywhere from nothing to a bound that doubles.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/

    Attributes:
        deadline: how long a row is tried. Then the bundle fails, and the runner tries it again.
        first: the bound of the first pause.
        longest: the bound of any.
    """

    deadline: Duration = "5m"
    first: Duration = "50ms"
    longest: Duration = "10s"

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in ("deadline", "first", "longest"):
            if micros_of_duration(getattr(self, name), name) == 0:
                raise ValueError(f"{name}: above 0")

    @property
    def deadline_seconds(self) -> float:
        """`deadline` in seconds."""
        return micros_of_duration(self.deadline) / 1e6

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row, from 1.

        >>> 0 <= RetryPolicy(first="100ms").pause(2) <= 0.2
        True
        """
        first, longest = micros_of_duration(self.first) / 1e6, micros_of_duration(self.longest) / 1e6
        bound = min(longest, first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
        return random.uniform(0, bound)  # noqa: S311 - spreads load, no secret
