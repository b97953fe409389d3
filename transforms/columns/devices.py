"""The state of many devices, of which that of a few is taken, and put back, at a cost of those few.

It lies in parts, each sorted by device when it is first asked. What is put goes on top as a part of its own, and parts
of like size are merged: as in a log-structured merge tree, every row is copied a logarithm of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from thingbeam.schemas.names import Words, mix
from thingbeam.transforms.columns.closing import Columns
from thingbeam.transforms.columns.rows import Bools, Ints, among, ascending

__all__ = ["DeviceIndex", "Devices", "Part", "Rules", "bytes_of", "join_rules"]

_SCALARS: Final = ("until", "edge")
_LIVE: Final = ("live_high", "live_low", "live_time", "live_ended")
_SECONDS: Final = ("seconds_of", "seconds_state", "seconds")

Rules = dict[str, Columns]
"""The state of each rule, by its name."""


class DeviceIndex:
    """Where the rows of each device are in columns.

    Args:
        high: of each row, the high word of the device's id.
        low: the low one.
    """

    __slots__ = ("_order", "_words")

    def __init__(self, high: Words, low: Words) -> None:
        words = mix(high, low)
        # State mostly lies in this order as its rule leaves it.
        self._order = None if (words[1:] >= words[:-1]).all() else np.argsort(words)
        self._words = words if self._order is None else words[self._order]

    def rows(self, wanted: Words) -> Ints:
        """The numbers of the rows, ascending, of the devices whose mixed words these are, ascending."""
        begin = np.searchsorted(self._words, wanted, "left")
        places, _ = _ranges(begin, np.searchsorted(self._words, wanted, "right"))
        return places if self._order is None else np.sort(self._order[places])


class Part:
    """The state of some devices. It does not change.

    Attributes:
        rules: the columns.
        words: the mixed words of the devices that it speaks for, ascending; of some it may know nothing.
    """

    __slots__ = ("_indexes", "rules", "words")

    def __init__(self, rules: Rules, words: Words) -> None:
        self.rules = rules
        self.words = words
        self._indexes: dict[str, tuple[DeviceIndex, DeviceIndex | None]] = {}

    def take(self, wanted: Words) -> Rules:
        """The state of the devices whose mixed words these are, ascending, in the order in which it lies here."""
        if not len(wanted):
            return {}
        return {name: self._columns(name, rule, wanted) for name, rule in self.rules.items() if rule}

    def _columns(self, name: str, rule: Columns, wanted: Words) -> Columns:
        if name not in self._indexes:
            live = DeviceIndex(rule["live_high"], rule["live_low"]) if "live_high" in rule else None
            self._indexes[name] = DeviceIndex(rule["device_high"], rule["device_low"]), live
        main, live = self._indexes[name]
        at = main.rows(wanted)
        taken: Columns = {
            field: column if field in _SCALARS else column[at]
            for field, column in rule.items()
            if field not in _LIVE and field not in _SECONDS
        }
        if live is not None:
            living = live.rows(wanted)
            taken |= {field: rule[field][living] for field in _LIVE}
        if "seconds_of" in rule:
            # Their owners ascend: `join_rules` and the rule put them so.
            owners = rule["seconds_of"]
            begin, end = np.searchsorted(owners, at, "left"), np.searchsorted(owners, at, "right")
            items, sizes = _ranges(begin, end)
            taken |= {field: rule[field][items] for field in _SECONDS}
            taken["seconds_of"] = np.repeat(np.arange(len(at)), sizes)
        return taken


class Devices:
    """Parts of state, one upon another: of a device the uppermost that speaks for it is right."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def merged(self) -> Rules:
        """The state of all devices, which lies in one part from then on."""
        self._merge(len(self._parts))
        return self._parts[0].rules if self._parts else {}

    @property
    def nbytes(self) -> int:
        """How many bytes the parts take."""
        return sum(part.words.nbytes + bytes_of(part.rules) for part in self._parts)

    def take(self, wanted: Words, put: Bools, ground: Part) -> Rules:
        """The state of the devices whose mixed words these are, ascending.

        Args:
            wanted: the words.
            put: which of them were put, and what was put is still right.
            ground: what is right of the others.
        """
        found = [ground.take(wanted[~put])]
        wanted = wanted[put]
        for part in reversed(self._parts):
            mine = among(wanted, part.words)
            found.append(part.take(wanted[mine]))
            wanted = wanted[~mine]
        return join_rules(found)

    def put(self, rules: Rules, words: Words) -> None:
        """Set the state of the devices whose mixed words these are, ascending."""
        self._parts.append(Part(rules, words))
        while len(self._parts) > 1 and len(self._parts[-2].words) < 2 * len(self._parts[-1].words):
            self._merge(2)

    def keep(self, wanted: Words) -> None:
        """Forget all devices but those whose mixed words these are, ascending."""
        self._merge(len(self._parts))
        if self._parts:
            [part] = self._parts
            wanted = wanted[among(wanted, part.words)]
            self._parts = [Part(part.take(wanted), wanted)] if len(wanted) else []

    def _merge(self, count: int) -> None:
        """Make one part of the uppermost."""
        if count < 2:
            return
        *below, top = self._parts[-count:]
        rules, spoken = [top.rules], top.words
        for part in reversed(below):
            rules.append(part.take(part.words[~among(part.words, spoken)]))
            spoken = ascending(np.concatenate((spoken, part.words)))
        self._parts[-count:] = [Part(join_rules(rules), spoken)]


def join_rules(parts: Sequence[Rules]) -> Rules:
    """The state of the devices of all parts, which have none in common."""
    joined: Rules = {}
    for name in sorted({name for part in parts for name in part}):
        rules = [part[name] for part in parts if part.get(name)]
        joined[name] = dict(rules[0]) if len(rules) == 1 else _concatenate(rules)
    return joined


def bytes_of(rules: Rules) -> int:
    """How many bytes the columns of some rules take."""
    return sum(column.nbytes for rule in rules.values() for column in rule.values())


def _concatenate(rules: Sequence[Columns]) -> Columns:
    joined: Columns = {}
    for name in sorted({name for rule in rules for name in rule}):
        columns = [rule[name] for rule in rules if name in rule]
        if name in _SCALARS:
            joined[name] = np.min(columns, axis=0)
        elif name == "seconds_of":
            sizes = [len(rule["time"]) for rule in rules]
            offsets = np.cumsum([0, *sizes[:-1]])
            joined[name] = np.concatenate([rule[name] + start for rule, start in zip(rules, offsets, strict=True)])
        else:
            joined[name] = np.concatenate(columns)
    return joined


def _ranges(begin: Ints, end: Ints) -> tuple[Ints, Ints]:
    """The numbers from each beginning to its end, one range after another; and the ranges' lengths."""
    sizes = end - begin
    return np.repeat(begin - (np.cumsum(sizes) - sizes), sizes) + np.arange(int(sizes.sum())), sizes
