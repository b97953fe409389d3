from __future__ import annotations

import math

import pytest
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.records import Event, Value
from thingbeam.transforms.rules import Role, has_attribute, is_ignored, number_of, number_text, state_text


def said(value: Value, *, kind: str = "DEVICE_EVENT", device_id: str | None = "d1") -> Event:
    return Event.of("e1", Timestamp(0), device_id, "capability", "attribute", value, kind=kind)


def test_role_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="no such role: 'gauge'"):
        Role("gauge")


@pytest.mark.parametrize("length", [0.0, -1.0, math.nan])
def test_role_refuses_a_length_that_is_none(length: float) -> None:
    with pytest.raises(ValueError, match="max_length_s must be above 0"):
        Role("activity", max_length_s=length)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3480.0, 3480.0),
        (-0.5, -0.5),
        (7, 7.0),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        ("21.5", None),
        (True, None),
        (None, None),
        ({"energy": 1234}, None),
        ([1.0], None),
    ],
)
def test_number(value: Value, number: float | None) -> None:
    assert number_of(said(value)) == number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ({"energy": 1234, "power": 2}, 1234.0),
        ({"energy": 0.5}, 0.5),
        ({"energy": True}, None),
        ({"energy": "1234"}, None),
        ({"energy": None}, None),
        ({"energy": 10**400}, None),
        ({"power": 2}, None),
        ([1234], None),
        (1234.0, 1234.0),
        ("energy", None),
        (None, None),
    ],
)
def test_number_in_a_field(value: Value, number: float | None) -> None:
    assert number_of(said(value), "energy") == number


@pytest.mark.parametrize("text", ['{"energy": NaN}', '{"energy": 1', "[" * 100_000, None])
def test_number_in_a_field_of_what_is_no_object(text: str | None) -> None:
    assert number_of(said(None)._replace(value_type="json", text=text), "energy") is None


@pytest.mark.parametrize(
    ("number", "text"),
    [(1.0, "1"), (0.0, "0"), (-0.0, "0"), (-3.0, "-3"), (0.1, "0.1"), (1e15, "1000000000000000"), (1e22, "1e+22")],
)
def test_number_text(number: float, text: str) -> None:
    assert number_text(number) == text
    assert float(text) == number


@pytest.mark.parametrize(
    ("value", "state"),
    [
        ("on", "on"),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (2.0, "2"),
        (2**53 + 1, "9007199254740992"),
        (math.nan, None),
        (math.inf, None),
        (None, None),
        ({"a": 1}, None),
        ([1], None),
    ],
)
def test_state(value: Value, state: str | None) -> None:
    assert state_text(said(value)) == state


def test_kinds_that_carry_an_attribute() -> None:
    kinds = ["DEVICE_EVENT", "MATTER_ATTRIBUTE", "MATTER_EVENT", "DEVICE_HEALTH_EVENT", "DEVICE_LIFECYCLE_EVENT", "X"]
    assert [has_attribute(said("on", kind=kind)) for kind in kinds] == [True, True, True, False, False, False]


def test_ignored_is_what_has_no_device_or_an_ignored_attribute() -> None:
    def ignoring(event: Event) -> Role:
        return Role("ignored")

    def state(event: Event) -> Role:
        return Role("state")

    assert is_ignored(said("on"), ignoring)
    assert not is_ignored(said("on"), state)
    assert is_ignored(said("on", device_id=None), state)
    assert is_ignored(said("OFFLINE", kind="DEVICE_HEALTH_EVENT", device_id=None), state)
    # A sign of life has no attribute that could be ignored.
    assert not is_ignored(said("OFFLINE", kind="DEVICE_HEALTH_EVENT"), ignoring)
