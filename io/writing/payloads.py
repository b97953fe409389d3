"""A row as JSON, for the dead letter that it becomes."""

from __future__ import annotations

import base64
import contextlib
import datetime
import decimal
from typing import Any, Final

import msgspec
from apache_beam.utils.timestamp import Timestamp

__all__ = ["payload_of"]


def payload_of(row: object) -> bytes:
    """A row as JSON, whatever it holds. Bytes are base64 in it, and by themselves stay as they are.

    >>> payload_of({"id": "a", "raw": bytes(2)}), payload_of(b"as it is")
    (b'{"id":"a","raw":"AAA="}', b'as it is')
    """
    if isinstance(row, (bytes, bytearray)):
        return bytes(row)
    return _ENCODER.encode(_plain(row))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int, float)):
        return value if not isinstance(value, str) else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(_plain(name)): _plain(one) for name, one in value.items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one) for one in value]
    if isinstance(value, Timestamp):
        with contextlib.suppress(ValueError, OverflowError):
            return value.to_rfc3339()
    if isinstance(value, (decimal.Decimal, datetime.date, datetime.time, Timestamp)):
        return str(value)
    return repr(value)


_ENCODER: Final = msgspec.json.Encoder()
