"""Duplicates, columnar: the rule of thingbeam.transforms.rules.deduplicate for whole slices."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.batch import TEXT_TYPES
from thingbeam.schemas.names import mix
from thingbeam.schemas.records import Event
from thingbeam.transforms.columns.rows import Bools, Ints, SortedRows, segment_starts
from thingbeam.transforms.rules.deduplicate import payload_hash

__all__ = ["Columns", "DeduplicateColumns"]

Columns = dict[str, Any]

_EMPTY: Final[Columns] = {
    "device_high": np.zeros(0, np.uint64),
    "device_low": np.zeros(0, np.uint64),
    "event_high": np.zeros(0, np.uint64),
    "event_low": np.zeros(0, np.uint64),
    "time": np.zeros(0, np.int64),
}


class DeduplicateColumns(NamedTuple):
    """Keeps the first of the rows that share device and event id within the horizon.

    Attributes:
        horizon: microseconds of event time that an accepted id is remembered.
    """

    horizon: int

    def advance(self, state: Columns, rows: SortedRows, until: int) -> tuple[Columns, SortedRows]:
        """Drop the duplicates among rows that are before `until` and not before the last call's.

        Args:
            state: ids accepted before, from the last call; empty at first.
            rows: rows in rule order.
            until: where the exact pass stands after this call, in microseconds.

        Returns:
            The state for the next call, and the rows that remain.
        """
        state = state or _EMPTY
        rows = _first_payload_first(rows)
        keep = segment_starts(rows.device, rows.time, rows.event_high, rows.event_low)
        if not keep.all():
            rows = rows.select(keep)
        keep = self._within_horizon(state, rows)
        if not keep.all():
            rows = rows.select(keep)
        return self._remember(state, rows, until), rows

    def due(self, state: Columns) -> int | None:
        """When the first remembered id may be forgotten; microseconds."""
        return int(state["time"].min()) + self.horizon + 1 if state and len(state["time"]) else None

    def _within_horizon(self, state: Columns, rows: SortedRows) -> Bools:
        keep = np.ones(rows.count, np.bool_)
        known = len(state["time"])
        high = np.concatenate((state["device_high"], rows.device_high[rows.device]))
        low = np.concatenate((state["device_low"], rows.device_low[rows.device]))
        event_high = np.concatenate((state["event_high"], rows.event_high))
        event_low = np.concatenate((state["event_low"], rows.event_low))
        identity = mix(mix(high, low), mix(event_high, event_low))
        ordered = np.sort(identity)
        repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        if not len(repeated):
            return keep
        at = np.flatnonzero(np.isin(identity, repeated))
        time = np.concatenate((state["time"], rows.time))
        accepted: dict[tuple[int, int, int, int], int] = {}
        columns = (high[at], low[at], event_high[at], event_low[at], time[at], at)
        # Remembered ids come first; rows of one device are in order of time.
        for *words, when, index in zip(*(column.tolist() for column in columns), strict=True):
            key = (words[0], words[1], words[2], words[3])
            before = accepted.get(key)
            if index >= known and before is not None and when - before <= self.horizon:
                keep[index - known] = False
            else:
                accepted[key] = when if before is None else max(before, when)
        return keep

    def _remember(self, state: Columns, rows: SortedRows, until: int) -> Columns:
        old, new = state["time"] >= until - self.horizon, rows.time >= until - self.horizon
        device = rows.device[new]
        fresh: Columns = {
            "device_high": rows.device_high[device],
            "device_low": rows.device_low[device],
            "event_high": rows.event_high[new],
            "event_low": rows.event_low[new],
            "time": rows.time[new],
        }
        return {name: np.concatenate((state[name][old], fresh[name])) for name in _EMPTY}


def _first_payload_first(rows: SortedRows) -> SortedRows:
    """Where rows share device, time and id but differ, bring the one with the smallest payload hash to the front."""
    if rows.count < 2:
        return rows
    same = ~segment_starts(rows.device, rows.time, rows.event_high, rows.event_low)
    differs = np.zeros(rows.count, np.bool_)
    differs[1:] = same[1:] & ((rows.value[1:] != rows.value[:-1]) | (rows.description[1:] != rows.description[:-1]))
    if not differs.any():
        return rows
    group = np.cumsum(~same)
    at = np.flatnonzero(np.isin(group, group[differs]))
    hashes = np.array([_payload_hash(rows, int(index)) for index in at], np.uint64)
    order: Ints = np.arange(rows.count)
    order[at] = at[np.lexsort((hashes, group[at]))]
    return rows.select(order)


def _payload_hash(rows: SortedRows, at: int) -> int:
    d = rows.descriptions[int(rows.description[at])]
    text = rows.names.texts[int(rows.value[at])] if d.value_type in TEXT_TYPES else None
    number = float(rows.value[at : at + 1].view(np.float64)[0]) if d.value_type in ("number", "boolean") else None
    event = Event(
        event_id="",
        event_time=Timestamp(0),
        device_id=None,
        kind=d.kind,
        component=d.component,
        capability=d.capability,
        attribute=d.attribute,
        value_type=d.value_type,
        text=text,
        number=number,
        unit=d.unit,
    )
    return payload_hash(event)
