"""Event times of messages: the record's own, or what a function finds in the payloads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from thingbeam.io.watermark import UNKNOWN_TIME, fill_unknown

__all__ = ["EventTimes", "JsonTime", "TimeKind", "event_times"]

Longs = NDArray[np.int64]
EventTimes = Callable[[Sequence[bytes | None]], Longs]
"""From payloads to microseconds since 1970, one each; UNKNOWN_TIME where a payload does not say."""

TimeKind = Literal["record", "log_append", "create"]
"""Which time of a record is meant: what the topic keeps, or one of the two and no other."""

_EARLIEST: Final = -62_135_596_800_000_000
_LATEST: Final = 253_402_300_799_000_000
"""The years 1 to 9999."""


def event_times(function: EventTimes | None, payloads: Sequence[bytes | None], records: Longs) -> tuple[Longs, int]:
    """The times of messages, in microseconds since 1970, and the latest that the watermark may go by.

    A payload that cannot be read is for the parser to refuse, and must not stop a partition here: its record's own time
    is taken. The watermark does not go by that: in old data written anew it would make all that follows late.

    Args:
        function: from payloads to times; None for the records' own. Where it fails for many it is asked for each. A
            time outside the years 1 to 9999 is none.
        payloads: the values.
        records: the records' own times.

    Returns:
        The times, and the latest that is not a record's in place of one that could not be read; UNKNOWN_TIME where
        none is.

    >>> times, latest = event_times(JsonTime("t"), [b'{"t": 1}', b"no JSON"], np.array([7000, 8000]))
    >>> times.tolist(), latest
    ([1000, 8000], 1000)
    """
    found = _found(function, payloads, records)
    return fill_unknown(found, records), int(found.max(initial=UNKNOWN_TIME))


def _found(function: EventTimes | None, payloads: Sequence[bytes | None], records: Longs) -> Longs:
    """The times, UNKNOWN_TIME where a payload does not say."""
    if function is None or not payloads:
        return records
    try:
        found = np.asarray(function(payloads), np.int64)
    except Exception:  # whatever a user's function raises: one bad payload must cost itself only
        found = np.array([_one(function, payload) for payload in payloads], np.int64)
    if found.shape != records.shape:
        raise ValueError(f"event_time gave {found.shape} times for {len(payloads)} payloads")
    return np.where((found < _EARLIEST) | (found > _LATEST), UNKNOWN_TIME, found)


def _one(function: EventTimes, payload: bytes | None) -> int:
    try:
        return int(np.asarray(function([payload]), np.int64)[0])
    except Exception:  # as above
        return UNKNOWN_TIME


class JsonTime:
    """The time in a field of JSON payloads: milliseconds since 1970, or RFC 3339 text.

    Looks at the one field and passes over the rest, hundreds of payloads in one call.

    Args:
        field: its name, at the top of the object.

    >>> JsonTime("eventTime")([b'{"eventTime": "1970-01-01T00:00:01Z", "x": [1]}']).tolist()
    [1000000]
    """

    def __init__(self, field: str) -> None:
        self._field = field
        self._decoder: Any = None

    def __call__(self, payloads: Sequence[bytes | None]) -> Longs:
        """The times, in microseconds since 1970; UNKNOWN_TIME where the field is absent or no time."""
        if self._decoder is None:
            self._decoder = self._make()
        decode_one = self._decoder.decode
        if all(payloads):
            # One text is decoded many times faster than its parts.
            joined = b"\n".join(payloads)  # type: ignore[arg-type]  # none is None, as all() saw
            if joined.count(b"\n") == len(payloads) - 1:
                records = self._decoder.decode_lines(joined)
                if len(records) == len(payloads):
                    return np.array([_micros(record.time) for record in records], np.int64)
        return np.array([_micros(decode_one(p).time) if p else UNKNOWN_TIME for p in payloads], np.int64)

    def _make(self) -> Any:
        record = msgspec.defstruct(
            "Timed", [("time", int | float | str | None, None)], rename={"time": self._field}, gc=False
        )
        return msgspec.json.Decoder(record)

    def __getstate__(self) -> str:
        return self._field

    def __setstate__(self, field: str) -> None:
        self.__init__(field)  # type: ignore[misc]


def _micros(said: float | str | None) -> int:
    if said is None:
        return UNKNOWN_TIME
    if isinstance(said, str):
        try:
            given = np.datetime64(said.removesuffix("Z"), "us")
        except ValueError:
            return UNKNOWN_TIME
        return int(given.astype(np.int64))
    return round(said * 1000)
