"""Records and batches as Beam and the parser have them."""

from __future__ import annotations

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.kinesis import KinesisBatch, KinesisMessage, KinesisRecord
from thingbeam.io.kinesis.records import KinesisBatchCoder
from thingbeam.schemas.encoding import EncodingError
from thingbeam.schemas.payloads import Message, PayloadBatch, PayloadBatchCoder

ROWS = st.lists(st.tuples(st.integers(0, 10**56).map(str), st.integers(-1, 9), st.binary(max_size=9)), max_size=9)


def batch_of(rows: list[tuple[str, int, bytes]]) -> KinesisBatch:
    """A batch of (sequence, sub-sequence, data)."""
    return KinesisBatch(
        "events",
        "shard=shardId-000000000001",
        np.array([sub for _, sub, _ in rows], np.int64),
        [data for _, _, data in rows],
        [b"k"] * len(rows),
        np.arange(len(rows), dtype=np.int64),
        [sequence for sequence, _, _ in rows],
    )


@given(ROWS)
def test_a_batch_survives_its_encoding(rows: list[tuple[str, int, bytes]]) -> None:
    batch, coder = batch_of(rows), KinesisBatchCoder()
    again = coder.decode(coder.encode(batch))
    assert again == batch
    assert [again.position(at) for at in range(len(rows))] == [batch.position(at) for at in range(len(rows))]
    assert coder.is_deterministic()
    assert coder.estimate_size(batch) >= sum(len(data) for _, _, data in rows)


def test_a_batch_is_what_the_parser_takes() -> None:
    batch = batch_of([("4959", -1, b"{}"), ("4960", 3, b"[]")])
    assert isinstance(batch, PayloadBatch)
    assert batch.position(0) == "shard=shardId-000000000001 sequence=4959"
    assert batch.position(1) == "shard=shardId-000000000001 sequence=4960 sub=3"
    assert batch != batch_of([("4959", -1, b"{}"), ("4961", 3, b"[]")])
    assert batch != PayloadBatch("events", batch.part, batch.positions, batch.payloads, batch.keys, batch.times)
    assert isinstance(beam.coders.registry.get_coder(KinesisBatch), KinesisBatchCoder)
    with pytest.raises(EncodingError):
        KinesisBatch.decode(
            PayloadBatch("events", "p", batch.positions, batch.payloads, batch.keys, batch.times).encode()
        )
    # Where a PCollection holds batches of several services, each stays what it was.
    found = PayloadBatchCoder().decode(PayloadBatchCoder().encode(batch))
    assert found == batch
    assert type(found) is KinesisBatch
    with pytest.raises(EncodingError):
        PayloadBatchCoder().decode(b"????" + batch.encode())


@given(st.data(), ROWS)
def test_some_of_the_records(data: st.DataObject, rows: list[tuple[str, int, bytes]]) -> None:
    numbers = data.draw(st.lists(st.integers(0, len(rows) - 1))) if rows else []
    whole = batch_of(rows)
    some = whole.take(np.array(numbers, np.int64))
    expected = batch_of([rows[n] for n in numbers])
    expected.times = np.array(numbers, np.int64)
    assert some == expected
    assert whole == batch_of(rows)


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_batches_of_a_shard_are_concatenated(parts: list[list[tuple[str, int, bytes]]]) -> None:
    expected = batch_of([row for rows in parts for row in rows])
    expected.times = np.array([time for rows in parts for time in range(len(rows))], np.int64)
    # As the archive has them, which knows of no kind.
    assert PayloadBatch.concatenate(map(batch_of, parts)) == KinesisBatch.concatenate(map(batch_of, parts)) == expected


def test_records_are_in_the_order_of_numbers_and_once() -> None:
    rows = [("10", 1, b"d"), ("9", -1, b"a"), ("10", 0, b"c"), ("9", -1, b"again"), ("09", 3, b"b")]
    found = batch_of(rows).in_order()
    assert [found.position(at).partition(" ")[2] for at in range(4)] == [
        "sequence=9", "sequence=09 sub=3", "sequence=10 sub=0", "sequence=10 sub=1",
    ]  # fmt: skip
    assert found.payloads == [b"a", b"b", b"c", b"d"]
    assert batch_of([]).in_order() == batch_of([])


def test_batches_of_two_kinds_stay_apart() -> None:
    batch = batch_of([("4959", -1, b"{}")])
    plain = PayloadBatch("events", batch.part, batch.positions, batch.payloads, batch.keys, batch.times)
    for some in ([plain, batch], [batch, plain]):
        with pytest.raises(ValueError, match="are not of one partition"):
            PayloadBatch.concatenate(some)


def test_a_record_is_a_row_and_a_message() -> None:
    record = KinesisRecord(b"{}", "k", "4959", 2, Timestamp(1), "events", "shardId-000000000001")
    assert isinstance(record, Message)
    assert (record.payload, record.source) == (b"{}", "events")
    assert record.position == "shard=shardId-000000000001 sequence=4959 sub=2"
    for row in (
        record,
        record._replace(explicit_hash_key="7"),
        KinesisMessage(b"x", "k"),
        KinesisMessage(b"", "k", "7"),
    ):
        coder = beam.coders.registry.get_coder(type(row))
        assert coder.decode(coder.encode(row)) == row
