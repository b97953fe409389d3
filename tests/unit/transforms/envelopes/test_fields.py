from __future__ import annotations

import json
import uuid

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.schemas import codes
from thingbeam.transforms.envelopes.context import Context, Limits, Reading
from thingbeam.transforms.envelopes.decode import NOT_FINITE
from thingbeam.transforms.envelopes.errors import ParseError
from thingbeam.transforms.envelopes.fields import (
    EVENT_NAMESPACE,
    child,
    columns,
    content_id,
    event_time,
    flag,
    moment,
    optional_text,
    required_array,
    required_object,
    required_text,
)

READING = Reading(Context(), Limits())
NO_STRINGS = [1, 1.5, True, [], {}, ["d1"]]


def code(call: object, *args: object) -> str:
    assert callable(call)
    with pytest.raises(ParseError) as caught:
        call(*args)
    return caught.value.code


@pytest.mark.parametrize("wrong", NO_STRINGS)
def test_a_text_is_a_string_or_an_error(wrong: object) -> None:
    assert code(required_text, {"deviceId": wrong}, "deviceId") == codes.WRONG_TYPE
    assert code(optional_text, {"deviceId": wrong}, "deviceId") == codes.WRONG_TYPE


@pytest.mark.parametrize("owner", [{}, {"deviceId": None}, {"deviceId": ""}])
def test_an_absent_text(owner: dict[str, object]) -> None:
    assert code(required_text, owner, "deviceId") == codes.MISSING_FIELD
    assert optional_text(owner, "deviceId") is None


def test_present_values() -> None:
    assert required_text({"a": "x"}, "a") == optional_text({"a": "x"}, "a") == "x"
    assert flag({"a": True}, "a") is True
    assert flag({"a": False}, "a") is False
    assert flag({}, "a") is flag({"a": None}, "a") is None
    assert required_object({"a": {}}, "a") == {}
    assert required_array({"a": []}, "a") == []


@pytest.mark.parametrize("wrong", [1, 0, "true", [], {}])
def test_a_flag_is_a_boolean_or_an_error(wrong: object) -> None:
    assert code(flag, {"a": wrong}, "a") == codes.WRONG_TYPE


@pytest.mark.parametrize(
    ("call", "wrong"), [(required_object, []), (required_array, {}), (required_object, "x"), (required_array, 1)]
)
def test_objects_and_arrays(call: object, wrong: object) -> None:
    assert code(call, {"a": wrong}, "a") == codes.WRONG_TYPE
    assert code(call, {}, "a") == codes.MISSING_FIELD
    assert code(call, {"a": NOT_FINITE}, "a") == codes.NOT_FINITE


@given(st.text() | st.integers() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()))
def test_messages_hold_nothing_of_the_value(value: object) -> None:
    owner: dict[str, object] = {"stateChange": value}
    with pytest.raises(ParseError) as caught:
        flag(owner, "stateChange")
    assert caught.value.message in {
        f"stateChange is {kind}, not a boolean" for kind in ("a string", "a number", "an array", "an object")
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, codes.WRONG_TYPE),
        ({}, codes.WRONG_TYPE),
        ([], codes.WRONG_TYPE),
        (NOT_FINITE, codes.NOT_FINITE),
        ("yesterday", codes.IMPOSSIBLE_TIME),
        ("1739480496560", codes.IMPOSSIBLE_TIME),
        (0, codes.IMPOSSIBLE_TIME),
        (31_535_999_999, codes.IMPOSSIBLE_TIME),
        ("1970-12-31T23:59:59.999999Z", codes.IMPOSSIBLE_TIME),
        (1_739_480_496, codes.IMPOSSIBLE_TIME),
        (1_739_480_496_560_000, codes.IMPOSSIBLE_TIME),
        ("2200-01-01T00:00:00.000001Z", codes.IMPOSSIBLE_TIME),
        (10**300, codes.IMPOSSIBLE_TIME),
        (-1e300, codes.IMPOSSIBLE_TIME),
    ],
)
def test_impossible_times(value: object, expected: str) -> None:
    assert code(event_time, value, "eventTime", READING) == expected


