"""Row keys made of a record's fields: sorted as the fields are, salted, with the newest first where that is wanted.

What is in a key, in this order:
- the salt, one byte: the CRC-32 of the encoded first parts, modulo the number of buckets. HBase keeps rows sorted and
  cuts them into regions, so keys that begin alike, or with a clock, all go to one server; a salt spreads them. All rows
  that share the salted parts share a bucket, so what one device did is still one range.
- a text: UTF-8, 00 within it as 00 FF, ended by 00 00, so that no text's rows stand among another's; the last part of a
  key needs no end and is UTF-8 alone.
- a time or number: 8 bytes, big endian, with the sign bit inverted, so that they sort as numbers do; newest (or
  largest) first inverts all bits.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.hbase.values import ValueProblemError
from thingbeam.schemas import codes

__all__ = ["LONGEST_KEY", "KeyPart", "KeyProblemError", "RowKey", "after_prefix"]

LONGEST_KEY: Final = 32_767
"""Bytes: https://hbase.apache.org/book.html#arch.hbase.maxrowlength and HConstants.MAX_ROW_LENGTH."""

PartKind = Literal["text", "time", "number"]
_UNSIGNED: Final = struct.Struct(">Q")
_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1
_MOST_BUCKETS: Final = 256


class KeyProblemError(ValueProblemError):
    """No key can be made of these fields, or this key is not one of ours."""


@dataclass(frozen=True)
class KeyPart:
    """One field of the key.

    >>> KeyPart.newest("start")
    KeyPart(field='start', kind='time', descending=True)
    """

    field: str
    kind: PartKind = "text"
    descending: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.kind not in ("text", "time", "number"):
            raise ValueError(f"key part {self.field}: kind {self.kind!r}: text, time or number")
        if self.descending and self.kind == "text":
            raise ValueError(f"key part {self.field}: a text sorts one way only")

    @classmethod
    def newest(cls, field: str) -> KeyPart:
        """A time, the newest first: what "the last N of a device" is read by."""
        return cls(field, "time", descending=True)

    @classmethod
    def time(cls, field: str) -> KeyPart:
        """A time, the oldest first."""
        return cls(field, "time")

    @classmethod
    def number(cls, field: str, *, descending: bool = False) -> KeyPart:
        """A whole number of 64 bits."""
        return cls(field, "number", descending)

    def encode(self, value: Any, *, last: bool) -> bytes:
        """The part's bytes.

        Raises:
            KeyProblemError: the value is absent or of another sort.
        """
        if value is None:
            raise KeyProblemError(f"{self.field}: a row key needs it, and it is absent", codes.MISSING_FIELD)
        if self.kind == "text":
            if not isinstance(value, str):
                raise KeyProblemError(f"{self.field}: {type(value).__name__} where text is expected")
            try:
                data = value.encode()
            except UnicodeEncodeError as error:
                raise KeyProblemError(f"{self.field}: the text holds half a surrogate pair") from error
            return data if last else data.replace(b"\0", b"\0\xff") + b"\0\0"
        number = value.micros if self.kind == "time" and isinstance(value, Timestamp) else value
        if isinstance(number, bool) or not isinstance(number, int):
            wanted = "a Timestamp" if self.kind == "time" else "a whole number"
            raise KeyProblemError(f"{self.field}: {type(value).__name__} where {wanted} is expected")
        unsigned = number + _SIGN
        if not 0 <= unsigned <= _ALL:
            raise KeyProblemError(f"{self.field}: {number} does not fit in 64 bits", codes.OUT_OF_RANGE)
        return _UNSIGNED.pack(_ALL - unsigned if self.descending else unsigned)

    def decode(self, key: bytes, at: int, *, last: bool) -> tuple[Any, int]:
        """The value whose bytes begin at `at`, and where they end.

        Raises:
            KeyProblemError: they are not what `encode` makes.
        """
        if self.kind == "text":
            end = len(key)
            data = key[at:]
            if not last:
                end = at
                while True:
                    end = key.find(b"\0", end)
                    if end < 0 or end + 1 >= len(key):
                        raise KeyProblemError(f"{self.field}: the key ends within it")
                    if key[end + 1] == 0:
                        break
                    end += 2
                data, end = key[at:end].replace(b"\0\xff", b"\0"), end + 2
            try:
                return data.decode(), end
            except UnicodeDecodeError as error:
                raise KeyProblemError(f"{self.field}: not UTF-8") from error
        end = at + _UNSIGNED.size
        if end > len(key):
            raise KeyProblemError(f"{self.field}: the key ends within it")
        unsigned: int = _UNSIGNED.unpack_from(key, at)[0]
        number = (_ALL - unsigned if self.descending else unsigned) - _SIGN
        return (Timestamp(micros=number) if self.kind == "time" else number), end


