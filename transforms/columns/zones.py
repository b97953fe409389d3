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
    ahead = offsets(zone, times) if zone else np.zeros(len(times), np.int64)
    text: NDArray[Any] = np.datetime_as_string((times + ahead).view("M8[us]"), unit="us")
    # 26 characters of four bytes each, and padding: the fraction is dropped by reading a shorter prefix.
    letters = text.view(np.uint32).reshape(len(times), -1)[:, :26].astype(np.uint8)
    length = np.where(times % SECOND == 0, 19, np.where(times % 1000 == 0, 23, 26))
    if zone:
        distinct, inverse = np.unique(ahead, return_inverse=True)
        suffixes = [_suffix(int(value)) for value in distinct]
        tail = np.array([list(suffix) for suffix in suffixes], np.uint8)[inverse]
    else:
        tail = np.full((len(times), 1), ord("Z"), np.uint8)
    parts = np.concatenate((letters, tail), axis=1)
    keep = np.ones(parts.shape, np.bool_)
    keep[:, :26] = np.arange(26) < length[:, None]
    ends = np.concatenate(([0], np.cumsum(length + tail.shape[1]))).astype(np.int32)
    return pa.StringArray.from_buffers(len(times), pa.py_buffer(ends), pa.py_buffer(parts[keep].tobytes()))


def _suffix(offset: int) -> bytes:
    minutes = abs(offset) // (60 * SECOND)
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}".encode()


def local_times(times: Ints, zone_codes: Ints, zones: list[str]) -> pa.Array:
    """`rfc3339` of times in several zones: the code of each row's zone is an index into `zones`."""
    if len(zones) == 1:
        return rfc3339(times, zones[0])
    order = np.argsort(zone_codes, kind="stable")
    parts = [rfc3339(times[zone_codes == code], zones[code]) for code in np.unique(zone_codes).tolist()]
    back = np.empty(len(times), np.int64)
    back[order] = np.arange(len(times))
    return pc.take(pa.concat_arrays(parts), pa.array(back)) if parts else pa.array([], pa.string())
