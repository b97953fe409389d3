"""What is read from Kafka and what is written to it, as typed records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.coders import register_rows
from thingbeam.schemas.payloads import PayloadBatch

__all__ = ["ENDLESS", "KafkaBatch", "KafkaHeader", "KafkaMessage", "KafkaPartition", "KafkaRecord", "KafkaWritten",
           "records_of"]  # fmt: skip

ENDLESS: Final = (1 << 63) - 1
"""The stop of a partition that is read for ever."""

KafkaBatch = PayloadBatch
"""What `ReadFromKafka(batches=True)` gives: many messages of one partition as one element."""


class KafkaHeader(NamedTuple):
    """One header. A key may come more than once, and the order counts."""

    key: str
    value: bytes | None = None


class KafkaRecord(NamedTuple):
    """One message as it stands in a topic."""

    key: bytes | None
    value: bytes | None
    """None is a tombstone."""
    headers: Sequence[KafkaHeader]
    timestamp: Timestamp
    """The broker's or the producer's, as the topic keeps it: see its message.timestamp.type. In milliseconds."""
    topic: str
    partition: int
    offset: int

    @property
    def payload(self) -> bytes | None:
        """The value, as every `Message` names it."""
        return self.value

    @property
    def source(self) -> str:
        """The topic, as every `Message` names it."""
        return self.topic

    @property
    def position(self) -> str:
        """Where it stood, as a dead letter says it.

        >>> KafkaRecord(None, b"{}", (), Timestamp(0), "events", 3, 77).position
        'partition=3 offset=77'
        """
        return f"partition={self.partition} offset={self.offset}"


class KafkaMessage(NamedTuple):
    """One message to be written."""

    value: bytes | None
    """None is a tombstone: with compaction, the key's removal."""
    key: bytes | None = None
    """Says the partition, by its hash, and is what compaction keeps the last of."""
    topic: str | None = None
    """None for the sink's own."""
    headers: Sequence[KafkaHeader] = ()
    timestamp: Timestamp | None = None
    """None for the time of writing. Kept in milliseconds; a topic of log append times replaces it."""


class KafkaPartition(NamedTuple):
    """A partition to be read, from `start` up to but without `stop`."""

    topic: str
    partition: int
    start: int
    stop: int = ENDLESS
    topic_id: str | None = None
    """The topic's own, which another of its name does not have; None where the broker gives none."""


class KafkaWritten(NamedTuple):
    """What one bundle wrote to one topic, all of it acknowledged."""

    topic: str
    count: int  # type: ignore[assignment]  # hides tuple.count
    """Messages."""
    nbytes: int
    """Of keys and values."""


def records_of(batch: KafkaBatch) -> Iterator[KafkaRecord]:
    """The records of a batch, as `ReadFromKafka` gives them without `batches`. Slow: it is for tests and odd jobs.

    >>> import numpy as np
    >>> offsets = np.array([77])
    >>> batch = KafkaBatch("events", "partition=3", offsets, [b"{}"], [None], offsets, [[("trace", b"1")]])
    >>> record = next(records_of(batch))
    >>> record.partition, record.offset, record.headers
    (3, 77, (KafkaHeader(key='trace', value=b'1'),))
    """
    partition = int(batch.part.removeprefix("partition="))
    stamps = batch.times if batch.stamps is None else batch.stamps
    headers: Sequence[Any] = batch.headers or [()] * len(batch)
    for key, value, some, stamp, offset in zip(
        batch.keys, batch.payloads, headers, stamps.tolist(), batch.positions.tolist(), strict=True
    ):
        named = tuple(KafkaHeader(*header) for header in some)
        yield KafkaRecord(key, value, named, Timestamp(micros=stamp), batch.source, partition, offset)


register_rows(KafkaHeader, KafkaRecord, KafkaMessage, KafkaPartition, KafkaWritten)
