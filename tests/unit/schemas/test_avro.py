from __future__ import annotations

import copy
import hashlib
import io
import json
import re
from typing import Any, NamedTuple

import fastavro
import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from records import RECORDS, records
from structure import CHECKOUT
from thingbeam.schemas import Activity, Event, Session, Usage, avro_schema, released_schemas
from thingbeam.schemas.fields import fields_of, name_of

FOLDER = CHECKOUT / "schemas" / "released"

RELEASED = {
    "activity.v1.avsc": "f96f13f78c89db5a950c0a8e419c25a8dc5be295142135cf6d94e3b3e88b5a63",
    "dead_letter.v1.avsc": "d79993e3b294080d9928d905b0b1d2618152c846089dddd796a03757e508ec13",
    "event.v1.avsc": "90c0c97c9eadfbdaf32d4a247e85b3631df513833cc92cefda964618166916ca",
    "session.v1.avsc": "d3e4328c6c0160c5ef5181775c154d879e98f3c59d50e9cf882734ff8c94b623",
    "usage.v1.avsc": "c182ec8ab23b9d4cb1b57d496597cb9392b60234795b88fcaf7f2d60b142c5cc",
}
"""The SHA-256 of every released schema. Add a line for a new version; never change one."""

AvroSchema = dict[str, Any]


def test_a_released_schema_never_changes() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.iterdir()}
    assert found == RELEASED


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_the_newest_released_version_is_the_record(record: type) -> None:
    versions = released_schemas(record)
    assert list(versions) == list(range(1, len(versions) + 1))
    assert list(versions.values())[-1] == avro_schema(record), "a changed record needs a new released version"


def test_every_released_file_is_of_a_record() -> None:
    found = {re.sub(r"\.v\d+\.avsc$", "", name) for name in RELEASED}
    assert found == {name_of(record) for record in RECORDS}


# --- Records of a schema, and reading those of one version as another


def plain(record: Any) -> dict[str, Any]:
    """A record as fastavro takes it: times as microseconds."""
    return {name: value.micros if isinstance(value, Timestamp) else value for name, value in record._asdict().items()}


def without_logical_types(schema: Any) -> Any:
    """The schema with times as the numbers that they are, so that any of them can be compared."""
    if isinstance(schema, dict):
        return {name: without_logical_types(part) for name, part in schema.items() if name != "logicalType"}
    return [without_logical_types(part) for part in schema] if isinstance(schema, list) else schema


def reread(written: dict[str, Any], writer: AvroSchema, reader: AvroSchema) -> Any:
    """What a program with one schema reads of what a program with another wrote."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, without_logical_types(writer), written)
    buffer.seek(0)
    return fastavro.schemaless_reader(buffer, without_logical_types(writer), without_logical_types(reader))


_SAMPLES: dict[str, list[Any]] = {
    "null": [None], "string": ["", "évt"], "double": [-0.5], "long": [-(2**62), 2**62], "boolean": [True, False],
    "bytes": [b"\xff"], "map": [{}, {"on": 1.5}],
}  # fmt: skip


def samples(schema: AvroSchema) -> list[dict[str, Any]]:
    """Records of a schema in which each field has each branch of its type once."""
    choices: dict[str, list[Any]] = {}
    for field in schema["fields"]:
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        choices[field["name"]] = [
            sample for kind in kinds for sample in _SAMPLES[kind["type"] if isinstance(kind, dict) else kind]
        ]
    most = max(map(len, choices.values()))
    return [{name: of[at % len(of)] for name, of in choices.items()} for at in range(most)]


def assert_compatible(one: AvroSchema, other: AvroSchema) -> None:
    """Each of two versions reads what the other wrote: shared fields as they were, others by their default."""
    for writer, reader in ((one, other), (other, one)):
        written_fields = {field["name"] for field in writer["fields"]}
        for written in samples(writer):
            expected = {
                field["name"]: written[field["name"]] if field["name"] in written_fields else field.get("default")
                for field in reader["fields"]
            }
            assert reread(written, writer, reader) == expected


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_every_version_reads_every_other(record: type) -> None:
    versions = list(released_schemas(record).values())
    for one in versions:
        for other in versions:
            assert_compatible(one, other)


def changed(**fields: Any) -> AvroSchema:
    """Session's schema with some fields put in, replaced or (None) taken out."""
    schema = copy.deepcopy(avro_schema(Session))
    kept = [field for field in schema["fields"] if field["name"] not in fields]
    put = [{"name": name, **field} for name, field in fields.items() if field is not None]
    return schema | {"fields": kept + put}


