"""The stack's schema registry, spoken to as Confluent's clients do."""

from __future__ import annotations

import json
import uuid

import pytest

from stack_fixtures import Server
from thingbeam.runners.stack import rest

SCHEMAS = "application/vnd.schemaregistry.v1+json"
FIELDS = [{"name": "id", "type": "string"}]
ADDED = [*FIELDS, {"name": "unit", "type": ["null", "string"], "default": None}]
WITHOUT_DEFAULT = [*FIELDS, {"name": "unit", "type": "string"}]


def record(fields: list[dict[str, object]]) -> dict[str, str]:
    """A request's body with an Avro schema."""
    return {"schema": json.dumps({"type": "record", "name": "Event", "fields": fields})}


def register(registry: Server, subject: str, fields: list[dict[str, object]]) -> int:
    """Registers a schema and gives its id."""
    answer = rest.call("POST", f"{registry.uri}/subjects/{subject}/versions", record(fields), content=SCHEMAS)
    number: int = answer["id"]
    return number


def test_schemas_survive_kill_9(registry: Server) -> None:
    subject = f"events-{uuid.uuid4().hex}-value"
    first = register(registry, subject, FIELDS)
    second = register(registry, subject, ADDED)
    assert first != second
    with registry.killed(), pytest.raises(OSError, match="refused"):
        rest.call("GET", f"{registry.uri}/subjects")
    assert rest.call("GET", f"{registry.uri}/subjects/{subject}/versions") == [1, 2]
    for number, fields in ((first, FIELDS), (second, ADDED)):
        stored = rest.call("GET", f"{registry.uri}/schemas/ids/{number}")["schema"]
        assert json.loads(stored) == json.loads(record(fields)["schema"])
    assert register(registry, subject, FIELDS) == first


def test_what_is_not_compatible_is_refused(registry: Server) -> None:
    subject = f"events-{uuid.uuid4().hex}-value"
    register(registry, subject, FIELDS)
    rest.call("PUT", f"{registry.uri}/config/{subject}", {"compatibility": "BACKWARD"}, content=SCHEMAS)
    with pytest.raises(rest.RestError) as refused:
        register(registry, subject, WITHOUT_DEFAULT)
    assert refused.value.status == 409
    register(registry, subject, ADDED)


def test_an_unknown_schema_is_not_found(registry: Server) -> None:
    with pytest.raises(rest.RestError) as refused:
        rest.call("GET", f"{registry.uri}/schemas/ids/999999")
    assert refused.value.status == 404