class RowKey:
    """How a row's key is made of its fields.

    Args:
        parts: fields, in order; a text of that name stands for `KeyPart(name)`.
        salt: how many buckets, at most 256; 0 for none. The same for as long as the table lives.
        salted: how many of the first parts the salt is made of. A range is read by these parts.

    Raises:
        ValueError: what cannot be.

    >>> key = RowKey("device_id", KeyPart.newest("start"), salt=16)
    >>> key.encode({"device_id": "d1", "start": Timestamp(0)}).hex()
    '0f643100007fffffffffffffff'
    >>> key.decode(key.encode({"device_id": "d1", "start": Timestamp(5)}))
    {'device_id': 'd1', 'start': Timestamp(5)}
    """

    def __init__(self, *parts: KeyPart | str, salt: int = 0, salted: int = 1) -> None:
        self.parts = tuple(KeyPart(part) if isinstance(part, str) else part for part in parts)
        self.salt = salt
        self.salted = salted
        self.fields = tuple(part.field for part in self.parts)
        if not self.parts or len(set(self.fields)) < len(self.fields):
            raise ValueError(f"row key {', '.join(self.fields) or 'of nothing'}: one field or more, each once")
        if not 0 <= salt <= _MOST_BUCKETS or salt == 1:
            raise ValueError(f"salt {salt}: from 2 to {_MOST_BUCKETS} buckets, or 0 for none")
        if not 1 <= salted <= len(self.parts):
            raise ValueError(f"salted {salted}: from 1 to {len(self.parts)}, the parts of the key")
        self._last = len(self.parts) - 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RowKey):
            return NotImplemented
        return (self.parts, self.salt, self.salted) == (other.parts, other.salt, other.salted)

    def __hash__(self) -> int:
        return hash((self.parts, self.salt, self.salted))

    def __repr__(self) -> str:
        return f"RowKey({', '.join(map(repr, self.parts))}, salt={self.salt}, salted={self.salted})"

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """The key of a row.

        Raises:
            KeyProblemError: a field is absent, empty (the first part) or of another sort, or the key is too long.
        """
        return self.of([fields.get(name) for name in self.fields])

    def of(self, values: Sequence[Any]) -> bytes:
        """The key of the values of its parts, in order.

        Raises:
            KeyProblemError: see `encode`.
        """
        key = self._join(values)
        if len(key) > LONGEST_KEY:
            raise KeyProblemError(f"a row key of {len(key)} bytes; HBase takes {LONGEST_KEY}", codes.TOO_LARGE)
        return key

    def prefix(self, fields: Mapping[str, Any]) -> bytes:
        r"""What the keys of all rows with these values of the first parts begin with.

        Raises:
            KeyProblemError: no values of the first parts, or not of all those that are salted.

        >>> key = RowKey("device_id", KeyPart.newest("start"))
        >>> key.prefix({"device_id": "d1"})
        b'd1\x00\x00'
        """
        given = [name for name in self.fields if name in fields]
        strange = sorted(set(fields) - set(self.fields))
        if strange or not given or given != list(self.fields[: len(given)]):
            raise KeyProblemError(f"a range is given by the first parts of the key: {', '.join(self.fields)}")
        if self.salt and len(given) < self.salted:
            raise KeyProblemError(f"a range of a salted table needs {', '.join(self.fields[: self.salted])}")
        return self._join([fields[name] for name in given])

    def range(
        self, fields: Mapping[str, Any], since: Timestamp | int | None = None, until: Timestamp | int | None = None
    ) -> tuple[bytes, bytes]:
        """The first key, and the first one beyond, of the rows with these values of the first parts.

        Args:
            fields: values of the first parts.
            since: the least value of the part after these, a time or number.
            until: and what it stays below.

        Raises:
            KeyProblemError: see `prefix`; or the part after these is a text, and `since` or `until` is given.

        >>> key = RowKey("device_id", KeyPart.newest("start"))
        >>> start, stop = key.range({"device_id": "d1"}, since=Timestamp(10), until=Timestamp(20))
        >>> start <= key.of(["d1", Timestamp(19)]) < key.of(["d1", Timestamp(10)]) < stop
        True
        >>> start <= key.of(["d1", Timestamp(20)]), key.of(["d1", Timestamp(9)]) < stop
        (False, False)
        """
        prefix = self.prefix(fields)
        if len(fields) == len(self.parts):
            # A text at the end of a key has no end of its own: others may begin as it does.
            start, stop = prefix, prefix + b"\0"
        else:
            start, stop = prefix, after_prefix(prefix)
        if since is None and until is None:
            return start, stop
        if len(fields) == len(self.parts) or self.parts[len(fields)].kind == "text":
            raise KeyProblemError("since and until are of a time or number that stands after the fields given")
        part = self.parts[len(fields)]
        low, high = (None if edge is None else part.encode(edge, last=False) for edge in (since, until))
        if part.descending:
            # The bytes of an edge come before those of what is below it: the one at `until` is left out by going on
            # after all that begin with it.
            start = start if high is None else after_prefix(prefix + high)
            stop = stop if low is None else after_prefix(prefix + low)
        else:
            start = start if low is None else prefix + low
            stop = stop if high is None else prefix + high
        return start, stop

    def decode(self, key: bytes) -> dict[str, Any]:
        """The fields of a key.

        Raises:
            KeyProblemError: it is none of this sort.
        """
        at = 1 if self.salt else 0
        found: dict[str, Any] = {}
        for number, part in enumerate(self.parts):
            found[part.field], at = part.decode(key, at, last=number == self._last)
        if at != len(key):
            raise KeyProblemError("the key has more bytes than its parts")
        return found

    def buckets(self) -> list[bytes]:
        """The first byte of each bucket's keys; one empty text where there is no salt."""
        return [bytes([bucket]) for bucket in range(self.salt)] or [b""]

    def _join(self, values: Sequence[Any]) -> bytes:
        if values[0] == "":
            raise KeyProblemError(f"{self.fields[0]}: a row key needs it, and it is empty", codes.MISSING_FIELD)
        encoded = [
            part.encode(value, last=number == self._last)
            for number, (part, value) in enumerate(zip(self.parts, values, strict=False))
        ]
        key = b"".join(encoded)
        if not self.salt:
            return key
        return bytes([zlib.crc32(b"".join(encoded[: self.salted])) % self.salt]) + key


def after_prefix(prefix: bytes) -> bytes:
    r"""The first key that is after all those that begin so; empty where there is none.

    >>> after_prefix(b"ab"), after_prefix(b"a\xff"), after_prefix(b"\xff")
    (b'ac', b'b', b'')
    """
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b""
