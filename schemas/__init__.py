"""What flows: the records, each defined once, with their Avro and Arrow forms and Beam coders."""

from __future__ import annotations

from thingbeam.schemas.arrow import arrow_schema, from_record_batch, to_record_batch
from thingbeam.schemas.avro import avro_schema, released_schemas
from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.blob import Blob
from thingbeam.schemas.coders import register_coders
from thingbeam.schemas.records import Activity, DeadLetter, Event, Session, Usage, Value

__all__ = [
    "Activity",
    "Blob",
    "DeadLetter",
    "Event",
    "EventBatch",
    "Session",
    "Usage",
    "Value",
    "arrow_schema",
    "avro_schema",
    "from_record_batch",
    "register_coders",
    "released_schemas",
    "to_record_batch",
]

register_coders()
