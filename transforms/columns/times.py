"""RFC 3339 times as columns: many texts at once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from thingbeam.transforms.columns.rows import Bools, Ints
from thingbeam.transforms.envelopes import micros_of

__all__ = ["MILLIS_DIGITS", "micros_of_millis_digits", "micros_of_octets", "micros_of_texts"]

MILLIS_DIGITS: Final = 13
"""Of a number of milliseconds since 1970, for the next centuries."""
_SECONDS: Final = 20
"""The length of 2026-03-01T00:00:00Z."""
_LONGEST: Final = _SECONDS + 1 + 9
_TENS: Final = np.array([0, 2, 5, 8, 11, 14, 17])
"""Where the first of two digits stands."""
_MARKS: Final = ((4, ord("-")), (7, ord("-")), (10, ord("T")), (13, ord(":")), (16, ord(":")), (-1, ord("Z")))
_ZERO: Final = np.uint8(ord("0"))
_DAY_S: Final = 86_400


def micros_of_texts(texts: Sequence[str]) -> tuple[Ints, Bools]:
    """What `thingbeam.transforms.envelopes.micros_of` gives for each text, and for which it gives anything.

    Fast for times in UTC with capital T and Z (2026-03-01T00:00:00.123Z), best of one length; others one by one.

    Returns:
        Microseconds since 1970, 0 where a text is no time; and which of the texts are times.

    >>> micros, good = micros_of_texts(["1970-01-01T00:00:01.500Z", "1970-01-01T01:00:00+01:00", "noon"])
    >>> micros.tolist(), good.tolist()
    ([1500000, 0, 0], [True, True, False])
    """
    micros, good = _of_lengths(texts)
    for at in np.flatnonzero(~good).tolist():
        try:
            micros[at], good[at] = micros_of(texts[at]), True
        except ValueError:
            micros[at] = 0
    return micros, good


def _of_lengths(texts: Sequence[str]) -> tuple[Ints, Bools]:
    lengths = set(map(len, texts))
    if len(lengths) == 1:
        return _of_one_length(texts, lengths.pop())
    micros, good = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_)
    said = np.fromiter(map(len, texts), np.int64, len(texts))
    for length in lengths:
        at = np.flatnonzero(said == length)
        micros[at], good[at] = _of_one_length([texts[index] for index in at.tolist()], length)
    return micros, good


def _of_one_length(texts: Sequence[str], length: int) -> tuple[Ints, Bools]:
    """Those of the texts that are in UTC and plain, all of which are so long."""
    joined = "".join(texts)
    if not length or not joined.isascii():
        return np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_)
    return micros_of_octets(np.frombuffer(joined.encode(), np.uint8).reshape(-1, length))


def micros_of_octets(octets: NDArray[np.uint8]) -> tuple[Ints, Bools]:
    """What `micros_of_texts` gives for texts of one length, a row of bytes each, that are in UTC and plain.

    Returns:
        Microseconds since 1970, anything where a text is not such; and which of the texts are.
    """
    count, length = octets.shape
    if not (length == _SECONDS or _SECONDS + 2 <= length <= _LONGEST):
        return np.zeros(count, np.int64), np.zeros(count, np.bool_)
    # One row for each place in the text: what follows works on whole rows.
    places = np.ascontiguousarray(octets.T)
    tens, ones = places[_TENS] - _ZERO, places[_TENS + 1] - _ZERO
    good = (tens.max(axis=0) < 10) & (ones.max(axis=0) < 10)
    for place, mark in _MARKS:
        good &= places[place] == mark
    # Two digits fit a byte; what is none of them may overflow, and is not good.
    century, year, of_year, day, hour, minute, second = tens * np.uint8(10) + ones
    good &= (of_year >= 1) & (of_year <= 12)
    month = ((century.astype(np.int32) * 100 + year) * 12 + of_year - 1) * good
    begins, lengths = _months()
    good &= (day >= 1) & (day <= lengths.take(month)) & (hour < 24) & (minute < 60) & (second < 60)
    days = begins.take(month) + day
    micros = (days * _DAY_S + ((hour.astype(np.int32) * 60 + minute) * 60 + second)) * 1_000_000
    if length > _SECONDS:
        fraction = places[20:-1] - _ZERO
        good &= (places[19] == ord(".")) & (fraction.max(axis=0) < 10)
        below = np.zeros(count, np.int32)
        for digit in fraction[:6]:
            below = below * np.int32(10) + digit
        micros += below * np.int64(10 ** max(0, 6 - len(fraction)))
    return micros, good


def micros_of_millis_digits(octets: NDArray[np.uint8]) -> tuple[Ints, Bools]:
    """Milliseconds since 1970 in as many digits for each, the first not 0, as microseconds; and which are such."""
    digits = octets - _ZERO
    good: Bools = (digits.max(axis=1) < 10) & (digits[:, 0] != 0)
    powers = 10 ** np.arange(octets.shape[1] - 1, -1, -1, dtype=np.int64)
    return digits.astype(np.int64) @ powers * 1000, good


@functools.cache
def _months() -> tuple[Ints, Ints]:
    """For each month since the year 0: days from 1970 to the day before it, and days in it (0 in the year 0)."""
    begins = np.arange("0000-01", "10000-01", dtype="datetime64[M]").astype("datetime64[D]").astype(np.int64)
    lengths = np.diff(begins, append=begins[-1] + 31)
    lengths[:12] = 0
    return begins - 1, lengths
