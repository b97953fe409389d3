"""Keys of records."""

from __future__ import annotations

import pytest
from apache_beam.utils.timestamp import Timestamp

from records import RECORDS
from thingbeam.schemas import Event
from thingbeam.schemas.keys import KEY_FIELDS, key_of


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_record_has_a_key_of_its_own_fields(record: type) -> None:
    assert set(KEY_FIELDS[record]) <= set(record._fields)  # type: ignore[attr-defined]


def test_what_is_no_record_has_none() -> None:
    event = Event.of("e1", Timestamp(1), "d1", "switch", "switch", "on")
    assert key_of(event) == ("d1", "e1", Timestamp(1))
    with pytest.raises(KeyError):
        key_of(("d1",))
