"""From the client's messages to what ReadFromKafka gives: records or batches, with their event times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Message
from numpy.typing import NDArray

from thingbeam.io.event_times import EventTimes, TimeKind, event_times
from thingbeam.io.kafka.errors import WrongTimesError
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
    def of(cls, form: Form, topic: str, partition: int, messages: list[Message]) -> Elements | None:
        """None where none of the messages is wanted.

        Raises:
            WrongTimesError: the topic keeps the other sort of time.
        """
        stamps = [message.timestamp() for message in messages]
        wanted = _TIME_TYPES.get(form.time)
        if wanted is not None and stamps[0][0] != wanted:
            raise WrongTimesError(
                f"topic {topic} keeps {'append' if wanted == TIMESTAMP_CREATE_TIME else 'create'} times, and "
                f"time={form.time!r} was asked: see its message.timestamp.type"
            )
        millis = np.array([stamp[1] for stamp in stamps], np.int64)
        if (millis < 0).any():
            # Written by clients of before 0.10, which had none.
            millis = np.where(millis < 0, int(time.time() * 1000), millis)
        messages, millis = _within(form, messages, millis)
        if not messages:
            return None
        payloads = [message.value() for message in messages]
        micros = millis * 1000
        times, latest = event_times(form.event_time, payloads, micros)
        outputs = (
            _batch(topic, partition, messages, payloads, None if form.event_time is None else micros, times)
            if form.batches
            else _records(topic, partition, messages, payloads, micros, times)
        )
        return cls(outputs, len(messages), sum(map(len, messages)), latest)


def _within(form: Form, messages: list[Message], millis: Longs) -> tuple[list[Message], Longs]:
    """The messages whose own times are wanted."""
    if form.least_ms is None and form.limit_ms is None:
        return messages, millis
    within = np.ones(len(messages), bool)
    if form.least_ms is not None:
        within &= millis >= form.least_ms
    if form.limit_ms is not None:
        within &= millis < form.limit_ms
    if within.all():
        return messages, millis
    return [message for message, good in zip(messages, within.tolist(), strict=True) if good], millis[within]


def _batch(
    topic: str,
    partition: int,
    messages: list[Message],
    payloads: list[bytes | None],
    stamps: Longs | None,
    times: Longs,
) -> Iterator[Any]:
    keys = [message.key() for message in messages]
    offsets = np.array([message.offset() for message in messages], np.int64)
    found: list[Any] = [message.headers() for message in messages]
    headers = [tuple(some or ()) for some in found] if any(found) else None
    batch = PayloadBatch(topic, f"partition={partition}", offsets, payloads, keys, times, headers, stamps)
    yield TimestampedValue(batch, batch.earliest)


def _records(
    topic: str, partition: int, messages: list[Message], payloads: list[bytes | None], micros: Longs, times: Longs
) -> Iterator[Any]:
    for message, payload, stamp, at in zip(messages, payloads, micros.tolist(), times.tolist(), strict=True):
        headers: Any = message.headers()
        record = KafkaRecord(
            message.key(),
            payload,
            tuple(KafkaHeader(*header) for header in headers) if headers else (),
            Timestamp(micros=stamp),
            topic,
            partition,
            int(message.offset() or 0),
        )
        yield TimestampedValue(record, record.timestamp if at == stamp else Timestamp(micros=at))
