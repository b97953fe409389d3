"""How state and batches are kept as bytes: named columns, with a magic word and a version.

    magic   4 bytes  says what it is (a batch of events, the state of a rule)
    version u16      of what the columns mean; a reader knows every version up to its own
    columns u16
    then per column  name length u8, dtype length u8, buffer length u64, name, dtype (numpy's, as `<i8`)
    then u32         the CRC-32 of all that and of the text columns
    then the columns' buffers, one after another, in that order

Little-endian throughout. A column whose dtype is `text` holds msgpack: lists, maps and strings. The numbers are not in
the CRC, which would cost a tenth of the whole job; damage to one is a wrong number, never a wrong length.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["EncodingError", "Rows", "cut", "is_cut", "pack", "rejoin", "unpack"]

Rows = NDArray[Any]

_HEAD: Final = struct.Struct("<4sHH")
_COLUMN: Final = struct.Struct("<BBQ")
_CHECK: Final = struct.Struct("<I")
_TEXT: Final = b"text"
_CUT: Final = b"TBCT"
_PIECE: Final = b"TBPC"
_DTYPES: Final = {
    text.encode(): np.dtype(text)
    for text in ("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8")
}  # fmt: skip


class EncodingError(ValueError):
    """Bytes that are not what they should be, or of a later version than this release knows."""


def pack(magic: bytes, version: int, columns: Mapping[str, object]) -> bytes:
    """Columns as bytes. A numpy array is kept as its buffer, anything else as msgpack.

    Raises:
        TypeError: an array of more than one dimension, or not of plain numbers or booleans.

    >>> unpack(b"TEST", 1, pack(b"TEST", 1, {"a": np.arange(2), "b": ["x"]}))[1]["b"]
    ['x']
    """
    heads = [_HEAD.pack(magic, version, len(columns))]
    buffers: list[Any] = []
    texts: list[bytes] = []
    for name, column in columns.items():
        key = name.encode()
        if isinstance(column, np.ndarray):
            kind = column.dtype.str.encode()
            if kind not in _DTYPES or column.ndim != 1:
                raise TypeError(f"column {name}: {column.dtype} of {column.ndim} dimensions is no plain column")
            buffer: Any = np.ascontiguousarray(column).view(np.uint8)
        else:
            kind, buffer = _TEXT, msgspec.msgpack.encode(column)
            texts.append(buffer)
        heads.append(_COLUMN.pack(len(key), len(kind), len(buffer)) + key + kind)
        buffers.append(buffer)
    head = b"".join(heads)
    return b"".join((head, _CHECK.pack(_check(head, texts)), *buffers))


def unpack(magic: bytes, newest: int, encoded: bytes) -> tuple[int, dict[str, Any]]:
    """The version and the columns of these bytes; the arrays are read-only views of them.

    Raises:
        EncodingError: another magic word, a version after `newest`, or bytes that were cut or damaged.
    """
    try:
        version, heads, at = _heads(magic, newest, encoded)
        (check,) = _CHECK.unpack_from(encoded, at)
    except struct.error as error:
        raise EncodingError(f"{magic!r} bytes end within their head") from error
    ends = list(itertools.accumulate((size for _, _, size in heads), initial=at + _CHECK.size))
    if ends[-1] != len(encoded):
        raise EncodingError(f"{magic!r} bytes were cut or damaged: {len(encoded)} of them, {ends[-1]} by their head")
    spans = list(itertools.pairwise(ends))
    texts = [
        encoded[begin:end] if kind == _TEXT else b"" for (_, kind, _), (begin, end) in zip(heads, spans, strict=True)
    ]
    if _check(encoded[:at], texts) != check:
        raise EncodingError(f"{magic!r} bytes were damaged")
    columns: dict[str, Any] = {}
    try:
        for (name, kind, size), (begin, _), text in zip(heads, spans, texts, strict=True):
            if kind == _TEXT:
                columns[name.decode()] = msgspec.msgpack.decode(text)
            else:
                dtype = _DTYPES[kind]
                items, rest = divmod(size, dtype.itemsize)
                if rest:
                    raise ValueError(f"{size} bytes of {dtype}")
                columns[name.decode()] = np.frombuffer(encoded, dtype, items, begin)
    except (KeyError, RecursionError, TypeError, ValueError, msgspec.DecodeError) as error:
        # The check fits: another program made these bytes.
        raise EncodingError(f"{magic!r} bytes do not decode: {error!r}") from error
    return version, columns


def cut(encoded: bytes, size: int) -> tuple[bytes, list[bytes]]:
    """Bytes, compressed with LZ4, as a head and pieces of at most so many, which may be kept in any order.

    >>> head, pieces = cut(b"a long state", 5)
    >>> is_cut(head), len(pieces), rejoin(head, reversed(pieces))
    (True, 3, b'a long state')
    """
    # State comes to half at a gigabyte a second, and every later copy costs more (issue 7).
    buffer = np.frombuffer(pa.compress(encoded, "lz4_raw", asbytes=False), np.uint8)
    pieces = [
        pack(_PIECE, 1, {"at": np.array([at], np.int64), "bytes": buffer[at : at + size]})
        for at in range(0, len(buffer), size)
    ]
    return pack(_CUT, 2, {"length": np.array([len(buffer)], np.int64), "whole": np.array([len(encoded)])}), pieces


def is_cut(encoded: bytes) -> bool:
    """Whether these bytes are the head of some that were cut."""
    return encoded[: len(_CUT)] == _CUT


def rejoin(head: bytes, pieces: Iterable[bytes]) -> bytes:
    """The bytes that were cut.

    Raises:
        EncodingError: bytes of another kind, or of a later version; a piece is missing, or there is one too many.
    """
    try:
        version, columns = unpack(_CUT, 2, head)
        length = int(columns["length"][0])
        whole = int(columns["whole"][0]) if version > 1 else None
        found = [unpack(_PIECE, 1, piece)[1] for piece in pieces]
        parts = sorted((int(piece["at"][0]), piece["bytes"].tobytes()) for piece in found)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise EncodingError(f"{_CUT!r} bytes do not have the columns of a cut: {error!r}") from error
    ends = list(itertools.accumulate((len(part) for _, part in parts), initial=0))
    if [at for at, _ in parts] != ends[:-1] or ends[-1] != length:
        raise EncodingError(f"{_CUT!r} bytes were cut into other pieces: {ends[-1]} bytes of {length}")
    joined = b"".join(part for _, part in parts)
    if whole is None:
        return joined
    try:
        decompressed: bytes = pa.decompress(joined, whole, "lz4_raw", asbytes=True)
    except (OSError, pa.ArrowException) as error:
        raise EncodingError(f"{_CUT!r} bytes were damaged: {error}") from error
    return decompressed


def _heads(magic: bytes, newest: int, encoded: bytes) -> tuple[int, list[tuple[bytes, bytes, int]], int]:
    """The version; each column's name, dtype and length; and where these heads end."""
    found, version, count = _HEAD.unpack_from(encoded)
    if found != magic:
        raise EncodingError(f"expected {magic!r} bytes, found {found!r}")
    if version > newest:
        raise EncodingError(f"{magic!r} bytes of version {version}; this release reads up to {newest}: upgrade it")
    at = _HEAD.size
    heads: list[tuple[bytes, bytes, int]] = []
    for _ in range(count):
        name_size, kind_size, size = _COLUMN.unpack_from(encoded, at)
        middle = at + _COLUMN.size + name_size
        heads.append((encoded[middle - name_size : middle], encoded[middle : middle + kind_size], size))
        at = middle + kind_size
    return version, heads, at


def _check(head: bytes, texts: Iterable[bytes]) -> int:
    check = zlib.crc32(head)
    for text in texts:
        check = zlib.crc32(text, check)
    return check
