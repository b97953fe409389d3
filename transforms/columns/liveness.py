"""Which devices live in a period: they spoke in it, or not long before and did not go offline."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from thingbeam.schemas.batch import TEXT_TYPES, Description
from thingbeam.schemas.names import Words, hash_text
from thingbeam.transforms.columns.closing import Columns
from thingbeam.transforms.columns.rows import (
    Bools,
    Ints,
    SortedRows,
    device_codes,
    factorize,
    segment_starts,
    stable_order,
)
from thingbeam.transforms.columns.zones import DAY

__all__ = ["DEVICE_STATE", "Liveness"]

DEVICE_STATE: Final[dict[str, Any]] = {
    "live_high": np.uint64,
    "live_low": np.uint64,
    "live_time": np.int64,
    "live_ended": np.bool_,
}
_ENDS: Final = {"DEVICE_HEALTH_EVENT": hash_text("OFFLINE"), "DEVICE_LIFECYCLE_EVENT": hash_text("DELETE")}


class Liveness(NamedTuple):
    """All that devices said, in order of device and time.

    Attributes:
        high: the device's words, by event; so `low`.
        ended: whether the event is an offline or a removed one.
        hold: microseconds.
    """

    high: Words
    low: Words
    time: Ints
    ended: Bools
    hold: int

    @classmethod
    def of(cls, state: Columns, rows: SortedRows, hold: int) -> Liveness:
        """What the state knows of, and then the rows of a slice."""
        ends = np.array([_end_word(d) for d in rows.descriptions], np.uint64)
        ended = np.zeros(rows.count, np.bool_)
        if ends.any():
            ended = (ends[rows.description] == rows.value) & (ends[rows.description] != 0)
        high = np.concatenate((state["live_high"], rows.device_high[rows.device]))
        low = np.concatenate((state["live_low"], rows.device_low[rows.device]))
        order = stable_order(device_codes(state["live_high"], state["live_low"], rows))
        time = np.concatenate((state["live_time"], rows.time))[order]
        return cls(high[order], low[order], time, np.concatenate((state["live_ended"], ended))[order], hold)

    @property
    def latest(self) -> int:
        """The last thing that any device said, microseconds."""
        return int(self.time.max()) if len(self.time) else 0

    def last_of(self, high: Words, low: Words) -> Ints:
        """When each of these devices spoke last; long before all time for one that never did."""
        at = self._last_before(high, low, np.full(len(high), self.latest + 1))
        return np.where(at >= 0, self.time[at], -(1 << 62)) if len(self.time) else np.full(len(high), -(1 << 62))

    def lives(self, high: Words, low: Words, starts: Ints, ends: Ints) -> Bools:
        """Whether each of these devices lives in the period beside it."""
        if not len(self.time):
            return np.zeros(len(high), np.bool_)
        at = self._last_before(high, low, ends)
        time = self.time[at]
        return (at >= 0) & ((time >= starts) | (~self.ended[at] & (time + self.hold > starts)))

    def remember(self, until: int) -> Columns:
        """The last event of each device that may still live."""
        if not len(self.time):
            last = np.zeros(0, np.int64)
        else:
            differs = (self.high[1:] != self.high[:-1]) | (self.low[1:] != self.low[:-1])
            last = np.flatnonzero(np.append(differs, True))
            # Periods that are open now began at most a long day ago.
            last = last[self.time[last] + self.hold > until - 2 * DAY]
        return {
            "live_high": self.high[last],
            "live_low": self.low[last],
            "live_time": self.time[last],
            "live_ended": self.ended[last],
        }

    @staticmethod
    def any_may_live(state: Columns, until: int, hold: int) -> bool:
        """Whether a device in the state may live in a period that is open or yet to come."""
        return bool((state["live_time"] + max(hold, 2 * DAY) > until).any())

    def _last_before(self, high: Words, low: Words, instants: Ints) -> Ints:
        """The index of each device's last event before an instant, -1 where there is none."""
        known = len(self.time)
        if not known:
            return np.full(len(high), -1)
        # Events stand by device, in the order of the codes: each device is coded once.
        heads = np.flatnonzero(segment_starts(self.high, self.low))
        code, _ = factorize(np.concatenate((self.high[heads], high)), np.concatenate((self.low[heads], low)))
        events = np.repeat(code[: len(heads)], np.diff(heads, append=known))
        code = np.concatenate((events, code[len(heads) :]))
        moments = np.concatenate((self.time, instants))
        earliest = int(moments.min())
        span_bits = int(moments.max() - earliest).bit_length() + 1
        if int(code.max()).bit_length() + span_bits > 62:
            # Too far apart to share one word with the device: their ranks are not.
            _, moments = np.unique(moments, return_inverse=True)
            earliest, span_bits = 0, len(moments).bit_length() + 1
        keys = (code << span_bits) | (moments - earliest)
        at = np.searchsorted(keys[:known], keys[known:], "left") - 1
        return np.where((at >= 0) & (code[:known][at] == code[known:]), at, -1)


def _end_word(description: Description) -> int:
    return _ENDS.get(description.kind, 0) if description.value_type in TEXT_TYPES else 0
