"""From the client's messages to what ReadFromKafka gives: records or batches, with their event times."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME
from numpy.typing import NDArray

from thingbeam.io.event_times import EventTimes, TimeKind, event_times
from thingbeam.io.kafka.errors import WrongTimesError
from thingbeam.io.kafka.messages import Messages
from thingbeam.io.kafka.records import KafkaHeader, KafkaRecord
from thingbeam.schemas.payloads import PayloadBatch

__all__ = ["Elements", "Form"]

_TIME_TYPES: Final = {"log_append": TIMESTAMP_LOG_APPEND_TIME, "create": TIMESTAMP_CREATE_TIME}

Longs = NDArray[np.int64]


class Form(NamedTuple):
    """What is wanted of messages."""

    batches: bool
    time: TimeKind
    event_time: EventTimes | None
    least_ms: int | None
    """Records from before are passed over: a time as start, where create times are out of order."""
    limit_ms: int | None
    """Records from here on are passed over: a time as stop."""


class Elements(NamedTuple):
    """What some messages of one partition come to."""

    outputs: Iterator[Any]
    """TimestampedValue of KafkaRecord, or of one PayloadBatch."""
    records: int
    nbytes: int
    latest: int
    """The newest event time, in microseconds since 1970; UNKNOWN_TIME where none could be read."""

    @classmethod
    def of(cls, form: Form, topic: str, partition: int, messages: Messages) -> Elements | None:
        """None where none of the messages is wanted.

        Raises:
            WrongTimesError: the topic keeps the other sort of time.
        """
        wanted = _TIME_TYPES.get(form.time)
        if wanted is not None and messages.time_type != wanted:
            raise WrongTimesError(
                f"topic {topic} keeps {'append' if wanted == TIMESTAMP_CREATE_TIME else 'create'} times, and "
                f"time={form.time!r} was asked: see its message.timestamp.type"
            )
        millis = messages.millis
        if (millis < 0).any():
            # Written by clients of before 0.10, which had none.
            millis = np.where(millis < 0, int(time.time() * 1000), millis)
        if form.least_ms is not None or form.limit_ms is not None:
            within = np.ones(len(millis), bool)
            if form.least_ms is not None:
                within &= millis >= form.least_ms
            if form.limit_ms is not None:
                within &= millis < form.limit_ms
            messages, millis = messages.only(within), millis[within]
        if not len(messages):
            return None
        micros = millis * 1000
        times, latest = event_times(form.event_time, messages.payloads, micros)
        outputs = (
            _batch(topic, partition, messages, None if form.event_time is None else micros, times)
            if form.batches
            else _records(topic, partition, messages, micros, times)
        )
        return cls(outputs, len(messages), messages.nbytes, latest)


def _batch(topic: str, partition: int, messages: Messages, stamps: Longs | None, times: Longs) -> Iterator[Any]:
    batch = PayloadBatch(
        topic, f"partition={partition}", messages.offsets, messages.payloads, messages.keys, times,
        messages.headers or None, stamps,
    )  # fmt: skip
    yield TimestampedValue(batch, batch.earliest)


def _records(topic: str, partition: int, messages: Messages, micros: Longs, times: Longs) -> Iterator[Any]:
    for key, payload, headers, stamp, at, offset in zip(
        messages.keys,
        messages.payloads,
        messages.headers or itertools.repeat((), len(messages)),
        micros.tolist(),
        times.tolist(),
        messages.offsets.tolist(),
        strict=True,
    ):
        named = tuple(KafkaHeader(*header) for header in headers) if headers else ()
        record = KafkaRecord(key, payload, named, Timestamp(micros=stamp), topic, partition, offset)
        yield TimestampedValue(record, record.timestamp if at == stamp else Timestamp(micros=at))
