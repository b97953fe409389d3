"""Activities, columnar: the rule of thingbeam.transforms.rules.activities for whole slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from thingbeam.schemas.batch import Description
from thingbeam.schemas.names import hash_text
from thingbeam.schemas.records import Activity
from thingbeam.transforms.columns.closing import (
    Closing,
    Columns,
    Lexicon,
    empty,
    ids,
    local_zone,
    parts,
    record_batch,
    times,
)
from thingbeam.transforms.columns.rows import (
    Ints,
    SortedRows,
    device_codes,
    distinct_codes,
    factorize,
    segment_starts,
    series_order,
)
from thingbeam.transforms.columns.values import state_words
from thingbeam.transforms.columns.zones import local_times
from thingbeam.transforms.rules.roles import ATTRIBUTE_KINDS, Role

__all__ = ["ActivityColumns"]

_STOP, _PAUSE, _START, _NEITHER = -1, 0, 1, 2

_STATE: Final[dict[str, Any]] = {
    "device_high": np.uint64,
    "device_low": np.uint64,
    "home_high": np.uint64,
    "home_low": np.uint64,
    "series": np.uint64,
    "start": np.int64,
    "longest": np.int64,
}

RoleOfDescription = Callable[[Description], Role]


class ActivityColumns(NamedTuple):
    """Pairs starts with stops.

    Attributes:
        role_of: the role of a description's attribute.
    """

    role_of: RoleOfDescription

    def advance(
        self, state: Columns, rows: SortedRows, closing: Closing, lexicon: Lexicon
    ) -> tuple[Columns, pa.RecordBatch | None, int]:
        """Take the rows of a slice and give the activities that ended in it.

        Args:
            state: open activities, from the last call; empty at first.
            rows: distinct rows in rule order, all before `closing.until` and none before the last call's.
            closing: where the exact pass stands after this call.
            lexicon: texts that the state refers to; learns the new ones.

        Returns:
            The state for the next call, the activities, and how many stops had no start.
        """
        state = state or empty(_STATE)
        points, signs = self._points(state, rows, lexicon)
        spans, stray = _spans(points, signs)
        # One opened anew at the very instant of its start has the key of the one before, and replaces it.
        again = (spans["group"][1:] == spans["group"][:-1]) & (spans["start"][1:] == spans["start"][:-1])
        spans = {name: column[np.append(~again, True)[: len(column)]] for name, column in spans.items()}
        last_seen = self._clock(spans, rows, closing)
        late = (spans["end"] < 0) & (spans["start"] + spans["longest"] < last_seen)
        spans["end"][late] = (spans["start"] + spans["longest"])[late]
        open_ = spans["end"] < 0
        leaves = ~open_ | closing.ended
        done = {name: column[leaves] for name, column in spans.items()}
        kept = {name: spans[name][~leaves] for name in _STATE}
        return kept, self._batch(done, closing, lexicon) if len(done["start"]) else None, stray

    def due(self, state: Columns) -> int | None:
        """When the first open activity will have its maximum length; microseconds."""
        return int((state["start"] + state["longest"]).min()) + 1 if state and len(state["start"]) else None

    def _points(self, state: Columns, rows: SortedRows, lexicon: Lexicon) -> tuple[Columns, Ints]:
        """Starts and stops, those of a series together and in order of time, an open activity's start first."""
        roles = [self.role_of(d) if d.kind in ATTRIBUTE_KINDS else None for d in rows.descriptions]
        acts = np.array([role is not None and role.role == "activity" for role in roles], np.bool_)
        keep = np.flatnonzero(acts[rows.description]) if len(acts) else np.zeros(0, np.int64)
        signs = _signs(rows, keep, roles)
        keep, signs = keep[signs != _NEITHER], signs[signs != _NEITHER]
        rows = rows.select(keep)
        series = np.zeros(len(roles), np.uint64)
        longest = np.zeros(len(roles), np.int64)
        for code, (role, d) in enumerate(zip(roles, rows.descriptions, strict=True)):
            if role is not None and role.role == "activity":
                series[code] = lexicon.learn_series("activity", d.component, d.capability, local_zone(d.zone))
                longest[code] = round(role.max_length_s * 1_000_000)
        fresh: Columns = {
            "device_high": rows.device_high[rows.device],
            "device_low": rows.device_low[rows.device],
            "home_high": rows.home_high,
            "home_low": rows.home_low,
            "series": series[rows.description],
            "start": rows.time,
            "longest": longest[rows.description],
        }
        points = {name: np.concatenate((state[name], fresh[name])) for name in _STATE}
        signs = np.concatenate((np.full(len(state["start"]), _START), signs))
        device = device_codes(state["device_high"], state["device_low"], rows)
        points["group"], order = series_order(device, points["series"])
        return {name: column[order] for name, column in points.items()}, signs[order]

    def _clock(self, spans: Columns, rows: SortedRows, closing: Closing) -> Ints:
        """How far time has come for each span: what would have been over before it is over."""
        count = len(spans["start"])
        if not closing.ended:
            return np.full(count, closing.until)
        # Bounded input: the device's last event, which is at least the one that opened this.
        devices = len(rows.device_high)
        code, _ = factorize(
            np.concatenate((rows.device_high, spans["device_high"])),
            np.concatenate((rows.device_low, spans["device_low"])),
        )
        last = np.full(int(code.max(initial=0)) + 1, np.iinfo(np.int64).min)
        if rows.count:
            np.maximum.at(last, code[:devices][rows.device], rows.time)
        np.maximum.at(last, code[devices:], spans["start"])
        clock = last[code[devices:]]
        return clock if closing.hold_until is None else np.maximum(clock, closing.hold_until)

    def _batch(self, done: Columns, closing: Closing, lexicon: Lexicon) -> pa.RecordBatch:
        series, codes = distinct_codes(done["series"])
        running = done["end"] < 0
        component, capability = parts(done["series"], lexicon.series, slice(1, 3))
        reasons = np.where(running, 2, np.where(done["stopped"], 0, 1)).astype(np.int32)
        zones = [lexicon.series[word][3] for word in series.tolist()]
        return record_batch(
            Activity,
            {
                "device_id": ids(done, "device", lexicon),
                "component": component,
                "capability": capability,
                "start": times(done["start"]),
                "start_local": local_times(done["start"], codes, zones),
                "end": times(done["end"], running),
                "duration_s": pa.array((done["end"] - done["start"]) / 1e6, mask=running),
                "state": _chosen(running.astype(np.int32), ["done", "running"]),
                "closed_by": _chosen(reasons, ["stop", "max_length", None]),
                "revision": closing.revision,
                "home_id": ids(done, "home", lexicon),
                "final": True,
                "deleted": False,
            },
        )


