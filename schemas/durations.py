"""Lengths of time as people write them: 10m, 90s, 1h30m, 1d."""

from __future__ import annotations

import datetime
import re
from typing import Final

__all__ = ["Duration", "micros_of_duration"]

Duration = str | float | datetime.timedelta
"""Text like 10m or 1h30m, seconds, or a timedelta."""

_UNITS: Final = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def micros_of_duration(duration: Duration, what: str = "the duration") -> int:
    """A length of time in microseconds.

    Args:
        duration: text like 10m, seconds, or a timedelta.
        what: its name in an error message.

    Raises:
        ValueError: it is none, or negative.

    >>> micros_of_duration("1h30m"), micros_of_duration(0.5)
    (5400000000, 500000)
    """
    if isinstance(duration, datetime.timedelta):
        micros = round(duration / datetime.timedelta(microseconds=1))
    elif isinstance(duration, str):
        text = duration.strip().lower()
        parts = _PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError(f"{what}: {duration!r} is no length of time; write it like 90s, 10m, 1h30m or 1d")
        micros = round(sum(float(number) * _UNITS[unit] for number, unit in parts))
    else:
        micros = round(duration * 1_000_000)
    if micros < 0:
        raise ValueError(f"{what}: {duration!r} is below 0")
    return micros
