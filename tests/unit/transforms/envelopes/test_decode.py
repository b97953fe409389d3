from __future__ import annotations

import json
import math
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.schemas import codes
from thingbeam.transforms.envelopes import Limits, ParseError
from thingbeam.transforms.envelopes.decode import NotFinite, decode, depth_of, has_not_finite

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def code_of(payload: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(ParseError) as caught:
        decode(payload, limits or Limits())
    assert caught.value.code in codes.CODES
    return caught.value.code


@given(JSON, st.booleans())
def test_what_the_standard_library_writes_is_read(document: object, ascii_only: bool) -> None:
    assert decode(json.dumps(document, ensure_ascii=ascii_only).encode(), Limits()) == (document, False)


def test_a_byte_order_mark_is_ignored() -> None:
    assert decode(b'\xef\xbb\xbf{"a": 1}', Limits()) == ({"a": 1}, False)


def test_of_a_key_given_twice_the_last_counts() -> None:
    assert decode(b'{"a": 1, "a": 2}', Limits()) == ({"a": 2}, False)


def test_integers_keep_every_digit() -> None:
    assert decode(b"[18446744073709551616, -9007199254740993]", Limits())[0] == [2**64, -(2**53) - 1]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"{",
        b'{"a": ',
        b'{"a": "b',
        b'{"a": 1}}',
        b"{} {}",
        b"{'a': 1}",
        b"[1,]",
        b"01",
        b"nan",
        b"-NaN",
        b'"\x01"',
    ],
)
def test_not_json(payload: bytes) -> None:
    assert code_of(payload) == codes.INVALID_JSON


@given(JSON.filter(lambda document: isinstance(document, dict | list | str)), st.data())
def test_cut_json_is_not_json_wherever_it_is_cut(document: object, data: st.DataObject) -> None:
    whole = json.dumps(document, ensure_ascii=False).encode()
    assert code_of(whole[: data.draw(st.integers(0, len(whole) - 1))]) == codes.INVALID_JSON


@pytest.mark.parametrize("payload", [b'"\\ud800"', b'{"\\udfff": 1}', b'["\\ud800", NaN]'])
def test_half_a_surrogate_pair_is_not_json(payload: bytes) -> None:
    assert code_of(payload) == codes.INVALID_JSON


@pytest.mark.parametrize(
    "payload",
    [b"\xff", b'{"a": "\xff"}', b'{"\xc3": 1}', b'"\xed\xa0\x80"', b'{"a": "\xc0\xaf"} NaN', b"\xff\xfe{\x00}\x00"],
)
def test_not_utf8(payload: bytes) -> None:
    assert code_of(payload) == codes.INVALID_UTF8


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"-" + b"9" * 100_000])
def test_numbers_that_are_not_finite_are_marked_and_the_rest_is_kept(number: bytes) -> None:
    document, tainted = decode(b'{"good": [1, 2.5], "bad": {"value": ' + number + b"}}", Limits())
    assert tainted
    assert isinstance(document, dict)
    assert document["good"] == [1, 2.5]
    assert isinstance(document["bad"]["value"], NotFinite)
    assert has_not_finite(document)
    assert not has_not_finite(document["good"])


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_integer_that_a_double_can_hold(sign: int) -> None:
    largest = int(sys.float_info.max) + 2**970 - 1
    assert math.isfinite(float(largest))
    assert not has_not_finite(decode(str(sign * largest).encode(), Limits())[0])
    with pytest.raises(OverflowError):
        float(largest + 1)
    assert has_not_finite([decode(str(sign * (largest + 1)).encode(), Limits())[0]])


def test_numbers_too_small_are_zero() -> None:
    assert decode(b"[1e-999]", Limits()) == ([0.0], False)


def test_size() -> None:
    assert code_of(b'"' + b"x" * 5_000_000 + b'"') == codes.TOO_LARGE
    limits = Limits(max_value_bytes=10)
    assert decode(b'"12345678"', limits)[0] == "12345678"
    assert code_of(b'"123456789"', limits) == codes.TOO_LARGE


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("closed", [True, False])
def test_depth_never_crashes(opening: bytes, closed: bool) -> None:
    closing = opening.replace(b'"a":', b"")[::-1].translate(bytes.maketrans(b"[{", b"]}"))
    deep = opening * 10_000 + (b"1" + closing * 10_000 if closed else b"")
    assert code_of(deep) == codes.TOO_DEEP


def test_depth_is_counted_exactly() -> None:
    limits = Limits(max_depth=3)
    assert decode(b"[[[1]]]", limits)[0] == [[[1]]]
    assert decode(b'[["[[[[", "]]\\"[["]]', limits)[0] == [["[[[[", ']]"[[']]
    assert decode(b"[[1],[1],[1],[1]]", limits)[0] == [[1]] * 4
    assert decode(b"[[[1]],[[1]]]", limits)[0] == [[[1]], [[1]]]
    assert code_of(b"[[[[1]]]]", limits) == codes.TOO_DEEP


@given(JSON)
def test_depth_as_recursion_counts_it(document: object) -> None:
    def depth(value: object) -> int:
        if isinstance(value, dict):
            return 1 + max((depth(member) for member in value.values()), default=0)
        return 1 + max((depth(member) for member in value), default=0) if isinstance(value, list) else 0

    assert depth_of(json.dumps(document).encode()) == depth(document)


@pytest.mark.parametrize("pattern", [b'"', b"\\", b'\\"', b"[", b"]", b'["', b'"\\', b"[1e999,"])
def test_hostile_bytes_take_linear_time(pattern: bytes) -> None:
    started = time.perf_counter()
    with pytest.raises(ParseError):
        decode(b'["' + pattern * (1_000_000 // len(pattern)), Limits())
    assert time.perf_counter() - started < 10


@given(st.binary(max_size=200))
def test_any_bytes_give_a_document_or_a_code(payload: bytes) -> None:
    try:
        decode(payload, Limits())
    except ParseError as error:
        code = error.code
    else:
        code = codes.INVALID_JSON
    assert code in codes.CODES
