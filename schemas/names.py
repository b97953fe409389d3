"""Texts as fixed-width words: what lets events be rows of numbers, and rows be sorted, compared and shuffled fast.

A canonical UUID is its own 16 bytes. Any other id is the 128-bit BLAKE2b of its text, which then travels beside the
rows. Texts (states, units, zones) are 64-bit BLAKE2b. None is 0.
"""

from __future__ import annotations

import binascii
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["UUID_LENGTH", "Words", "hash_text", "id_bytes", "id_words", "mix", "texts_of_ids", "words_of_uuids"]

Words = NDArray[np.uint64]

UUID_LENGTH = 36
_DIGITS = 32


def _layout(places: Sequence[tuple[str, str, int]], size: int) -> np.dtype[Any]:
    names, formats, offsets = zip(*places, strict=True)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


_GROUPS = (("a", "<u8", 0, 0), ("b", "<u4", 9, 8), ("c", "<u4", 14, 12), ("d", "<u4", 19, 16), ("e", "<u8", 24, 20),
           ("f", "<u4", 32, 28))  # fmt: skip
"""Hexadecimal digits that are moved as one word: where they stand in the text of a UUID, and where without dashes."""
_UUID_TEXT = _layout([(name, word, at) for name, word, at, _ in _GROUPS], UUID_LENGTH)
_UUID_DIGITS = _layout([(name, word, at) for name, word, _, at in _GROUPS], _DIGITS)
_UUID_DASHES = _layout([(f"at_{at}", "u1", at) for at in (8, 13, 18, 23)], UUID_LENGTH)
_DASH = ord("-")
_LOWER = np.uint64(0x2020202020202020)
"""The bit that decimal digits and lower case letters have, and upper case letters do not."""
_NO_OCTET = 256
_OCTETS = np.full(1 << 16, _NO_OCTET, np.uint16)
"""By a pair of lower case hexadecimal digits, as they lie in memory: the octet that they stand for."""
_OCTETS[np.frombuffer("".join(f"{octet:02x}" for octet in range(256)).encode(), "<u2")] = np.arange(256)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_BLOCK = 8192
"""Words that are mixed at once: they stay in the nearest cache."""
_PAIRS = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)


@functools.lru_cache(maxsize=1 << 16)
def hash_text(text: str | None) -> int:
    """A text as 64 bits, the same in every process; None is 0.

    >>> hash_text(None), hash_text("on") == hash_text("on")
    (0, True)
    """
    if text is None:
        return 0
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def id_bytes(text: str) -> tuple[bytes, bool]:
    """An id as 16 bytes, and whether those bytes alone say what it was (a canonical UUID).

    >>> id_bytes("00000000-0000-0000-0000-0000000000ff")[0][-1]
    255
    """
    words, plain = id_words([text])
    return words.astype(">u8").tobytes(), bool(plain[0])


