"""A meter's sum, columnar: differences from a zero point, and what a reset adds."""

from __future__ import annotations

from typing import Final

import numpy as np

from thingbeam.transforms.columns.closing import Columns
from thingbeam.transforms.columns.rows import Bools, Floats

__all__ = ["RESET_RATIO", "meter_totals"]

RESET_RATIO: Final = 0.9
"""An increasing meter was reset where a reading is below this share of the one before (Home Assistant's rule)."""


def meter_totals(points: Columns, linked: Bools) -> Floats:
    """The sum of each meter's point, 0 for what is no meter.

    Within a run without resets the sum is that at the run's first point plus the difference of the readings, so that no
    rounding adds up along the way.

    Args:
        points: points of series in order, with `is_meter`, `is_total`, `number`, `reset` (of the reading or the last
            before it that said), `event`, and the carried points' `total`.
        linked: whether the point before belongs to the same series and is still carried.
    """
    totals = np.where(points["event"], 0.0, points["total"])
    meter = points["is_meter"]
    if not meter.any():
        return totals
    number, reset = points["number"], points["reset"]
    restarts = np.zeros(len(number), np.bool_)
    fell = number[1:] < RESET_RATIO * number[:-1]
    cycle = reset[1:] != reset[:-1]
    restarts[1:] = linked[1:] & meter[1:] & np.where(points["is_total"][1:], cycle, fell)
    begins = ~linked | restarts
    start = np.flatnonzero(begins)
    run = np.cumsum(begins) - 1
    offset = totals[start]
    gained = number[np.append(start[1:], len(number)) - 1] - number[start]
    for at in np.flatnonzero(restarts[start]).tolist():
        offset[at] = offset[at - 1] + gained[at - 1] + number[start[at]]
    return np.where(meter, offset[run] + (number - number[start][run]), 0.0)
