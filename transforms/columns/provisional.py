"""The provisional pass: what the results would be if nothing else came, for devices that just spoke.

The exact pass trails by the watermark's slack and the allowed lateness; people should not. So the devices whose rows
wait are worked on a second time, as they come, from a fork of the exact state. A row older than its device's fork is
taken to be as new as that; the final result knows better, and replaces what was published or takes it back.

What a call costs goes with its rows, not with the devices that the shard knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.encoding import Rows
from thingbeam.schemas.names import Words, mix
from thingbeam.transforms.columns.closing import Closing, Lexicon
from thingbeam.transforms.columns.devices import Devices, Part, Rules, bytes_of
from thingbeam.transforms.columns.history import History, HistoryState, Slice, names_used
from thingbeam.transforms.columns.published import KINDS, Published, begun_words
from thingbeam.transforms.columns.rows import Bools, Ints, SortedRows, ascending, sort_rows
from thingbeam.transforms.columns.untold import Untold

__all__ = ["Provisional", "ProvisionalState"]

_QUARTER: Final = 900_000_000
_NEVER: Final = -(1 << 62)
_SOME: Final = 1000
"""Of no use any more, they may stay."""


class ProvisionalState:
    """What a shard remembers for its provisional results. All but what went out follows from the rows that wait.

    Attributes:
        exact: the state of the exact pass.
        published: what went out and is neither final nor taken back.
        revision: the last one that went out.
        stand: where the exact pass stands; microseconds.
        fork: the devices that spoke after the exact pass's stand, as they stand by what they said; and others, that it
            has passed since.
        heard: for each of these devices (its mixed word), the time of its last event.
        lexicon: the texts that the fork and the exact state refer to.
        untold: rows that the fork does not know of yet: it is told of them when their device speaks again.
    """

    __slots__ = (
        "_begun", "_ground", "_kept", "_latest", "_named",
        "exact", "fork", "heard", "lexicon", "published", "revision", "stand", "untold",
    )  # fmt: skip

    def __init__(self, exact: HistoryState, published: Published, revision: int = 0) -> None:
        self.exact = exact
        self.published = published
        self.revision = revision
        self.fork = Devices()
        self.heard: dict[int, int] = {}
        self.lexicon = Lexicon()
        self.untold = Untold()
        self._ground: Part | None = None
        self._begun: Words | None = None
        self.stand = self._latest = _NEVER
        # How much there was after the last time that what is of no use any more was forgotten.
        self._kept = self._named = 0

    @property
    def nbytes(self) -> int:
        """About how many bytes it takes."""
        texts = 2 * 200 * len(self.lexicon)
        held = bytes_of(self.exact.rules) + self.fork.nbytes + self.published.nbytes
        return held + 100 * len(self.heard) + texts + self.untold.nbytes

    def ground(self) -> Part:
        """The exact state, by device; the lexicon knows its texts from then on."""
        if self._ground is None:
            crowded = len(self.lexicon) > 2 * self._named + _SOME
            if crowded:
                self.lexicon.keep(*names_used(self.fork.merged(), self.lexicon))
            self.lexicon.update(self.exact.lexicon)
            if crowded:
                self._named = len(self.lexicon)
            self._ground = Part(self.exact.rules, np.zeros(0, np.uint64))
        return self._ground

    def begun(self, history: History) -> Words:
        """The keys that the exact pass will come to, ascending."""
        if self._begun is None:
            self._begun = begun_words(self.exact, history.usage.period if history.usage else _QUARTER)
        return self._begun

    def without_fork(self) -> ProvisionalState:
        """The same, of which no row is told yet."""
        return ProvisionalState(self.exact, self.published, self.revision)

    def advanced(self, until: int) -> None:
        """The exact state is another one now, that of a time; what devices said before it is in it."""
        self._ground = self._begun = None
        self.stand = until
        self.untold.drop(self.is_useless)
        if self._latest < until:
            self.heard, self.fork, self._kept = {}, Devices(), 0
        elif len(self.heard) > 2 * self._kept + _SOME:
            self.heard = {word: time for word, time in self.heard.items() if time >= until}
            self.fork.keep(np.array(sorted(self.heard), np.uint64))
            self._kept = len(self.heard)

    def is_useless(self, rows: Rows) -> Bools:
        """Of some rows, which need not be told: the exact state has them, and their device does not stand beyond it.

        A device that does is worked on from its fork, which would never learn of them.
        """
        useless: Bools = rows["time"] < self.stand
        if useless.any():
            at = np.flatnonzero(useless)
            useless[at] = self.last_of(mix(rows["device_high"][at], rows["device_low"][at])) == _NEVER
        return useless

    def last_of(self, words: Words) -> Ints:
        """When some devices spoke last, of those that stand beyond the exact pass in the fork; others never did."""
        heard = np.array([self.heard.get(word, _NEVER) for word in words.tolist()], np.int64)
        heard[heard < self.stand] = _NEVER
        return heard

    def hear(self, words: Words, times: Ints) -> None:
        """When some devices spoke last."""
        self.heard.update(zip(words.tolist(), times.tolist(), strict=True))
        self._latest = max(self._latest, int(times.max()))


class Provisional(NamedTuple):
    """Provisional results by the rules of the exact pass."""

    history: History

    def tick(
        self, state: ProvisionalState, batch: EventBatch, closed: int, now: int, since: int = _NEVER
    ) -> dict[str, pa.RecordBatch]:
        """Take rows that came since the last call, and give the results that they change, as they stand.

        Args:
            state: of the shard's provisional pass; it is changed.
            batch: rows that wait for the exact pass, or that it has passed since they came.
            closed: where the exact pass stands; what was over by then is final.
            now: microseconds of processing time, for the revision.
            since: rows before it, microseconds of event time, give no results by themselves.
        """
        state.revision = max(state.revision + 1, state.exact.revision + 1, now)
        # What was made of the cells does not know it.
        state.stand = closed
        old = batch.rows["time"] < max(since, closed)
        if old.any():
            self.tell(state, batch.take(batch.rows[old]))
            batch = batch.take(batch.rows[~old])
        if not len(batch):
            return {}
        spoke = ascending(mix(batch.rows["device_high"], batch.rows["device_low"]))
        for told in self._told(state, state.untold.take(spoke)):
            self._take(state, told)
        found: dict[str, list[pa.RecordBatch]] = {}
        for told in self._told(state, batch):
            for kind, rows in self._shown(state, told):
                rows = _not_final(kind, rows, closed)
                if rows.num_rows:
                    found.setdefault(kind, []).append(rows)
            self._take(state, told)
        results: dict[str, pa.RecordBatch] = {}
        for kind, parts in found.items():
            [rows] = pa.Table.from_batches(parts).combine_chunks().to_batches()
            rows = state.published.add(kind, rows, state.begun(self.history), closed)
            if rows.num_rows:
                results[kind] = rows
        return results

    def tell(self, state: ProvisionalState, batch: EventBatch) -> None:
        """Take rows whose results are out, or are not to go out.

        Args:
            state: of the shard's provisional pass; it is changed.
            batch: rows that wait for the exact pass, or that it has passed since they came; they are looked at when
                others of their devices give results.
        """
        state.untold.add(batch.take(batch.rows.compress(~state.is_useless(batch.rows))))

    def settle(self, state: ProvisionalState, done: Slice, until: int) -> dict[str, pa.RecordBatch]:
        """After a step of the exact pass: tombstones of what was published and is not so.

        Args:
            state: of the shard's provisional pass, and the exact one's after the step; it is changed.
            done: the final results of the step.
            until: where the exact pass stands.
        """
        state.advanced(until)
        if not len(state.published):
            return {}
        results = {kind: getattr(done, kind) for kind in KINDS}
        return state.published.settle(results, state.begun(self.history), until, state.exact.revision)

    def _told(self, state: ProvisionalState, batch: EventBatch) -> Iterator[_Told]:
        """What devices said, cut so that devices whose last event is in one stretch without an edge go together."""
        if not len(batch):
            return
        ground = state.ground()
        words, device = np.unique(mix(batch.rows["device_high"], batch.rows["device_low"]), return_inverse=True)
        heard = state.last_of(words)
        put = heard > _NEVER
        rows = batch.rows.copy()
        rows["time"] = np.maximum(rows["time"], heard[device])
        np.maximum.at(heard, device, rows["time"])
        state.hear(words, heard)
        peek = int(rows["time"].max()) + 1
        length = min(self.history.usage.period if self.history.usage else _QUARTER, _QUARTER)
        stretches: Ints = heard // length * length
        for stretch in np.unique(stretches).tolist():
            mine = stretches == stretch
            told = sort_rows(EventBatch(rows[mine[device]], batch.names))
            part = state.fork.take(words[mine], put[mine], ground)
            if self.history.deduplicate is not None:
                remembered, told = self.history.deduplicate.advance(part.get("deduplicate", {}), told, stretch)
                part["deduplicate"] = remembered
            state.lexicon.learn_ids(told)
            yield _Told(words[mine], told, part, stretch, peek)

    def _shown(self, state: ProvisionalState, told: _Told) -> Iterator[tuple[str, pa.RecordBatch]]:
        """What some devices changed."""
        rules, part, rows, lexicon = self.history, told.part, told.rows, state.lexicon
        so_far = Closing(told.peek, state.revision, ended=True, so_far=True)
        results: dict[str, pa.RecordBatch | None] = {}
        if rules.activities is not None:
            _, results["activities"], _ = rules.activities.advance(part.get("activities", {}), rows, so_far, lexicon)
        if rules.sessions is not None:
            _, results["sessions"] = rules.sessions.advance(part.get("sessions", {}), rows, so_far, lexicon)
        if rules.usage is not None:
            _, results["usage"] = rules.usage.advance(part.get("usage", {}), rows, so_far, lexicon)
        touched = _touched(rows)
        for kind, found in results.items():
            if found is not None:
                yield kind, _only(kind, found, touched)

    def _take(self, state: ProvisionalState, told: _Told) -> None:
        """Advance some devices to where they spoke."""
        rules, part, rows, lexicon = self.history, told.part, told.rows, state.lexicon
        onward = Closing(told.stretch, state.revision)
        if rules.activities is not None:
            part["activities"], _, _ = rules.activities.advance(part.get("activities", {}), rows, onward, lexicon)
        if rules.sessions is not None:
            part["sessions"], _ = rules.sessions.advance(part.get("sessions", {}), rows, onward, lexicon)
        if rules.usage is not None:
            part["usage"], _ = rules.usage.advance(part.get("usage", {}), rows, onward, lexicon)
        state.fork.put(part, told.words)


class _Told(NamedTuple):
    """What some devices said."""

    words: Words
    """Their mixed words, ascending."""
    rows: SortedRows
    """Distinct."""
    part: Rules
    """Their state before."""
    stretch: int
    """When the stretch of time in which all of them spoke last begins; microseconds."""
    peek: int
    """Just after the last event of this call."""


def _touched(rows: SortedRows) -> set[tuple[str, str]]:
    """The (component, capability) of each row: what a slice's rows may have changed."""
    return {
        (rows.descriptions[code].component, rows.descriptions[code].capability)
        for code in np.flatnonzero(np.bincount(rows.description)).tolist()
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
