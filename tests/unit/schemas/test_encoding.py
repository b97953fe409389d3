from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from streams import random_stream, zone_name
from thingbeam.schemas import EventBatch
from thingbeam.schemas.encoding import EncodingError, cut, is_cut, pack, rejoin, unpack

MAGIC = b"TEST"
DTYPES = ["|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8"]

texts: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.integers(0, 2**64 - 1) | st.text(), inner, max_size=3)
    ),
    max_leaves=10,
)
columns = st.dictionaries(
    st.text(max_size=10),
    st.sampled_from(DTYPES).flatmap(lambda dtype: arrays.arrays(dtype, st.integers(0, 5))) | texts,
    max_size=6,
)


def head_of(name: bytes, kind: bytes, size: int) -> bytes:
    return struct.pack("<BBQ", len(name), len(kind), size) + name + kind


def by_hand(
    count: int, heads: bytes, buffers: bytes, checked: bytes = b"", version: int = 1, magic: bytes = MAGIC
) -> bytes:
    head = magic + struct.pack("<HH", version, count) + heads
    return head + struct.pack("<I", zlib.crc32(head + checked)) + buffers


def test_the_layout_is_as_the_module_says() -> None:
    numbers, text = b"\1" + bytes(7) + b"\2" + bytes(7), b"\x91\xa1x"
    expected = by_hand(2, head_of(b"a", b"<i8", 16) + head_of(b"b", b"text", 3), numbers + text, text)
    assert pack(MAGIC, 1, {"a": np.array([1, 2]), "b": ["x"]}) == expected


@given(columns)
def test_round_trip(before: dict[str, Any]) -> None:
    version, after = unpack(MAGIC, 3, pack(MAGIC, 2, before))
    assert version == 2
    assert list(after) == list(before)
    for name, column in before.items():
        if isinstance(column, np.ndarray):
            assert after[name].dtype == column.dtype
            assert after[name].tobytes() == column.tobytes()
            assert not after[name].flags.writeable
        else:
            assert after[name] == column


def test_arrays_of_any_stride() -> None:
    assert unpack(MAGIC, 1, pack(MAGIC, 1, {"a": np.arange(6)[::-2]}))[1]["a"].tolist() == [5, 3, 1]


@pytest.mark.parametrize(
    "column",
    [
        np.zeros((2, 2)),
        np.array(["text"]),
        np.array([object()]),
        np.zeros(2, [("a", "<i8")]),
        np.zeros(2, ">i8"),
        np.zeros(2, "M8[us]"),
        np.zeros(2, np.complex128),
        np.array(1),
    ],
    ids=lambda column: f"{column.dtype} {column.ndim}",
)
def test_what_is_no_plain_column(column: Any) -> None:
    with pytest.raises(TypeError, match="is no plain column"):
        pack(MAGIC, 1, {"a": column})


def test_another_kind() -> None:
    with pytest.raises(EncodingError, match="expected b'TEST' bytes, found b'ELSE'"):
        unpack(MAGIC, 1, pack(b"ELSE", 1, {}))


def test_a_later_version() -> None:
    with pytest.raises(EncodingError, match="of version 2; this release reads up to 1"):
        unpack(MAGIC, 1, pack(MAGIC, 2, {}))
    assert unpack(MAGIC, 2, pack(MAGIC, 1, {})) == (1, {})


@given(columns, st.data())
def test_cut_or_lengthened(before: dict[str, Any], data: st.DataObject) -> None:
    encoded = pack(MAGIC, 1, before)
    size = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(EncodingError):
        unpack(MAGIC, 1, encoded[:size])
    with pytest.raises(EncodingError):
        unpack(MAGIC, 1, encoded + data.draw(st.binary(min_size=1, max_size=9)))


@given(columns, st.data())
def test_damage_to_anything_but_numbers_is_noticed(before: dict[str, Any], data: st.DataObject) -> None:
    plain = {name: column for name, column in before.items() if not isinstance(column, np.ndarray) or not column.size}
    encoded = pack(MAGIC, 1, plain)
    at, bit = data.draw(st.integers(0, len(encoded) - 1)), data.draw(st.integers(0, 7))
    with pytest.raises(EncodingError):
        unpack(MAGIC, 1, encoded[:at] + bytes([encoded[at] ^ 1 << bit]) + encoded[at + 1 :])


def test_damage_to_numbers_stays_in_them() -> None:
    encoded = pack(MAGIC, 1, {"a": np.arange(9), "b": [1, "x"], "c": np.ones(3)})
    for at in range(len(encoded)):
        for bit in range(8):
            try:
                _, found = unpack(MAGIC, 1, encoded[:at] + bytes([encoded[at] ^ 1 << bit]) + encoded[at + 1 :])
            except EncodingError:
                continue
            assert [found["a"].tolist() == [*range(9)], found["c"].tolist() == [1.0] * 3].count(False) == 1
            assert (len(found["a"]), len(found["c"]), found["b"]) == (9, 3, [1, "x"])


@given(st.binary(max_size=200))
def test_foreign_bytes(encoded: bytes) -> None:
    for found in (encoded, MAGIC + encoded, MAGIC + b"\1\0" + encoded):
        with pytest.raises(EncodingError):
            unpack(MAGIC, 1, found)


