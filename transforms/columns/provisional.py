"""The provisional pass: what the results would be if nothing else came, for devices that just spoke.

The exact pass trails by the watermark's slack and the allowed lateness; people should not. So the devices whose rows
wait are worked on a second time, as they come, from a fork of the exact state. A row older than its device's fork is
taken to be as new as that; the final result knows better, and replaces what was published or takes it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.arrow import from_record_batch, to_record_batch
from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.encoding import pack, unpack
from thingbeam.schemas.names import mix
from thingbeam.schemas.records import Activity, Session, Usage
from thingbeam.transforms.columns.closing import Closing
from thingbeam.transforms.columns.history import History, HistoryState, Slice
from thingbeam.transforms.columns.rows import SortedRows, sort_rows
from thingbeam.transforms.columns.subset import join_rules, take_devices, without_devices

__all__ = ["Provisional", "ProvisionalState"]

_MAGIC: Final = b"TBPV"
_VERSION: Final = 1
_QUARTER: Final = 900_000_000
_KINDS: Final[dict[str, type]] = {"activities": Activity, "sessions": Session, "usage": Usage}

Row = Activity | Session | Usage
_Published = dict[str, list[Any]]
"""For each key that went out: its kind, when the exact pass must know of it, and the row that takes it back."""


class ProvisionalState:
    """What a shard remembers of its provisional results.

    Attributes:
        fork: the devices that spoke after the exact pass's stand, as they stand by what they said.
        heard: for each of these devices (its mixed word), the time of its last event.
        published: what went out and is neither final nor taken back.
    """

    __slots__ = ("fork", "heard", "published")

    def __init__(self) -> None:
        self.fork = HistoryState()
        self.heard: dict[int, int] = {}
        self.published: _Published = {}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to remember."""
        return not self.heard and not self.published

    def encode(self) -> bytes:
        """The state in its versioned encoding."""
        fork = np.frombuffer(self.fork.encode(), np.uint8)
        return pack(_MAGIC, _VERSION, {"fork": fork, "heard": self.heard, "published": self.published})

    @classmethod
    def decode(cls, encoded: bytes) -> ProvisionalState:
        """The state of these bytes.

        Raises:
            EncodingError: bytes of another kind, or of a later version.
        """
        _, columns = unpack(_MAGIC, _VERSION, encoded)
        state = cls()
        state.fork = HistoryState.decode(columns["fork"].tobytes())
        state.heard, state.published = columns["heard"], columns["published"]
        return state


