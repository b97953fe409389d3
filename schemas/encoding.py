"""How state and batches are kept as bytes: named columns, with a magic word and a version.

    magic  4 bytes   says what it is (a batch of events, the state of a rule)
    version u16      of what the columns mean; a reader knows every version up to its own
    columns u16
    then per column  name length u8, dtype length u8, name, dtype (numpy's, as `<i8`), bytes u64
    then the columns' buffers, one after another, in that order

Little-endian throughout. A column whose dtype is `text` holds msgpack: lists, maps and strings.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["EncodingError", "Rows", "pack", "unpack"]

Rows = NDArray[Any]

_HEAD = struct.Struct("<4sHH")
_COLUMN = struct.Struct("<BBQ")
_TEXT = b"text"


class EncodingError(ValueError):
    """Bytes that are not what they should be, or of a later version than this release knows."""


def pack(magic: bytes, version: int, columns: Mapping[str, object]) -> bytes:
    """Columns as bytes. A numpy array is kept as its buffer, anything else as msgpack.

    >>> unpack(b"TEST", 1, pack(b"TEST", 1, {"a": np.arange(2), "b": ["x"]}))[1]["b"]
    ['x']
    """
    heads = [_HEAD.pack(magic, version, len(columns))]
    buffers: list[bytes] = []
    for name, column in columns.items():
        key = name.encode()
        if isinstance(column, np.ndarray):
            kind, buffer = column.dtype.str.encode(), np.ascontiguousarray(column).tobytes()
            if column.dtype.hasobject or column.dtype.fields or column.ndim != 1:
                raise TypeError(f"column {name}: {column.dtype} of {column.ndim} dimensions is no plain column")
        else:
            kind, buffer = _TEXT, msgspec.msgpack.encode(column)
        heads.append(_COLUMN.pack(len(key), len(kind), len(buffer)) + key + kind)
        buffers.append(buffer)
    return b"".join(heads + buffers)


def unpack(magic: bytes, newest: int, encoded: bytes) -> tuple[int, dict[str, Any]]:
    """The version and the columns of these bytes; the arrays are read-only views of them.

    Raises:
        EncodingError: another magic word, a version after `newest`, or bytes that were cut.
    """
    try:
        found, version, count = _HEAD.unpack_from(encoded)
        if found != magic:
            raise EncodingError(f"expected {magic!r} bytes, found {found!r}")
        if version > newest:
            raise EncodingError(f"{magic!r} bytes of version {version}; this release reads up to {newest}: upgrade it")
        at = _HEAD.size
        heads: list[tuple[str, bytes, int]] = []
        for _ in range(count):
            name_size, kind_size, size = _COLUMN.unpack_from(encoded, at)
            at += _COLUMN.size
            name = encoded[at : at + name_size].decode()
            heads.append((name, encoded[at + name_size : at + name_size + kind_size], size))
            at += name_size + kind_size
        columns: dict[str, Any] = {}
        for name, kind, size in heads:
            if at + size > len(encoded):
                raise EncodingError(f"{magic!r} bytes end within column {name}")
            if kind == _TEXT:
                columns[name] = msgspec.msgpack.decode(encoded[at : at + size], strict=False)
            else:
                dtype = np.dtype(kind.decode())
                columns[name] = np.frombuffer(encoded, dtype, size // dtype.itemsize, at)
            at += size
    except (struct.error, UnicodeDecodeError, msgspec.DecodeError, TypeError) as error:
        raise EncodingError(f"{magic!r} bytes do not decode: {error}") from error
    return version, columns
