"""What a look of the provisional pass costs, and a slice of the exact one, by how many devices a shard knows.

    python benchmarks/looks.py [--devices 1000 10000 42000] [--every 400ms]

One shard without an engine, its state cells plain objects. Every device sends one event each 100 s; a minute counts,
after more than three in which state fills. CPU time, of one thread.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from apache_beam.utils.timestamp import Timestamp
from processes import ROOT
from rich.console import Console
from rich.table import Table
from stages import all_rules

from thingbeam.schemas.batch import ROW, Description, EventBatch, Names, hash_description
from thingbeam.transforms.durations import micros_of_duration
from thingbeam.transforms.exact import Pace
from thingbeam.transforms.provisional import ProvisionalPass

sys.path.append(str(ROOT / "tests"))
from state_cells import Bag, Timer, Value

_SECOND = 1_000_000
_EACH_S = 100
_FILL_S, _COUNTED_S = 200, 60
_POWER = Description("DEVICE_EVENT", "main", "powerMeter", "power", "number", "W", True, None, "UTC")


class Cost(NamedTuple):
    """Of one size of shard."""

    devices: int
    looks_ms: float
    """Median."""
    rows: float
    """That a look gives."""
    slices_ms: float
    """Median."""
    state_bytes: float
    """A device, of the exact state as it is encoded."""


class Shard:
    """One key of the step."""

    def __init__(self, every: int) -> None:
        self.step = ProvisionalPass(all_rules(), Pace(), every)
        self.cells: dict[str, Any] = {name: Value() for name in ("clock", "history", "shown")}
        self.cells |= {name: Bag() for name in ("fresh", "published", "pieces", *(f"w{n}" for n in range(8)))}
        self.timer = Timer()

    def run(self, call: Any, **given: Any) -> tuple[float, int]:
        """Milliseconds and rows of a call."""
        wanted = inspect.signature(call).parameters
        cells = {name: cell for name, cell in self.cells.items() if name in wanted}
        began = time.thread_time()
        rows = sum(out.value[1].num_rows for out in call(**cells, **given))
        return (time.thread_time() - began) * 1e3, rows


def batches(devices: int, begin: int, every: int) -> Iterator[EventBatch]:
    """What comes between two looks, for ever."""
    word, number = hash_description(_POWER), 0
    size = round(devices / _EACH_S * every / _SECOND)
    while True:
        numbers = np.arange(number, number + size, dtype=np.int64)
        device = numbers % devices
        rows = np.zeros(size, ROW)
        rows["time"] = begin + numbers * (_EACH_S * _SECOND) // devices
        rows["device_high"], rows["device_low"] = device + 1, device * 7919
        rows["event_high"], rows["event_low"] = numbers + 1, numbers
        rows["home_high"] = device // 8 + 1
        rows["value"] = (numbers * 7919 % 3000).astype(np.float64).view(np.uint64)
        rows["description"] = word
        yield EventBatch(rows, Names(descriptions={word: _POWER}))
        number += size


def cost(devices: int, every: int) -> Cost:
    """Of a shard that knows so many."""
    shard = Shard(every)
    # In the middle of an hour, and not behind the clock: steps of a backlog are longer.
    begin = (int(time.time()) // 3600 + 1) * 3600 * _SECOND + 600 * _SECOND
    looks: list[tuple[float, int]] = []
    slices: list[float] = []
    for batch in batches(devices, begin, every):
        newest = int(batch.rows["time"].max())
        counts = newest >= begin + _FILL_S * _SECOND
        # The first of a stretch of time are looked at as they come.
        spent, rows = shard.run(shard.step.process, element=(0, batch), timer=shard.timer, tick=Timer())
        more, others = shard.run(shard.step.show, shard=0)
        if counts:
            looks.append((spent + more, rows + others))
        if shard.timer.at is not None and shard.timer.at.micros <= newest:
            fired, shard.timer.at = Timestamp(micros=shard.timer.at.micros), None
            spent, _ = shard.run(shard.step.wake, shard=0, fired=fired, timer=shard.timer)
            if counts:
                slices.append(spent)
        if newest >= begin + (_FILL_S + _COUNTED_S) * _SECOND:
            break
    held = len(shard.cells["history"].held or b"") + sum(map(len, shard.cells["pieces"].held))
    spent = statistics.median(look for look, _ in looks)
    rows = statistics.fmean(count for _, count in looks)
    return Cost(devices, spent, rows, statistics.median(slices), held / devices)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, nargs="+", default=[1000, 10_000, 42_000], help="that a shard knows")
    parser.add_argument("--every", default="400ms", help="between two looks (default 400ms)")
    given = parser.parse_args()
    table = Table(title="One shard, CPU time")
    for heading in ("devices", "ms a look", "rows of it", "ms a slice", "bytes of state a device"):
        table.add_column(heading, justify="right")
    for devices in given.devices:
        found = cost(devices, micros_of_duration(given.every, "--every"))
        table.add_row(
            f"{found.devices:,}", f"{found.looks_ms:.1f}", f"{found.rows:.0f}", f"{found.slices_ms:.0f}",
            f"{found.state_bytes:.0f}",
        )  # fmt: skip
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
