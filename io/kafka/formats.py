"""Records to messages and back: JSON, and Avro whose messages name their schema in a registry."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, Final, Generic, NamedTuple

import apache_beam as beam
import fastavro
import msgspec
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.files.json_lines import decode_json_lines, encode_json_line
from thingbeam.io.files.times import timestamp_of
from thingbeam.io.kafka.records import KafkaMessage, KafkaRecord
from thingbeam.io.kafka.registry import RegistryError, SchemaRegistry, UnknownSchemaError, frame, unframe
from thingbeam.schemas import codes
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.schemas.avro import avro_schema
from thingbeam.schemas.fields import Field, RecordType, fields_of
from thingbeam.schemas.payloads import PayloadBatch
from thingbeam.schemas.records import DeadLetter

__all__ = ["AvroFormat", "DecodeMessages", "DecodedMessages", "EncodeMessages", "JsonFormat"]

NAMESPACE: Final = "thingbeam.io.kafka"
DEAD_LETTERS: Final = "dead_letters"
RECORDS: Final = "records"
_KEPT_BYTES: Final = 64 << 10


class JsonFormat(Generic[RecordType]):
    """One record as one JSON object, as our JSON Lines files have it.

    Args:
        record: the type.

    >>> from thingbeam.schemas import Event
    >>> event = Event.of("e1", Timestamp(0), "d1", "switch", "switch", "on")
    >>> text = JsonFormat(Event)
    >>> text.decode(text.encode(event, "events")) == event
    True
    """

    def __init__(self, record: type[RecordType]) -> None:
        self.record = record

    def encode(self, record: RecordType, topic: str) -> bytes:
        """A record as a message's value.

        Raises:
            ValueError: a number that is not finite, or a time outside the years 1 to 9999.
        """
        return encode_json_line(record).rstrip(b"\n")

    def decode(self, value: bytes) -> RecordType:
        """The record of a message's value.

        Raises:
            ValueError: it is none; msgspec's DecodeError is one.
        """
        found = decode_json_lines(value.replace(b"\n", b" "), self.record)
        if len(found) != 1:
            raise ValueError(f"{len(found)} JSON documents in one message")
        return found[0]


class AvroFormat(Generic[RecordType]):
    """One record in Avro, with the number of its schema before it: Confluent's wire format.

    Each message is read by the schema that it was written with, and resolved to ours: fields that it lacks have their
    defaults, fields that we do not know are passed over.

    Args:
        record: the type.
        registry: where the schemas are.
        subject: under which ours is registered; `{topic}-value` as Confluent's serialisers name it.
    """

    def __init__(self, record: type[RecordType], registry: SchemaRegistry, subject: str = "{topic}-value") -> None:
        self.record = record
        self.registry = registry
        self.subject = subject

    def encode(self, record: RecordType, topic: str) -> bytes:
        """A record as a message's value. Registers the schema, the first time.

        Raises:
            RegistryError: no answer, or a schema that is not compatible with the subject's others.
        """
        number = self.registry.register(self.subject.format(topic=topic), avro_schema(self.record))
        row = {
            field.name: value.micros if field.type == "timestamp" and value is not None else value
            for field, value in zip(fields_of(self.record), record, strict=True)
        }
        buffer = BytesIO()
        fastavro.schemaless_writer(buffer, _parsed(self.record), row)
        return frame(number, buffer.getvalue())

    def decode(self, value: bytes) -> RecordType:
        """The record of a message's value.

        Raises:
            ValueError: it names no schema, or does not decode by it, or cannot be resolved to ours.
            UnknownSchemaError: the registry does not know the schema.
            RegistryError: no answer.
        """
        number, data = unframe(value)
        written = _writers(self.registry, number)
        buffer = BytesIO(data)
        try:
            row: Any = fastavro.schemaless_reader(buffer, written, _parsed(self.record))
        # Damaged bytes lead fastavro to nearly any error.
        except Exception as error:
            raise ValueError(
                f"Avro of schema {number}: {' '.join(str(error).split()) or type(error).__name__}"
            ) from error
        if buffer.tell() != len(data):
            raise ValueError(f"Avro of schema {number}: {len(data) - buffer.tell()} bytes are left")
        return self.record(*(_value(row[field.name], field) for field in fields_of(self.record)))


def _value(read: Any, field: Field) -> Any:
    if field.type != "timestamp" or read is None:
        return read
    # A writer that does not say that its number is a time means the unit that we do.
    return Timestamp(micros=read) if isinstance(read, int) else timestamp_of(read)


@functools.cache
def _parsed(record: type) -> Any:
    return fastavro.parse_schema(avro_schema(record))


@functools.lru_cache(maxsize=1024)
def _writers(registry: SchemaRegistry, number: int) -> Any:
    schema = registry.schema(number)
    try:
        return fastavro.parse_schema(schema)
    except Exception as error:
        raise RegistryError(f"schema {number} is not Avro: {error}") from error


class EncodeMessages(beam.PTransform[Any, Any]):
    """Records to `KafkaMessage`.

    Args:
        form: `JsonFormat` or `AvroFormat`.
        topic: of the messages, which also names the subject of an Avro schema.
        key: from a record to the message's key; None for no key.
    """

    def __init__(
        self, form: JsonFormat[Any] | AvroFormat[Any], topic: str, key: Callable[[Any], bytes | None] | None = None
    ) -> None:
        super().__init__()
        self._form, self._topic, self._key = form, topic, key

    def expand(self, records: Any) -> Any:
        """Encode."""
        form, topic, key = self._form, self._topic, self._key

        def encode(record: Any) -> KafkaMessage:
            return KafkaMessage(form.encode(record, topic), key(record) if key else None, topic)

        return records | "Encode" >> beam.Map(encode).with_output_types(KafkaMessage)


class DecodedMessages(NamedTuple):
    """What DecodeMessages gives: two PCollections."""

    records: Any
    """Of the format's record, or of pyarrow.RecordBatch of them."""
    dead_letters: Any
    """Of DeadLetter."""


