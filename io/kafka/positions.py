"""Where to begin and where to end: earliest, latest, the group's committed offset, or a time."""

from __future__ import annotations

import datetime
from typing import Final, Literal, NamedTuple

from apache_beam.utils.timestamp import Timestamp

__all__ = ["EARLIEST", "LATEST", "Instant", "Position", "position_of", "stop_of"]

Instant = Timestamp | datetime.datetime | str
"""A time: Beam's, a datetime with a zone, or RFC 3339 text like 2026-01-31T12:00:00Z."""


class Position(NamedTuple):
    """A place in every partition."""

    kind: Literal["earliest", "latest", "committed", "time"]
    millis: int = 0
    """Since 1970, where it is a time."""

    def __str__(self) -> str:
        return self.kind if self.kind != "time" else f"the time {Timestamp(micros=self.millis * 1000).to_rfc3339()}"


EARLIEST: Final = Position("earliest")
LATEST: Final = Position("latest")
_WORDS: Final = {"earliest": EARLIEST, "latest": LATEST, "committed": Position("committed")}


def position_of(given: Instant, what: str = "start") -> Position:
    """A word or a time as a position.

    Raises:
        ValueError: neither; or a time without a zone.

    >>> position_of("2026-01-31T12:00:00Z").millis
    1769860800000
    >>> position_of("latest").kind
    'latest'
    """
    if isinstance(given, str):
        if given in _WORDS:
            return _WORDS[given]
        try:
            given = datetime.datetime.fromisoformat(given)
        except ValueError:
            words = ", ".join(_WORDS)
            raise ValueError(f"{what} {given!r}: {words}, or a time like 2026-01-31T12:00:00Z") from None
    if isinstance(given, datetime.datetime):
        if given.tzinfo is None:
            raise ValueError(f"{what} {given.isoformat()}: a time needs its zone; write Z for UTC")
        # Rounded up: a message at the earlier millisecond is before that time.
        since = given - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        return Position("time", -(-since // datetime.timedelta(milliseconds=1)))
    return Position("time", -(-given.micros // 1000))


def stop_of(given: Instant | None, now: Timestamp) -> Position | None:
    """Where a bounded read ends: at a time that is past, or at what is there when it begins.

    Raises:
        ValueError: no such place, or a time to come.
    """
    if given is None:
        return None
    stop = position_of(given, "stop")
    if stop.kind not in ("latest", "time"):
        raise ValueError(f"stop {stop.kind!r}: latest, or a time like 2026-01-31T12:00:00Z")
    if stop.kind == "time" and stop.millis * 1000 > now.micros:
        raise ValueError(f"stop: {stop} has not come yet; a read with an end reads what is there: stop='latest'")
    return stop
