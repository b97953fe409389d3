"""Keys as text."""

from __future__ import annotations

from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from records import records
from thingbeam.io.keys import key_text, key_texts
from thingbeam.schemas import Activity, DeadLetter, Event, Session, Usage, to_record_batch


def test_a_key_is_a_json_array_of_what_identifies() -> None:
    row = Session('d,"1', Timestamp(1.5), "", Timestamp(1.5), Timestamp(2), 1, 1)
    assert key_text(row) == b'["d,\\"1","1970-01-01T00:00:01.500Z"]'
    assert key_text(Event.of("e1", Timestamp(0), None, "switch", "switch", "on")) == (
        b'[null,"e1","1970-01-01T00:00:00Z"]'
    )


@given(
    st.sampled_from([Activity, Session, Usage, Event, DeadLetter]).flatmap(
        lambda record: st.tuples(st.just(record), st.lists(records(record), max_size=5))
    )
)
def test_by_batch_and_one_by_one_are_the_same(given_rows: tuple[type, list[tuple[object, ...]]]) -> None:
    record, rows = given_rows
    assert key_texts(to_record_batch(rows, record), record) == list(map(key_text, rows))
