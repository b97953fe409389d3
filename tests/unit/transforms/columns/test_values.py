from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnar import rows_of, said
from thingbeam.schemas import Event, Value
from thingbeam.schemas.names import hash_text
from thingbeam.transforms.columns.values import numbers, state_words
from thingbeam.transforms.rules import number_of, state_text

VALUES: list[Value] = [
    "on", "", "aus–ß", "\ud800", "true", "1", True, False, None, 0.0, -0.0, 1.0, 0.5, -2.25, 1e22, 1e-7, 5e-324,
    math.nan, math.inf, -math.inf, {"energy": 3}, {"energy": 2.5}, {"energy": True}, {"energy": "3"}, {"energy": None},
    {"power": 3}, {"energy": 10**400}, [3], {},
]  # fmt: skip


def events_of(values: list[Any]) -> list[Event]:
    return [said(at, value, "report") for at, value in enumerate(values)]


def states(events: list[Event], at: list[int] | None = None) -> list[str | None]:
    rows = rows_of(events)
    words, table = state_words(rows, np.arange(rows.count) if at is None else np.array(at, np.int64))
    assert all(hash_text(text) == word for word, text in table.items())
    return [table[word] if word else None for word in words.tolist()]


def numbers_in(events: list[Event], field: str | None, at: list[int] | None = None) -> list[float | None]:
    rows = rows_of(events)
    wanted = np.arange(rows.count) if at is None else np.array(at, np.int64)
    found, good = numbers(rows, wanted, [field] * len(rows.descriptions))
    return [number if fine else None for number, fine in zip(found.tolist(), good.tolist(), strict=True)]


def test_states_by_hand() -> None:
    values = ["on", "", True, False, 1.0, -0.0, 0.5, 1e22, None, math.nan, math.inf, {"energy": 3}, [3]]
    expected = ["on", "", "true", "false", "1", "0", "0.5", "1e+22", None, None, None, None, None]
    assert states(events_of(values)) == expected


def test_numbers_by_hand() -> None:
    values = [
        1.5,
        -0.0,
        "1",
        True,
        None,
        math.nan,
        -math.inf,
        {"energy": 3},
        {"energy": "3"},
        {"energy": True},
        {"power": 3},
    ]
    assert numbers_in(events_of(values), None) == [1.5, 0.0, *[None] * 9]
    assert numbers_in(events_of(values), "energy") == [1.5, 0.0, *[None] * 5, 3.0, None, None, None]


def test_states_against_the_rule() -> None:
    events = events_of(VALUES)
    assert states(events) == [state_text(event) for event in events]


@pytest.mark.parametrize("field", [None, "energy", "power"])
def test_numbers_against_the_rule(field: str | None) -> None:
    events = events_of(VALUES)
    assert numbers_in(events, field) == [number_of(event, field) for event in events]


@given(st.lists(st.sampled_from(VALUES), max_size=20), st.data())
def test_some_of_the_rows(values: list[Value], data: st.DataObject) -> None:
    events = events_of(values)
    at = data.draw(st.lists(st.integers(0, len(values) - 1), unique=True).map(sorted) if values else st.just([]))
    assert states(events, at) == [state_text(events[index]) for index in at]
    assert numbers_in(events, "energy", at) == [number_of(events[index], "energy") for index in at]


@given(st.lists(st.floats(), max_size=20))
def test_any_numbers(values: list[float]) -> None:
    events = events_of(values)
    assert states(events) == [state_text(event) for event in events]
    assert numbers_in(events, None) == [number_of(event) for event in events]


def test_json_that_is_no_object_is_no_number() -> None:
    event = said(0, {"energy": 1}, "report")
    for text in ("[1]", "1", '"energy"', "null", '{"energy": NaN}', '{"energy": 1e999}', '{"energy": 1', "[" * 100_000):
        assert numbers_in([event._replace(text=text)], "energy") == [None]


def test_no_rows() -> None:
    assert states([]) == []
    assert numbers_in([], "energy") == []
