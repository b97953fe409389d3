"""What went out as provisional: the rows that are to be taken back if the exact pass does not come to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.arrow import arrow_schema, to_record_batch
from thingbeam.schemas.encoding import EncodingError, pack, unpack
from thingbeam.schemas.keys import KEY_FIELDS
from thingbeam.schemas.names import Words, hash_text, id_words, mix
from thingbeam.schemas.records import Activity, Session, Usage
from thingbeam.transforms.columns.history import HistoryState
from thingbeam.transforms.columns.rows import Ints, among, ascending, distinct_codes
from thingbeam.transforms.columns.usage import NEVER
from thingbeam.transforms.columns.zones import SECOND
from thingbeam.transforms.rules.periods import Period

__all__ = ["KINDS", "Published", "begun_words", "key_words"]

KINDS: Final[Mapping[str, type]] = {"activities": Activity, "sessions": Session, "usage": Usage}

# Where a rule's state has the start of what it has begun.
_BEGUN: Final[Mapping[str, str]] = {"activities": "start", "sessions": "start", "usage": "period"}
# What a key has besides the device and the start: the first parts of a series, and the length of a period.
_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    kind: tuple(field for field in KEY_FIELDS[record] if field not in ("device_id", "start"))
    for kind, record in KINDS.items()
}
_MAGIC: Final = b"TBPV"
_VERSION: Final = 2
_PIECE: Final = 1 << 12
_NOTHING: Final = np.zeros(0, np.uint64)


class _Rows(NamedTuple):
    """Some rows of one kind, and their keys."""

    words: Words
    batch: pa.RecordBatch


class Published:
    """Of what went out, the first row of each key that the exact pass has not begun."""

    __slots__ = ("_added", "_known", "_rows")

    def __init__(self) -> None:
        self._rows: dict[str, list[_Rows]] = {}
        self._known: set[int] = set()
        self._added: dict[str, list[pa.RecordBatch]] = {}

    def __len__(self) -> int:
        return len(self._known)

    @property
    def newest(self) -> int:
        """The highest revision of the rows, 0 if there is none."""
        batches = [rows.batch for held in self._rows.values() for rows in held]
        return max((int(batch.column("revision").to_numpy().max()) for batch in batches), default=0)

    @property
    def nbytes(self) -> int:
        """About how many bytes it takes."""
        return sum(rows.batch.nbytes + 100 * len(rows.words) for held in self._rows.values() for rows in held)

    def add(self, kind: str, batch: pa.RecordBatch, begun: Words, closed: int = NEVER) -> pa.RecordBatch:
        """Remember the rows whose key is new; give those that may go out.

        A row that the exact pass would know of by now, and has not begun, it has ended or will never come to. Such a
        row would replace the final one and then take it away.

        Args:
            kind: of the rows.
            batch: one row for each key.
            begun: ascending; the keys that the exact pass will come to.
            closed: where it stands.
        """
        words = key_words(kind, batch)
        open_ = ~among(words, begun)
        wrong = open_ & (_known_at(kind, batch) <= closed)
        known = self._known
        at = np.array([n for n in np.flatnonzero(open_ & ~wrong).tolist() if int(words[n]) not in known], np.int64)
        if len(at):
            self._hold(kind, _Rows(words[at], batch.take(pa.array(at))))
            self._added.setdefault(kind, []).append(self._rows[kind][-1].batch)
        return batch.filter(pa.array(~wrong)) if wrong.any() else batch

    def settle(
        self, done: Mapping[str, pa.RecordBatch | None], begun: Words, until: int, revision: int
    ) -> dict[str, pa.RecordBatch]:
        """Forget what the exact pass has come to, or will; give tombstones of what it did not.

        Args:
            done: its final results.
            begun: ascending; the keys that it will come to.
            until: where it stands: what it would have known by then is known.
            revision: of the tombstones.
        """
        over = [key_words(kind, batch) for kind, batch in done.items() if batch is not None]
        known = ascending(np.concatenate((begun, *over))) if over else begun
        held, self._rows, self._known = self._rows, {}, set()
        taken_back: dict[str, pa.RecordBatch] = {}
        for kind, parts in held.items():
            rows = _joined(parts)
            open_ = ~among(rows.words, known)
            due = open_ & (_known_at(kind, rows.batch) <= until)
            waits = open_ & ~due
            if waits.any():
                self._hold(kind, _Rows(rows.words[waits], rows.batch.filter(pa.array(waits))))
            if due.any():
                taken_back[kind] = _tombstones(rows.batch.filter(pa.array(due)), revision)
        return taken_back

    def encode(self) -> list[bytes]:
        """All of it in its versioned encoding, in pieces of some thousand rows."""
        self._added = {}
        return [
            _encode({kind: [rows.batch.slice(start, _PIECE)]})
            for kind, parts in self._rows.items()
            for rows in parts
            for start in range(0, rows.batch.num_rows, _PIECE)
        ]

    def encode_added(self) -> bytes | None:
        """What was added since the last encoding, None if there is nothing."""
        added, self._added = self._added, {}
        return _encode(added) if added else None

    @classmethod
    def decode(cls, encoded: Iterable[bytes]) -> Published:
        """All that was encoded, in any order.

        Raises:
            EncodingError: bytes of another kind, of a later version, cut or damaged.
        """
        published = cls()
        for each in encoded:
            for kind, batch in _decode(each):
                published.add(kind, batch, _NOTHING)
        published._added = {}
        return published

    def _hold(self, kind: str, rows: _Rows) -> None:
        self._rows.setdefault(kind, []).append(rows)
        self._known.update(rows.words.tolist())


def key_words(kind: str, batch: pa.RecordBatch) -> Words:
    """The key of each row (see `KEY_FIELDS`) as one mixed word."""
    ids, _ = id_words(batch.column("device_id").to_pylist())
    start = batch.column("start").cast(pa.int64()).to_numpy().view(np.uint64)
    coded = [batch.column(name).dictionary_encode() for name in _TEXTS[kind]]
    hashes = [_hashes(column.dictionary.to_pylist()).take(column.indices.to_numpy()) for column in coded]
    return mix(mix(mix(ids[:, 0], ids[:, 1]), start), _mixed(kind, hashes, batch.num_rows))


def begun_words(exact: HistoryState, period: int) -> Words:
    """The keys of what the exact pass has begun, ascending, as `key_words` gives them: a final row will come of each.

    Those are its open sessions and activities, and the periods of usage in which it has an event.

    Args:
        exact: its state.
        period: of usage; microseconds.
    """
    found: list[Words] = []
    length = Period(period // SECOND).iso
    for kind, name in _BEGUN.items():
        rule = exact.rules.get(kind)
        if not rule:
            continue
        begun = np.flatnonzero(rule[name] > NEVER)
        if fields := _TEXTS[kind]:
            # There are few series, and many devices with them.
            series, codes = distinct_codes(rule["series"].take(begun))
            known = [exact.lexicon.series[word] for word in series.tolist()]
            hashes = [
                _hashes([length if field == "period" else parts[at] for parts in known])
                for at, field in enumerate(fields, 1)
            ]
            texts = _mixed(kind, hashes, len(series)).take(codes)
        else:
            texts = _mixed(kind, (), len(begun))
        device = mix(rule["device_high"].take(begun), rule["device_low"].take(begun))
        found.append(mix(mix(device, rule[name].take(begun).view(np.uint64)), texts))
    return ascending(np.concatenate(found)) if found else _NOTHING


def _hashes(texts: list[str | None]) -> Words:
    return np.array([hash_text(text) for text in texts], np.uint64)


def _mixed(kind: str, hashes: Sequence[Words], count: int) -> Words:
    """One word of a kind and the texts in each row's key."""
    words = np.full(count, hash_text(kind), np.uint64)
    for column in hashes:
        words = mix(column, words)
    return words


