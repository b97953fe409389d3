"""Texts that state refers to, and rows of records."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from apache_beam.utils.timestamp import Timestamp

from columnar import words
from thingbeam.schemas import Session
from thingbeam.schemas.arrow import from_record_batch
from thingbeam.schemas.names import hash_text
from thingbeam.transforms.columns.closing import Lexicon, local_zone, parts, record_batch, texts, times

# A few are looked up one by one, many by code.
COPIES = [1, 100]


@pytest.mark.parametrize("copies", COPIES)
def test_hashes_as_texts(copies: int) -> None:
    lexicon = Lexicon()
    on, off = lexicon.learn("on"), lexicon.learn("off")
    assert on == hash_text("on")
    array = texts(np.tile(words(on, 0, off, on), copies), lexicon.texts)
    assert array.type == pa.string()
    assert array.to_pylist() == ["on", None, "off", "on"] * copies


@pytest.mark.parametrize("copies", COPIES)
def test_series_as_their_parts(copies: int) -> None:
    lexicon = Lexicon()
    one, other = lexicon.learn_series("k", "a", "x", "l"), lexicon.learn_series("k", "b", "x", "l")
    first, second = parts(np.tile(words(one, other, one), copies), lexicon.series, slice(1, 3))
    assert first.type == second.type == pa.string()
    assert first.to_pylist() == ["a", "b", "a"] * copies
    assert second.to_pylist() == ["x"] * 3 * copies


def test_no_rows() -> None:
    assert texts(words(), {}).to_pylist() == []
    assert parts(words(), {}, slice(0, 2)) == []


def test_times_of_which_some_are_missing() -> None:
    array = times(np.array([1, 2]), np.array([False, True]))
    assert array.type == pa.timestamp("us", tz="UTC")
    assert array.cast(pa.int64()).to_pylist() == [1, None]


def test_a_plain_value_is_in_every_row() -> None:
    columns = {
        "device_id": pa.array(["d1", "d2"]),
        "start": times(np.array([0, 1])),
        "start_local": pa.array(["", ""]),
        "last": times(np.array([0, 1])),
        "end": times(np.array([2, 3])),
        "count": np.array([1, 2]),
        "revision": 7,
        "home_id": None,
        "final": True,
        "deleted": False,
    }
    rows = from_record_batch(record_batch(Session, columns), Session)
    expected = Session("d1", Timestamp(0), "", Timestamp(0), Timestamp(micros=2), 1, 7, None, True, False)
    assert next(iter(rows)) == expected
    assert [row.revision for row in from_record_batch(record_batch(Session, columns), Session)] == [7, 7]


def test_a_row_without_a_zone_is_in_utc() -> None:
    assert (local_zone(None), local_zone("Europe/Paris")) == ("UTC", "Europe/Paris")
