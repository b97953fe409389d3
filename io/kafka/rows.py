"""Rows of results as messages: the key says which result it is, a tombstone that it is no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import apache_beam as beam
import msgspec
import numpy as np
import pyarrow as pa

from thingbeam.io.files.json_lines import encode_json_lines
from thingbeam.io.files.times import time_text
from thingbeam.io.kafka.formats import AvroFormat, JsonFormat
from thingbeam.io.kafka.records import KafkaMessage
from thingbeam.schemas.arrow import from_record_batch
from thingbeam.schemas.keys import KEY_FIELDS, key_of
from thingbeam.schemas.payloads import PayloadBatch
from thingbeam.schemas.records import DeadLetter

__all__ = ["EncodeRecords", "EncodeRows", "key_text"]

_ENCODER: Final = msgspec.json.Encoder(enc_hook=lambda value: time_text(value.micros))
_KEPT_BYTES: Final = 64 << 10

Form = JsonFormat[Any] | AvroFormat[Any]


def key_text(record: Any) -> bytes:
    """A record's key as a message's: its fields as a JSON array, the same bytes every time.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> from thingbeam.schemas import Event
    >>> key_text(Event.of("e1", Timestamp(0), "d1", "switch", "switch", "on"))
    b'["d1","e1","1970-01-01T00:00:00Z"]'
    """
    return _ENCODER.encode(key_of(record))


class EncodeRows(beam.DoFn):
    """(name, pyarrow.RecordBatch) to PayloadBatch: hundreds of messages as one element.

    Args:
        form: how a row becomes a value.
        topic: that it is for.
    """

    def __init__(self, form: Form, topic: str) -> None:
        self._form, self._topic = form, topic

    def process(self, named: tuple[str, pa.RecordBatch]) -> Iterator[PayloadBatch]:
        """Encode the rows of a batch."""
        batch = named[1]
        if not batch.num_rows:
            return
        values: list[bytes | None] = list(self._values(batch))
        if "deleted" in batch.schema.names:
            deleted = batch.column("deleted").to_pylist()
            values = [None if gone else value for value, gone in zip(values, deleted, strict=True)]
        zeros = np.zeros(batch.num_rows, np.int64)
        yield PayloadBatch(self._topic, "", zeros, values, _keys(batch, self._form.record), zeros)

    def _values(self, batch: pa.RecordBatch) -> list[bytes]:
        if isinstance(self._form, JsonFormat):
            return encode_json_lines(batch, self._form.record).splitlines()
        records = from_record_batch(batch, self._form.record)
        return [self._form.encode(record, self._topic) for record in records]


def _keys(batch: pa.RecordBatch, record: type[Any]) -> list[bytes]:
    columns = []
    for name in KEY_FIELDS[record]:
        column = batch.column(name)
        if pa.types.is_timestamp(column.type):
            columns.append([time_text(micros) for micros in column.cast(pa.int64()).to_pylist()])
        else:
            columns.append(column.to_pylist())
    return [_ENCODER.encode(key) for key in zip(*columns, strict=True)]


class EncodeRecords(beam.DoFn):
    """Records to KafkaMessage. Of a dead letter's payload the first 64 KiB are kept, so that any topic takes it.

    Args:
        form: how a record becomes a value.
        topic: that it is for.
    """

    def __init__(self, form: Form, topic: str) -> None:
        self._form, self._topic = form, topic

    def process(self, record: Any) -> Iterator[KafkaMessage]:
        """Encode one."""
        gone = getattr(record, "deleted", False)
        value = None if gone else self._form.encode(_cut(record), self._topic)
        yield KafkaMessage(value, key_text(record), self._topic)


def _cut(record: Any) -> Any:
    if not isinstance(record, DeadLetter) or len(record.payload) <= _KEPT_BYTES:
        return record
    error = f"{record.error} (the first {_KEPT_BYTES} of {len(record.payload)} bytes are kept)"
    return record._replace(payload=record.payload[:_KEPT_BYTES], error=error)
