"""Rows as messages."""

from __future__ import annotations

import json
import math

from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from records import records
from thingbeam.io.kafka.formats import JsonFormat
from thingbeam.io.kafka.rows import EncodeRecords, EncodeRows, key_text
from thingbeam.schemas import Activity, DeadLetter, Session, Usage, to_record_batch


def session(start: float, **fields: bool) -> Session:
    row = Session("d,1", Timestamp(start), "", Timestamp(start), Timestamp(start + 1), 1, 1)
    return row._replace(**fields)


def test_a_key_is_a_json_array_of_what_identifies() -> None:
    assert key_text(session(1.5)) == b'["d,1","1970-01-01T00:00:01.500Z"]'


def test_rows_of_a_batch() -> None:
    rows = [session(1), session(2, deleted=True), session(3)]
    [batch] = EncodeRows(JsonFormat(Session), "t").process(("n", to_record_batch(rows, Session)))
    assert list(batch.keys) == [key_text(row) for row in rows]
    assert batch.payloads[1] is None, "what is taken back is a tombstone"
    assert [json.loads(payload or b"{}").get("start") for payload in batch.payloads] == [
        "1970-01-01T00:00:01Z", None, "1970-01-01T00:00:03Z",
    ]  # fmt: skip
    assert list(EncodeRows(JsonFormat(Session), "t").process(("n", to_record_batch([], Session)))) == []


@given(st.sampled_from([Activity, Session, Usage]).flatmap(lambda record: st.lists(records(record), max_size=5)))
def test_by_batch_and_one_by_one_are_the_same(rows: list[Activity | Session | Usage]) -> None:
    rows = [row for row in rows if all(map(math.isfinite, numbers(row)))]
    if not rows:
        return
    record = type(rows[0])
    [batch] = EncodeRows(JsonFormat(record), "t").process(("n", to_record_batch(rows, record)))
    each = [message for row in rows for message in EncodeRecords(JsonFormat(record), "t").process(row)]
    assert list(batch.keys) == [message.key for message in each]
    assert list(batch.payloads) == [message.value for message in each]


def numbers(row: tuple[object, ...]) -> list[float]:
    maps = [value for value in row if isinstance(value, dict)]
    return [*(value for value in row if isinstance(value, float)), *(n for each in maps for n in each.values())]


def test_a_dead_letter_is_cut_so_that_its_topic_takes_it() -> None:
    letter = DeadLetter(b"x" * 1_000_000, "events", "partition=0 offset=1", "s", "c", "why", Timestamp(0))
    [message] = EncodeRecords(JsonFormat(DeadLetter), "t").process(letter)
    assert len(message.value or b"") < 100_000
    assert b"(the first 65536 of 1000000 bytes are kept)" in (message.value or b"")
