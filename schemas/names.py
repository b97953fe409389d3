"""Texts as fixed-width words: what lets events be rows of numbers, and rows be sorted, compared and shuffled fast.

A canonical UUID is its own 16 bytes. Any other id is the 128-bit BLAKE2b of its text, which then travels beside the
rows. Texts (states, units, zones) are 64-bit BLAKE2b. None is 0.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["Words", "hash_text", "id_bytes", "id_words", "mix", "texts_of_ids"]

Words = NDArray[np.uint64]

_NIBBLE = np.full(256, 255, np.uint8)
for _digit, _letter in enumerate(b"0123456789abcdef"):
    _NIBBLE[_letter] = _digit
_DASHES = np.array([8, 13, 18, 23])
_HEX = np.array([at for at in range(36) if at not in (8, 13, 18, 23)])
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
    count = len(texts)
    words = np.zeros((count, 2), np.uint64)
    plain = np.zeros(count, np.bool_)
    if not count:
        return words, plain
    try:
        joined = "".join(texts).encode("ascii")  # type: ignore[arg-type]
        regular = len(joined) == 36 * count and all(len(text) == 36 for text in texts)  # type: ignore[arg-type]
    except (TypeError, UnicodeEncodeError):
        joined, regular = b"", False
    if regular:
        letters = np.frombuffer(joined, np.uint8).reshape(count, 36)
        nibbles = _NIBBLE[letters[:, _HEX]]
        plain = (letters[:, _DASHES] == 45).all(axis=1) & (nibbles.max(axis=1) < 16)
        pairs = (nibbles[:, 0::2] << 4) | nibbles[:, 1::2]
        words = np.ascontiguousarray(pairs).view(">u8").astype(np.uint64)
        plain &= (words != 0).any(axis=1)
    if not plain.all():
        for at in np.flatnonzero(~plain).tolist():
            words[at], plain[at] = _one_id(texts[at])
    return words, plain


@functools.lru_cache(maxsize=1 << 16)
def _one_id(text: str | None) -> tuple[tuple[int, int], bool]:
    if text is None:
        return (0, 0), True
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) == 36:
        letters = np.frombuffer(encoded, np.uint8)
        if (letters[_DASHES] == 45).all() and _NIBBLE[letters[_HEX]].max() < 16:
            digits = bytes.fromhex(text.replace("-", ""))
            if any(digits):
                return (int.from_bytes(digits[:8], "big"), int.from_bytes(digits[8:], "big")), True
    digest = hashlib.blake2b(encoded, digest_size=16).digest()
    return (int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")), False


def texts_of_ids(high: Words, low: Words, names: Mapping[bytes, str]) -> pa.Array:
    """Ids as an Arrow string array: named ones by their name, nil as null, the others as UUIDs.

    Args:
        high: the high words.
        low: the low words.
        names: the texts of ids that are no UUID, by their 16 bytes.
    """
    count = len(high)
    raw = np.empty((count, 2), ">u8")
    raw[:, 0], raw[:, 1] = high, low
    pairs = _PAIRS[raw.view(np.uint8).reshape(count, 16)].view(np.uint8).reshape(count, 32)
    letters = np.full((count, 36), 45, np.uint8)
    letters[:, _HEX] = pairs
    offsets = np.arange(0, 36 * count + 1, 36, dtype=np.int32)
    array = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(letters.tobytes()))
    nil = (high == 0) & (low == 0)
    if not names and not nil.any():
        return array
    known = np.flatnonzero(_named(high, low, names) | nil)
    if not len(known):
        return array
    texts = array.to_pylist()
    for at in known:
        texts[at] = names.get(raw[at].tobytes())
    return pa.array(texts, pa.string())


def _named(high: Words, low: Words, names: Mapping[bytes, str]) -> NDArray[np.bool_]:
    if not names:
        return np.zeros(len(high), np.bool_)
    keys = np.frombuffer(b"".join(names), ">u8").reshape(-1, 2)
    return np.isin(high, keys[:, 0].astype(np.uint64)) & np.isin(low, keys[:, 1].astype(np.uint64))


def mix(high: Words, low: Words) -> Words:
    """One well-mixed word of two, so that no chosen ids pile up on a shard (SplitMix64's finaliser, twice).

    >>> bool(mix(np.array([1], np.uint64), np.array([2], np.uint64))[0] > 0)
    True
    """
    with np.errstate(over="ignore"):
        mixed: Words = _finalise(_finalise(high + np.uint64(0x9E3779B97F4A7C15)) ^ low)
    return mixed


def _finalise(words: Any) -> Any:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
