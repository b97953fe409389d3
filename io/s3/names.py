"""Keys of objects: they follow from the period, shard and part of the rows, so that a retry replaces what it repeats.

    PREFIX/20070401T000000Z-s00003-p00000.parquet           rows of a window, by shard and part
    PREFIX/20070401T000100Z-s00003.parquet                  a named batch: its name begins with the end of its slice
    PREFIX/_committed/20070401T000000Z-20070401T010000Z.json  the window is whole, and these are its objects

Keys are in the order of time, so a listing from one time to another is short. Names that begin with an underscore are
passed over by Spark, Hive and Athena.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from thingbeam.schemas.durations import Duration, micros_of_duration

__all__ = [
    "ALL",
    "COMMITTED",
    "LONGEST",
    "Window",
    "check_name",
    "manifest_name",
    "part_name",
    "time_of_name",
    "time_text",
    "window_length",
    "window_of_manifest",
    "window_of_name",
    "window_of_time",
]

COMMITTED: Final = "_committed/"
LONGEST: Final = 86_400_000_000
"""Microseconds of the longest window: what a reader looks back by."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO: Final = timedelta(microseconds=1)
_TIME: Final = r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(?:\.(\d{6}))?Z"
_BEGINS: Final = re.compile(_TIME + r"(?![0-9A-Za-z])")
_MANIFEST: Final = re.compile(rf"(?P<start>{_TIME})-(?P<stop>{_TIME})\.json")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")


class Window(NamedTuple):
    """A period of rows, in microseconds since 1970."""

    start: int
    stop: int

    @property
    def text(self) -> str:
        """For a person.

        >>> Window(0, 3_600_000_000).text
        '19700101T000000Z-19700101T010000Z'
        """
        return "all" if self == ALL else f"{time_text(self.start)}-{time_text(self.stop)}"


ALL: Final = Window(-(1 << 62), 1 << 62)
"""Of rows whose names say no time: a whole run."""


def window_length(window: Duration) -> int:
    """A window's length in microseconds.

    Raises:
        ValueError: it does not divide a day.

    >>> window_length("1h")
    3600000000
    """
    micros = micros_of_duration(window, "window")
    if micros <= 0 or LONGEST % micros:
        raise ValueError(f"window {window!r}: it has to divide a day, as 5m, 15m, 1h, 6h, 1d do")
    return micros


def window_of_time(micros: int, length: int) -> Window:
    """The window that a time is in."""
    start = micros // length * length
    return Window(start, start + length)


def window_of_name(name: str, length: int) -> Window:
    """The window of a named batch: the one that its slice, which ends at the time that the name begins with, is in.

    >>> window_of_name("19700101T010000Z-s00003", 3_600_000_000).start, window_of_name("s00003", 1) == ALL
    (0, True)
    """
    micros = time_of_name(name)
    return ALL if micros is None else window_of_time(micros - 1, length)


def check_name(name: str) -> str:
    """The name of a batch, that is to be part of a key.

    Raises:
        ValueError: it holds something else than letters, digits and . _ = + -
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be part of an object's name: letters, digits and . _ = + - only")
    return name


def part_name(window: Window, shard: int, part: int) -> str:
    """The name of a part of a window, without its ending.

    >>> part_name(Window(0, 3_600_000_000), 3, 0)
    '19700101T000000Z-s00003-p00000'
    """
    return f"{time_text(window.start)}-s{shard:05d}-p{part:05d}"


def manifest_name(window: Window) -> str:
    """Where a window's manifest is, below the prefix.

    >>> manifest_name(Window(0, 3_600_000_000))
    '_committed/19700101T000000Z-19700101T010000Z.json'
    """
    return f"{COMMITTED}{window.text}.json"


def window_of_manifest(name: str) -> Window | None:
    """The window of a manifest, by its name below `_committed/`; None for anything else.

    >>> window_of_manifest("19700101T000000Z-19700101T010000Z.json")
    Window(start=0, stop=3600000000)
    """
    if name == "all.json":
        return ALL
    found = _MANIFEST.fullmatch(name)
    start = time_of_name(found["start"]) if found else None
    stop = time_of_name(found["stop"]) if found else None
    return None if start is None or stop is None else Window(start, stop)


def time_of_name(name: str) -> int | None:
    """The time that a name begins with; None for another name.

    >>> time_of_name("20070401T000000Z-s00003"), time_of_name("s00003")
    (1175385600000000, None)
    """
    found = _BEGINS.match(name)
    if found is None:
        return None
    try:
        moment = datetime(*(int(number or 0) for number in found.groups()), tzinfo=UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        return None
    return (moment - _EPOCH) // _MICRO


def time_text(micros: int) -> str:
    """A time as it stands in a key: 20070401T000000Z, with microseconds where there are some.

    Raises:
        OverflowError: not within the years 1 to 9999.
    """
    moment = _EPOCH + timedelta(microseconds=micros)
    return f"{moment.year:04d}{moment:%m%dT%H%M%S}{f'.{moment:%f}' if micros % 1_000_000 else ''}Z"
