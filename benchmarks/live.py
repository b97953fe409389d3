"""The stateful step over an endless stream, without an engine: its state cells are plain objects here.

Batches come in order of arrival; the watermark follows the newest event by half a minute, and timers fire when it is
past them. What it costs is the rules' own, with state read and written for each shard and slice; an engine's is beside.

usage: live.py INPUT SHARDS SLICE_S BATCH LATE_SHARE RESULT.json
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from apache_beam.utils.timestamp import Timestamp
from processes import ROOT
from stages import all_rules, blobs_of

from thingbeam.schemas import EventBatch
from thingbeam.transforms import CapabilityTable, HomeZones
from thingbeam.transforms.columns.parse import BlobParser
from thingbeam.transforms.envelopes import Context, Limits
from thingbeam.transforms.exact import LATE, ExactPass, Pace
from thingbeam.transforms.sharding import ShardBatches

sys.path.append(str(ROOT / "tests"))
from state_cells import Bag, Timer, Value

SECOND = 1_000_000
SLACK = 30 * SECOND
"""gen.py's events come up to so much out of order."""


class Shard:
    """What a runner keeps for one key."""

    def __init__(self) -> None:
        self.clock, self.history, self.timer = Value(), Value(), Timer()
        self.pieces, self.bags = Bag(), tuple(Bag() for _ in range(8))

    @property
    def bytes(self) -> int:
        waiting = sum(len(value) for bag in (self.pieces, *self.bags) for value in bag.held)
        return len(self.clock.held or b"") + len(self.history.held or b"") + waiting


def live(path: Path, shards: int, slice_s: int, batch: int, late: float) -> dict[str, float]:
    """What an event costs in the stateful step.

    Args:
        path: a file of events, as they arrive.
        shards: how many.
        slice_s: seconds of event time in a slice.
        batch: events that come together.
        late: the share of them that is held back an hour.
    """
    parser = BlobParser(Context(), Limits(), "bench")
    events = EventBatch.concatenate(parser.parse(blob).to_batch() for blob in blobs_of(path))
    arrivals = np.arange(len(events), dtype=np.float64)
    if late:
        span = int(events.rows["time"].max() - events.rows["time"].min())
        rate = len(events) / span
        held = np.random.default_rng(1).random(len(events)) < late
        arrivals[held] += 3600 * SECOND * rate
    events = events.take(events.rows[np.argsort(arrivals, kind="stable")])
    cutter = ShardBatches(shards, HomeZones(), CapabilityTable.default())
    step = ExactPass(all_rules(), Pace(60 * SECOND, slice_s * SECOND, slice_s * SECOND))
    kept: dict[int, Shard] = {}
    count = closed_late = slices = most = 0
    newest = -(1 << 62)
    spent = 0.0
    for start in range(0, len(events), batch):
        some = events.take(events.rows[start : start + batch])
        parts = [element.value for element in (*cutter.process(some), *cutter.finish_bundle())]
        newest = max(newest, int(some.rows["time"].max()))
        begin = time.process_time()
        for shard, part in parts:
            cells = kept.setdefault(shard, Shard())
            for out in step.process((shard, part), cells.clock, *cells.bags, cells.timer):
                closed_late += len(out.value[1]) if out.tag == LATE else 0
        for shard, cells in kept.items():
            if cells.timer.at is not None and cells.timer.at.micros <= newest - SLACK:
                fired, cells.timer.at = Timestamp(micros=newest - SLACK), None
                slices += 1
                for out in step.wake(shard, fired, cells.clock, cells.history, cells.pieces, *cells.bags, cells.timer):
                    count += out.value[1].num_rows
        spent += time.process_time() - begin
        most = max(most, sum(cells.bytes for cells in kept.values()))
    return {
        "ns": spent / len(events) * 1e9,
        "ms_a_slice": spent / max(1, slices) * 1e3,
        "state_bytes": most,
        "rows": count,
        "late": closed_late,
        "events": len(events),
    }


if __name__ == "__main__":
    of = live(Path(sys.argv[1]), *map(int, sys.argv[2:5]), float(sys.argv[5]))
    Path(sys.argv[6]).write_text(json.dumps(of))