def id_words(texts: Sequence[str | None]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Ids as an array (n, 2) of words, high word first, and which of them are plain (a canonical UUID, or None).

    The nil UUID is not plain: its bytes mean None.
    """
    words = np.zeros((len(texts), 2), np.uint64)
    plain = np.zeros(len(texts), np.bool_)
    try:
        joined = "".join(texts)  # type: ignore[arg-type]
        regular = joined.isascii() and set(map(len, texts)) == {UUID_LENGTH}  # type: ignore[arg-type]
    except TypeError:
        joined, regular = "", False
    if regular:
        words, plain = words_of_uuids(joined.encode("ascii"))
    else:
        like = [n for n, text in enumerate(texts) if text and len(text) == UUID_LENGTH and text.isascii()]
        words[like], plain[like] = words_of_uuids("".join(texts[n] or "" for n in like).encode("ascii"))
    if not plain.all():
        others = np.flatnonzero(~plain).tolist()
        words[others] = [_hash_id(texts[n]) for n in others]
        plain[others] = [texts[n] is None for n in others]
    return words, plain


def words_of_uuids(joined: bytes | NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Of texts of 36 bytes, one after another: their words, and which of them are canonical UUIDs and not nil."""
    texts = np.frombuffer(joined, _UUID_TEXT)
    digits = np.empty(len(texts), _UUID_DIGITS)
    for group, *_ in _GROUPS:
        digits[group] = texts[group]
    octets, plain = _octets_of(digits)
    dashes = texts.view(_UUID_DASHES)
    for dash in _UUID_DASHES.names or ():
        plain &= dashes[dash] == _DASH
    words = octets.view(">u8").astype(np.uint64).reshape(-1, 2)
    plain &= (words[:, 0] | words[:, 1]) != 0
    return words, plain


def _octets_of(digits: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The octets of ids without their dashes, and which of the ids are lower case hexadecimal digits throughout."""
    if np.bitwise_and.reduce(digits.view(np.uint64)) & _LOWER == _LOWER:
        try:
            return np.frombuffer(binascii.unhexlify(digits.view(np.uint8).data), np.uint8), np.ones(
                len(digits), np.bool_
            )
        except binascii.Error:
            pass
    # Not all of them are: it takes twice as long to say which.
    octets = _OCTETS.take(digits.view(np.uint16).reshape(-1, 16))
    return octets.astype(np.uint8).reshape(-1), octets.max(axis=1) < _NO_OCTET


@functools.lru_cache(maxsize=1 << 16)
def _hash_id(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 0
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


def texts_of_ids(high: Words, low: Words, names: Mapping[bytes, str]) -> pa.Array:
    """Ids as an Arrow string array: named ones by their name, nil as null, the others as UUIDs.

    Args:
        high: the high words.
        low: the low words.
        names: the texts of ids that are no UUID, by their 16 bytes.
    """
    if len(high) > 1:
        starts = np.ones(len(high), np.bool_)
        starts[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        if 2 * np.count_nonzero(starts) < len(high):
            # Rows of one device mostly stand together, and so do those of one home.
            run = pa.array(np.cumsum(starts) - 1)
            return _texts_of_ids(high[starts], low[starts], names).take(run)
    return _texts_of_ids(high, low, names)


def _texts_of_ids(high: Words, low: Words, names: Mapping[bytes, str]) -> pa.Array:
    count = len(high)
    raw = np.empty((count, 2), ">u8")
    raw[:, 0], raw[:, 1] = high, low
    digits = _PAIRS.take(raw.view(np.uint8).reshape(-1)).view(_UUID_DIGITS)
    letters = np.empty(count, _UUID_TEXT)
    for group, *_ in _GROUPS:
        letters[group] = digits[group]
    dashes = letters.view(_UUID_DASHES)
    for dash in _UUID_DASHES.names or ():
        dashes[dash] = _DASH
    offsets = np.arange(0, 36 * count + 1, 36, dtype=np.int32)
    array = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(letters.view(np.uint8)))
    nil = (high == 0) & (low == 0)
    if not names and not nil.any():
        return array
    known = np.flatnonzero(_named(high, low, names) | nil)
    if not len(known):
        return array
    texts = array.to_pylist()
    for at in known.tolist():
        texts[at] = names.get(raw[at].tobytes(), None if nil[at] else texts[at])
    return pa.array(texts, pa.string())


def _named(high: Words, low: Words, names: Mapping[bytes, str]) -> NDArray[np.bool_]:
    if not names:
        return np.zeros(len(high), np.bool_)
    keys = np.frombuffer(b"".join(names), ">u8").reshape(-1, 2)
    return np.isin(high, keys[:, 0].astype(np.uint64)) & np.isin(low, keys[:, 1].astype(np.uint64))


def mix(high: Words, low: Words) -> Words:
    """One well-mixed word of two, so that no chosen ids pile up on a shard (SplitMix64's finaliser, twice).

    The finaliser is one-to-one, so for one high word each low word makes another one; `factorize` builds on that.

    >>> bool(mix(np.array([1], np.uint64), np.array([2], np.uint64))[0] > 0)
    True
    """
    mixed: Words = high + _STEP
    scratch = np.empty(min(len(mixed), _BLOCK), np.uint64)
    # Block by block in place: twice as fast for many words, which would else go through memory a dozen times.
    for begin in range(0, len(mixed), _BLOCK):
        block = mixed[begin : begin + _BLOCK]
        shifted = scratch[: len(block)]
        _finalise(block, shifted)
        block ^= low[begin : begin + _BLOCK]
        _finalise(block, shifted)
    return mixed


def _finalise(words: Words, shifted: Words) -> None:
    np.right_shift(words, _SHIFTS[0], out=shifted)
    words ^= shifted
    words *= _FACTORS[0]
    np.right_shift(words, _SHIFTS[1], out=shifted)
    words ^= shifted
    words *= _FACTORS[1]
    np.right_shift(words, _SHIFTS[2], out=shifted)
    words ^= shifted
