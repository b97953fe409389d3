"""The restriction of a read: a range of row keys, one region's to begin with, splittable at any key."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from apache_beam.coders import Coder
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.transforms.core import RestrictionProvider

__all__ = ["KeyRange", "KeyRangeCoder", "KeyRangeProvider", "KeyRangeTracker"]

_LENGTH: Final = struct.Struct(">I")
_VERSION: Final = b"\x01"
_WIDTH: Final = 12
"""Bytes beyond what two keys share, to find one between them."""


class KeyRange(NamedTuple):
    """Keys from `start` up to but without `stop`; an empty stop is the table's end.

    >>> KeyRange(b"a", b"").within(KeyRange(b"", b"k"))
    KeyRange(start=b'a', stop=b'k')
    """

    start: bytes
    stop: bytes

    def within(self, other: KeyRange) -> KeyRange | None:
        """What both have; None for nothing."""
        start = max(self.start, other.start)
        stop = min(self.stop, other.stop) if self.stop and other.stop else self.stop or other.stop
        return KeyRange(start, stop) if not stop or start < stop else None


class KeyRangeCoder(Coder):
    """A version byte, the length of the first key, both keys."""

    def encode(self, value: KeyRange) -> bytes:
        """The range as bytes."""
        return _VERSION + _LENGTH.pack(len(value.start)) + value.start + value.stop

    def decode(self, encoded: bytes) -> KeyRange:
        """The range of these bytes.

        Raises:
            ValueError: of a version that is newer than this library.
        """
        if encoded[:1] != _VERSION:
            raise ValueError(f"a range of keys of version {encoded[:1].hex()}: this reads 01")
        (length,) = _LENGTH.unpack_from(encoded, 1)
        at = 1 + _LENGTH.size
        return KeyRange(encoded[at : at + length], encoded[at + length :])

    def is_deterministic(self) -> bool:
        """Equal ranges have equal bytes."""
        return True


class KeyRangeTracker(RestrictionTracker):
    r"""Claims row keys in order; None claims the rest, when there are no more rows.

    >>> tracker = KeyRangeTracker(KeyRange(b"a", b"k"))
    >>> tracker.try_claim(b"c"), tracker.try_split(0), tracker.try_claim(b"d")
    (True, (KeyRange(start=b'a', stop=b'c\x00'), KeyRange(start=b'c\x00', stop=b'k')), False)
    """

    def __init__(self, keys: KeyRange) -> None:
        self._range = keys
        self._claimed: bytes | None = None
        self._done = False

    def current_restriction(self) -> KeyRange:
        """The range that this bundle answers for."""
        return self._range

    def try_claim(self, position: bytes | None) -> bool:
        """Whether the row of this key is this bundle's to output.

        Raises:
            ValueError: keys out of order.
        """
        if position is None:
            self._done = True
            return True
        if self._claimed is not None and position <= self._claimed:
            raise ValueError("row keys are claimed in order")
        if self._range.stop and position >= self._range.stop:
            self._done = True
            return False
        self._claimed = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[KeyRange, KeyRange] | None:
        """Cut off what comes after some share of the keys that may be left, by their bytes."""
        if self._done:
            return None
        # No row has an empty key, and an empty stop would be the table's end.
        first = (self._range.start or b"\0") if self._claimed is None else self._claimed + b"\0"
        cut = first if fraction_of_remainder <= 0 else _between(first, self._range.stop, fraction_of_remainder)
        # Where nothing was claimed, all of it may be left for later.
        beyond = self._range.stop and cut >= self._range.stop
        if beyond or cut < first or (cut == first and fraction_of_remainder > 0):
            return None
        rest = KeyRange(cut, self._range.stop)
        self._range = KeyRange(self._range.start, cut)
        if cut == first:
            self._done = True
        return self._range, rest

    def check_done(self) -> bool:
        """Beam asks at the end of a bundle.

        Raises:
            ValueError: neither all was claimed nor the rest cut off.
        """
        if not self._done:
            raise ValueError(f"rows from {self._claimed or self._range.start!r} were neither read nor left for later")
        return True

    def current_progress(self) -> RestrictionProgress:
        """The share of the keys that is done, by their bytes."""
        if self._done:
            return RestrictionProgress(fraction=1.0)
        start, stop = self._range
        if self._claimed is None:
            return RestrictionProgress(fraction=0.0)
        low, high, at = _numbers(start, stop, self._claimed)
        return RestrictionProgress(fraction=min(1.0, (at - low) / max(1, high - low)))

    def is_bounded(self) -> bool:
        """Always: rows that are written behind the reader are not waited for."""
        return True


class KeyRangeProvider(RestrictionProvider):
    """An element is a range, and is its own restriction."""

    def initial_restriction(self, element: KeyRange) -> KeyRange:
        """All of it."""
        return element

    def create_tracker(self, restriction: KeyRange) -> KeyRangeTracker:
        """A tracker of the range."""
        return KeyRangeTracker(restriction)

    def restriction_size(self, element: KeyRange, restriction: KeyRange) -> float:
        """The share of the element, for HBase's gateways do not say how large a region is."""
        low, high, start = _numbers(element.start, element.stop, restriction.start)
        stop = _numbers(element.start, element.stop, restriction.stop)[2] if restriction.stop else high
        return min(1.0, max(0.0, (stop - start) / max(1, high - low)))

    def restriction_coder(self) -> Coder:
        """Of the ranges."""
        return KeyRangeCoder()


def _between(low: bytes, high: bytes, fraction: float) -> bytes:
    """A key at some share of the way, taking keys for fractions in base 256."""
    shared = _shared(low, high)
    first, last, _ = _numbers(low, high, low)
    at = first + int((last - first) * min(1.0, fraction))
    return low[:shared] + at.to_bytes(_WIDTH + 1, "big")[1:].rstrip(b"\0")


def _numbers(low: bytes, high: bytes, at: bytes) -> tuple[int, int, int]:
    shared = _shared(low, high)

    def number(key: bytes) -> int:
        return int.from_bytes(key[shared : shared + _WIDTH].ljust(_WIDTH, b"\0"), "big")

    return number(low), number(high) if high else 1 << 8 * _WIDTH, number(at)


def _shared(low: bytes, high: bytes) -> int:
    """How many bytes two keys begin alike."""
    shared = 0
    while shared < min(len(low), len(high)) and low[shared] == high[shared]:
        shared += 1
    return shared
