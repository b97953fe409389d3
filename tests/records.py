"""Hypothesis strategies of every record, over all that their encodings must carry."""

from __future__ import annotations

from typing import Any, Final

from apache_beam.utils.timestamp import Timestamp
from hypothesis import strategies as st

from thingbeam.schemas import Activity, DeadLetter, Event, Session, Usage
from thingbeam.schemas.fields import FieldType, fields_of

RECORDS: Final[tuple[type, ...]] = (Event, Activity, Session, Usage, DeadLetter)

# Half a surrogate pair is no character, and no encoding here carries it.
texts = st.one_of(st.text(max_size=12), st.sampled_from(["", "on", "évt–ß", "\x00", "\x1f", "😀", "x" * 300]))
longs = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3))
times = st.one_of(
    # What Avro's and Arrow's microseconds and Python's datetime share: the years 1 to 9999.
    st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999),
    st.integers(-2_000_000, 2_000_000),
).map(lambda micros: Timestamp(micros=micros))
doubles = st.floats(allow_nan=False)

_VALUES: Final[dict[FieldType, st.SearchStrategy[Any]]] = {
    "string": texts,
    "double": doubles,
    "long": longs,
    "boolean": st.booleans(),
    "bytes": st.binary(max_size=20),
    "timestamp": times,
    "map_of_double": st.dictionaries(texts, doubles, max_size=3),
}


def records(record: type) -> st.SearchStrategy[Any]:
    """Records of a type, any value of its annotation in each field."""
    values = {
        field.name: st.none() | _VALUES[field.type] if field.optional else _VALUES[field.type]
        for field in fields_of(record)
    }
    return st.builds(record, **values)


uuids = st.uuids().map(str)
ids = st.one_of(
    uuids,
    uuids.map(str.upper),
    uuids.map(lambda text: text.replace("-", "")),
    st.sampled_from(
        [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "00000000-0000-0000-0000-00000000000g",
            "00000000_0000-0000-0000-000000000000",
            "{00000000-0000-0000-0000-000000000001}",
            "0000000-00000-0000-0000-0000000000001",
            "é0000000-0000-0000-0000-00000000000",
            "e1",
            "",
        ]
    ),
    texts,
)
"""Ids: canonical UUIDs, what is almost one, and any other text."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | doubles | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(-(2**53), 2**53),
    texts,
    st.lists(json_values, max_size=3),
    st.dictionaries(texts, json_values, max_size=3),
)
"""What a device attribute can hold."""

events = st.builds(
    Event.of,
    ids,
    times,
    st.none() | ids,
    texts,
    texts,
    values,
    kind=texts,
    component=texts,
    unit=st.none() | texts,
    state_change=st.sampled_from([None, True, False]),
    home_id=st.none() | ids,
    ingest_time=st.none() | times,
    last_reset=st.none() | times,
)
"""Events of plain values."""
