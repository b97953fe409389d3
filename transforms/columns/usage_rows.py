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
    starts, ends = edges[groups["period"][at]], edges[groups["period"][at] + 1]
    state, meter = last["is_state"], last["is_meter"]
    weight = groups["weight"][at]
    measured = ~state & ~meter
    mean = np.divide(groups["area"][at], weight, out=np.zeros(len(at)), where=weight > 0)
    series, codes = distinct_codes(last["series"])
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
            "start_local": local_times(starts, codes, [lexicon.series[word][5] for word in series.tolist()]),
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


def _maps(spent: Columns, at: Ints, lexicon: Lexicon) -> Any:
    begin = np.searchsorted(spent["group"], at, "left")
    end = np.searchsorted(spent["group"], at, "right")
    sizes = end - begin
    item = np.repeat(begin - (np.cumsum(sizes) - sizes), sizes) + np.arange(int(sizes.sum()))
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    keys = texts(spent["state"][item], lexicon.texts)
    return pa.MapArray.from_arrays(pa.array(offsets), keys, pa.array(spent["micros"][item] / 1e6))
