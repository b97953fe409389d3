"""Values to DynamoDB's and back, exactly or not at all."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.dynamodb.values import from_wire, number_text, size_of_item, time_text, to_wire
from thingbeam.io.writing import Refused

numbers = st.integers(-(10**38) + 1, 10**38 - 1) | st.decimals(
    allow_nan=False, allow_infinity=False, places=5, min_value=-(10**20), max_value=10**20
)
scalars = st.none() | st.booleans() | numbers | st.text() | st.binary()
sets = st.sets(st.text(), min_size=1) | st.sets(st.binary(), min_size=1)
values = st.recursive(
    scalars | sets,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(values)
def test_what_goes_in_comes_out(value: Any) -> None:
    assert from_wire(to_wire(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_come_back_or_are_refused(number: float) -> None:
    if number == 0 or 1e-130 <= abs(number) < 1e126:
        assert float(number_text(number)) == number
    else:
        with pytest.raises(Refused, match="out_of_range"):
            number_text(number)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (math.nan, "not_finite"), (-math.inf, "not_finite"), (Decimal("NaN"), "not_finite"),
        (10**38 + 1, "out_of_range"), (Decimal("1e126"), "out_of_range"), (Decimal("1e-131"), "out_of_range"),
        (Decimal("1." + "1" * 38), "out_of_range"),
    ],
)  # fmt: skip
def test_numbers_that_dynamodb_does_not_hold(number: Any, code: str) -> None:
    with pytest.raises(Refused, match=code):
        number_text(number)


def test_trailing_zeros_are_no_digits() -> None:
    assert Decimal(number_text(10**40)) == 10**40
    assert number_text(Decimal("1." + "0" * 60)) == "1." + "0" * 60


@given(st.integers(-60_000_000_000_000_000, 200_000_000_000_000_000), st.integers(-60_000_000_000_000_000, 10**17))
def test_times_sort_as_text(one: int, other: int) -> None:
    assert (time_text(one) < time_text(other)) == (one < other)


def test_times_that_have_no_text_are_refused() -> None:
    for micros in (-62_135_596_800_000_001, 253_402_300_800_000_000):
        with pytest.raises(Refused, match="impossible_time"):
            time_text(micros)
    assert to_wire(Timestamp(1.5)) == {"S": "1970-01-01T00:00:01.500000Z"}


@pytest.mark.parametrize(
    ("value", "code"),
    [(object(), "wrong_type"), ({1: "a"}, "wrong_type"), (set(), "wrong_type"), ({"a", b"b"}, "wrong_type")],
)
def test_values_that_dynamodb_does_not_hold(value: Any, code: str) -> None:
    with pytest.raises(Refused, match=code):
        to_wire(value)


def test_depth_has_an_end() -> None:
    value: Any = 1
    for _ in range(32):
        value = [value]
    assert from_wire(to_wire(value))
    with pytest.raises(Refused, match="too_deep"):
        to_wire([value])


def test_sizes_are_as_dynamodb_counts_them() -> None:
    # The developer guide: names and texts in UTF-8, one byte for a boolean, three and one for each of a list or map.
    assert size_of_item({"id": {"S": "é"}}) == 4
    assert size_of_item({"a": {"BOOL": True}, "b": {"NULL": True}, "c": {"B": b"123"}}) == 8
    assert size_of_item({"l": {"L": [{"S": "ab"}, {"BOOL": True}]}}) == 1 + 3 + 2 + 1 + 2
    assert size_of_item({"m": {"M": {"k": {"S": "v"}}}}) == 1 + 3 + 1 + 1 + 1
    with pytest.raises(Refused, match="invalid_utf8"):
        size_of_item({"a": {"S": "\udfff"}})
