"""Times as people and files have them: years 1 to 9999, to the microsecond, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
from apache_beam.utils.timestamp import Timestamp

__all__ = ["FIRST_MICROS", "LAST_MICROS", "time_text", "time_texts", "timestamp_of"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

FIRST_MICROS: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
LAST_MICROS: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def timestamp_of(time: datetime) -> Timestamp:
    """A datetime with a zone as a Timestamp.

    Raises:
        ValueError: not within the years 1 to 9999 of UTC.
    """
    micros = (time - _EPOCH) // _MICROSECOND
    if not FIRST_MICROS <= micros <= LAST_MICROS:
        raise ValueError(f"a time outside the years 1 to 9999: {time.isoformat()}")
    return Timestamp(micros=micros)


def time_text(micros: int) -> str:
    """Microseconds since 1970 as RFC 3339 in UTC.

    >>> time_text(0), time_text(1_500_000), time_text(-1)
    ('1970-01-01T00:00:00Z', '1970-01-01T00:00:01.500Z', '1969-12-31T23:59:59.999999Z')
    """
    unit = "microseconds" if micros % 1_000 else "milliseconds" if micros % 1_000_000 else "seconds"
    return (_EPOCH + timedelta(microseconds=micros)).replace(tzinfo=None).isoformat(timespec=unit) + "Z"


def time_texts(column: pa.Array) -> list[str | None]:
    """An Arrow timestamp array as `time_text` has each of its values; None where it is null.

    Raises:
        ValueError: a time outside the years 1 to 9999.

    >>> time_texts(pa.array([0, None, 1_500_000], pa.timestamp("us", tz="UTC")))
    ['1970-01-01T00:00:00Z', None, '1970-01-01T00:00:01.500Z']
    """
    # Times repeat within a batch (the periods of usage), so each is written once; Arrow's own text form, of times
    # without a zone, is by far the fastest to be had.
    encoded = column.dictionary_encode()
    micros = encoded.dictionary.cast(pa.int64()).to_numpy()
    if len(micros) and not FIRST_MICROS <= int(micros.min()) <= int(micros.max()) <= LAST_MICROS:
        raise ValueError("a time outside the years 1 to 9999")
    texts = np.empty(len(micros) + 1, object)
    whole, milli = micros % 1_000_000 == 0, micros % 1_000 == 0
    for unit, of_unit in (("s", whole), ("ms", milli & ~whole), ("us", ~milli)):
        at = np.flatnonzero(of_unit)
        if len(at):
            plain = pa.array(micros[at]).cast(pa.timestamp("us")).cast(pa.timestamp(unit)).cast(pa.string())
            texts[at] = [text[:10] + "T" + text[11:] + "Z" for text in plain.to_pylist()]
    times: list[str | None] = texts[encoded.indices.fill_null(len(micros)).to_numpy()].tolist()
    return times
