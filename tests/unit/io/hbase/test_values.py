"""Values as bytes: read back, told apart from nothing, and readable by others."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.hbase.values import ENCODINGS, Encoding, ValueProblemError, decoder, encoder

STRATEGIES: dict[Encoding, Any] = {
    "text": st.text("a\0é"),
    "int64": st.integers(-(1 << 63), (1 << 63) - 1),
    "float64": st.floats(allow_nan=False),
    "boolean": st.booleans(),
    "micros": st.integers(-(1 << 53), 1 << 53).map(lambda micros: Timestamp(micros=micros)),
    "json": st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False, allow_infinity=False)),
    "bytes": st.binary(),
}


def test_every_encoding_is_tried() -> None:
    assert set(STRATEGIES) == set(ENCODINGS)


@given(st.data())
def test_values_are_read_back(data: st.DataObject) -> None:
    encoding: Encoding = data.draw(st.sampled_from(sorted(ENCODINGS)))
    value = data.draw(STRATEGIES[encoding])
    optional = data.draw(st.booleans())
    encoded = encoder(encoding, optional)(value)
    assert decoder(encoding, optional)(encoded) == value
    if optional:
        assert encoded != b"", "that is no value"
    assert encoder(encoding, True)(None) == b""
    assert decoder(encoding, True)(b"") is None


def test_what_others_read() -> None:
    """As org.apache.hadoop.hbase.util.Bytes has them."""
    assert encoder("int64", False)(-2) == b"\xff" * 7 + b"\xfe"
    assert encoder("float64", True)(2.5) == struct.pack(">d", 2.5)
    assert (encoder("boolean", False)(True), encoder("boolean", False)(False)) == (b"\xff", b"\x00")
    assert encoder("micros", False)(Timestamp(1)) == struct.pack(">q", 1_000_000)
    assert encoder("json", False)({"b": 1.5, "a": 2}) == b'{"a":2,"b":1.5}'
    assert encoder("text", True)("é") == "é".encode()


@pytest.mark.parametrize(
    ("encoding", "value", "code"),
    [
        ("text", 5, "wrong_type"), ("text", "\ud800", "wrong_type"), ("int64", 1.0, "wrong_type"),
        ("int64", True, "wrong_type"), ("int64", 1 << 63, "out_of_range"), ("float64", "1", "wrong_type"),
        ("float64", 1 << 1100, "out_of_range"), ("boolean", 1, "wrong_type"), ("micros", 5, "wrong_type"),
        ("json", {"a": float("nan")}, "not_finite"), ("json", object(), "wrong_type"), ("bytes", "a", "wrong_type"),
    ],
)  # fmt: skip
def test_what_is_no_value(encoding: Encoding, value: Any, code: str) -> None:
    with pytest.raises(ValueProblemError) as caught:
        encoder(encoding, False)(value)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("encoding", "data"),
    [("text", b"\xff"), ("int64", b"123"), ("float64", b""), ("boolean", b"ab"), ("micros", b"1"), ("json", b"{")],
)
def test_bytes_of_others_are_told(encoding: Encoding, data: bytes) -> None:
    with pytest.raises(ValueProblemError):
        decoder(encoding, False)(data)