def test_what_may_change() -> None:
    """A new field with a default, in both directions; and again by a version after that."""
    second = changed(room={"type": ["null", "string"], "default": None})
    third = changed(room={"type": ["null", "string"], "default": None}, quality={"type": "double", "default": 1.0})
    assert_compatible(avro_schema(Session), second)
    assert_compatible(avro_schema(Session), third)
    assert_compatible(second, third)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"room": {"type": "string"}}, id="a new field without default"),
        pytest.param({"count": None}, id="a field without default taken out"),
        pytest.param({"count": {"type": "string"}}, id="another type"),
        pytest.param({"count": {"type": "double"}}, id="a wider type: readable one way only"),
        pytest.param({"count": {"type": ["null", "long"], "default": None}}, id="null allowed: readable one way only"),
        pytest.param({"home_id": {"type": "string", "default": ""}}, id="null no longer allowed"),
        pytest.param({"device_id": None, "device": {"type": "string"}}, id="a new name"),
        pytest.param({"count": {"type": {"type": "map", "values": "long"}}}, id="a map for a number"),
    ],
)
def test_what_may_not_change(fields: dict[str, Any]) -> None:
    with pytest.raises((AssertionError, fastavro.read.SchemaResolutionError)):
        assert_compatible(avro_schema(Session), changed(**fields))


def test_another_name_is_another_record() -> None:
    with pytest.raises((AssertionError, fastavro.read.SchemaResolutionError)):
        assert_compatible(avro_schema(Session), avro_schema(Session) | {"name": "Sitting"})


# --- What the schemas say


@given(st.sampled_from(RECORDS).flatmap(records))
def test_round_trip(record: Any) -> None:
    schema = avro_schema(type(record))
    assert reread(plain(record), schema, schema) == plain(record)


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_schemas_are_sound_and_complete(record: type) -> None:
    schema = avro_schema(record)
    parsed = fastavro.parse_schema(copy.deepcopy(schema))
    assert parsed["name"] == f"org.thingbeam.{record.__name__}"
    assert [field["name"] for field in schema["fields"]] == [field.name for field in fields_of(record)]
    assert json.loads(json.dumps(schema)) == schema
    for field in schema["fields"]:
        if isinstance(field["type"], list):
            assert field["type"][0] == "null"
            assert field["default"] is None


def test_types_and_defaults() -> None:
    fields = {field["name"]: field for record in (Event, Usage, Activity) for field in avro_schema(record)["fields"]}
    assert fields["event_time"] == {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-micros"}}
    assert fields["device_id"] == {"name": "device_id", "type": "string"}
    assert avro_schema(Event)["fields"][2] == {"name": "device_id", "type": ["null", "string"], "default": None}
    assert fields["kind"] == {"name": "kind", "type": "string", "default": "DEVICE_EVENT"}
    assert fields["seconds_in_state"]["type"] == {"type": "map", "values": "double"}
    assert fields["final"] == {"name": "final", "type": "boolean", "default": True}


def test_no_released_version() -> None:
    class Unheard(NamedTuple):
        text: str

    assert released_schemas(Unheard) == {}
    assert avro_schema(Unheard)["fields"] == [{"name": "text", "type": "string"}]


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        reread(plain(Event.of("e", Timestamp(0), "d", "c", "a", "\ud800")), avro_schema(Event), avro_schema(Event))
