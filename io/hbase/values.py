"""How a column's values are bytes: what HBase's own `Bytes` class makes of them, so that others can read them.

| encoding | Python | bytes | Hive, Spark, shell |
|---|---|---|---|
| text | str | UTF-8 | string |
| int64 | int | 8 bytes, big endian, two's complement | `Bytes.toLong`, `#b` bigint |
| float64 | float | 8 bytes, big endian, IEEE 754 | `Bytes.toDouble`, `#b` double |
| boolean | bool | FF or 00 | `Bytes.toBoolean` |
| micros | Timestamp | as int64: microseconds since 1970 | `Bytes.toLong` |
| json | mappings, lists | UTF-8, keys sorted, no spaces | string |
| bytes | bytes | themselves | binary |

An optional column holds no bytes where there is no value. So that an empty text is something else, a text or bytes of
an optional column that is empty, or begins with NUL, has a NUL before it. The cell is written all the same: a cell that
was left out would let an older revision's value show through.

https://github.com/apache/hbase/blob/master/hbase-common/src/main/java/org/apache/hadoop/hbase/util/Bytes.java
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any, Final, Literal

from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas import codes

__all__ = ["ENCODINGS", "Encoding", "ValueProblemError", "decoder", "encoder"]

Encoding = Literal["text", "int64", "float64", "boolean", "micros", "json", "bytes"]

_LONG: Final = struct.Struct(">q")
_DOUBLE: Final = struct.Struct(">d")
_NUL: Final = b"\0"
_TRUE: Final = b"\xff"


class ValueProblemError(ValueError):
    """A value that the encoding does not hold, or bytes that it did not make.

    Args:
        reason: for a person; it repeats no text.
        code: of thingbeam.schemas.codes.
    """

    def __init__(self, reason: str, code: str = codes.WRONG_TYPE) -> None:
        super().__init__(reason)
        self.code = code


def encoder(encoding: Encoding, optional: bool) -> Callable[[Any], bytes]:
    r"""The function from values to bytes.

    It raises ValueProblemError for a value that is not of the encoding's sort.

    >>> encoder("int64", False)(1)
    b'\x00\x00\x00\x00\x00\x00\x00\x01'
    >>> encoder("text", True)(None), encoder("text", True)("")
    (b'', b'\x00')
    """
    plain, _ = ENCODINGS[encoding]
    if not optional:
        return plain
    escaped = encoding in ("text", "bytes")

    def encode(value: Any) -> bytes:
        if value is None:
            return b""
        data = plain(value)
        return _NUL + data if escaped and data[:1] in (b"", _NUL) else data

    return encode


def decoder(encoding: Encoding, optional: bool) -> Callable[[bytes], Any]:
    r"""The function back. It raises ValueProblemError for bytes that the encoding does not make.

    >>> decoder("text", True)(b""), decoder("text", True)(b"\x00")
    (None, '')
    """
    _, plain = ENCODINGS[encoding]
    if not optional:
        return plain
    escaped = encoding in ("text", "bytes")

    def decode(data: bytes) -> Any:
        if not data:
            return None
        return plain(data[1:] if escaped and data[:1] == _NUL else data)

    return decode


def _from_text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise _strange(value, "text")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise ValueProblemError("the text holds half a surrogate pair") from error


def _to_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueProblemError("the bytes are not UTF-8") from error


def _from_long(value: Any) -> bytes:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _strange(value, "a whole number")
    try:
        return _LONG.pack(value)
    except struct.error as error:
        raise ValueProblemError(f"{value} does not fit in 64 bits", codes.OUT_OF_RANGE) from error


def _to_long(data: bytes) -> int:
    if len(data) != _LONG.size:
        raise ValueProblemError(f"{len(data)} bytes, where a whole number has 8")
    number: int = _LONG.unpack(data)[0]
    return number


def _from_double(value: Any) -> bytes:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _strange(value, "a number")
    try:
        return _DOUBLE.pack(value)
    except (struct.error, OverflowError) as error:
        raise ValueProblemError("a number that no double holds", codes.OUT_OF_RANGE) from error


def _to_double(data: bytes) -> float:
    if len(data) != _DOUBLE.size:
        raise ValueProblemError(f"{len(data)} bytes, where a number has 8")
    number: float = _DOUBLE.unpack(data)[0]
    return number


def _from_boolean(value: Any) -> bytes:
    if not isinstance(value, bool):
        raise _strange(value, "true or false")
    return _TRUE if value else _NUL


def _to_boolean(data: bytes) -> bool:
    if len(data) != 1:
        raise ValueProblemError(f"{len(data)} bytes, where true or false has 1")
    return data != _NUL


def _from_micros(value: Any) -> bytes:
    if not isinstance(value, Timestamp):
        raise _strange(value, "a Timestamp")
    return _from_long(value.micros)


def _to_micros(data: bytes) -> Timestamp:
    return Timestamp(micros=_to_long(data))


def _from_json(value: Any) -> bytes:
    try:
        return json.dumps(
            value, separators=(",", ":"), sort_keys=True, ensure_ascii=False, allow_nan=False, default=dict
        ).encode()
    except (TypeError, ValueError) as error:
        if _has_nonfinite(value):
            raise ValueProblemError("no JSON: a number that is not finite", codes.NOT_FINITE) from error
        raise ValueProblemError(f"no JSON: {error}") from error


def _has_nonfinite(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_nonfinite, value.values()))
    if isinstance(value, list):
        return any(map(_has_nonfinite, value))
    return isinstance(value, float) and not math.isfinite(value)


def _to_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise ValueProblemError("the bytes are no JSON") from error


def _from_bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise _strange(value, "bytes")
    return value


def _strange(value: Any, wanted: str) -> ValueProblemError:
    return ValueProblemError(f"{type(value).__name__} where {wanted} is expected")


ENCODINGS: Final[dict[Encoding, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]]] = {
    "text": (_from_text, _to_text),
    "int64": (_from_long, _to_long),
    "float64": (_from_double, _to_double),
    "boolean": (_from_boolean, _to_boolean),
    "micros": (_from_micros, _to_micros),
    "json": (_from_json, _to_json),
    "bytes": (_from_bytes, bytes),
}
"""The functions to bytes and back, for values that are there."""
