"""What the exact pass tells its rules, and the texts that their state refers to."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thingbeam.schemas.arrow import arrow_schema
from thingbeam.schemas.names import Words, hash_text, texts_of_ids
from thingbeam.transforms.columns.rows import SortedRows, distinct_codes

__all__ = ["END_OF_TIME", "Closing", "Columns", "Lexicon", "empty", "local_zone", "record_batch", "texts"]

END_OF_TIME: Final = 1 << 62
_FEW: Final = 64
"""Fewer texts are looked up one by one."""

Columns = dict[str, Any]
"""Named arrays of one length: the state of a rule."""


class Closing(NamedTuple):
    """Where the exact pass stands after a call."""

    until: int
    """Every row before it has come; microseconds since 1970."""
    revision: int
    """Of all rows that go out."""
    ended: bool = False
    """Bounded input ended: what is open closes, or stays as it is for ever."""
    hold_until: int | None = None
    """Where bounded input ended: values are held as in a stream in periods that start before it; microseconds."""
    so_far: bool = False
    """With `ended`: what is open is given as it stands at `until`, and nothing beyond."""


class Lexicon:
    """Texts that state refers to, by their hash; ids that are no UUID, by their bytes; and series, by theirs."""

    __slots__ = ("ids", "series", "texts")

    def __init__(
        self, ids: dict[bytes, str] | None = None, texts: dict[int, str] | None = None,
        series: dict[int, tuple[str, ...]] | None = None,
    ) -> None:  # fmt: skip
        self.ids = {} if ids is None else ids
        self.texts = {} if texts is None else texts
        self.series = {} if series is None else series

    def __len__(self) -> int:
        return len(self.ids) + len(self.texts) + len(self.series)

    def update(self, other: Lexicon) -> None:
        """Learn what another knows."""
        self.ids.update(other.ids)
        self.texts.update(other.texts)
        self.series.update(other.series)

    def keep(self, words: set[int], ids: set[bytes]) -> None:
        """Forget all but these texts and series, by their hashes, and these ids."""
        self.texts = {word: text for word, text in self.texts.items() if word in words}
        self.series = {word: parts for word, parts in self.series.items() if word in words}
        self.ids = {key: text for key, text in self.ids.items() if key in ids}

    def learn(self, text: str) -> int:
        """Keep a text; returns its hash."""
        word = hash_text(text)
        self.texts[word] = text
        return word

    def learn_series(self, *parts: str) -> int:
        """Keep what identifies a series; returns its hash."""
        word = hash_text("\x1f".join(parts))
        self.series[word] = parts
        return word

    def learn_ids(self, rows: SortedRows) -> None:
        """Keep the ids of a slice that are no UUIDs: of devices and homes, and of events until the next prune."""
        if rows.names.ids:
            self.ids.update(rows.names.ids)


def local_zone(zone: str | None) -> str:
    """The zone of a row, UTC where none was resolved."""
    return zone or "UTC"


def empty(dtypes: dict[str, Any]) -> Columns:
    """State with no rows."""
    return {name: np.zeros(0, dtype) for name, dtype in dtypes.items()}


def texts(words: Words, table: dict[int, str]) -> pa.Array:
    """Hashes as an Arrow string array; 0 is null."""
    if len(words) < _FEW:
        return pa.array([table[word] if word else None for word in words.tolist()], pa.string())
    distinct, codes = distinct_codes(words)
    values = [table[word] if word else None for word in distinct.tolist()]
    dictionary = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(values, pa.string()))
    return dictionary.cast(pa.string())


def parts(words: Words, table: dict[int, tuple[str, ...]], wanted: slice) -> list[pa.Array]:
    """Series hashes as one Arrow string array for each of the wanted parts of the series."""
    if 0 < len(words) < _FEW:
        return [
            pa.array(part, pa.string()) for part in zip(*(table[word][wanted] for word in words.tolist()), strict=True)
        ]
    distinct, places = distinct_codes(words)
    codes = pa.array(places)
    known = [table[word][wanted] for word in distinct.tolist()]
    columns = zip(*known, strict=True) if known else iter(())
    return [
        pa.DictionaryArray.from_arrays(codes, pa.array(list(column), pa.string())).cast(pa.string())
        for column in columns
    ]


def ids(columns: Columns, field: str, lexicon: Lexicon) -> pa.Array:
    """The ids in a pair of word columns as text."""
    return texts_of_ids(columns[f"{field}_high"], columns[f"{field}_low"], lexicon.ids)


def times(micros: NDArray[np.int64], missing: Any = None) -> pa.Array:
    """Microseconds as an Arrow timestamp array, null where `missing`."""
    return pa.array(micros, pa.int64(), mask=missing).view(pa.timestamp("us", tz="UTC"))


def record_batch(record: type, columns: dict[str, Any]) -> pa.RecordBatch:
    """Columns as a batch of a record; what a plain Python value fills is the same in every row."""
    schema = arrow_schema(record)
    count = next(len(column) for column in columns.values() if hasattr(column, "__len__"))
    arrays: list[pa.Array] = []
    for field in schema:
        column = columns[field.name]
        if not isinstance(column, pa.Array):
            column = pa.array(column, field.type) if isinstance(column, np.ndarray) else pa.repeat(
                pa.scalar(column, field.type), count
            )  # fmt: skip
        arrays.append(column)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
