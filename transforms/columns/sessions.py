"""Sessions by gap, columnar: the rule of thingbeam.transforms.rules.sessions for whole slices."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from thingbeam.schemas.names import hash_text
from thingbeam.schemas.records import Session
from thingbeam.transforms.columns.closing import Closing, Columns, Lexicon, empty, ids, local_zone, record_batch, times
from thingbeam.transforms.columns.rows import SortedRows, device_codes, distinct_codes, segment_starts, stable_order
from thingbeam.transforms.columns.zones import local_times
from thingbeam.transforms.rules.roles import ATTRIBUTE_KINDS

__all__ = ["SessionColumns"]

_STATE: Final[dict[str, Any]] = {
    "device_high": np.uint64,
    "device_low": np.uint64,
    "home_high": np.uint64,
    "home_low": np.uint64,
    "zone": np.uint64,
    "start": np.int64,
    "last": np.int64,
    "count": np.int64,
}


class SessionColumns(NamedTuple):
    """Joins the events of a device into sessions.

    Attributes:
        gap: microseconds of silence that end a session.
    """

    gap: int

    def advance(
        self, state: Columns, rows: SortedRows, closing: Closing, lexicon: Lexicon
    ) -> tuple[Columns, pa.RecordBatch | None]:
        """Take the rows of a slice and give the sessions that are over.

        Args:
            state: open sessions, from the last call; empty at first.
            rows: distinct rows in rule order, all before `closing.until` and none before the last call's.
            closing: where the exact pass stands after this call.
            lexicon: texts that the state refers to; learns the new ones.
        """
        state = self._joined(state or empty(_STATE), rows, lexicon)
        over = np.full(len(state["last"]), closing.ended) | (state["last"] + self.gap <= closing.until)
        if not over.any():
            return state, None
        done = {name: column[over] for name, column in state.items()}
        return {name: column[~over] for name, column in state.items()}, self._batch(done, closing, lexicon)

    def due(self, state: Columns) -> int | None:
        """When the first open session will be over if its device stays silent; microseconds."""
        return int(state["last"].min()) + self.gap if state and len(state["last"]) else None

    def _joined(self, state: Columns, rows: SortedRows, lexicon: Lexicon) -> Columns:
        kinds = np.array([d.kind in ATTRIBUTE_KINDS for d in rows.descriptions], np.bool_)
        if not kinds.all():
            rows = rows.select(kinds[rows.description])
        if not rows.count:
            return state
        zones = [local_zone(d.zone) for d in rows.descriptions]
        for zone in set(zones):
            lexicon.learn(zone)
        fresh: Columns = {
            "device_high": rows.device_high[rows.device],
            "device_low": rows.device_low[rows.device],
            "home_high": rows.home_high,
            "home_low": rows.home_low,
            "zone": np.array([hash_text(zone) for zone in zones], np.uint64)[rows.description],
            "start": rows.time,
            "last": rows.time,
            "count": np.ones(rows.count, np.int64),
        }
        # A device's open session stands before its rows, which are in order of time.
        both = {name: np.concatenate((state[name], fresh[name])) for name in _STATE}
        device = device_codes(state["device_high"], state["device_low"], rows)
        order = stable_order(device)
        both = {name: column[order] for name, column in both.items()}
        begins = segment_starts(device[order])
        begins[1:] |= both["start"][1:] - both["last"][:-1] >= self.gap
        first = np.flatnonzero(begins)
        joined: Columns = {name: both[name][first] for name in _STATE}
        joined["last"] = both["last"][np.append(first[1:], len(begins)) - 1]
        joined["count"] = np.add.reduceat(both["count"], first)
        return joined

    def _batch(self, done: Columns, closing: Closing, lexicon: Lexicon) -> pa.RecordBatch:
        zones, codes = distinct_codes(done["zone"])
        return record_batch(
            Session,
            {
                "device_id": ids(done, "device", lexicon),
                "start": times(done["start"]),
                "start_local": local_times(done["start"], codes, [lexicon.texts[zone] for zone in zones.tolist()]),
                "last": times(done["last"]),
                "end": times(done["last"] + self.gap),
                "count": done["count"],
                "revision": closing.revision,
                "home_id": ids(done, "home", lexicon),
                "final": True,
                "deleted": False,
            },
        )
