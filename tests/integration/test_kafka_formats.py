"""JSON and Avro in messages, with a real registry and a real broker."""

from __future__ import annotations

import json
import urllib.request
from io import BytesIO
from typing import Any

import apache_beam as beam
import fastavro
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.timestamp import Timestamp

from kafka_running import collect, collected, produce
from stack_fixtures import Broker, Server
from thingbeam.io.kafka import ReadFromKafka, WriteToKafka
from thingbeam.io.kafka.formats import AvroFormat, DecodeMessages, EncodeMessages, JsonFormat
from thingbeam.io.kafka.registry import RegistryError, SchemaRegistry, UnknownSchemaError, frame, unframe
from thingbeam.schemas import Event, Session, avro_schema

EVENTS = [
    Event.of("e1", Timestamp(0.000001), "lamp", "switch", "switch", "on", home_id="h", state_change=True),
    Event.of("e2", Timestamp(1175378400), "plug", "powerMeter", "power", 3480.5, unit="W"),
    Event.of("e3", Timestamp(-1), None, "x", "y", {"a": [1, None]}, ingest_time=Timestamp(5)),
]


def key_of(event: Event) -> bytes:
    return (event.device_id or "").encode()


def through(broker: Broker, topic: str, form: Any, events: list[Event], *, batches: bool = False) -> list[Event]:
    """Events written to a topic and read again."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        messages = pipeline | beam.Create(events) | EncodeMessages(form, topic, key_of)
        _ = messages | WriteToKafka(broker.address)
    return decoded(broker, topic, form, batches=batches)[0]


def decoded(broker: Broker, topic: str, form: Any, *, batches: bool = False) -> tuple[list[Any], list[Any]]:
    """The records of a topic, and the dead letters."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        messages = pipeline | ReadFromKafka(broker.address, topic, stop="latest", batches=batches)
        done = messages | DecodeMessages(form)
        records, dead = collect(done.records), collect(done.dead_letters)
    return collected.pop(records), collected.pop(dead)


@pytest.mark.parametrize("batches", [False, True])
def test_json_there_and_back(kafka: Broker, batches: bool) -> None:
    found = through(kafka, kafka.topic(), JsonFormat(Event), EVENTS, batches=batches)
    assert sorted(found, key=lambda event: event.event_id) == EVENTS


@pytest.mark.parametrize("batches", [False, True])
def test_avro_there_and_back(kafka: Broker, registry: Server, batches: bool) -> None:
    topic = kafka.topic()
    form = AvroFormat(Event, SchemaRegistry(registry.uri))
    assert sorted(through(kafka, topic, form, EVENTS, batches=batches), key=lambda event: event.event_id) == EVENTS
    number, version, schema = SchemaRegistry(registry.uri).latest(f"{topic}-value")
    assert version == 1
    assert schema["name"] == "Event"
    with beam.Pipeline(FnApiRunner()) as pipeline:
        name = collect(pipeline | ReadFromKafka(kafka.address, topic, stop="latest"))
    assert {unframe(record.value)[0] for record in collected.pop(name)} == {number}


def test_another_reader_understands_it(registry: Server) -> None:
    """By the specification alone: the schema's number from the five bytes, the schema from the registry, fastavro."""
    form = AvroFormat(Event, SchemaRegistry(registry.uri), "plain-reader-value")
    value = form.encode(EVENTS[1], "any")
    assert value[0] == 0
    number = int.from_bytes(value[1:5], "big")
    with urllib.request.urlopen(f"{registry.uri}/schemas/ids/{number}") as answer:
        schema = json.loads(json.loads(answer.read())["schema"])
    row: Any = fastavro.schemaless_reader(BytesIO(value[5:]), fastavro.parse_schema(schema), None)
    assert (row["event_id"], row["number"], row["unit"]) == ("e2", 3480.5, "W")
    assert row["event_time"].timestamp() == 1175378400


def encoded(registry: SchemaRegistry, subject: str, schema: Any, row: dict[str, Any]) -> bytes:
    """A message of another writer's."""
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(json.loads(json.dumps(schema))), row)
    return frame(registry.register(subject, schema), buffer.getvalue())


