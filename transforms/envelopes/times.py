"""Times as devices and platforms write them, in microseconds since 1970."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

__all__ = ["micros_of"]

_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_DAY_S: Final = 86_400


def micros_of(value: float | str) -> int:
    """The time that a JSON value says, in microseconds since 1970-01-01T00:00:00Z.

    A number is milliseconds since 1970, as in SmartThings' eventTime; a fraction of one is rounded to the nearest
    microsecond, which gives back the decimals that were written. A string is RFC 3339 (https://www.rfc-editor.org/rfc/rfc3339#section-5.6)
    with Z or an offset and up to nine digits of fraction, cut after the sixth. A leap second is the second after it,
    as POSIX counts. All arithmetic is on integers.

    Raises:
        TypeError: neither a number nor a string (a boolean is no number).
        ValueError: a string that is no RFC 3339 time, a day or hour that does not exist, NaN or an infinity.

    >>> micros_of(1739480496560), micros_of("2025-02-13T21:01:36.56+00:00")
    (1739480496560000, 1739480496560000)
    """
    if isinstance(value, bool):
        raise TypeError("a boolean is no time")
    if isinstance(value, int):
        return value * 1000
    if isinstance(value, float):
        try:
            numerator, denominator = value.as_integer_ratio()
        except (OverflowError, ValueError):
            raise ValueError("not a finite number") from None
        return (2000 * numerator + denominator) // (2 * denominator)
    if isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        return _rfc3339(value)
    raise TypeError("neither a number nor a string")


def _rfc3339(text: str) -> int:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time")
    year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = match.groups()
    seconds = int(hour) * 3600 + int(minute) * 60 + int(second)
    offset = 0
    if sign is not None:
        if int(offset_hours) > 23 or int(offset_minutes) > 59:
            raise ValueError("no such offset")
        offset = int(offset_hours) * 3600 + int(offset_minutes) * 60
        offset = -offset if sign == "-" else offset
    leap = int(second) == 60
    if int(hour) > 23 or int(minute) > 59 or int(second) > 60 or (leap and (seconds - offset) % _DAY_S):
        raise ValueError("no such time of day")
    days = date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    micros = int(fraction[:6].ljust(6, "0")) if fraction else 0
    return (days * _DAY_S + seconds - offset) * 1_000_000 + micros
