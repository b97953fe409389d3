"""Takes apart what the Kinesis Producer Library packs into one record, and nothing else.

The format: https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md
A magic word of four bytes, a protocol buffer (https://protobuf.dev/programming-guides/encoding/), and the MD5 of it.
Whatever does not fit is a record like any other: its bytes are somebody's payload that happens to begin so.

Records that a stale producer has packed into the wrong shard are given, too. The KPL puts them once more, so they may
come twice; a producer that does not would have them lost if they were passed over.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

__all__ = ["MAGIC", "SubRecord", "aggregate", "take_apart"]

MAGIC: Final = b"\xf3\x89\x9a\xc2"
_DIGEST_BYTES: Final = 16
_KEYS, _HASH_KEYS, _RECORDS = 1, 2, 3
_KEY_INDEX, _HASH_KEY_INDEX, _DATA = 1, 2, 3
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


class SubRecord(NamedTuple):
    """One record of an aggregate."""

    data: bytes
    partition_key: str
    explicit_hash_key: str | None = None


class _MalformedError(ValueError):
    pass


def take_apart(data: bytes) -> list[SubRecord] | None:
    """The records of an aggregate, in order; None where it is none, or is broken.

    >>> take_apart(aggregate([SubRecord(b"a", "k"), SubRecord(b"b", "l", "7")]))
    [SubRecord(data=b'a', partition_key='k', explicit_hash_key=None), SubRecord(data=b'b', partition_key='l', \
explicit_hash_key='7')]
    >>> take_apart(b"{}") is None
    True
    """
    if not data.startswith(MAGIC) or len(data) < len(MAGIC) + _DIGEST_BYTES:
        return None
    message, digest = data[len(MAGIC) : -_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.md5(message, usedforsecurity=False).digest() != digest:
        return None
    try:
        return _records(message)
    except (_MalformedError, UnicodeDecodeError):
        return None


def aggregate(records: list[SubRecord]) -> bytes:
    """An aggregate of these records, as the KPL makes it.

    >>> aggregate([SubRecord(b"a", "k")])[:4] == MAGIC
    True
    """
    keys = list(dict.fromkeys(record.partition_key for record in records))
    hash_keys = list(dict.fromkeys(r.explicit_hash_key for r in records if r.explicit_hash_key is not None))
    parts = [_field(_KEYS, key.encode()) for key in keys]
    parts += [_field(_HASH_KEYS, key.encode()) for key in hash_keys]
    key_at = {key: at for at, key in enumerate(keys)}
    hash_key_at = {key: at for at, key in enumerate(hash_keys)}
    for record in records:
        inner = _varint(_KEY_INDEX << 3 | _VARINT) + _varint(key_at[record.partition_key])
        if record.explicit_hash_key is not None:
            inner += _varint(_HASH_KEY_INDEX << 3 | _VARINT) + _varint(hash_key_at[record.explicit_hash_key])
        parts.append(_field(_RECORDS, inner + _field(_DATA, record.data)))
    message = b"".join(parts)
    return MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()


def _records(message: bytes) -> list[SubRecord]:
    keys: list[str] = []
    hash_keys: list[str] = []
    inner: list[bytes] = []
    for number, value in _fields(message):
        if isinstance(value, bytes):
            if number == _KEYS:
                keys.append(value.decode())
            elif number == _HASH_KEYS:
                hash_keys.append(value.decode())
            elif number == _RECORDS:
                inner.append(value)
    # The tables may stand behind the records.
    return [_record(one, keys, hash_keys) for one in inner]


def _record(message: bytes, keys: list[str], hash_keys: list[str]) -> SubRecord:
    key = hash_key = -1
    data: bytes | None = None
    for number, value in _fields(message):
        if number == _KEY_INDEX and isinstance(value, int):
            key = value
        elif number == _HASH_KEY_INDEX and isinstance(value, int):
            hash_key = value
        elif number == _DATA and isinstance(value, bytes):
            data = value
    if data is None or not 0 <= key < len(keys) or hash_key >= len(hash_keys):
        raise _MalformedError
    return SubRecord(data, keys[key], None if hash_key < 0 else hash_keys[hash_key])


def _fields(message: bytes) -> list[tuple[int, bytes | int]]:
    """The fields of a message; those of fixed width, which this format has none of, are passed over."""
    found: list[tuple[int, bytes | int]] = []
    at, end = 0, len(message)
    while at < end:
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _read_varint(message, at)
            found.append((number, value))
        elif kind == _BYTES:
            length, at = _read_varint(message, at)
            if at + length > end:
                raise _MalformedError
            found.append((number, message[at : at + length]))
            at += length
        elif kind in (_EIGHT, _FOUR):
            at += 8 if kind == _EIGHT else 4
        else:
            raise _MalformedError
    if at != end:
        raise _MalformedError
    return found


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise _MalformedError


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value
