"""The numbers of shards, chosen so that Flink gives as many of them to each task.

Flink puts a key into one of so many key groups by a hash, and gives each task a range of groups. Twelve keys 0 to 11
fall 9:3 on two tasks and 5:4:2:1 on four: a job is then no faster than its fullest task. Numbers whose groups lie
evenly are as good as any others to every other engine.

The group is that of Flink's `KeyGroupRangeAssignment.assignToKeyGroup` for Beam's `FlinkKey` (runner 2.70): MurmurHash3
x64 128 (https://github.com/aappleby/smhasher) of the key as Beam encodes it, the bytes of a varint, of which the lowest
32 bits are hashed once more.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count
from typing import Final

from apache_beam.coders import VarIntCoder

__all__ = ["key_group", "shard_numbers"]

GROUPS: Final = (720, 128)
"""Key groups of a job: what our profile says, and what Flink takes where nothing is said."""
_MOST: Final = 24
"""More shards lie evenly enough by chance, and numbers for them are long to look for."""
_WORD: Final = (1 << 32) - 1
_LONG: Final = (1 << 64) - 1


def shard_numbers(shards: int) -> tuple[int, ...]:
    """As many numbers, all different, from 0 to 32767. The same in every release: state is kept under them.

    >>> shard_numbers(3)
    (5, 25, 28)
    """
    return tuple(range(shards)) if shards > _MOST else _evenly(shards)


@lru_cache
def _evenly(shards: int) -> tuple[int, ...]:
    places: dict[int, int] = {}
    for number in count():
        found = {key_group(number, groups) * shards // groups for groups in GROUPS}
        if len(found) == 1:
            places.setdefault(found.pop(), number)
        if len(places) == shards:
            return tuple(places[place] for place in range(shards))
    raise AssertionError


def key_group(number: int, groups: int) -> int:
    """In which of so many key groups Flink has a key that is this number.

    >>> [key_group(number, 720) * 2 // 720 for number in range(12)].count(0)
    9
    """
    return _murmur_again(_murmur(VarIntCoder().encode(number))) % groups


def _murmur(key: bytes) -> int:
    """The lowest 32 bits of MurmurHash3 x64 128, seed 0, of up to eight bytes."""
    word = _rotated(int.from_bytes(key, "little") * 0x87C37B91114253D5 & _LONG, 31, 64) * 0x4CF5AD432745937F & _LONG
    first = (word ^ len(key)) + len(key) & _LONG
    return _mixed(first) + _mixed(first + len(key) & _LONG) & _WORD


def _mixed(word: int) -> int:
    word = (word ^ word >> 33) * 0xFF51AFD7ED558CCD & _LONG
    word = (word ^ word >> 33) * 0xC4CEB9FE1A85EC53 & _LONG
    return word ^ word >> 33


def _murmur_again(code: int) -> int:
    """Flink's MathUtils.murmurHash."""
    code = _rotated(code * 0xCC9E2D51 & _WORD, 15, 32) * 0x1B873593 & _WORD
    code = (_rotated(code, 13, 32) * 5 + 0xE6546B64) & _WORD ^ 4
    code = (code ^ code >> 16) * 0x85EBCA6B & _WORD
    code = (code ^ code >> 13) * 0xC2B2AE35 & _WORD
    code ^= code >> 16
    return code if code < 1 << 31 else (1 << 32) - code & _WORD >> 1


def _rotated(word: int, bits: int, of: int) -> int:
    return (word << bits | word >> of - bits) & (1 << of) - 1