@pytest.mark.parametrize(
    ("count", "heads", "buffers", "checked"),
    [
        (1, head_of(b"a", b"<i8", 9), bytes(9), b""),
        (1, head_of(b"a", b"|O", 8), bytes(8), b""),
        (1, head_of(b"a", b"<V0", 0), b"", b""),
        (1, head_of(b"a", b">i8", 8), bytes(8), b""),
        (1, head_of(b"a", b"<i4,<i4", 8), bytes(8), b""),
        (1, head_of(b"a", b"garbage", 8), bytes(8), b""),
        (1, head_of(b"\xff", b"<i8", 8), bytes(8), b""),
        (1, head_of(b"a", b"text", 1), b"\xc1", b"\xc1"),
        (1, head_of(b"a", b"text", 2), b"\1\1", b"\1\1"),
        (1, head_of(b"a", b"text", 4000), b"\x91" * 4000, b"\x91" * 4000),
        (1, head_of(b"a", b"text", 3), b"\x81\x80\x90", b"\x81\x80\x90"),
        (1, head_of(b"a", b"<i8", 1 << 63), bytes(8), b""),
        (9, head_of(b"a", b"<i8", 8), bytes(8), b""),
        (0, head_of(b"a", b"<i8", 8), bytes(8), b""),
    ],
)
def test_what_another_program_might_write(count: int, heads: bytes, buffers: bytes, checked: bytes) -> None:
    with pytest.raises(EncodingError):
        unpack(MAGIC, 1, by_hand(count, heads, buffers, checked))


def test_batches_refuse_what_is_no_batch() -> None:
    for made in (
        {},
        {"rows": np.zeros(8, np.uint64), "ids": {}, "texts": {}, "descriptions": {}},
        {"rows": [1], "ids": {}, "texts": {}, "descriptions": {}},
        {"rows": np.zeros(9, np.uint64), "ids": {}, "texts": {}},
        {"rows": np.zeros(9, np.uint64), "ids": {}, "texts": {}, "descriptions": {1: ["short"]}},
        {"rows": np.zeros(9, np.uint64), "ids": {}, "texts": {}, "descriptions": [1]},
    ):
        with pytest.raises(EncodingError):
            EventBatch.decode(pack(b"TBEB", 1, made))


def test_damaged_batches() -> None:
    """Cut anywhere, or with any byte changed: refused, or else another number in a row."""
    batch = EventBatch.from_events(random_stream(1, events=6), zone_name)
    encoded, rng = batch.encode(), random.Random(1)
    for size in range(len(encoded)):
        with pytest.raises(EncodingError):
            EventBatch.decode(encoded[:size])
    for at in range(len(encoded)):
        changed = bytes([encoded[at] ^ rng.randrange(1, 256)])
        try:
            found = EventBatch.decode(encoded[:at] + changed + encoded[at + 1 :])
        except EncodingError:
            continue
        assert len(found) == len(batch)
        assert (found.rows != batch.rows).sum() == 1
        assert found.names.texts == batch.names.texts
        assert found.names.ids == batch.names.ids
        assert found.names.descriptions == batch.names.descriptions


@given(st.binary(max_size=200), st.integers(1, 50), st.randoms())
def test_what_is_cut_is_rejoined_in_any_order(encoded: bytes, size: int, order: random.Random) -> None:
    head, pieces = cut(encoded, size)
    assert is_cut(head)
    assert all(len(unpack(b"TBPC", 1, piece)[1]["bytes"]) == size for piece in pieces[:-1])
    order.shuffle(pieces)
    assert rejoin(head, pieces) == encoded


def test_what_repeats_comes_to_little() -> None:
    _, pieces = cut(bytes(100_000), 1000)
    assert len(pieces) == 1


def test_pieces_of_the_first_version_were_not_compressed() -> None:
    pieces = [pack(b"TBPC", 1, {"at": np.array([at]), "bytes": np.arange(at, at + 5, dtype=np.uint8)}) for at in (5, 0)]
    assert rejoin(pack(b"TBCT", 1, {"length": np.array([10])}), pieces) == bytes(range(10))


def test_pieces_that_are_not_all_of_one_are_refused() -> None:
    head, pieces = cut(bytes(range(100)), 30)
    length = sum(len(unpack(b"TBPC", 1, piece)[1]["bytes"]) for piece in pieces)
    torn = pack(b"TBPC", 1, {"at": np.array([0]), "bytes": np.full(length, 255, np.uint8)})
    with pytest.raises(EncodingError, match="damaged"):
        rejoin(head, [torn])
    for wrong in (pieces[1:], pieces[:-1], [*pieces, pieces[0]], [], [*pieces[:3], cut(b"12345", 30)[1][0]]):
        with pytest.raises(EncodingError, match="cut into other pieces"):
            rejoin(head, wrong)
    with pytest.raises(EncodingError, match="TBPC"):
        rejoin(head, [head])
    with pytest.raises(EncodingError, match="columns of a cut"):
        rejoin(pack(b"TBCT", 1, {}), pieces)
    assert not is_cut(pack(MAGIC, 1, {}))
