"""Lines that differ in nothing but time, ids and number from one that was decoded: read without decoding them.

Devices say the same few things again and again. A line that msgspec decoded as a plain device event is the form of all
lines that have its length and its bytes at every place but the digits of the time and of a number, and the ids; where
those are digits and UUIDs again, such a line decodes to the same event with these in place of its own. So whole columns
are cut from a blob, at a third of what decoding costs. Any other line is left to be decoded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thingbeam.schemas.batch import ROW, EventBatch, Names, hash_description
from thingbeam.schemas.names import UUID_LENGTH, Words, words_of_uuids
from thingbeam.transforms.columns.form import WIDTH, Form, form_of
from thingbeam.transforms.columns.rows import Bools, Ints
from thingbeam.transforms.columns.times import MILLIS_DIGITS, micros_of_millis_digits, micros_of_octets
from thingbeam.transforms.envelopes import Limits

__all__ = ["Alike", "Forms", "rest_of"]

_FEW: Final = 16
"""Fewer lines of one length are not worth the calls of a comparison."""
_TRIES: Final = 8
"""How many forms the lines of one length are compared with."""
_SHARE: Final = 8
"""Which part of them a form must have, so that it is worth it."""
_MOST_LENGTHS: Final = 512
_LONGEST: Final = 4096
_BLOCK: Final = 512
"""Lines that are compared at once: they stay in the processor's cache."""
_PIECE: Final = 4 << 20
"""Bytes of a blob that are worked on at once: each form has enough lines in it to be worth the calls."""
_SEARCHED: Final = 1 << 18

_LINE_FEED: Final = ord("\n")
_EACH_TRUE: Final = np.uint64(0x0101010101010101)
"""Eight true booleans as a word."""
_PLACE: Final = np.uint64(0x0001020304050607)
"""Times a word of which one byte is 1: that byte's number comes to stand in the highest byte."""


class Alike(NamedTuple):
    """What was read of a blob, and what is left."""

    batch: EventBatch
    rest: bytes
    """The lines that are still to be decoded."""
    origin: Callable[[int], int]
    """Where in the blob a place of the rest was."""


