from __future__ import annotations

import json
import math
from typing import Any

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from records import RECORDS, records, values
from thingbeam.schemas import Event, Value
from thingbeam.schemas.records import value_columns


def made(value: Value) -> Event:
    return Event.of("e", Timestamp(0), "d", "c", "a", value)


@given(values)
def test_a_value_comes_back(value: Any) -> None:
    event = made(value)
    if isinstance(value, float) and math.isnan(value):
        assert isinstance(event.value, float)
        assert math.isnan(event.value)
    else:
        assert event.value == value
        # An integer is a double from here on.
        assert type(event.value) is (float if type(value) is int else type(value))


@pytest.mark.parametrize(
    ("value", "columns"),
    [
        ("on", ("string", "on", None)),
        ("", ("string", "", None)),
        (1, ("number", None, 1.0)),
        (0.5, ("number", None, 0.5)),
        (True, ("boolean", None, 1.0)),
        (False, ("boolean", None, 0.0)),
        (None, ("null", None, None)),
        ({"é": [1, None]}, ("json", '{"é":[1,null]}', None)),
        ([], ("json", "[]", None)),
        (2**53, ("number", None, 2.0**53)),
        (2**53 + 1, ("number", "9007199254740993", 2.0**53)),
        (-(10**20) - 1, ("number", "-100000000000000000001", -1e20)),
    ],
)
def test_the_columns_of_a_value(value: Value, columns: tuple[str, str | None, float | None]) -> None:
    assert value_columns(value) == columns
    assert (made(value).value_type, made(value).text, made(value).number) == columns


@given(st.integers(-(10**30), 10**30))
def test_the_digits_of_an_integer_are_kept(value: int) -> None:
    _, text, number = value_columns(value)
    assert number == float(value)
    assert (int(number) if text is None else int(text)) == value


def test_an_integer_that_no_double_holds() -> None:
    with pytest.raises(OverflowError):
        value_columns(10**400)


def test_json_without_text_is_no_value() -> None:
    assert made({})._replace(text=None).value is None
    with pytest.raises(json.JSONDecodeError):
        _ = made({})._replace(text="{").value


@given(st.sampled_from(RECORDS).flatmap(records))
def test_records_are_plain_tuples(record: Any) -> None:
    assert type(record)(*record) == record
    assert type(record)(**record._asdict()) == record


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_fields_without_default_come_first(record: Any) -> None:
    assert list(record._fields[-len(record._field_defaults) :]) == list(record._field_defaults)
