"""How the cost of an event grows: with devices, shards, batches, late events; and element by element."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from inputs import Inputs
from peers import job
from processes import measure, run

HERE = Path(__file__).parent
DEVICES = (2_000, 20_000, 200_000, 2_000_000)
SHARDS = (1, 4, 12, 48, 192)
BLOBS = (1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22)
SLICES_S = (15, 60, 300, 900)
LATE = (0.0, 0.01, 0.05, 0.2)

Series = dict[str, float]
"""Nanoseconds of CPU time an event, by what was varied."""


def growth(inputs: Inputs, events: int, runs: int, core: int, most_devices: int, only: str = "") -> dict[str, Series]:
    """Every series, or some, each point without start-up.

    Args:
        inputs: makes the files.
        events: of the larger file of a point; the smaller has a fifth.
        runs: of each point.
        core: which.
        most_devices: up to how many devices.
        only: what a series' name begins with.
    """
    python = sys.executable
    output = inputs.place / "growth"

    def pipeline(form: str, shards: int, blob: int) -> Sequence[str]:
        return [python, str(HERE / "pipeline.py"), "INPUT", form, str(shards), str(blob)]

    def cost(command: Sequence[str], of: int = events, devices: int | None = None) -> float:
        def on(path: Path) -> list[str]:
            return [str(path) if part == "INPUT" else part for part in command]

        return 1e9 / measure("", on, inputs.file(of // 5, devices), inputs.file(of, devices), runs, core).rate

    def step(slice_s: int, late: float) -> float:
        return _live(inputs.file(events // 5), slice_s, late, core)["ns"]

    whole = [*job(output, "parquet"), "--input", "INPUT"]
    series: dict[str, Callable[[], Series]] = {
        "devices (0.01 events/s each), whole job": lambda: {
            f"{devices:,}": cost(whole, max(events, devices), devices) for devices in DEVICES if devices <= most_devices
        },
        "shards, whole job": lambda: {str(shards): cost([*whole, "--shards", str(shards)]) for shards in SHARDS},
        "bytes of a blob, transforms only": lambda: {
            f"{size:,}": cost(pipeline("batches", 12, size)) for size in BLOBS
        },
        "elements or batches, transforms only": lambda: {
            "elements": cost(pipeline("elements", 12, 1 << 20), events // 8),
            "batches": cost(pipeline("batches", 12, 1 << 20)),
        },
        "seconds of a slice, stateful step alone, live": lambda: {
            str(length): step(length, 0.0) for length in SLICES_S
        },
        "late events' share, stateful step alone, live": lambda: {f"{late:.0%}": step(60, late) for late in LATE},
    }
    return {name: measured() for name, measured in series.items() if name.startswith(only)}


def _live(path: Path, slice_s: int, late: float, core: int) -> dict[str, float]:
    result = path.with_suffix(".live.json")
    command = [sys.executable, str(HERE / "live.py"), str(path), "12", str(slice_s), "1000", str(late), str(result)]
    run(command, core)
    measured: dict[str, float] = json.loads(result.read_text())
    return measured


def state(inputs: Inputs, events: int, core: int) -> dict[str, float]:
    """What a live stream's state is at its most, and what a shard and slice costs."""
    found = _live(inputs.file(events), 60, 0.0, core)
    return {"bytes of state": found["state_bytes"], "ms a shard and slice": found["ms_a_slice"]}