class Forms:
    """The forms that were seen, remembered from blob to blob.

    Args:
        limits: on size, depth and time.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: dict[int, list[Form]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._known.values()))

    def take(self, data: bytes) -> Alike:
        """Read those lines of a blob that have a known form, or the form of others in it."""
        if len(self._known) > _MOST_LENGTHS:
            self._known = {}
        batches: list[EventBatch] = []
        left: list[tuple[int, int]] = []
        at = 0
        while at < len(data):
            end = data.find(b"\n", at + _PIECE) + 1 or len(data)
            batch, spans = self._piece(data, at, end)
            batches.append(batch)
            left += spans
            at = end
        return Alike(EventBatch.concatenate(batches), *rest_of(data, left))

    def drain(self) -> list[tuple[int, Form]]:
        """The forms that are known, each with the length of its lines; from now on they are not."""
        drained = [(length, form) for length, forms in self._known.items() for form in forms]
        self._known = {}
        return drained

    def _piece(self, data: bytes, begin: int, end: int) -> tuple[EventBatch, list[tuple[int, int]]]:
        """Read a piece of a blob: its rows, and the spans of lines that are left."""
        breaks = _line_ends(data, begin, end)
        if not len(breaks):
            return EventBatch(np.zeros(0, ROW), Names()), [(begin, end)]
        starts = np.concatenate(([begin], breaks[:-1] + 1))
        form = np.full(len(breaks), -1)
        values = np.zeros(len(breaks), np.uint64)
        used: list[Form] = []
        for lines in _of_one_length(starts, breaks, len(data)):
            self._match(data, starts, int(breaks[lines[0]] - starts[lines[0]]), lines, used, form, values)
        at = np.flatnonzero(form >= 0)
        batch, good = self._batch(data, starts[at], used, form[at], values[at])
        form[at[~good]] = -1
        stop = int(breaks[-1]) + 1
        return batch, [*_left(starts, form < 0, stop), *([(stop, end)] if stop < end else [])]

    def _match(
        self, data: bytes, starts: Ints, length: int, lines: Ints, used: list[Form], form: Ints, values: Words
    ) -> None:
        """Write the form of each of some lines of one length, where it has one, and its value."""
        known = self._known.get(length, [])
        kept: list[tuple[int, Form]] = []
        for _ in range(_TRIES):
            if len(lines) < _FEW:
                break
            first = lines[:1]
            start = int(starts[first[0]])
            found = known.pop(0) if known else form_of(data, start, start + length, self._limits)
            if found is None:
                lines = lines[1:]
                continue
            used.append(found)
            left = _matched(data, starts, lines, found, len(used) - 1, form, values)
            taken, lines = len(lines) - len(left), left
            if taken * _SHARE < taken + len(left):
                # These lines are not so much alike: to compare them all again and again would cost more than decoding.
                break
            kept.append((taken, found))
        kept.sort(key=itemgetter(0), reverse=True)
        self._known[length] = [each for _, each in kept] + known

    def _batch(
        self, data: bytes, starts: Ints, used: list[Form], form: Ints, values: Words
    ) -> tuple[EventBatch, Bools]:
        """The rows of lines that have a form, and which of the lines have one: whose ids and time are such."""
        numbers = np.flatnonzero(np.bincount(form))
        forms = [used[number] for number in numbers.tolist()]
        place = np.zeros(len(used), np.int64)
        place[numbers] = np.arange(len(numbers))
        form = place.take(form)

        def ids(field: str) -> NDArray[Any]:
            return _cut(data, starts + np.array([getattr(each, field) for each in forms], np.int64)[form], UUID_LENGTH)

        names = Names()
        rows = np.zeros(len(starts), ROW)
        good = np.ones(len(starts), np.bool_)
        if not len(starts):
            return EventBatch(rows, names), good
        homes = ids("home")
        again = homes.view("<u4") == ids("again").view("<u4")
        if not again.all():
            good &= again.reshape(-1, UUID_LENGTH // 4).all(axis=1)
        for field, texts in (("device", ids("device")), ("event", ids("event")), ("home", homes)):
            words, plain = words_of_uuids(texts)
            rows[f"{field}_high"], rows[f"{field}_low"] = words[:, 0], words[:, 1]
            good &= plain
        rows["time"], told = self._times(data, starts, form, forms)
        good &= told
        described = [hash_description(each.description) for each in forms]
        names.descriptions.update(zip(described, (each.description for each in forms), strict=True))
        names.texts.update((each.value, each.text) for each in forms if each.text is not None)
        rows["description"] = np.array(described, np.uint64)[form]
        rows["value"] = values
        return EventBatch(rows if good.all() else rows.compress(good), names), good

    def _times(self, data: bytes, starts: Ints, form: Ints, forms: list[Form]) -> tuple[Ints, Bools]:
        micros, good = np.zeros(len(starts), np.int64), np.zeros(len(starts), np.bool_)
        places = starts + np.array([each.time for each in forms])[form]
        lengths = np.array([each.time_length for each in forms])[form]
        for length in {each.time_length for each in forms}:
            at = np.flatnonzero(lengths == length)
            octets = _cut(data, places[at], length).view(np.uint8).reshape(-1, length)
            micros_of = micros_of_millis_digits if length == MILLIS_DIGITS else micros_of_octets
            micros[at], good[at] = micros_of(octets)
        return micros, good & (micros >= self._limits.earliest.micros) & (micros <= self._limits.latest.micros)


def rest_of(data: bytes, spans: Sequence[tuple[int, int]]) -> tuple[bytes, Callable[[int], int]]:
    """Some spans of a blob one after another, and what says where in the blob a place in them was.

    >>> rest, origin = rest_of(b"abcdefgh", [(1, 3), (6, 8)])
    >>> rest, [origin(at) for at in range(4)]
    (b'bcgh', [1, 2, 6, 7])
    """
    pieces = [data[start:stop] for start, stop in spans]
    starts = list(accumulate(map(len, pieces), initial=0))

    def origin(at: int) -> int:
        run = bisect_right(starts, at, hi=len(spans)) - 1
        return spans[run][0] + at - starts[run]

    return b"".join(pieces), origin


def _matched(data: bytes, starts: Ints, lines: Ints, found: Form, number: int, form: Ints, values: Words) -> Ints:
    """Note the lines that have a form; the others."""
    width = found.words.nbytes
    for begin in range(0, len(lines), _BLOCK):
        some = lines[begin : begin + _BLOCK]
        words = _cut(data, starts[some], width).view("<u8").reshape(len(some), -1)
        same = _all_of_each(((words & found.fixed) == found.words).view(np.uint64) == _EACH_TRUE)
        if found.number is None:
            values[some[same]] = found.value
        else:
            read, good = found.number.read(words.view(np.uint8).reshape(-1, width))
            same &= good
            values[some[same]] = read[same]
        form[some[same]] = number
    return lines[form[lines] < 0]


def _all_of_each(rows: Bools) -> Bools:
    """Where a row is true throughout; for rows of a few, which numpy reduces slowly."""
    every: Bools = np.logical_and.reduce(np.ascontiguousarray(rows.T), axis=0)
    return every


def _line_ends(data: bytes, begin: int, end: int) -> Ints:
    """Where the line feeds of a piece are; looked for in what fits the processor's cache."""
    octets = np.frombuffer(data, np.uint8, end - begin, begin)
    return np.concatenate(
        [_feeds(octets[at : at + _SEARCHED]) + (begin + at) for at in range(0, len(octets), _SEARCHED)]
    )


def _feeds(octets: NDArray[np.uint8]) -> Ints:
    """Where the line feeds are; by words of eight bytes, most of which have none."""
    found = octets == _LINE_FEED
    whole = len(found) & ~7
    words = found[:whole].view(np.uint64)
    at = np.flatnonzero(words != 0)
    words = words[at]
    if (words & (words - np.uint64(1))).any():
        # Two in one word: there are lines of a few bytes.
        return np.flatnonzero(found)
    places = at * 8 + ((words * _PLACE) >> np.uint64(56)).astype(np.int64)
    return np.concatenate((places, np.flatnonzero(found[whole:]) + whole))


def _cut(data: bytes, at: Ints, width: int) -> NDArray[Any]:
    """So many bytes from each of these places on."""
    return np.ndarray((len(data) - width + 1,), f"V{width}", data, strides=(1,))[at]


def _of_one_length(starts: Ints, breaks: Ints, size: int) -> Iterator[Ints]:
    """The lines of each length of which there are some."""
    lengths = breaks - starts
    # Lines are compared by many bytes at once, which may reach over the end of the last one.
    lengths[(lengths > _LONGEST) | (starts + lengths + WIDTH > size)] = 0
    order = np.argsort(lengths.astype(np.uint16), kind="stable")
    edges = np.flatnonzero(np.diff(lengths[order])) + 1
    for lines in np.split(order, edges):
        if len(lines) >= _FEW and lengths[lines[0]]:
            yield lines


def _left(starts: Ints, left: Bools, end: int) -> list[tuple[int, int]]:
    """The spans of the lines that are left of a piece, neighbours together."""
    edges = np.append(starts, end)[np.flatnonzero(np.diff(left, prepend=False, append=False))].tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))
