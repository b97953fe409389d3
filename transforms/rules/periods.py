"""Local periods: which hour, quarter or day of a home an instant is in."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from thingbeam.schemas.records import Event

__all__ = ["Period", "ZoneOf", "bounds", "local_text", "utc_zone"]

ZoneOf = Callable[[Event], ZoneInfo]
"""Gives the zone of the home that an event is from."""

_SECOND: Final = 1_000_000
_DAY_S: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SHORT: Final = re.compile(r"(\d{1,4})([mhd])")
_ISO: Final = re.compile(r"P(?:(\d{1,4})D|T(?:(\d{1,4})H)?(?:(\d{1,4})M)?)")
_LENGTHS_S: Final = frozenset(
    {60 * minutes for minutes in (1, 3, 5, 15, 30)} | {3600 * hours for hours in (1, 2, 3, 4, 6, 8, 12)} | {_DAY_S}
)


@dataclass(frozen=True)
class Period:
    """The length of a period: minutes that divide 15, half an hour, hours that divide a day, or a day.

    Raises:
        ValueError: another length.

    >>> Period(3600).iso
    'PT1H'
    """

    seconds: int

    def __post_init__(self) -> None:
        if self.seconds not in _LENGTHS_S:
            raise ValueError(
                f"a period of {self.seconds} s is none of 1, 3, 5, 15, 30 minutes, 1, 2, 3, 4, 6, 8, 12 hours, 1 day"
            )

    @classmethod
    def parse(cls, text: str) -> Period:
        """A period from its short text (`15m`, `1h`, `1d`) or its ISO 8601 text (`PT15M`, `PT1H`, `P1D`).

        Raises:
            ValueError: the text is no length, or one that is no period.

        >>> [Period.parse(text).iso for text in ("15m", "60m", "PT1H", "24h")]
        ['PT15M', 'PT1H', 'PT1H', 'P1D']
        """
        short, iso = _SHORT.fullmatch(text), _ISO.fullmatch(text)
        if short:
            seconds = int(short[1]) * {"m": 60, "h": 3600, "d": _DAY_S}[short[2]]
        elif iso:
            days, hours, minutes = (int(digits or 0) for digits in iso.groups())
            seconds = days * _DAY_S + hours * 3600 + minutes * 60
        else:
            raise ValueError(f"{text!r} is no period; write it like 15m, 1h, 1d, or PT15M, PT1H, P1D")
        return cls(seconds)

    @property
    def iso(self) -> str:
        """The length as ISO 8601 has it, which is the `period` of a Usage."""
        if self.seconds == _DAY_S:
            return "P1D"
        minutes = self.seconds // 60
        return f"PT{minutes}M" if minutes % 60 else f"PT{minutes // 60}H"


def utc_zone(event: Event) -> ZoneInfo:
    """A `ZoneOf` that puts every home in UTC."""
    return ZoneInfo("UTC")


@lru_cache(maxsize=65_536)
def bounds(zone: ZoneInfo, instant: int, period: Period) -> tuple[int, int]:
    """The period that an instant is in: its start and its end, which is the start of the next.

    A period shorter than a day starts at a multiple of its length on the local clock and wherever the zone's offset
    changes, so no offset changes inside it. A day starts at the first local midnight of its date or, where the clock
    skips midnight, at the first instant of the date.

    Args:
        zone: the home's zone.
        instant: microseconds since 1970, UTC.
        period: the length.

    >>> kolkata = ZoneInfo("Asia/Kolkata")
    >>> [local_text(edge, kolkata) for edge in bounds(kolkata, 1_175_000_000_000_000, Period(3600))]
    ['2007-03-27T18:00:00+05:30', '2007-03-27T19:00:00+05:30']
    """
    if period.seconds == _DAY_S:
        return _day(zone, instant)
    length = period.seconds * _SECOND
    offset = _offset(zone, instant)
    start = (instant + offset) // length * length - offset
    return _last_change(zone, start, instant), _first_change(zone, instant, start + length)


def local_text(micros: int, zone: ZoneInfo) -> str:
    """An instant as the clock of a zone shows it, in RFC 3339 with the offset.

    The fraction of the second is left out where it is 0, and has 3 digits where those are enough, else 6.

    Args:
        micros: microseconds since 1970, UTC.
        zone: the zone.

    >>> local_text(1_175_378_400_000_000, ZoneInfo("Europe/Paris"))
    '2007-04-01T00:00:00+02:00'
    """
    local = _local(zone, micros)
    if local.microsecond == 0:
        return local.isoformat(timespec="seconds")
    return local.isoformat(timespec="microseconds" if local.microsecond % 1000 else "milliseconds")


def _local(zone: ZoneInfo, micros: int) -> datetime:
    return (_EPOCH + timedelta(microseconds=micros)).astimezone(zone)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _offset(zone: ZoneInfo, instant: int) -> int:
    """What the local clock is ahead of UTC, in microseconds."""
    ahead = _local(zone, instant).utcoffset()
    assert ahead is not None
    return ahead // timedelta(microseconds=1)


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    """The first instant with the offset of `after`, between two instants between which the offset changes once."""
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == _offset(zone, before):
            before = middle
        else:
            after = middle
    return after


# No zone changes its offset twice within this time, so comparing instants this far apart finds every change.
_STEP: Final = 900 * _SECOND


def _last_change(zone: ZoneInfo, start: int, instant: int) -> int:
    """The last instant in (start, instant] at which the offset changes, else `start`."""
    later = instant
    while later > start:
        earlier = max(start, later - _STEP)
        if _offset(zone, earlier) != _offset(zone, later):
            return _change(zone, earlier, later)
        later = earlier
    return start


def _first_change(zone: ZoneInfo, instant: int, end: int) -> int:
    """The first instant in (instant, end) at which the offset changes, else `end`."""
    earlier = instant
    while earlier < end - 1:
        later = min(end - 1, earlier + _STEP)
        if _offset(zone, earlier) != _offset(zone, later):
            return _change(zone, earlier, later)
        earlier = later
    return end


def _day(zone: ZoneInfo, instant: int) -> tuple[int, int]:
    """The local day of an instant.

    Where the clock goes back over midnight its first minutes after are shown as the day before once more; they are
    part of the new day all the same, so that days follow one another.
    """
    today = _local(zone, instant).date()
    tomorrow = today + timedelta(days=1)
    while _day_start(zone, tomorrow) <= instant:
        today, tomorrow = tomorrow, tomorrow + timedelta(days=1)
    return _day_start(zone, today), _day_start(zone, tomorrow)


def _day_start(zone: ZoneInfo, day: date) -> int:
    """The first instant that the clock shows as midnight of a date or, where it never does, as later than that."""
    midnight = datetime.combine(day, time())
    first = _micros(midnight.replace(tzinfo=zone, fold=0))
    if _local(zone, first).replace(tzinfo=None) == midnight:
        return first
    # The clock skips this midnight: fold 0 reads it by the offset before the change, fold 1 by the one after it.
    return _change(zone, _micros(midnight.replace(tzinfo=zone, fold=1)), first)
