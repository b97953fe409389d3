"""Usage by period, columnar: the rule of thingbeam.transforms.rules.usage for whole slices.

A value holds from its event to the next one of its series. Such an interval is cut at the edges of periods into pieces;
the pieces of one series in one period stand next to each other and are reduced to a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from thingbeam.schemas.batch import Description
from thingbeam.transforms.columns.closing import Closing, Columns, Lexicon, empty, local_zone
from thingbeam.transforms.columns.liveness import DEVICE_STATE, Liveness
from thingbeam.transforms.columns.meters import meter_totals
from thingbeam.transforms.columns.periods import Periods
from thingbeam.transforms.columns.rows import (
    Bools,
    Ints,
    SortedRows,
    device_codes,
    distinct_codes,
    segment_starts,
    series_order,
    stable_order,
)
from thingbeam.transforms.columns.usage_rows import usage_batch
from thingbeam.transforms.columns.values import numbers, state_words
from thingbeam.transforms.columns.zones import DAY
from thingbeam.transforms.rules.roles import ATTRIBUTE_KINDS, IGNORED, METER, STATE, TOTAL, USAGE_ROLES, Role

__all__ = ["NEVER", "UsageColumns"]

NEVER: Final = -(1 << 62)

_SERIES: Final[dict[str, Any]] = {
    "device_high": np.uint64,
    "device_low": np.uint64,
    "home_high": np.uint64,
    "home_low": np.uint64,
    "series": np.uint64,
    "unit": np.uint64,
    # The last event: when, its value (a double's bits or a state's hash), and when the meter was reset.
    "time": np.int64,
    "value": np.uint64,
    "reset": np.int64,
    # A meter's sum.
    "total": np.float64,
    # What of its holding is accounted for: up to here.
    "from": np.int64,
}
_PARTIAL: Final[dict[str, Any]] = {
    # The open period, where the last event is in it (else NEVER), and what it has so far.
    "period": np.int64,
    "count": np.int64,
    "changes": np.int64,
    "weight": np.int64,
    "area": np.float64,
    "low": np.float64,
    "high": np.float64,
    "base": np.float64,
}
_SECONDS: Final[dict[str, Any]] = {"seconds_of": np.int64, "seconds_state": np.uint64, "seconds": np.int64}

RoleOfDescription = Callable[[Description], Role]


class UsageColumns(NamedTuple):
    """Home Assistant's long-term statistics of every attribute, with the seconds in each state.

    Attributes:
        role_of: the role of a description's attribute.
        period: microseconds; a day means local days.
        hold: microseconds that a silent device's values still make rows.
        retention: microseconds that a value is carried.
    """

    role_of: RoleOfDescription
    period: int = 3_600_000_000
    hold: int = DAY
    retention: int = 35 * DAY

    def advance(
        self, state: Columns, rows: SortedRows, closing: Closing, lexicon: Lexicon
    ) -> tuple[Columns, pa.RecordBatch | None]:
        """Take the rows of a slice and give the periods that are over.

        Args:
            state: from the last call; empty at first.
            rows: distinct rows in rule order, all before `closing.until` and none before the last call's.
            closing: where the exact pass stands after this call.
            lexicon: texts that the state refers to; learns the new ones.
        """
        state = state or empty(_SERIES | _PARTIAL | _SECONDS | DEVICE_STATE)
        alive = Liveness.of(state, rows, self.hold)
        points = self._points(state, rows, lexicon)
        if not len(points["time"]):
            return alive.remember(closing.until) | empty(_SERIES | _PARTIAL | _SECONDS), None
        periods = Periods.of(points, lexicon, self.period, closing, alive)
        self._link(points, periods)
        pieces = self._pieces(points, periods, alive)
        groups = _groups(points, pieces, periods, state)
        spent = _seconds(points, pieces, groups, state)
        over = periods.edges[groups["period"]] < groups["cut"]
        batch = usage_batch(points, groups, spent, over, periods.edges, self.period, closing.revision, lexicon)
        if closing.ended:
            return {}, batch
        kept = self._remember(points, groups, spent, ~over, periods)
        kept |= {"until": np.array([closing.until]), "edge": np.array([periods.next_edge])}
        return kept | alive.remember(closing.until), batch

    def due(self, state: Columns) -> int | None:
        """When the next period that may have a row ends, or else a carried value expires; microseconds."""
        if not state or not len(state["time"]):
            return None
        expiry, edge = int(state["time"].min()) + self.retention, int(state["edge"][0])
        until = int(state["until"][0])
        # One that has expired is kept to the end of the period that it is carried into.
        if expiry <= until:
            return edge
        if (state["period"] != NEVER).any() or Liveness.any_may_live(state, until, self.hold):
            return min(expiry, edge)
        return expiry

    def _points(self, state: Columns, rows: SortedRows, lexicon: Lexicon) -> Columns:
        """Values of series, those of a series together and in order of time, the carried one first."""
        roles = [self.role_of(d) if d.kind in ATTRIBUTE_KINDS else Role(IGNORED) for d in rows.descriptions]
        usage = [USAGE_ROLES.get(role.role) for role in roles]
        at, value = _values(rows, roles, lexicon)
        rows = rows.select(at)
        codes = rows.description

        def column(values: list[int], dtype: Any) -> Any:
            return np.array(values, dtype)[codes] if len(values) else np.zeros(0, dtype)

        series = [
            lexicon.learn_series("usage", d.component, d.capability, d.attribute, of, local_zone(d.zone), role.role)
            if of
            else 0
            for d, of, role in zip(rows.descriptions, usage, roles, strict=True)
        ]
        units = [lexicon.learn(d.unit) if d.unit else 0 for d in rows.descriptions]
        resets = [NEVER if d.last_reset is None else d.last_reset for d in rows.descriptions]
        fresh: Columns = {
            "device_high": rows.device_high[rows.device],
            "device_low": rows.device_low[rows.device],
            "home_high": rows.home_high,
            "home_low": rows.home_low,
            "series": column(series, np.uint64),
            "unit": column(units, np.uint64),
            "time": rows.time,
            "value": value,
            "reset": column(resets, np.int64),
            "total": np.zeros(rows.count),
            "from": rows.time,
        }
        points = {name: np.concatenate((state[name], fresh[name])) for name in _SERIES}
        carried = len(state["time"])
        device = device_codes(state["device_high"], state["device_low"], rows)
        group, order = series_order(device, points["series"])
        points = {name: column[order] for name, column in points.items()}
        points["event"] = order >= carried
        points["first"] = segment_starts(group[order])
        points["last"] = np.append(points["first"][1:], True)[: len(order)]
        # Which row of the state the carried point of a series is.
        points["row"] = np.where(points["event"], -1, order)
        words, kind = distinct_codes(points["series"])
        roles_of = [lexicon.series[word][6] for word in words.tolist()]
        for name, wanted in (("is_state", {STATE, "activity"}), ("is_meter", {METER, TOTAL}), ("is_total", {TOTAL})):
            points[name] = np.array([role in wanted for role in roles_of], np.bool_)[kind]
        points["number"] = np.where(points["is_state"], 0.0, points["value"].view(np.float64))
        return points

    def _link(self, points: Columns, periods: Periods) -> None:
        """What the value before means to each: whether it is carried to it at all, what changed, a meter's sum.

        A series has the home of its first event, until it begins anew.
        """
        points["begins"] = periods.edges[periods.locate(points["from"])]
        linked = ~points["first"]
        linked[1:] &= points["begins"][1:] < points["time"][:-1] + self.retention
        points["changed"] = linked & points["is_state"] & points["event"]
        points["changed"][1:] &= points["value"][1:] != points["value"][:-1]
        begins = np.maximum.accumulate(np.where(linked, 0, np.arange(len(linked))))
        points["home_high"], points["home_low"] = points["home_high"][begins], points["home_low"][begins]
        # A reading that does not say when its meter was reset changes nothing about it.
        said = np.where((points["reset"] != NEVER) | ~linked, np.arange(len(linked)), 0)
        points["reset"] = points["reset"][np.maximum.accumulate(said)]
        points["total"] = meter_totals(points, linked)

    def _pieces(self, points: Columns, periods: Periods, alive: Liveness) -> Columns:
        """The intervals in which values held, cut at the edges of periods, in order of series and time."""
        begin, last = points["from"], points["last"]
        following = np.append(points["time"][1:], 0)
        # The last value of a series holds up to the cut; in the open period it waits for what comes.
        end = np.where(last, np.maximum(periods.cut, begin), following)
        first_period = periods.locate(begin)
        # Any other enters the period of the value after it, too, if only to its edge.
        last_period = periods.locate(np.where(last, end - 1, end))
        last_period = np.minimum(last_period, periods.locate(points["time"] + self.retention - 1))
        spans = np.maximum(last_period - first_period, 0) + 1
        point = np.repeat(np.arange(len(begin)), spans)
        offset = np.arange(len(point)) - np.repeat(np.cumsum(spans) - spans, spans)
        period = first_period[point] + offset
        starts, ends = periods.edges[period], periods.edges[period + 1]
        time = points["time"][point]
        pieces: Columns = {
            "point": point,
            "period": period,
            "event": points["event"][point] & (offset == 0),
            "micros": np.minimum(end[point], ends) - np.maximum(begin[point], starts),
            # The event is in this very period, be it of an earlier call.
            "within": time >= starts,
        }
        carried_in = ~pieces["within"]
        expired = carried_in & (starts >= time + self.retention)
        waiting = carried_in & last[point] & (starts >= periods.cut[point])
        nothing = expired | waiting
        if nothing.any():
            pieces = {name: column[~nothing] for name, column in pieces.items()}
        silent = ~_any_in_group(points, pieces)
        if silent.any():
            at = np.flatnonzero(silent)
            members, in_period = pieces["point"][at], pieces["period"][at]
            dead = ~alive.lives(
                points["device_high"][members],
                points["device_low"][members],
                periods.edges[in_period],
                periods.edges[in_period + 1],
            )
            keep = np.ones(len(silent), np.bool_)
            keep[at[dead]] = False
            pieces = {name: column[keep] for name, column in pieces.items()}
        return pieces

    def _remember(self, points: Columns, groups: Columns, spent: Columns, open_: Bools, periods: Periods) -> Columns:
        """The last value of each series, and what its open period has so far."""
        last = np.flatnonzero(points["last"])
        last = last[points["time"][last] + self.retention > periods.cut[last]]
        state: Columns = {name: points[name][last] for name in _SERIES}
        state["from"] = np.maximum(state["time"], periods.cut[last])
        series = np.cumsum(points["first"]) - 1
        slot = np.full(int(series[-1]) + 1, -1)
        slot[series[last]] = np.arange(len(last))
        owner = np.where(open_, slot[series[groups["point"]]], -1)
        at = np.flatnonzero(owner >= 0)
        for name, dtype in _PARTIAL.items():
            state[name] = np.full(len(last), NEVER if name == "period" else 0, dtype)
            values = periods.edges[groups["period"]] if name == "period" else groups[name]
            state[name][owner[at]] = values[at]
        of = owner[spent["group"]]
        return state | {
            "seconds_of": of[of >= 0],
            "seconds_state": spent["state"][of >= 0],
            "seconds": spent["micros"][of >= 0],
        }


def _values(rows: SortedRows, roles: list[Role], lexicon: Lexicon) -> tuple[Ints, Any]:
    """Which rows have a value that counts for their role, and that value's bits or hash."""

    def with_role(*wanted: str) -> Bools:
        return np.array([role.role in wanted for role in roles], np.bool_)[rows.description]

    if not rows.count:
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    value, good = np.zeros(rows.count, np.uint64), np.zeros(rows.count, np.bool_)
    at = np.flatnonzero(with_role(STATE, "activity"))
    value[at], table = state_words(rows, at)
    lexicon.texts.update(table)
    good[at] = value[at] != 0
    at = np.flatnonzero(with_role("measurement", METER, TOTAL))
    number, finite = numbers(rows, at, [role.field for role in roles])
    value[at] = number.view(np.uint64)
    good[at] = finite & ~((number < 0) & with_role(METER)[at])
    return np.flatnonzero(good), value[good]