class DecodeMessages(beam.PTransform[Any, Any]):
    """Messages to records, and what does not decode to dead letters with its position.

    Takes a PCollection of `KafkaRecord`, `KafkaBatch` or `bytes`. A tombstone has nothing to decode: it is counted
    (`tombstones`) and passed over. A registry that does not answer fails the bundle, which the runner tries again; a
    schema that it does not know is the message's own fault.

    Args:
        form: `JsonFormat` or `AvroFormat`.
        batches: give pyarrow.RecordBatch, one for each batch that comes in: what `ParseEvents` takes.
        redact: blanks secrets in what dead letters keep.
    """

    def __init__(
        self,
        form: JsonFormat[Any] | AvroFormat[Any],
        *,
        batches: bool = False,
        redact: Callable[[bytes], bytes] | None = None,
    ) -> None:
        super().__init__()
        self._form, self._batches, self._redact = form, batches, redact

    def expand(self, messages: Any) -> DecodedMessages:
        """Decode."""
        decoded = messages | "Decode" >> beam.ParDo(
            _Decode(self.label, self._form, self._batches, self._redact)
        ).with_outputs(DEAD_LETTERS, main=RECORDS)
        records, dead = decoded[RECORDS], decoded[DEAD_LETTERS]
        records.element_type = pa.RecordBatch if self._batches else self._form.record
        dead.element_type = DeadLetter
        return DecodedMessages(records, dead)


class _Decode(beam.DoFn):
    def __init__(
        self,
        step: str,
        form: JsonFormat[Any] | AvroFormat[Any],
        batches: bool,
        redact: Callable[[bytes], bytes] | None,
    ) -> None:
        self._step, self._form, self._batches, self._redact = step, form, batches, redact
        self._tombstones = Metrics.counter(NAMESPACE, "tombstones")
        self._dead = Metrics.counter(NAMESPACE, "dead_letters")

    def process(self, element: bytes | KafkaRecord | PayloadBatch) -> Iterator[Any]:
        """Decode one message, or those of one batch."""
        records: list[Any] = []
        for payload, source, position in _messages(element):
            if payload is None:
                self._tombstones.inc()
                continue
            try:
                records.append(self._form.decode(payload))
            except (ValueError, RecursionError, UnknownSchemaError) as error:
                self._dead.inc()
                yield TaggedOutput(DEAD_LETTERS, self._letter(payload, source, position, error))
        if not self._batches:
            yield from records
        elif records:
            yield to_record_batch(records, self._form.record)

    def _letter(self, payload: bytes, source: str, position: str, error: Exception) -> DeadLetter:
        kept = (payload if self._redact is None else self._redact(payload))[:_KEPT_BYTES]
        message = " ".join(str(error).split())[:500]
        return DeadLetter(kept, source, position, self._step, _code(error, self._form), message, Timestamp.now())


def _code(error: Exception, form: object) -> str:
    if isinstance(form, AvroFormat):
        return codes.SCHEMA_MISMATCH
    if isinstance(error, msgspec.ValidationError):
        return codes.MISSING_FIELD if "missing required field" in str(error) else codes.WRONG_TYPE
    if isinstance(error, RecursionError):
        return codes.TOO_DEEP
    return codes.INVALID_JSON


def _messages(element: bytes | KafkaRecord | PayloadBatch) -> Iterator[tuple[bytes | None, str, str]]:
    if isinstance(element, PayloadBatch):
        for number, payload in enumerate(element.payloads):
            yield payload, element.source, element.position(number)
    elif isinstance(element, KafkaRecord):
        yield element.value, element.topic, element.position
    else:
        yield element, "", ""
