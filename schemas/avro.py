"""Avro schemas of the records: derived from them, and the released ones that never change."""

from __future__ import annotations

import functools
import json
import re
from importlib import resources
from typing import Any

from thingbeam.schemas.fields import FieldType, fields_of, name_of

__all__ = ["NAMESPACE", "avro_schema", "released_schemas"]

NAMESPACE = "org.thingbeam"

AvroSchema = dict[str, Any]

_AVRO: dict[FieldType, object] = {
    "string": "string",
    "double": "double",
    "long": "long",
    "boolean": "boolean",
    "bytes": "bytes",
    "timestamp": {"type": "long", "logicalType": "timestamp-micros"},
    "map_of_double": {"type": "map", "values": "double"},
}


@functools.cache
def avro_schema(record: type) -> AvroSchema:
    """The Avro schema of a record type, as a plain dict for `fastavro`.

    Times are `timestamp-micros`, optional fields unions with null that default to null.

    >>> from thingbeam.schemas.records import Session
    >>> avro_schema(Session)["fields"][0]
    {'name': 'device_id', 'type': 'string'}
    """
    fields: list[AvroSchema] = []
    for field in fields_of(record):
        kind = _AVRO[field.type]
        entry: AvroSchema = {"name": field.name, "type": ["null", kind] if field.optional else kind}
        if field.optional:
            entry["default"] = None
        elif field.has_default:
            entry["default"] = field.default
        fields.append(entry)
    return {"type": "record", "name": record.__name__, "namespace": NAMESPACE, "fields": fields}


def released_schemas(record: type) -> dict[int, AvroSchema]:
    """Every released version of a record's schema, by number; the last is the one written today.

    >>> from thingbeam.schemas.records import Event
    >>> released_schemas(Event)[1]["name"]
    'Event'
    """
    pattern = re.compile(rf"{name_of(record)}\.v(\d+)\.avsc")
    versions: dict[int, AvroSchema] = {}
    for entry in resources.files("thingbeam.schemas").joinpath("released").iterdir():
        if match := pattern.fullmatch(entry.name):
            versions[int(match[1])] = json.loads(entry.read_text())
    return dict(sorted(versions.items()))