@pytest.mark.parametrize("value", [31_536_000_000, "1971-01-01T00:00:00Z", "2200-01-01T00:00:00Z", 7_258_118_400_000])
def test_the_bounds_themselves_are_possible(value: object) -> None:
    event_time(value, "eventTime", READING)


def test_bounds_are_the_callers() -> None:
    limits = Limits(earliest=Timestamp(0), latest=Timestamp(10))
    assert event_time(10_000, "eventTime", Reading(Context(), limits)) == Timestamp(10)
    assert code(event_time, 10_001, "eventTime", Reading(Context(), limits)) == codes.IMPOSSIBLE_TIME
    assert moment("0001-01-01T00:00:00Z", "lastReset") == Timestamp(-62_135_596_800)


def test_the_caller_knows_the_time() -> None:
    known = Reading(Context(event_time=Timestamp(5)), Limits())
    assert event_time(None, "eventTime", known) == Timestamp(5)
    assert event_time(1_000_000_000_000, "eventTime", known) == Timestamp(1_000_000_000)
    assert code(event_time, None, "eventTime", READING) == codes.MISSING_FIELD


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("on", ("string", "on", None)),
        (True, ("boolean", None, 1.0)),
        (False, ("boolean", None, 0.0)),
        (21.5, ("number", None, 21.5)),
        (3, ("number", None, 3.0)),
        (2**53 + 1, ("number", "9007199254740993", 2.0**53)),
        (None, ("null", None, None)),
        ({"a": [1, "é"]}, ("json", '{"a":[1,"é"]}', None)),
        ([], ("json", "[]", None)),
        ({"energy": 1, "apiKey": "abc"}, ("json", '{"energy":1,"apiKey":"[redacted]"}', None)),
    ],
)
def test_values(value: object, expected: tuple[str, str | None, float | None]) -> None:
    assert columns(value, READING) == expected


@pytest.mark.parametrize("value", [10**400, -(10**309), {"a": [10**400]}])
def test_numbers_beyond_doubles(value: object) -> None:
    assert code(columns, value, READING) == codes.NOT_FINITE


def test_long_digits_in_text_are_no_number() -> None:
    assert columns({"a": "9" * 400}, READING)[0] == "json"


def test_json_that_grows_over_the_limit() -> None:
    tight = Reading(Context(), Limits(max_value_bytes=100))
    assert columns(["é" * 48], tight)[0] == "json"
    assert code(columns, ["é" * 49], tight) == codes.TOO_LARGE


def test_paths() -> None:
    assert child(child(child("", "components"), "hca.main"), "switch") == 'components["hca.main"].switch'
    assert child("a", 'b"c') == 'a["b\\"c"]'


def test_ids_are_made_as_documented() -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_DNS, "event.thingbeam")
    assert namespace == EVENT_NAMESPACE
    name = '["a[0]","DEVICE_EVENT","d1",1500000,{"b":"é","c":1.5}]'
    assert content_id("a[0]", "DEVICE_EVENT", "d1", Timestamp(1.5), {"c": 1.5, "b": "é"}) == str(
        uuid.uuid5(namespace, name)
    )


IDENTITY = st.tuples(
    st.sampled_from(["", "a", "a[1]"]),
    st.sampled_from(["DEVICE_EVENT", "X"]),
    st.sampled_from([None, "d1", "d2"]),
    st.integers(0, 3).map(lambda seconds: Timestamp(seconds)),
    st.dictionaries(st.sampled_from(["a", "b"]), st.none() | st.integers(0, 1) | st.text("ab", max_size=1)),
)


@given(IDENTITY, IDENTITY)
def test_the_same_id_for_the_same_and_only_for_the_same(one: tuple, other: tuple) -> None:  # type: ignore[type-arg]
    # Through JSON, for Python holds 1 and True equal.
    same = json.dumps([*one[:3], one[3].micros, one[4]], sort_keys=True) == json.dumps(
        [*other[:3], other[3].micros, other[4]], sort_keys=True
    )
    assert (content_id(*one) == content_id(*other)) is same
