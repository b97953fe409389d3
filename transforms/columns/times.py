"""RFC 3339 times as columns: many texts of one length at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from thingbeam.transforms.columns.rows import Bools, Ints

__all__ = ["micros_of_texts"]

_DIGITS: Final = np.array([0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18])
_MARKS: Final = np.array([4, 7, 10, 13, 16])
_MARK_BYTES: Final = np.frombuffer(b"--T::", np.uint8)
_MONTH_DAYS: Final = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)


def micros_of_texts(texts: Sequence[str]) -> tuple[Ints, Bools]:
    """Times like 2026-03-01T00:00:00.123Z as microseconds since 1970, and which of the texts are such times.

    Takes only the plain form (capital T and Z, UTC, up to six digits of fraction, all texts of one length); what it
    does not take may still be a time: ask `thingbeam.transforms.envelopes.times`.

    >>> micros_of_texts(["1970-01-01T00:00:01.500Z"])[0].tolist()
    [1500000]
    """
    count = len(texts)
    nothing = np.zeros(count, np.int64), np.zeros(count, np.bool_)
    length = len(texts[0]) if count else 0
    if not (length == 20 or 22 <= length <= 27):
        return nothing
    try:
        joined = "".join(texts).encode("ascii")
    except UnicodeEncodeError:
        return nothing
    if len(joined) != count * length or any(len(text) != length for text in texts):
        return nothing
    letters = np.frombuffer(joined, np.uint8).reshape(count, length)
    digits = letters[:, _DIGITS] - 48
    good = (digits < 10).all(axis=1) & (letters[:, _MARKS] == _MARK_BYTES).all(axis=1) & (letters[:, -1] == 90)
    d = digits.astype(np.int64).T
    year, month, day = d[0] * 1000 + d[1] * 100 + d[2] * 10 + d[3], d[4] * 10 + d[5], d[6] * 10 + d[7]
    hour, minute, second = d[8] * 10 + d[9], d[10] * 10 + d[11], d[12] * 10 + d[13]
    good &= (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    good &= day <= _MONTH_DAYS[np.where(good, month, 0)] - ((month == 2) & ~leap)
    # Days since 1970 by the era algorithm for the Gregorian calendar: years begin in March.
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    micros = ((days * 24 + hour) * 60 + minute) * 60 + second
    fraction = np.zeros(count, np.int64)
    if length > 20:
        places = letters[:, 20:-1] - 48
        good &= (letters[:, 19] == 46) & (places < 10).all(axis=1)
        for place in range(places.shape[1]):
            fraction += places[:, place].astype(np.int64) * 10 ** (5 - place)
    return micros * 1_000_000 + fraction, good
