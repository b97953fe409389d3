"""Local time for columns: periods of a zone as an array of edges, and times as the home's clock showed them."""

from __future__ import annotations

import datetime
import functools
import zoneinfo
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from thingbeam.transforms.columns.rows import Ints

__all__ = ["DAY", "SECOND", "local_times", "offsets", "period_edges", "rfc3339"]

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
_CHUNK: Final = 64 * DAY
_FEW: Final = 128
"""Fewer are told one by one: arrays cost some calls each."""
_STEP: Final = 3 * 3600 * SECOND


@functools.lru_cache(maxsize=4096)
def _transitions(zone: str, chunk: int) -> tuple[tuple[int, int], ...]:
    """(instant, offset from then on) within a chunk of time, the first at its beginning; microseconds."""
    at = chunk * _CHUNK
    offset = _offset(zone, at)
    found = [(at, offset)]
    for end in range(at + _STEP, at + _CHUNK + 1, _STEP):
        after = _offset(zone, end)
        if after != offset:
            low, high = end - _STEP, end
            while high - low > SECOND:
                middle = (low + high) // 2 // SECOND * SECOND
                if _offset(zone, middle) == offset:
                    low = middle
                else:
                    high = middle
            if high < at + _CHUNK:
                found.append((high, after))
            offset = after
    return tuple(found)