def test_schemas_evolve_while_it_runs(kafka: Broker, registry: Server) -> None:
    """One topic with an older writer, ours, and a newer one, in one read."""
    topic, here = kafka.topic(), SchemaRegistry(registry.uri)
    form, subject = AvroFormat(Event, here), f"{topic}-value"
    ours = avro_schema(Event)
    older = {**ours, "fields": [f for f in ours["fields"] if f["name"] not in ("last_reset", "ingest_time")]}
    newer = {**ours, "fields": [{"name": "firmware", "type": "string", "default": ""}, *ours["fields"]]}
    millis = json.loads(json.dumps(ours).replace("timestamp-micros", "timestamp-millis"))
    row = {
        field["name"]: value.micros if isinstance(value, Timestamp) else value
        for field, value in zip(ours["fields"], EVENTS[1], strict=True)
    }
    values = [
        encoded(here, subject, older, row),
        form.encode(EVENTS[1], topic),
        encoded(here, subject, newer, {**row, "firmware": "1.2"}),
        encoded(here, f"{subject}-millis", millis, {**row, "event_time": 1175378400_000}),
    ]
    assert len({unframe(value)[0] for value in values}) == 4
    produce(kafka.address, ((topic, 0, value, 0) for value in values))
    found, dead = decoded(kafka, topic, form)
    assert found == [EVENTS[1]] * 4
    assert dead == []


def test_what_does_not_decode_is_a_dead_letter(kafka: Broker, registry: Server) -> None:
    topic, here = kafka.topic(), SchemaRegistry(registry.uri)
    form = AvroFormat(Event, here)
    good = form.encode(EVENTS[0], topic)
    strange = encoded(here, f"{topic}-other", {"type": "record", "name": "Other", "fields": []}, {})
    bad = [b"", b"\x00\x00", b"{}text", frame(99_999_999, b"x"), good[:-3], good + b"x", strange]
    produce(kafka.address, ((topic, 0, value, 0) for value in [good, *bad]))
    found, dead = decoded(kafka, topic, form)
    assert found == [EVENTS[0]]
    assert [(letter.payload, letter.source, letter.position) for letter in dead] == [
        (value, topic, f"partition=0 offset={offset}") for offset, value in enumerate(bad, 1)
    ]
    assert {letter.code for letter in dead} == {"schema_mismatch"}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"not JSON", "invalid_json"),
        (b"", "invalid_json"),
        (b'{"event_id": 5}', "wrong_type"),
        (b"{}", "missing_field"),
        (JsonFormat(Event).encode(EVENTS[0], "") * 2, "invalid_json"),
    ],
)
def test_json_that_is_no_record(kafka: Broker, value: bytes, code: str) -> None:
    topic = kafka.topic()
    produce(kafka.address, iter([(topic, 0, value, 0)]))
    found, dead = decoded(kafka, topic, JsonFormat(Event))
    assert found == []
    assert [letter.code for letter in dead] == [code]


def test_a_tombstone_is_passed_over(kafka: Broker) -> None:
    topic = kafka.topic()
    with beam.Pipeline(FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create([(b"k", None)]) | WriteToKafka(kafka.address, topic)
    assert decoded(kafka, topic, JsonFormat(Event)) == ([], [])


def test_an_incompatible_schema_is_refused_by_the_registry(registry: Server) -> None:
    here = SchemaRegistry(registry.uri)
    subject = "strict-value"
    here.register(subject, avro_schema(Session))
    body = json.dumps({"compatibility": "FULL"}).encode()
    request = urllib.request.Request(
        f"{registry.uri}/config/{subject}", body, {"Content-Type": "application/json"}, method="PUT"
    )
    urllib.request.urlopen(request).close()
    with pytest.raises(RegistryError, match="not compatible"):
        here.register(subject, avro_schema(Event))


def test_what_a_registry_says(registry: Server) -> None:
    here = SchemaRegistry(registry.uri)
    with pytest.raises(UnknownSchemaError, match="/subjects/none/versions/latest"):
        here.latest("none")
    with pytest.raises(UnknownSchemaError):
        here.schema(88_888_888)
    gone = SchemaRegistry("http://127.0.0.1:1", timeout=1)
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:1: no answer"):
        gone.schema(1)


def test_a_registry_that_comes_back_is_waited_for(registry: Server) -> None:
    here = SchemaRegistry(registry.uri)
    number = here.register("patient-value", avro_schema(Session))
    registry.kill()
    # Known in this process, so nobody is asked.
    assert here.register("patient-value", avro_schema(Session)) == number
    registry.restart()
    assert SchemaRegistry(registry.uri, timeout=5).schema(number)["name"] == "Session"
