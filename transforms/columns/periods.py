"""The periods of usage for columns: edges of all zones in one array, and how far each series' periods are over."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from thingbeam.transforms.columns.closing import END_OF_TIME, Closing, Columns, Lexicon
from thingbeam.transforms.columns.liveness import Liveness
from thingbeam.transforms.columns.rows import Ints, distinct_codes, segment_starts
from thingbeam.transforms.columns.zones import period_edges

__all__ = ["Periods"]


class Periods(NamedTuple):
    """Edges of periods of all zones, one zone's after another's.

    Attributes:
        edges: microseconds; period i is from edges[i] to edges[i + 1], but for the last of each zone.
        zone: for each point, its zone.
        bounds: for each zone, where its edges begin and end.
        cut: for each point, the edge up to which the periods of its series are over.
        next_edge: when the next period of any zone will be over.
    """

    edges: Ints
    zone: Ints
    bounds: list[tuple[int, int]]
    cut: Ints
    next_edge: int

    @classmethod
    def of(cls, points: Columns, lexicon: Lexicon, period: int, closing: Closing, alive: Liveness) -> Periods:
        """The periods that the points of some series, and the closing, touch."""
        words, codes = distinct_codes(points["series"])
        names = [lexicon.series[word][5] for word in words.tolist()]
        zones = sorted(set(names))
        zone = np.array([zones.index(name) for name in names], np.int64)[codes]
        # What is accounted for may be later than all that was heard: slices came and went without a word.
        first, last = int(points["from"].min()), int(points["from"].max())
        if not closing.ended:
            last = max(last, closing.until)
        else:
            last = max(last, alive.latest, closing.hold_until or 0, closing.until if closing.so_far else 0)
        edges = [period_edges(name, period, first, last) for name in zones]
        ends = np.cumsum([len(found) for found in edges]).tolist()
        bounds = list(zip([0, *ends[:-1]], ends, strict=True))
        cut = np.zeros(len(zone), np.int64)
        next_edge = END_OF_TIME
        for code, found in enumerate(edges):
            here = zone == code
            if closing.so_far:
                cut[here] = closing.until
                continue
            if not closing.ended:
                at = int(np.searchsorted(found, closing.until, "right"))
                cut[here], next_edge = found[at - 1], min(next_edge, int(found[at]))
                continue
            high, low = points["device_high"][here], points["device_low"][here]
            # Points of one device stand together: asked once for each run of them.
            runs = segment_starts(high, low)
            heard = alive.last_of(high[runs], low[runs])[np.cumsum(runs) - 1]
            # A carried value may be older than all that is known of its device.
            heard = np.maximum(heard, points["time"][here])
            cut[here] = found[np.searchsorted(found, heard, "right")]
            if closing.hold_until is not None:
                # Periods that start before it.
                cut[here] = np.maximum(cut[here], found[np.searchsorted(found, closing.hold_until, "left")])
        return cls(np.concatenate(edges), zone, bounds, cut, next_edge)

    def locate(self, times: Ints) -> Ints:
        """For each point, the period of its zone that a time is in; the last there is for a later time."""
        if len(self.bounds) == 1:
            lengths = np.diff(self.edges)
            if (lengths == lengths[0]).all():
                # No change of the clock among them: they are counted in a fifth of the time that a search takes.
                counted: Ints = (times - self.edges[0]) // lengths[0]
                return counted.clip(-1, len(lengths) - 1)
            return np.minimum(np.searchsorted(self.edges, times, "right"), len(self.edges) - 1) - 1
        found = np.zeros(len(times), np.int64)
        for code, (begin, end) in enumerate(self.bounds):
            here = self.zone == code
            position = np.searchsorted(self.edges[begin:end], times[here], "right")
            found[here] = begin + np.minimum(position, end - begin - 1) - 1
        return found
