"""Beam coders: explicit, versioned bytes, never pickle."""

from __future__ import annotations

import hashlib
import types
import typing
import uuid
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import Coder, RowCoder
from apache_beam.portability.api import schema_pb2
from apache_beam.typehints.schema_registry import SCHEMA_REGISTRY, SchemaTypeRegistry
from apache_beam.typehints.schemas import named_tuple_to_schema

from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.blob import Blob, BlobCoder
from thingbeam.schemas.payloads import PayloadBatch, PayloadBatchCoder
from thingbeam.schemas.records import Activity, DeadLetter, Event, Session, Usage

__all__ = ["ArrowBatchCoder", "EventBatchCoder", "register_coders", "register_rows"]


_NAMESPACE: Final = uuid.UUID("0d3f0c39-6d7c-4d0e-9a3e-51a6a2b7d1c4")


class EventBatchCoder(Coder):
    """EventBatch in its own versioned encoding."""

    def encode(self, value: EventBatch) -> bytes:
        """The batch as bytes."""
        return value.encode()

    def decode(self, encoded: bytes) -> EventBatch:
        """The batch of these bytes."""
        return EventBatch.decode(encoded)

    def estimate_size(self, value: EventBatch) -> int:
        """Bytes, without encoding: Beam samples sizes, by pickling where a coder cannot say."""
        return value.nbytes

    def is_deterministic(self) -> bool:
        """Not promised: the order of names follows their arrival."""
        return False

    def to_type_hint(self) -> type:
        """The type that it is registered for."""
        return EventBatch


class ArrowBatchCoder(Coder):
    """pyarrow.RecordBatch as one Arrow IPC stream."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        """The batch, with its schema, as bytes."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_batch(value)
        encoded: bytes = sink.getvalue().to_pybytes()
        return encoded

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        """The batch of these bytes."""
        with pa.ipc.open_stream(pa.py_buffer(encoded)) as reader:
            return reader.read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        """Bytes, without encoding."""
        size: int = value.nbytes
        return size

    def is_deterministic(self) -> bool:
        """Equal batches may differ in buffers."""
        return False

    def to_type_hint(self) -> Any:
        """The type that it is registered for."""
        return pa.RecordBatch


def register_rows(*records: type) -> None:
    """Teach Beam's registry some NamedTuples, as rows.

    Beam takes annotations as they stand, and under `from __future__ import annotations` they stand as text: each field
    would be a value of any type, pickled, which engines in Java cannot read. So they are resolved first. `X | None` too
    is any type to Beam, unless it is written as a Union.

    Beam finds the type of a row by an id that it makes up in each process: in another one, a worker of an engine, rows
    would come out as a type of Beam's own. So the id is made of the name and the fields, everywhere the same.
    """
    for record in records:
        record.__annotations__ = {name: _as_beam_reads(hint) for name, hint in typing.get_type_hints(record).items()}
        beam.coders.registry.register_coder(record, RowCoder)
        schema = named_tuple_to_schema(record, SchemaTypeRegistry())
        fields = schema_pb2.Schema()
        fields.CopyFrom(schema)
        _forget_ids(fields)
        words = f"{record.__module__}.{record.__qualname__}".encode() + fields.SerializeToString(deterministic=True)
        schema.id = str(uuid.uuid5(_NAMESPACE, hashlib.sha256(words).hexdigest()))
        record._beam_schema_id = schema.id  # type: ignore[attr-defined]
        SCHEMA_REGISTRY.add(record, schema)


def _forget_ids(schema: Any) -> None:
    """Also of the rows within, as Beam has them for a timestamp."""
    schema.id = ""
    types_of_fields = [field.type for field in schema.fields]
    while types_of_fields:
        some = types_of_fields.pop()
        kind = some.WhichOneof("type_info")
        if kind == "row_type":
            _forget_ids(some.row_type.schema)
        elif kind == "logical_type":
            types_of_fields += [some.logical_type.representation, some.logical_type.argument_type]
        elif kind == "map_type":
            types_of_fields += [some.map_type.key_type, some.map_type.value_type]
        elif kind in ("array_type", "iterable_type"):
            types_of_fields.append(getattr(some, kind).element_type)


def _as_beam_reads(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        return typing.Union[hint.__args__]  # noqa: UP007  # made at run time, of members that are not known here
    return hint


def register_coders() -> None:
    """Teach Beam's registry the records (row coder) and the batches. Importing thingbeam.schemas does it."""
    register_rows(Event, Activity, Session, Usage, DeadLetter)
    beam.coders.registry.register_coder(EventBatch, EventBatchCoder)
    beam.coders.registry.register_coder(Blob, BlobCoder)
    beam.coders.registry.register_coder(PayloadBatch, PayloadBatchCoder)
    beam.coders.registry.register_coder(pa.RecordBatch, ArrowBatchCoder)
