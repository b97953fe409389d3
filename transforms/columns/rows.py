"""Rows in rule order, and the few array idioms that the columnar rules are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from thingbeam.schemas.batch import ROW, Description, EventBatch, Names, hash_description
from thingbeam.schemas.encoding import Rows
from thingbeam.schemas.names import Words, mix

__all__ = [
    "Bools",
    "Floats",
    "Ints",
    "SortedRows",
    "among",
    "ascending",
    "device_codes",
    "distinct_codes",
    "factorize",
    "lookup",
    "places_of",
    "segment_starts",
    "series_order",
    "sort_rows",
    "stable_order",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_FEW: Final = 256
"""Of so many, a set is found sooner than by numpy."""
_SLOTS: Final = 1 << 12
_SLOT: Final = np.uint64(64 - 12)
_PER_ROW: Final = ("device", "time", "event_high", "event_low", "home_high", "home_low", "value", "description")


def stable_order(codes: Ints) -> Ints:
    """The order that sorts small non-negative codes, equal ones as they stood.

    Codes are made unique by their position, so that the quick (unstable, vectorised) sort can be used.
    """
    count = len(codes)
    if count < 2 or (codes[1:] >= codes[:-1]).all():
        return np.arange(count)
    position_bits = int(count).bit_length()
    if int(codes.max()).bit_length() + position_bits > 63:
        return np.argsort(codes, kind="stable")
    keys = (codes.astype(np.int64) << position_bits) | np.arange(count)
    keys.sort()
    return keys & ((1 << position_bits) - 1)


def ascending(words: Words) -> Words:
    """The distinct words, ascending: what numpy's unique gives, which hashes them and takes several times as long.

    >>> ascending(np.array([7, 3, 7], np.uint64)).tolist()
    [3, 7]
    """
    words = np.sort(words)
    first = np.ones(len(words), np.bool_)
    np.not_equal(words[1:], words[:-1], out=first[1:])
    return words if first.all() else words.compress(first)


def among(words: Words, known: Words) -> Bools:
    """Which words are among some ascending ones.

    >>> among(np.array([7, 4], np.uint64), np.array([3, 7], np.uint64)).tolist()
    [True, False]
    """
    if not len(known):
        return np.zeros(len(words), np.bool_)
    found: Bools = known.take(np.searchsorted(known, words), mode="clip") == words
    return found


def factorize(high: Words, low: Words) -> tuple[Ints, Ints]:
    """Ids as codes 0, 1, … in an order of their own, the same for the same ids anywhere.

    Returns:
        The code of each id, and for each code the index of one id that has it.
    """
    count = len(high)
    if not count:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    keys = mix(high, low)
    order = _order_of_mixed(keys)
    ranked = keys.take(order)
    differs = np.ones(count, np.bool_)
    np.not_equal(ranked[1:], ranked[:-1], out=differs[1:])
    at = np.flatnonzero(~differs)
    one, before = order.take(at), order.take(at - 1)
    # Ids of one mixed word are one if their high words are: `mix` makes of each low word another one then.
    if (high.take(one) != high.take(before)).any():
        # Two ids of one mixed word (only by design or one in 10^13): order by the words themselves.
        order = np.lexsort((low, high, keys))
        differs = segment_starts(keys[order], high[order], low[order])
    codes = np.empty(count, np.int64)
    codes[order] = np.cumsum(differs) - 1
    first = order.compress(differs)
    return codes, first


def _order_of_mixed(words: Words) -> Ints:
    """The order that sorts well-mixed words.

    Their first bits with their place in the others are sorted: numbers are sorted much faster than places by them.
    """
    place = np.uint64((1 << len(words).bit_length()) - 1)
    packed = (words & ~place) | np.arange(len(words), dtype=np.uint64)
    packed.sort()
    order: Ints = (packed & place).view(np.int64)
    ranked = words.take(order)
    # Where the first bits are the same, the place has decided.
    return order if (ranked[1:] >= ranked[:-1]).all() else np.argsort(words)


def distinct_codes(words: Words) -> tuple[Words, Ints]:
    """The distinct words, ascending, and for each word its place among them; for words of which few are distinct."""
    # The first ones mostly are all there are; it costs less to see that of the others than to find them out anew.
    distinct = np.array(sorted(set(words[:_FEW].tolist())), words.dtype)
    while len(words):
        places = places_of(distinct, words)
        missing = distinct.take(places, mode="clip") != words
        if not missing.any():
            return distinct, places
        distinct = ascending(np.concatenate((distinct, words[missing])))
    return distinct, np.zeros(0, np.int64)


def places_of(distinct: Words, words: Words) -> Ints:
    """For each word its place among some distinct ones, ascending; any place for one that is none of them."""
    slots = distinct >> _SLOT
    if not (slots[1:] > slots[:-1]).all():
        return np.searchsorted(distinct, words)
    # Hashes of which few are distinct mostly differ in their first bits: a table is told sooner than a search.
    table = np.zeros(_SLOTS, np.int64)
    table[slots] = np.arange(len(distinct))
    return table.take((words >> _SLOT).astype(np.int64))


def series_order(device: Ints, words: Words) -> tuple[Ints, Ints]:
    """A code for each row by its device's code and its series' word, and the order that brings series together."""
    distinct, places = distinct_codes(words)
    # State is written in this order: that of the mixed words.
    codes, _ = factorize(distinct, np.zeros(len(distinct), np.uint64))
    group = device * len(distinct) + codes[places]
    return group, stable_order(group)


def device_codes(high: Words, low: Words, rows: SortedRows) -> Ints:
    """Codes of the devices of what is carried, and then of the rows: as `factorize` gives, but for order.

    Args:
        high: the devices' high words, of what is carried.
        low: their low words.
        rows: in rule order; where nothing is carried, their own codes do.
    """
    if not len(high):
        return rows.device
    codes, _ = factorize(np.concatenate((high, rows.device_high)), np.concatenate((low, rows.device_low)))
    return np.concatenate((codes[: len(high)], codes[len(high) :][rows.device]))


def segment_starts(*keys: NDArray[Any]) -> Bools:
    """Where a run of equal keys begins, in arrays sorted by those keys."""
    count = len(keys[0])
    starts = np.zeros(count, np.bool_)
    if count:
        starts[0] = True
        for key in keys:
            starts[1:] |= key[1:] != key[:-1]
    return starts


def lookup(words: Words, table: dict[int, Any], dtype: Any) -> NDArray[Any]:
    """What a table says of each word, asking it once for each distinct one."""
    distinct, codes = distinct_codes(words)
    return np.array([table[word] for word in distinct.tolist()], dtype)[codes]


@dataclass(frozen=True, slots=True)
class SortedRows:
    """Rows of one shard in rule order: by device, time and event id.

    Attributes:
        device: a code for each row, ascending.
        device_high: the device's words, by code; so device_low.
        description: an index into `descriptions` for each row.
    """

    device: Ints
    time: Ints
    event_high: Words
    event_low: Words
    home_high: Words
    home_low: Words
    value: Words
    description: Ints
    device_high: Words
    device_low: Words
    descriptions: Sequence[Description]
    names: Names

    def select(self, keep: Any) -> SortedRows:
        """Some of the rows, by mask or index, with the same codes."""
        at = np.flatnonzero(keep) if keep.dtype == np.bool_ else keep
        return replace(self, **{name: getattr(self, name).take(at) for name in _PER_ROW})

    def to_batch(self) -> EventBatch:
        """The rows as a batch, in this order."""
        rows = np.zeros(self.count, ROW)
        rows["device_high"], rows["device_low"] = self.device_high[self.device], self.device_low[self.device]
        for name in ("time", "event_high", "event_low", "home_high", "home_low", "value"):
            rows[name] = getattr(self, name)
        words = np.array([hash_description(d) for d in self.descriptions], np.uint64)
        rows["description"] = words[self.description]
        return EventBatch(rows, self.names)

    @property
    def count(self) -> int:
        """How many rows."""
        return len(self.time)


def sort_rows(batch: EventBatch) -> SortedRows:
    """Bring rows into rule order; those equal in device, time and id stay together, in order of arrival."""
    rows = batch.rows
    high, low = np.ascontiguousarray(rows["device_high"]), np.ascontiguousarray(rows["device_low"])
    codes, first = factorize(high, low)
    order = _order(rows, codes)
    # Of rows, to take is far faster than to index, which goes field by field.
    rows = rows.take(order)
    words = np.array(sorted(batch.names.descriptions), np.uint64)
    descriptions = [batch.names.descriptions[word] for word in words.tolist()]

    description = places_of(words, rows["description"])

    def column(name: str) -> NDArray[Any]:
        return np.ascontiguousarray(rows[name])

    return SortedRows(
        codes[order],
        column("time"),
        column("event_high"),
        column("event_low"),
        column("home_high"),
        column("home_low"),
        column("value"),
        description,
        high[first],
        low[first],
        descriptions,
        batch.names,
    )


def _order(rows: Rows, codes: Ints) -> Ints:
    count = len(rows)
    if count < 2:
        return np.arange(count)
    time = np.ascontiguousarray(rows["time"])
    earliest = int(time.min())
    time_bits = max(1, (int(time.max()) - earliest).bit_length())
    if int(codes.max()).bit_length() + time_bits > 63:
        return np.lexsort((rows["event_low"], rows["event_high"], time, codes))
    keys = (codes << time_bits) | (time - earliest)
    order: Ints = np.argsort(keys)
    keys = keys[order]
    tied = np.zeros(count, np.bool_)
    tied[1:] = keys[1:] == keys[:-1]
    tied[:-1] |= tied[1:]
    at = np.flatnonzero(tied)
    if len(at):
        # argsort may turn equal keys round: the arrival index is the last key.
        members = order[at]
        ids = rows.take(members)
        order[at] = members[np.lexsort((members, ids["event_low"], ids["event_high"], keys[at]))]
    return order
