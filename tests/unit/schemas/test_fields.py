from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Optional

import pytest
from apache_beam.utils.timestamp import Timestamp

from records import RECORDS
from thingbeam.schemas import DeadLetter, Event, Usage
from thingbeam.schemas.fields import Field, fields_of, name_of


class Everything(NamedTuple):
    text: str
    number: float
    count: int
    flag: bool
    data: bytes
    time: Timestamp
    pairs: Mapping[str, float]
    perhaps: str | None
    as_written_before: Optional[int] = None  # noqa: UP045
    named: str = "x"


def test_every_annotation() -> None:
    assert fields_of(Everything) == (
        Field("text", "string", False, False, None),
        Field("number", "double", False, False, None),
        Field("count", "long", False, False, None),
        Field("flag", "boolean", False, False, None),
        Field("data", "bytes", False, False, None),
        Field("time", "timestamp", False, False, None),
        Field("pairs", "map_of_double", False, False, None),
        Field("perhaps", "string", True, False, None),
        Field("as_written_before", "long", True, True, None),
        Field("named", "string", False, True, "x"),
    )


@pytest.mark.parametrize(
    "annotation",
    [
        dict[str, float],
        Mapping[str, int],
        Mapping[int, float],
        list[str],
        object,
        complex,
        str | int,
        str | int | None,
        None,
    ],
    ids=str,
)
def test_annotations_that_no_encoding_knows(annotation: Any) -> None:
    odd = NamedTuple("odd", [("field", annotation)])  # noqa: UP014
    with pytest.raises(TypeError, match=r"odd\.field: no encoding for"):
        fields_of(odd)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_the_fields_of_each_record(record: Any) -> None:
    assert [field.name for field in fields_of(record)] == list(record._fields)
    for field in fields_of(record):
        assert field.has_default == (field.name in record._field_defaults)
        assert field.default == record._field_defaults.get(field.name)


def test_some_fields() -> None:
    named = {field.name: field for record in (Event, Usage, DeadLetter) for field in fields_of(record)}
    assert named["device_id"].type == "string"
    assert named["event_time"] == Field("event_time", "timestamp", False, False, None)
    assert named["state_change"] == Field("state_change", "boolean", True, True, None)
    assert named["seconds_in_state"].type == "map_of_double"
    assert named["payload"].type == "bytes"


def test_names_in_released_schemas() -> None:
    assert [name_of(record) for record in RECORDS] == ["event", "activity", "session", "usage", "dead_letter"]