def _heads(points: Columns, pieces: Columns) -> Bools:
    """Where the pieces of another series, or of another period, begin."""
    return segment_starts(pieces["period"], np.cumsum(points["first"])[pieces["point"]])


def _any_in_group(points: Columns, pieces: Columns) -> Bools:
    """For each piece, whether its series has an event in its period."""
    if not len(pieces["point"]):
        return np.zeros(0, np.bool_)
    heads = _heads(points, pieces)
    found: Bools = np.logical_or.reduceat(pieces["within"], np.flatnonzero(heads))[np.cumsum(heads) - 1]
    return found


def _groups(points: Columns, pieces: Columns, periods: Periods, state: Columns) -> Columns:
    """One row for each series and period: what its pieces come to, with what an earlier call had of it."""
    head = np.flatnonzero(_heads(points, pieces)) if len(pieces["point"]) else np.zeros(0, np.int64)
    first = pieces["point"][head]
    tail = pieces["point"][np.append(head[1:], len(pieces["point"]))[: len(head)] - 1]
    number = points["number"][pieces["point"]]
    inside = pieces["within"][head]

    def reduce(how: Any, values: Any) -> Any:
        return how.reduceat(values, head) if len(head) else values[:0]

    groups: Columns = {
        "head": head,
        "point": tail,
        "period": pieces["period"][head],
        "cut": periods.cut[first],
        "count": reduce(np.add, pieces["event"].astype(np.int64)),
        "changes": reduce(np.add, (pieces["event"] & points["changed"][pieces["point"]]).astype(np.int64)),
        "weight": reduce(np.add, pieces["micros"]),
        "area": reduce(np.add, pieces["micros"] * number),
        "low": reduce(np.minimum, number),
        "high": reduce(np.maximum, number),
        # What a meter's sum was when the period began: nothing where nothing was carried in.
        "base": np.where(inside, 0.0, points["total"][first]),
    }
    # The carried point's event was in this period: an earlier call had a part of it.
    groups["row"] = np.where(inside, points["row"][first], -1)
    mine = np.flatnonzero(groups["row"] >= 0)
    rows = groups["row"][mine]
    for name in ("count", "changes", "weight", "area"):
        groups[name][mine] += state[name][rows]
    groups["low"][mine] = np.minimum(groups["low"][mine], state["low"][rows])
    groups["high"][mine] = np.maximum(groups["high"][mine], state["high"][rows])
    groups["base"][mine] = state["base"][rows]
    return groups


def _seconds(points: Columns, pieces: Columns, groups: Columns, state: Columns) -> Columns:
    """How long each series was in each state in each period: (group, state, microseconds), by group."""
    of = np.repeat(np.arange(len(groups["head"])), np.diff(np.append(groups["head"], len(pieces["point"]))))
    at = np.flatnonzero(points["is_state"][pieces["point"]] & (pieces["micros"] > 0))
    group = np.full(len(state["time"]), -1)
    mine = np.flatnonzero(groups["row"] >= 0)
    group[groups["row"][mine]] = mine
    earlier = group[state["seconds_of"]]
    known = earlier >= 0
    owner = np.concatenate((earlier[known], of[at]))
    word = np.concatenate((state["seconds_state"][known], points["value"][pieces["point"][at]]))
    micros = np.concatenate((state["seconds"][known], pieces["micros"][at]))
    distinct, places = distinct_codes(word)
    order = stable_order(owner * len(distinct) + places)
    owner, word, micros = owner[order], word[order], micros[order]
    heads = np.flatnonzero(segment_starts(owner, word))
    return {
        "group": owner[heads],
        "state": word[heads],
        "micros": np.add.reduceat(micros, heads) if len(heads) else micros,
    }
