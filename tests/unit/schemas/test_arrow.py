from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from records import RECORDS, records
from thingbeam.schemas import Event, Session, Usage, arrow_schema, from_record_batch, to_record_batch
from thingbeam.schemas.fields import fields_of


def several(record: type) -> st.SearchStrategy[tuple[type, list[Any]]]:
    return st.tuples(st.just(record), st.lists(records(record), max_size=5))


@given(st.sampled_from(RECORDS).flatmap(several))
def test_round_trip(given_records: tuple[type[Any], list[Any]]) -> None:
    record, before = given_records
    batch = to_record_batch(before, record)
    batch.validate(full=True)
    assert batch.schema == arrow_schema(record)
    assert from_record_batch(batch, record) == before
    # A table, or a slice of one, is read as well.
    table = pa.Table.from_batches([batch, batch])
    assert from_record_batch(table, record) == before * 2
    assert from_record_batch(batch.slice(1), record) == before[1:]


def test_fields_in_another_order_are_found_by_name() -> None:
    event = Event.of("e", Timestamp(0), "d", "c", "a", 1.0)
    batch = to_record_batch([event], Event)
    turned = batch.select(list(reversed(batch.schema.names)))
    assert from_record_batch(turned, Event) == [event]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_schemas(record: type) -> None:
    schema = arrow_schema(record)
    assert schema.names == [field.name for field in fields_of(record)]
    assert [field.nullable for field in schema] == [field.optional for field in fields_of(record)]


def test_types() -> None:
    assert arrow_schema(Session).field("start").type == pa.timestamp("us", tz="UTC")
    assert arrow_schema(Usage).field("seconds_in_state").type == pa.map_(pa.string(), pa.float64())
    assert arrow_schema(Event).field("state_change").type == pa.bool_()


def test_times_beyond_what_python_shows() -> None:
    event = Event.of("e", Timestamp(micros=2**62), "d", "c", "a", 1.0, last_reset=Timestamp(micros=-(2**62)))
    assert from_record_batch(to_record_batch([event], Event), Event) == [event]


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        to_record_batch([Event.of("e", Timestamp(0), "d", "c", "a", "\ud800")], Event)
