"""Rows of results as messages: the key says which result it is, a tombstone that it is no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from thingbeam.io.files.json_lines import encode_json_lines
from thingbeam.io.kafka.formats import AvroFormat, JsonFormat
from thingbeam.io.kafka.records import KafkaMessage
from thingbeam.io.keys import key_text, key_texts
from thingbeam.io.letters import shortened
from thingbeam.schemas.arrow import from_record_batch
from thingbeam.schemas.payloads import PayloadBatch

__all__ = ["EncodeRecords", "EncodeRows", "key_text"]

Form = JsonFormat[Any] | AvroFormat[Any]


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
        yield PayloadBatch(self._topic, "", zeros, values, key_texts(batch, self._form.record), zeros)

    def _values(self, batch: pa.RecordBatch) -> list[bytes]:
        if isinstance(self._form, JsonFormat):
            return encode_json_lines(batch, self._form.record).splitlines()
        records = from_record_batch(batch, self._form.record)
        return [self._form.encode(record, self._topic) for record in records]


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
        value = None if gone else self._form.encode(shortened(record), self._topic)
        yield KafkaMessage(value, key_text(record), self._topic)
