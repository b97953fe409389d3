"""What the KPL packs together."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.kinesis.aggregation import MAGIC, SubRecord, aggregate, take_apart

RECORDS = st.lists(
    st.builds(SubRecord, st.binary(max_size=300), st.text(max_size=9), st.none() | st.integers(0, 1 << 127).map(str)),
    max_size=300,
)


def message_of_protobuf() -> type[Any]:
    """The published schema, as Google's own library has it."""
    file = descriptor_pb2.FileDescriptorProto(name="aggregated.proto", package="kpl", syntax="proto2")
    types = {"string": 9, "uint64": 4, "bytes": 12}

    def add(name: str, *fields: tuple[str, int, str, int]) -> None:
        message = file.message_type.add(name=name)
        for field, number, kind, label in fields:
            made = message.field.add(name=field, number=number, label=label)
            if kind in types:
                made.type = types[kind]
            else:
                made.type, made.type_name = 11, f".kpl.{kind}"

    optional, required, repeated = 1, 2, 3
    add("Tag", ("key", 1, "string", required), ("value", 2, "string", optional))
    add(
        "Record",
        ("partition_key_index", 1, "uint64", required),
        ("explicit_hash_key_index", 2, "uint64", optional),
        ("data", 3, "bytes", required),
        ("tags", 4, "Tag", repeated),
    )
    add(
        "AggregatedRecord",
        ("partition_key_table", 1, "string", repeated),
        ("explicit_hash_key_table", 2, "string", repeated),
        ("records", 3, "Record", repeated),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found: type[Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName("kpl.AggregatedRecord"))
    return found


AGGREGATED = message_of_protobuf()


def signed(message: bytes) -> bytes:
    """As it goes over the wire."""
    return MAGIC + message + hashlib.md5(message).digest()


@given(RECORDS)
def test_taken_apart_as_it_was_put_together(records: list[SubRecord]) -> None:
    assert take_apart(aggregate(records)) == records


@given(RECORDS)
def test_as_protobuf_itself_has_it(records: list[SubRecord]) -> None:
    message = AGGREGATED()
    for number, record in enumerate(records):
        message.partition_key_table.append(record.partition_key)
        one = message.records.add(partition_key_index=number, data=record.data)
        one.tags.add(key="k", value="v")
        if record.explicit_hash_key is not None:
            one.explicit_hash_key_index = len(message.explicit_hash_key_table)
            message.explicit_hash_key_table.append(record.explicit_hash_key)
    assert take_apart(signed(message.SerializeToString())) == records
    back = AGGREGATED.FromString(aggregate(records)[4:-16])
    assert [back.partition_key_table[one.partition_key_index] for one in back.records] == [
        r.partition_key for r in records
    ]
    assert [one.data for one in back.records] == [record.data for record in records]


@given(st.binary(max_size=200))
def test_anything_else_is_a_record_like_any_other(data: bytes) -> None:
    assert take_apart(data) is None or data.startswith(MAGIC)
    assert take_apart(MAGIC + data) is None
    # With a sum that is right it may be anything, and never an error.
    take_apart(signed(data))


@given(RECORDS.filter(bool), st.data())
def test_one_bit_wrong(records: list[SubRecord], data: st.DataObject) -> None:
    whole = bytearray(aggregate(records))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    assert take_apart(bytes(whole)) is None


@pytest.mark.parametrize(
    "message",
    [
        bytes.fromhex("1a0508001a0178"),  # a key that is in no table
        bytes.fromhex("0a01611a020800"),  # no data
        bytes.fromhex("0a01611a0708001005" + "1a0178"),  # a hash key that is in no table
        bytes.fromhex("0a0161" + "1a7f0800"),  # longer than it is
        bytes.fromhex("0a01ff" + "1a0508001a0178"),  # a key that is no text
        bytes.fromhex("0a0161" + "ff" * 12),  # a number without an end
        bytes.fromhex("0a0161" + "0b"),  # a group
        bytes.fromhex("0a0161" + "0d00"),  # fixed width, cut
    ],
)
def test_broken_inside(message: bytes) -> None:
    assert take_apart(signed(message)) is None


def test_fields_of_later_versions_are_passed_over() -> None:
    message = bytes.fromhex("0a0161" + "2801" + "3100000000000000ff" + "3d000000ff" + "1a0508001a0178")
    assert take_apart(signed(message)) == [SubRecord(b"x", "a")]