def _offset(zone: str, micros: int) -> int:
    moment = datetime.datetime.fromtimestamp(micros // SECOND, zoneinfo.ZoneInfo(zone))
    delta = moment.utcoffset()
    return 0 if delta is None else int(delta.total_seconds()) * SECOND


def _segments(zone: str, first: int, last: int) -> tuple[Ints, Ints]:
    """Stretches of one offset that cover first to last: where each begins, and its offset."""
    pairs: list[tuple[int, int]] = []
    for chunk in range(first // _CHUNK, last // _CHUNK + 1):
        for at, offset in _transitions(zone, chunk):
            if not pairs or pairs[-1][1] != offset:
                pairs.append((at, offset))
    return np.array([at for at, _ in pairs], np.int64), np.array([offset for _, offset in pairs], np.int64)


def offsets(zone: str, times: Ints) -> Ints:
    """How far the zone's clock is ahead of UTC at each time, in microseconds.

    >>> offsets("Europe/Paris", np.array([1175378400_000000])).tolist()
    [7200000000]
    """
    if not len(times):
        return np.zeros(0, np.int64)
    starts, values = _segments(zone, int(times.min()), int(times.max()))
    if len(starts) == 1:
        return np.full(len(times), values[0])
    return values[np.searchsorted(starts, times, "right") - 1]


@functools.lru_cache(maxsize=1024)
def _chunk_edges(zone: str, period: int, chunk: int) -> Ints:
    begin, end = chunk * _CHUNK, (chunk + 1) * _CHUNK
    # A little before, so that what was there at the beginning is known.
    starts, values = _segments(zone, begin - 2 * DAY, end)
    stops = np.append(starts[1:], end)
    found: list[Ints] = []
    if period < DAY:
        for start, stop, offset in zip(starts.tolist(), stops.tolist(), values.tolist(), strict=True):
            first = -(-(start + offset) // period) * period - offset
            found.append(np.arange(first, stop, period))
        found.append(starts[1:])
    else:
        latest = -(1 << 62)
        for start, stop, offset in zip(starts.tolist(), stops.tolist(), values.tolist(), strict=True):
            midnights = np.arange(-(-(start + offset) // DAY) * DAY, stop + offset, DAY)
            # A clock set forward over midnight: the day begins where the clock comes to stand.
            here = (start + offset) // DAY * DAY
            if here > latest and start != starts[0]:
                found.append(np.array([start]))
                latest = here
            # One set back over it comes to the same midnight twice: the day has begun.
            fresh = midnights[midnights > latest]
            if len(fresh):
                found.append(fresh - offset)
                latest = int(fresh[-1])
    edges = np.unique(np.concatenate(found))
    return edges[(edges >= begin) & (edges < end)]


def period_edges(zone: str, period: int, first: int, last: int) -> Ints:
    """The starts of all periods of a zone that touch first to last, and of the one after them.

    Args:
        zone: an IANA name.
        period: microseconds; a day means local days. Shorter periods end where the zone's offset changes, too.
        first: microseconds since 1970.
        last: microseconds since 1970.

    >>> edges = period_edges("Asia/Kathmandu", 3600_000000, 0, 0)
    >>> (edges // 60_000000).tolist()
    [-30, 30]
    """
    # A chunk more on each side: it holds the edge before the first and the one after the last.
    chunks = range((first - 2 * DAY) // _CHUNK, (last + 2 * DAY) // _CHUNK + 1)
    edges = np.concatenate([_chunk_edges(zone, period, chunk) for chunk in chunks])
    begin = int(np.searchsorted(edges, first, "right")) - 1
    end = int(np.searchsorted(edges, last, "right"))
    return edges[begin : end + 1]


def rfc3339(times: Ints, zone: str | None = None) -> pa.Array:
    """Times as text: in UTC with Z, or by a zone's clock with its offset.

    A fraction is there only where it is not zero: three digits for whole milliseconds, else six.

    >>> rfc3339(np.array([1175378400_000000, 1175378400_500000]), "Europe/Paris").to_pylist()
    ['2007-04-01T00:00:00+02:00', '2007-04-01T00:00:00.500+02:00']
    """
    if not len(times):
        return pa.array([], pa.string())
    ahead = offsets(zone, times) if zone else np.zeros(1, np.int64)
    if len(times) < _FEW:
        some = zip(times.tolist(), np.broadcast_to(ahead, times.shape).tolist(), strict=True)
        return pa.array([_text(at + offset, _suffix(offset) if zone else "Z") for at, offset in some], pa.string())
    seconds, micros = _divided(times + ahead, SECOND)
    days, seconds = _divided(seconds, 86_400)
    millis, below = _divided(micros, 1000)
    distinct, day = _numbered(days)
    dates = np.array([f"{date}T" for date in distinct.view("M8[D]")], "S")
    shown, suffix = _numbered(ahead)
    suffixes = np.array([_suffix(value) if zone else "Z" for value in shown.tolist()], "S")
    digits = np.where(micros == 0, 0, np.where(below == 0, 1, 2))
    parts: list[pa.Array] = []
    places: list[Ints] = []
    for groups in range(3):
        at = np.flatnonzero(digits == groups)
        if not len(at):
            continue
        fields: list[tuple[str, Any]] = [("date", dates.dtype), ("clock", "S8"), ("dot", f"S{min(groups, 1)}")]
        fields += [("milli", "S3"), ("micro", "S3")][:groups]
        text = np.empty(len(at), np.dtype([*fields, ("zone", suffixes.dtype)]))
        text["date"], text["clock"], text["dot"] = dates[day[at]], _clocks()[seconds[at]], b"."
        if groups:
            text["milli"] = _thousands()[millis[at]]
        if groups > 1:
            text["micro"] = _thousands()[below[at]]
        text["zone"] = suffixes[suffix[at] if len(ahead) > 1 else 0]
        ends = np.arange(0, (len(at) + 1) * text.itemsize, text.itemsize, dtype=np.int32)
        parts.append(pa.StringArray.from_buffers(len(at), pa.py_buffer(ends), pa.py_buffer(text)))
        places.append(at)
    if len(parts) == 1:
        return parts[0]
    back = np.empty(len(times), np.int64)
    back[np.concatenate(places)] = np.arange(len(times))
    return pa.concat_arrays(parts).take(pa.array(back))


def _divided(values: Ints, by: int) -> tuple[Ints, Ints]:
    """What numpy's divmod gives, in a third of its time."""
    whole = values // by
    return whole, values - whole * by


def _numbered(values: Ints) -> tuple[Ints, Ints]:
    """The distinct values, and for each its place among them. Mostly all are one, which is seen at once."""
    if (values == values[0]).all():
        return values[:1], np.zeros(len(values), np.int64)
    distinct, places = np.unique(values, return_inverse=True)
    return distinct, places


@functools.cache
def _clocks() -> NDArray[np.bytes_]:
    """The text of each second of a day."""
    return np.array([f"{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}" for at in range(86_400)], "S8")


@functools.cache
def _thousands() -> NDArray[np.bytes_]:
    return np.array([f"{at:03}" for at in range(1000)], "S3")


@functools.lru_cache(maxsize=1 << 12)
def _date(day: int) -> str:
    """A day since 1970 as it begins a text."""
    return f"{np.datetime64(day, 'D')}T"


def _text(local: int, suffix: str) -> str:
    """One time: microseconds since 1970 by its own clock."""
    second, micros = divmod(local, SECOND)
    day, second = divmod(second, 86_400)
    fraction = f".{micros:06}" if micros % 1000 else f".{micros // 1000:03}" if micros else ""
    return f"{_date(day)}{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}{fraction}{suffix}"


@functools.cache
def _suffix(offset: int) -> str:
    minutes = abs(offset) // (60 * SECOND)
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


def local_times(times: Ints, zone_codes: Ints, zones: list[str]) -> pa.Array:
    """`rfc3339` of times in several zones: the code of each row's zone is an index into `zones`."""
    names = sorted(set(zones))
    if len(names) == 1:
        return rfc3339(times, names[0])
    zone_codes = np.array([names.index(zone) for zone in zones], np.int64)[zone_codes]
    order = np.argsort(zone_codes, kind="stable")
    parts = [rfc3339(times[zone_codes == code], names[code]) for code in np.unique(zone_codes).tolist()]
    back = np.empty(len(times), np.int64)
    back[order] = np.arange(len(times))
    return pc.take(pa.concat_arrays(parts), pa.array(back)) if parts else pa.array([], pa.string())
