"""Dead letters for outputs whose messages have a largest size."""

from __future__ import annotations

from typing import Any, Final

from thingbeam.schemas.records import DeadLetter

__all__ = ["shortened"]

_KEPT_BYTES: Final = 64 << 10


def shortened(record: Any) -> Any:
    """A dead letter with the first 64 KiB of its payload, which says so; any other record as it is.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> letter = DeadLetter(bytes(100_000), "events", "offset=1", "Parse", "too_large", "long", Timestamp(0))
    >>> len(shortened(letter).payload), shortened(letter).error
    (65536, 'long (the first 65536 of 100000 bytes are kept)')
    """
    if not isinstance(record, DeadLetter) or len(record.payload) <= _KEPT_BYTES:
        return record
    error = f"{record.error} (the first {_KEPT_BYTES} of {len(record.payload)} bytes are kept)"
    return record._replace(payload=record.payload[:_KEPT_BYTES], error=error)