def _chosen(codes: Any, values: list[str | None]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(values, pa.string())).cast(pa.string())


def _signs(rows: SortedRows, keep: Ints, roles: list[Role | None]) -> Ints:
    """What each of the rows does to its activity."""
    words, table = state_words(rows, keep)
    signs = np.full(len(keep), _NEITHER)
    codes = rows.description[keep]
    for code in np.flatnonzero(np.bincount(codes)).tolist():
        role, at = roles[code], codes == code
        if role is None:
            continue
        for states, sign in ((role.pause, _PAUSE), (role.stop, _STOP), (role.start, _START)):
            for state in states:
                word = hash_text(state)
                if word in table:
                    signs[at & (words == word)] = sign
    return signs


def _spans(points: Columns, signs: Ints) -> tuple[Columns, int]:
    """From starts and stops to spans: `end` is -1 where no stop has come."""
    # A pause changes nothing: open stays open, closed stays closed.
    acting = signs != _PAUSE
    points, signs = {name: column[acting] for name, column in points.items()}, signs[acting]
    first = segment_starts(points["group"])
    before = np.concatenate(([_STOP], signs[:-1]))
    before[first] = _STOP
    opens = np.flatnonzero((signs == _START) & (before == _STOP))
    stray = int(((signs == _STOP) & (before == _STOP)).sum())
    # The stop that ends a span is the next one in its group.
    stops = np.flatnonzero((signs == _STOP) & (before == _START))
    position = np.searchsorted(stops, opens)
    closing = np.append(stops, len(signs))[position]
    ends = np.append(points["start"], -1)[closing]
    same = np.append(points["group"], -1)[closing] == points["group"][opens]
    spans: Columns = {name: points[name][opens] for name in _STATE}
    spans["end"] = np.where(same, ends, -1)
    spans["stopped"] = same
    spans["group"] = points["group"][opens]
    too_long = _outgrown(spans, points)
    if len(too_long):
        more, strays = _cut(too_long, points, signs)
        keep = ~np.isin(spans["group"], too_long)
        stray += strays - _strays_of(too_long, points, signs, before)
        spans = {name: np.concatenate((column[keep], more[name])) for name, column in spans.items()}
    return spans, stray


def _strays_of(groups: Ints, points: Columns, signs: Ints, before: Ints) -> int:
    return int((np.isin(points["group"], groups) & (signs == _STOP) & (before == _STOP)).sum())


def _outgrown(spans: Columns, points: Columns) -> Ints:
    """Series with a span that outgrew its maximum while something still came: a stop after it, or another start."""
    limit = spans["start"] + spans["longest"]
    beyond = spans["end"] > limit
    waiting = spans["end"] < 0
    if waiting.any():
        # The last point of the series, where it is a start beyond the limit.
        edges = np.searchsorted(points["group"], spans["group"], "right") - 1
        beyond |= waiting & (points["start"][edges] > limit)
    return np.unique(spans["group"][beyond])


def _cut(groups: Ints, points: Columns, signs: Ints) -> tuple[Columns, int]:
    """The spans of series in which one outgrew its maximum, point by point: this is rare."""
    found: list[tuple[int, int, bool]] = []
    strays = 0
    for group in groups.tolist():
        begin, end = np.searchsorted(points["group"], [group, group + 1]).tolist()
        opened = -1
        for at in range(begin, end):
            time = int(points["start"][at])
            if opened >= 0:
                limit = int(points["start"][opened] + points["longest"][opened])
                if time > limit:
                    found.append((opened, limit, False))
                    opened = -1
            if signs[at] == _START:
                opened = at if opened < 0 else opened
            elif opened >= 0:
                found.append((opened, time, True))
                opened = -1
            else:
                strays += 1
        if opened >= 0:
            found.append((opened, -1, False))
    first = np.array([opened for opened, _, _ in found], np.int64)
    spans: Columns = {name: points[name][first] for name in _STATE}
    spans["end"] = np.array([end for _, end, _ in found], np.int64)
    spans["group"] = points["group"][first]
    spans["stopped"] = np.array([stopped for _, _, stopped in found], np.bool_)
    return spans, strays
