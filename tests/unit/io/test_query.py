"""Values of a URI's query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from thingbeam.io.query import boolean, count, number, one_of, read_options


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (boolean, "true", True),
        (boolean, "False", False),
        (count, "12", 12),
        (number, "2.5", 2.5),
        (one_of("json", "avro"), "avro", "avro"),
    ],
)
def test_what_can_be_read(read: Callable[[str], Any], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (boolean, "yes", "true or false"),
        (count, "0", "a whole number from 1"),
        (count, "-3", "a whole number from 1"),
        (count, "1.5", "a whole number from 1"),
        (number, "3s", "a number"),
        (one_of("json", "avro"), "xml", "json or avro"),
    ],
)
def test_what_cannot(read: Callable[[str], Any], text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=f"^kafka://b/t: name={text}: {expected}$"):
        read_options("kafka://b/t", {"name": text}, {"name": read})


def test_options_that_are_not_given_are_not_there() -> None:
    assert read_options("x", {"other": "1"}, {"name": count}) == {}