class Provisional(NamedTuple):
    """Provisional results by the rules of the exact pass."""

    history: History

    def tick(
        self, state: ProvisionalState, exact: HistoryState, batches: Iterable[EventBatch], closed: int, now: int
    ) -> dict[str, pa.RecordBatch]:
        """Take rows that came since the last call, and give the results that they change, as they stand.

        Args:
            state: of the shard's provisional pass; it is changed.
            exact: of its exact pass; it is not.
            batches: rows that wait for the exact pass.
            closed: where the exact pass stands; what was over by then is final.
            now: microseconds of processing time, for the revision.
        """
        batch = EventBatch.concatenate(batches)
        if not len(batch):
            return {}
        batch = self._not_before_heard(batch, state)
        peek = int(batch.rows["time"].max()) + 1
        state.fork.revision = max(state.fork.revision + 1, exact.revision + 1, now)
        words = mix(batch.rows["device_high"], batch.rows["device_low"])
        # Devices whose last event is in one stretch without an edge of a period can go together.
        length = min(self.history.usage.period if self.history.usage else _QUARTER, _QUARTER)
        last: dict[int, int] = {}
        for word, time in zip(words.tolist(), batch.rows["time"].tolist(), strict=True):
            last[word] = max(last.get(word, time), time)
        stretches: dict[int, set[int]] = {}
        for word, time in last.items():
            stretches.setdefault(time // length * length, set()).add(word)
        found: dict[str, list[pa.RecordBatch]] = {}
        for stretch, devices in sorted(stretches.items()):
            mine = batch.take(batch.rows[np.isin(words, np.array(sorted(devices), np.uint64))])
            for kind, rows in self._stretch(state, exact, mine, devices, stretch, peek):
                rows = _not_final(kind, rows, closed)
                if rows.num_rows:
                    found.setdefault(kind, []).append(rows)
        state.heard.update(last)
        results = {kind: pa.Table.from_batches(rows).combine_chunks().to_batches()[0] for kind, rows in found.items()}
        for kind, rows in results.items():
            self._publish(state, kind, rows)
        return results

    def settle(
        self, state: ProvisionalState, exact: HistoryState, done: Slice, until: int
    ) -> dict[str, pa.RecordBatch]:
        """After a step of the exact pass: tombstones of what was published and is not so.

        Args:
            state: of the shard's provisional pass; it is changed.
            exact: the state of its exact pass, after the step.
            done: the final results of the step.
            until: where the exact pass stands.
        """
        caught_up = [word for word, time in state.heard.items() if time < until]
        if caught_up:
            without_devices(state.fork.rules, caught_up)
            for word in caught_up:
                del state.heard[word]
        if not state.published:
            return {}
        for kind in _KINDS:
            batch = getattr(done, kind)
            if batch is not None:
                for row in _rows(kind, batch):
                    state.published.pop(key_of(row), None)
        open_keys = {key_of(row) for row in self._open(exact, until)}
        taken_back: dict[str, list[Row]] = {}
        for key, (kind, known_at, fields) in list(state.published.items()):
            if known_at <= until and key not in open_keys:
                del state.published[key]
                taken_back.setdefault(kind, []).append(_tombstone(kind, fields, exact.revision))
        return {kind: to_record_batch(rows, _KINDS[kind]) for kind, rows in taken_back.items()}

    def _not_before_heard(self, batch: EventBatch, state: ProvisionalState) -> EventBatch:
        if not state.heard:
            return batch
        rows = batch.rows.copy()
        words = mix(rows["device_high"], rows["device_low"]).tolist()
        rows["time"] = np.maximum(rows["time"], [state.heard.get(word, -(1 << 62)) for word in words])
        return EventBatch(rows, batch.names)

    def _stretch(
        self,
        state: ProvisionalState,
        exact: HistoryState,
        batch: EventBatch,
        devices: set[int],
        stretch: int,
        peek: int,
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Advance some devices to where they spoke, and give what they changed."""
        fork, rules = state.fork, self.history
        known = [word for word in devices if word in state.heard]
        fresh = [word for word in devices if word not in state.heard]
        part = join_rules(take_devices(fork.rules, known), take_devices(exact.rules, fresh))
        without_devices(fork.rules, known)
        fork.lexicon.ids.update(exact.lexicon.ids)
        fork.lexicon.texts.update(exact.lexicon.texts)
        fork.lexicon.series.update(exact.lexicon.series)
        rows = sort_rows(batch)
        if rules.deduplicate is not None:
            remembered, rows = rules.deduplicate.advance(part.get("deduplicate", {}), rows, stretch)
            part["deduplicate"] = remembered
        fork.lexicon.learn_ids(rows)
        so_far = Closing(peek, fork.revision, ended=True, so_far=True)
        onward = Closing(stretch, fork.revision)
        results: dict[str, pa.RecordBatch | None] = {}
        if rules.activities is not None:
            held = part.get("activities", {})
            _, results["activities"], _ = rules.activities.advance(held, rows, so_far, fork.lexicon)
            part["activities"], _, _ = rules.activities.advance(held, rows, onward, fork.lexicon)
        for name, rule in (("sessions", rules.sessions), ("usage", rules.usage)):
            if rule is not None:
                held = part.get(name, {})
                _, results[name] = rule.advance(held, rows, so_far, fork.lexicon)
                part[name], _ = rule.advance(held, rows, onward, fork.lexicon)
        fork.rules = join_rules(fork.rules, part)
        touched = _touched(rows)
        for kind, found in results.items():
            if found is not None:
                yield kind, _only(kind, found, touched)

    def _publish(self, state: ProvisionalState, kind: str, batch: pa.RecordBatch) -> None:
        for row in _rows(kind, batch):
            # A period is known when it is over, what has a start when that is passed.
            known_at = row.end.micros if isinstance(row, Usage) else row.start.micros + 1
            state.published[key_of(row)] = [kind, known_at, _plain(row)]

    def _open(self, exact: HistoryState, until: int) -> Iterator[Row]:
        """What the exact pass knows to be open: its keys are as good as final."""
        nothing = sort_rows(EventBatch.concatenate(()))
        closing = Closing(until, exact.revision, ended=True, so_far=True)
        if self.history.activities is not None and exact.rules.get("activities"):
            _, batch, _ = self.history.activities.advance(exact.rules["activities"], nothing, closing, exact.lexicon)
            if batch is not None:
                yield from from_record_batch(batch, Activity)
        if self.history.sessions is not None and exact.rules.get("sessions"):
            _, batch = self.history.sessions.advance(exact.rules["sessions"], nothing, closing, exact.lexicon)
            if batch is not None:
                yield from from_record_batch(batch, Session)


def _rows(kind: str, batch: pa.RecordBatch) -> list[Row]:
    rows: list[Row] = from_record_batch(batch, _KINDS[kind])
    return rows


def key_of(row: Row) -> str:
    """The key of a result as one text."""
    parts = [type(row).__name__, row.device_id, str(row.start.micros)]
    if not isinstance(row, Session):
        parts += [row.component, row.capability]
    if isinstance(row, Usage):
        parts += [row.attribute, row.role, row.period]
    return "\x1f".join(parts)


def _touched(rows: SortedRows) -> set[tuple[str, str]]:
    """The (component, capability) of each row: what a slice's rows may have changed."""
    return {
        (rows.descriptions[code].component, rows.descriptions[code].capability)
        for code in set(rows.description.tolist())
    }


def _only(kind: str, batch: pa.RecordBatch, touched: set[tuple[str, str]]) -> pa.RecordBatch:
    """The rows of touched series, marked as provisional."""
    if kind != "sessions":
        pairs = zip(batch.column("component").to_pylist(), batch.column("capability").to_pylist(), strict=True)
        batch = batch.filter(pa.array([pair in touched for pair in pairs], pa.bool_()))
    at = batch.schema.get_field_index("final")
    return batch.set_column(at, batch.schema.field(at), pa.array(np.zeros(batch.num_rows, np.bool_)))


def _not_final(kind: str, batch: pa.RecordBatch, closed: int) -> pa.RecordBatch:
    """The rows that the exact pass has not given: it gives what ends by where it stands, a stop only when past it."""
    ends = batch.column("end").cast(pa.int64()).fill_null(1 << 62).to_numpy(zero_copy_only=False)
    return batch.filter(pa.array(ends >= closed if kind == "activities" else ends > closed))


def _plain(row: Row) -> list[Any]:
    """A row as msgpack can keep it."""
    return [{"t": value.micros} if isinstance(value, Timestamp) else value for value in row]


def _tombstone(kind: str, fields: list[Any], revision: int) -> Row:
    """The row that takes a published one back."""
    values = [
        Timestamp(micros=value["t"]) if isinstance(value, dict) and value.keys() == {"t"} else value
        for value in fields
    ]  # fmt: skip
    row: Row = _KINDS[kind](*values)
    return row._replace(revision=revision, final=True, deleted=True)