def _known_at(kind: str, batch: pa.RecordBatch) -> Ints:
    """When the exact pass must know of a row: of a period when it is over, of what has a start when that is passed."""
    column, later = ("end", 0) if kind == "usage" else ("start", 1)
    micros: Ints = batch.column(column).cast(pa.int64()).to_numpy() + later
    return micros


def _tombstones(batch: pa.RecordBatch, revision: int) -> pa.RecordBatch:
    count = batch.num_rows
    said = {
        "revision": pa.array(np.full(count, revision)),
        "final": pa.array(np.ones(count, np.bool_)),
        "deleted": pa.array(np.ones(count, np.bool_)),
    }
    arrays = [said.get(field.name, column) for field, column in zip(batch.schema, batch.columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def _joined(parts: list[_Rows]) -> _Rows:
    if len(parts) == 1:
        return parts[0]
    [batch] = pa.Table.from_batches([rows.batch for rows in parts]).combine_chunks().to_batches()
    return _Rows(np.concatenate([rows.words for rows in parts]), batch)


def _encode(batches: Mapping[str, list[pa.RecordBatch]]) -> bytes:
    columns: dict[str, Any] = {}
    for kind, parts in batches.items():
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, parts[0].schema) as writer:
            for part in parts:
                writer.write_batch(part)
        columns[kind] = np.frombuffer(sink.getvalue(), np.uint8)
    return pack(_MAGIC, _VERSION, columns)


def _decode(encoded: bytes) -> Iterable[tuple[str, pa.RecordBatch]]:
    version, columns = unpack(_MAGIC, _VERSION, encoded)
    try:
        if version == 1:
            yield from _of_version_1(columns["published"])
            return
        for kind, stream in columns.items():
            schema = arrow_schema(KINDS[kind])
            for batch in pa.ipc.open_stream(pa.py_buffer(stream)):
                yield kind, _of_today(batch, schema)
    except (AttributeError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise EncodingError(f"{_MAGIC!r} bytes do not have the rows of provisional results: {error!r}") from error


def _of_today(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Rows that an earlier release kept: a field that they did not have is null."""
    arrays = [
        batch.column(field.name) if field.name in batch.schema.names else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _of_version_1(published: Mapping[str, Any]) -> Iterable[tuple[str, pa.RecordBatch]]:
    """For each key its kind, a time, and the fields of the row; a time in them is a map of "t" to microseconds."""
    rows: dict[str, list[Any]] = {}
    for kind, _, fields in published.values():
        values: list[Any] = [
            Timestamp(micros=value["t"]) if isinstance(value, dict) and value.keys() == {"t"} else value
            for value in fields
        ]
        rows.setdefault(kind, []).append(KINDS[kind](*values))
    for kind, records in rows.items():
        yield kind, to_record_batch(records, KINDS[kind])
