"""Times as people and files have them: years 1 to 9999, to the microsecond, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from apache_beam.utils.timestamp import Timestamp

__all__ = ["FIRST_MICROS", "LAST_MICROS", "time_text", "timestamp_of"]

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
