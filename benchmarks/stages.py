"""The stages of the main job, each alone in one process: nanoseconds of CPU time an event.

usage: stages.py INPUT RUNS RESULT.json
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thingbeam.io.files.blobs import BLOB_BYTES
from thingbeam.io.files.json_lines import encode_json_lines
from thingbeam.io.files.parquet_files import encode_parquet
from thingbeam.schemas import Activity, EventBatch, Session, Usage
from thingbeam.schemas.batch import Description
from thingbeam.schemas.blob import Blob
from thingbeam.transforms import CapabilityTable, HomeZones
from thingbeam.transforms.columns.activities import ActivityColumns
from thingbeam.transforms.columns.closing import END_OF_TIME
from thingbeam.transforms.columns.deduplicate import DeduplicateColumns
from thingbeam.transforms.columns.history import History, HistoryState
from thingbeam.transforms.columns.parse import BlobParser
from thingbeam.transforms.columns.sessions import SessionColumns
from thingbeam.transforms.columns.usage import UsageColumns
from thingbeam.transforms.envelopes import Context, Limits
from thingbeam.transforms.rules.roles import Role
from thingbeam.transforms.sharding import DEFAULT_SHARDS, ShardBatches

MINUTE = 60_000_000
KINDS = (("activities", Activity), ("sessions", Session), ("usage", Usage))


def blobs_of(path: Path, size: int = BLOB_BYTES) -> list[Blob]:
    """A file as blobs of whole lines."""
    data = path.read_bytes()
    blobs: list[Blob] = []
    at = 0
    while at < len(data):
        end = data.find(b"\n", at + size) + 1 or len(data)
        blobs.append(Blob(path.name, at, data[at:end]))
        at = end
    return blobs


def all_rules() -> History:
    """As the main job has them by default."""
    table = CapabilityTable.default()

    def of(description: Description) -> Role:
        return table.role(description.capability, description.attribute, description.value_type)

    return History(DeduplicateColumns(MINUTE), SessionColumns(10 * MINUTE), ActivityColumns(of), UsageColumns(of))


def stages(path: Path, runs: int) -> dict[str, float]:
    """Nanoseconds an event of each stage, medians of some runs on one file."""
    costs: dict[str, float] = {}
    events = 0

    def timed(name: str, work: Callable[[], Any]) -> Any:
        spent: list[float] = []
        result: Any = None
        for _ in range(runs):
            begin = time.process_time()
            result = work()
            spent.append(time.process_time() - begin)
        costs[name] = statistics.median(spent)
        return result

    blobs = blobs_of(path)
    parser = BlobParser(Context(), Limits(), "bench")
    parsed = timed("parse", lambda: [parser.parse(blob).to_batch() for blob in blobs])
    events = sum(map(len, parsed))
    cutter = ShardBatches(DEFAULT_SHARDS, HomeZones(), CapabilityTable.default())

    def cut() -> dict[int, list[EventBatch]]:
        shards: dict[int, list[EventBatch]] = {}
        for batch in parsed:
            for element in (*cutter.process(batch), *cutter.finish_bundle()):
                shard, part = element.value
                shards.setdefault(shard, []).append(part)
        return shards

    shards = timed("cut into shards", cut)
    encoded = timed("encode", lambda: [[batch.encode() for batch in batches] for batches in shards.values()])
    groups = timed("decode", lambda: [[EventBatch.decode(batch) for batch in batches] for batches in encoded])

    def rules(history: History) -> Callable[[], Any]:
        return lambda: [history.advance(HistoryState(), group, END_OF_TIME, 1, ended=True) for group in groups]

    every = all_rules()
    timed("sort", rules(History()))
    for name in ("deduplicate", "sessions", "activities", "usage"):
        timed(f"sort, {name}", rules(History(**{name: getattr(every, name)})))
    done = timed("sort, all rules, rows", rules(every))

    def written(encode: Callable[[Any, Any], bytes]) -> Callable[[], Any]:
        return lambda: [
            encode(batch, record)
            for result in done
            for name, record in KINDS
            if (batch := getattr(result, name)) is not None
        ]

    timed("write Parquet", written(lambda batch, record: encode_parquet(batch, record, None)))
    timed("write JSON Lines", written(lambda batch, record: encode_json_lines(batch, record)))
    return {name: cost / events * 1e9 for name, cost in costs.items()}


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(stages(Path(sys.argv[1]), int(sys.argv[2]))))
