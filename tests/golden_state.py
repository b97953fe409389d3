"""State that a release wrote, committed for all later ones to read: tests/fixtures/state.

`python tests/golden_state.py`, with src and tests on PYTHONPATH, writes the files of the version of today where there
are none. A file of a released version is never written again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from apache_beam.utils.timestamp import Timestamp

from comparison import history
from streams import random_stream, role_of, zone_name
from thingbeam.schemas import Event, EventBatch
from thingbeam.transforms.columns.history import HistoryState
from thingbeam.transforms.columns.published import Published
from thingbeam.transforms.rules import is_ignored

FOLDER: Final = Path(__file__).parent / "fixtures" / "state"
EVENTS: Final = FOLDER / "events.jsonl"
CUT: Final = 1_518_927_091_442_129
"""The state knows of all events before it: activities, sessions and periods are open, and an id comes again."""
PERIOD: Final = "1h"
_TIMES: Final = ("event_time", "last_reset")


def events() -> list[Event]:
    """The events of the stream, in rule order."""
    found: list[Event] = []
    for line in EVENTS.read_text(encoding="utf-8").splitlines():
        fields: dict[str, Any] = json.loads(line)
        found.append(Event(**fields | {name: Timestamp(micros=fields[name]) for name in _TIMES if name in fields}))
    return found


def state_of(of: list[Event]) -> HistoryState:
    """What the exact pass holds after the events before CUT, taken in three slices."""
    rules, state, begin = history(PERIOD), HistoryState(), -(1 << 60)
    for cut in (int(of[20].event_time.micros), CUT - 1, CUT):
        mine = [event for event in of if begin <= event.event_time.micros < cut]
        rules.advance(state, [EventBatch.from_events(mine, zone_name)], cut, 1_000_000)
        begin = cut
    return state


def _line(event: Event) -> str:
    fields = {
        name: value.micros if isinstance(value, Timestamp) else value
        for name, value in event._asdict().items()
        if value is not None or name == "device_id"
    }
    return json.dumps(fields, ensure_ascii=False)


def _published() -> bytes:
    earlier = Published.decode([(FOLDER / "provisional.v1.bin").read_bytes()])
    nothing = np.zeros(0, np.uint64)
    published = Published()
    for kind, rows in earlier.settle({}, nothing, 1 << 60, earlier.newest).items():
        published.add(kind, rows, nothing)
    return published.encode_added() or b""


def _write() -> None:
    if not EVENTS.exists():
        stream = random_stream(26, devices=6, events=130, long_silence=False)
        kept = [event for event in stream if not is_ignored(event, role_of)]
        EVENTS.write_text("".join(_line(event) + "\n" for event in kept), encoding="utf-8")
    stream = events()
    for path, encoded in (
        (FOLDER / "history.v1.bin", state_of(stream).encode()),
        (FOLDER / "event_batch.v1.bin", EventBatch.from_events(stream, zone_name).encode()),
        (FOLDER / "provisional.v2.bin", _published()),
    ):
        if not path.exists():
            path.write_bytes(encoded)
            print(f"{path}: {len(encoded)} bytes")


if __name__ == "__main__":
    _write()
