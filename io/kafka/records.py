"""What is read from Kafka and what is written to it, as typed records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.coders import register_rows
from thingbeam.schemas.payloads import PayloadBatch

__all__ = ["ENDLESS", "KafkaBatch", "KafkaHeader", "KafkaMessage", "KafkaPartition", "KafkaRecord", "KafkaWritten"]

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


class KafkaWritten(NamedTuple):
    """What one bundle wrote to one topic, all of it acknowledged."""

    topic: str
    count: int  # type: ignore[assignment]  # hides tuple.count
    """Messages."""
    nbytes: int
    """Of keys and values."""


register_rows(KafkaHeader, KafkaRecord, KafkaMessage, KafkaPartition, KafkaWritten)
