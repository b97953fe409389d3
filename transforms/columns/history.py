"""What one shard's devices did: all rules over the slices of the exact pass, with one state and one order of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.encoding import EncodingError, pack, unpack
from thingbeam.transforms.columns.activities import ActivityColumns
from thingbeam.transforms.columns.closing import Closing, Columns, Lexicon
from thingbeam.transforms.columns.deduplicate import DeduplicateColumns
from thingbeam.transforms.columns.rows import SortedRows, sort_rows
from thingbeam.transforms.columns.sessions import SessionColumns
from thingbeam.transforms.columns.usage import UsageColumns

__all__ = ["History", "HistoryState", "Slice", "names_used"]

_MAGIC: Final = b"TBHS"
_VERSION: Final = 1
_PRUNE_ABOVE: Final = 256


class Slice(NamedTuple):
    """What came of one call."""

    rows: SortedRows
    """The rows that count, in rule order."""
    counted: int
    duplicates: int
    stops_without_start: int
    activities: pa.RecordBatch | None = None
    sessions: pa.RecordBatch | None = None
    usage: pa.RecordBatch | None = None


class HistoryState:
    """What a shard remembers between slices.

    Attributes:
        rules: the columns of each rule, by its name.
        lexicon: the texts that they refer to.
        revision: the last one that went out.
        in_pieces: whether it was too long to be kept as one. Where it is kept says so; it is not encoded.
    """

    __slots__ = ("in_pieces", "lexicon", "pruned", "revision", "rules")

    def __init__(self) -> None:
        self.rules: dict[str, Columns] = {}
        self.lexicon = Lexicon()
        self.revision = 0
        self.pruned = 0
        self.in_pieces = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is remembered of any device."""
        return not any(len(column) for rule in self.rules.values() for column in _device_columns(rule))

    def encode(self) -> bytes:
        """The state in its versioned encoding."""
        self._prune()
        columns: Columns = {
            f"{rule}.{name}": column for rule, held in self.rules.items() for name, column in held.items()
        }
        columns["ids"], columns["texts"] = self.lexicon.ids, self.lexicon.texts
        columns["series"] = self.lexicon.series
        columns["numbers"] = np.array([self.revision, self.pruned], np.int64)
        return pack(_MAGIC, _VERSION, columns)

    @classmethod
    def decode(cls, encoded: bytes) -> HistoryState:
        """The state of these bytes.

        Raises:
            EncodingError: bytes of another kind, of a later version, cut or damaged.
        """
        _, columns = unpack(_MAGIC, _VERSION, encoded)
        state = cls()
        try:
            series = {word: tuple(parts) for word, parts in columns.pop("series").items()}
            state.lexicon = Lexicon(columns.pop("ids"), columns.pop("texts"), series)
            state.revision, state.pruned = columns.pop("numbers").tolist()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise EncodingError(f"{_MAGIC!r} bytes do not have the columns of a history: {error!r}") from error
        for name, column in columns.items():
            rule, _, field = name.partition(".")
            state.rules.setdefault(rule, {})[field] = column
        return state

    def _prune(self) -> None:
        """Forget texts that nothing refers to, when there are twice as many as there were after the last time."""
        if len(self.lexicon) < max(_PRUNE_ABOVE, 2 * self.pruned):
            return
        self.lexicon.keep(*names_used(self.rules, self.lexicon))
        self.pruned = len(self.lexicon)


class History(NamedTuple):
    """The rules that a shard applies. Those that are None are left out."""

    deduplicate: DeduplicateColumns | None = None
    sessions: SessionColumns | None = None
    activities: ActivityColumns | None = None
    usage: UsageColumns | None = None

    def advance(
        self,
        state: HistoryState,
        batches: Iterable[EventBatch],
        until: int,
        now: int,
        *,
        ended: bool = False,
        hold_until: int | None = None,
    ) -> Slice:
        """Take every row before `until` that has not been taken, in any order, and give what is over by then.

        Args:
            state: of the shard; it is changed.
            batches: the rows.
            until: microseconds of event time; none of the rows is at or after it, or before the last call's.
            now: microseconds of processing time, for the revision.
            ended: bounded input ended.
            hold_until: where bounded input ended; see Closing.
        """
        batch = EventBatch.concatenate(batches)
        rows = sort_rows(batch)
        came = rows.count
        state.revision = max(state.revision + 1, now)
        closing = Closing(until, state.revision, ended, hold_until)
        if self.deduplicate is not None:
            remembered, rows = self.deduplicate.advance(state.rules.get("deduplicate", {}), rows, until)
            state.rules["deduplicate"] = {} if ended else remembered
        lexicon = state.lexicon
        lexicon.learn_ids(rows)
        results: dict[str, Any] = {}
        stray = 0
        if self.activities is not None:
            held, results["activities"], stray = self.activities.advance(
                state.rules.get("activities", {}), rows, closing, lexicon
            )
            state.rules["activities"] = held
        if self.sessions is not None:
            held, results["sessions"] = self.sessions.advance(state.rules.get("sessions", {}), rows, closing, lexicon)
            state.rules["sessions"] = held
        if self.usage is not None:
            held, results["usage"] = self.usage.advance(state.rules.get("usage", {}), rows, closing, lexicon)
            state.rules["usage"] = held
        return Slice(rows, rows.count, came - rows.count, stray, **results)

    def due(self, state: HistoryState) -> int | None:
        """When something that is remembered will be over, or forgotten, if nothing more comes; microseconds."""
        moments = [
            self.sessions.due(state.rules.get("sessions", {})) if self.sessions else None,
            self.activities.due(state.rules.get("activities", {})) if self.activities else None,
            self.usage.due(state.rules.get("usage", {})) if self.usage else None,
            self.deduplicate.due(state.rules.get("deduplicate", {})) if self.deduplicate else None,
        ]
        return min((moment for moment in moments if moment is not None), default=None)


def _device_columns(rule: Columns) -> list[Any]:
    return [column for name, column in rule.items() if name not in ("until", "edge")]


def names_used(rules: Mapping[str, Columns], lexicon: Lexicon) -> tuple[set[int], set[bytes]]:
    """The hashes of texts and series, and the bytes of ids, that some rules' columns refer to.

    Args:
        rules: the columns.
        lexicon: where it has no ids, none are looked for.
    """
    words: set[int] = set()
    ids: set[bytes] = set()
    for rule in rules.values():
        for name in ("zone", "unit", "value", "seconds_state", "series"):
            if name in rule:
                words.update(np.unique(rule[name]).tolist())
        for prefix in ("device", "home"):
            if f"{prefix}_high" in rule and lexicon.ids:
                both = np.stack((rule[f"{prefix}_high"], rule[f"{prefix}_low"]), axis=1).astype(">u8")
                ids.update(row.tobytes() for row in both)
    return words, ids
