"""Reduced groups as Usage rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from thingbeam.schemas.records import Usage
from thingbeam.transforms.columns.closing import Columns, Lexicon, ids, parts, record_batch, texts, times
from thingbeam.transforms.columns.rows import Bools, Ints, distinct_codes
from thingbeam.transforms.columns.zones import SECOND, local_times
from thingbeam.transforms.rules.periods import Period

__all__ = ["usage_batch"]


def usage_batch(
    points: Columns, groups: Columns, spent: Columns, over: Bools, edges: Ints, period: int, revision: int,
    lexicon: Lexicon,
) -> pa.RecordBatch | None:  # fmt: skip
    """The groups whose period is over, as a batch of Usage; None where there is none."""
    at = np.flatnonzero(over)
    if not len(at):
        return None
    last = {name: points[name][groups["point"][at]] for name in (
        "device_high", "device_low", "home_high", "home_low", "series", "unit", "value", "number", "total",
        "is_state", "is_meter",
    )}  # fmt: skip
    periods = groups["period"][at]
    starts, ends = edges[periods], edges[periods + 1]
    state, meter = last["is_state"], last["is_meter"]
    weight = groups["weight"][at]
    measured = ~state & ~meter
    mean = np.divide(groups["area"][at], weight, out=np.zeros(len(at)), where=weight > 0)
    series, codes = distinct_codes(last["series"])
    zones = [lexicon.series[word][5] for word in series.tolist()]
    component, capability, attribute, role = parts(last["series"], lexicon.series, slice(1, 5))
    return record_batch(
        Usage,
        {
            "device_id": ids(last, "device", lexicon),
            "component": component,
            "capability": capability,
            "attribute": attribute,
            "role": role,
            "period": Period(period // SECOND).iso,
            "start": times(starts),
            "start_local": _starts_local(periods, edges, codes, zones),
            "end": times(ends),
            "count": groups["count"][at],
            "changes": groups["changes"][at],
            "min": pa.array(groups["low"][at], mask=~measured),
            "max": pa.array(groups["high"][at], mask=~measured),
            "mean": pa.array(mean, mask=~measured),
            "sum": pa.array(last["total"], mask=~meter),
            "change": pa.array(last["total"] - groups["base"][at], mask=~meter),
            "last": pa.array(last["number"], mask=state),
            "last_state": texts(np.where(state, last["value"], np.uint64(0)), lexicon.texts),
            "seconds_in_state": _maps(spent, at, lexicon),
            "revision": revision,
            "unit": texts(last["unit"], lexicon.texts),
            "home_id": ids(last, "home", lexicon),
            "final": True,
            "deleted": False,
        },
    )


def _starts_local(periods: Ints, edges: Ints, codes: Ints, zones: list[str]) -> pa.Array:
    """The local times of the starts of some periods; told once for each, as few periods have many rows."""
    distinct = np.flatnonzero(np.bincount(periods))
    if 2 * len(distinct) > len(periods):
        return local_times(edges[periods], codes, zones)
    place, zone = np.zeros(len(edges), np.int64), np.zeros(len(edges), np.int64)
    place[distinct] = np.arange(len(distinct))
    # An edge is of one zone.
    zone[periods] = codes
    return local_times(edges[distinct], zone[distinct], zones).take(pa.array(place.take(periods)))


def _maps(spent: Columns, at: Ints, lexicon: Lexicon) -> Any:
    sizes = np.bincount(spent["group"], minlength=int(at[-1]) + 1)
    begin = (np.cumsum(sizes) - sizes).take(at)
    sizes = sizes.take(at)
    item = np.repeat(begin - (np.cumsum(sizes) - sizes), sizes) + np.arange(int(sizes.sum()))
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    keys = texts(spent["state"][item], lexicon.texts)
    return pa.MapArray.from_arrays(pa.array(offsets), keys, pa.array(spent["micros"][item] / 1e6))
