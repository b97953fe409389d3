"""Kafka as Beam's `UnboundedSource`: what ReadFromKafka is not. kafka_sources.py measures both.

It shares with ReadFromKafka the client's settings, taking messages apart, the elements, the watermark's rules and the
committer. What differs is Beam's part: the readers, the marks, when a bundle ends and when a source is asked again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import confluent_kafka
from apache_beam.coders import Coder, VarIntCoder
from apache_beam.io.unbounded_source import CheckpointMark, UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from confluent_kafka import KafkaError

from thingbeam.io.kafka import KafkaConfig
from thingbeam.io.kafka.commit import committer_of, words_of
from thingbeam.io.kafka.elements import Elements, Form
from thingbeam.io.kafka.messages import Messages
from thingbeam.io.watermark import UNKNOWN_TIME, PartitionWatermark, WatermarkPolicy

_MOST = 2000
_TOGETHER = 500


class Partition(NamedTuple):
    """What is read, and how."""

    servers: str
    topic: str
    number: int
    group: str
    start: int
    batches: bool
    policy: WatermarkPolicy

    def settings(self) -> dict[str, Any]:
        """Of the consumer that reads, and of the one that commits."""
        return KafkaConfig(self.servers).reading_settings(self.group)


class Mark(CheckpointMark):
    """The next offset. Finalised, it is committed."""

    def __init__(self, offset: int, partition: Partition | None = None) -> None:
        self.offset = offset
        self._partition = partition

    def finalize_checkpoint(self) -> None:
        """To the group."""
        if self._partition is not None:
            where, token = (self._partition.topic, self._partition.number), f"unbounded-{self._partition.topic}"
            committer_of(token, self._partition.settings).finalised(where, self.offset, words_of(0))


class MarkCoder(Coder):
    """A mark as its offset."""

    def encode(self, value: Mark) -> bytes:
        encoded: bytes = VarIntCoder().encode(value.offset)
        return encoded

    def decode(self, encoded: bytes) -> Mark:
        return Mark(VarIntCoder().decode(encoded))

    def is_deterministic(self) -> bool:
        return True


class KafkaSource(UnboundedSource):
    """A topic; split, one of its partitions."""

    def __init__(self, partitions: list[Partition]) -> None:
        self._partitions = partitions

    def split(self, desired_num_splits: int, options: Any = None) -> list[UnboundedSource]:
        return [KafkaSource([each]) for each in self._partitions]

    def create_reader(self, options: Any, checkpoint_mark: Any) -> UnboundedReader:
        (partition,) = self._partitions
        return KafkaReader(partition, partition.start if checkpoint_mark is None else checkpoint_mark.offset)

    def get_checkpoint_mark_coder(self) -> Coder:
        return MarkCoder()


class KafkaReader(UnboundedReader):
    """Batches, or records, of a partition from an offset on."""

    def __init__(self, partition: Partition, offset: int) -> None:
        self._partition = partition
        self._consumer = confluent_kafka.Consumer(partition.settings())
        self._consumer.assign([confluent_kafka.TopicPartition(partition.topic, partition.number, offset)])
        self._form = Form(partition.batches, "record", None, None, None)
        self._next = self._given = offset
        self._waiting: deque[Any] = deque()
        self._current: Any = None
        self._watermark = PartitionWatermark(partition.policy, UNKNOWN_TIME, time.time_ns() // 1000)
        self._latest = UNKNOWN_TIME

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        if not self._waiting:
            self._fill()
        if not self._waiting:
            self._watermark.pass_time(time.time_ns() // 1000)
            return False
        self._current = self._waiting.popleft()
        value = self._current.value
        self._given = (int(value.positions[-1]) if self._partition.batches else value.offset) + 1
        if not self._waiting:
            self._watermark.observe(self._latest, time.time_ns() // 1000)
        return True

    def _fill(self) -> None:
        found = Messages()
        for messages in self._polled():
            found.add([message for message in messages if message.error() is None])
            for error in (message.error() for message in messages):
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    self._watermark.confirm_end(time.time_ns() // 1000)
        elements = Elements.of(self._form, self._partition.topic, self._partition.number, found)
        if elements is not None:
            self._waiting.extend(elements.outputs)
            self._latest = elements.latest
            self._next = int(found.offsets[-1]) + 1
        elif self._next >= self._end():
            # What the client's own fetches say, as no message of theirs does twice.
            self._watermark.confirm_end(time.time_ns() // 1000)

    def _polled(self) -> Iterator[list[Any]]:
        taken = 0
        while taken < _MOST and (messages := self._consumer.consume(min(_TOGETHER, _MOST - taken), 0.0)):
            taken += len(messages)
            yield messages

    def _end(self) -> int:
        where = confluent_kafka.TopicPartition(self._partition.topic, self._partition.number)
        _, high = self._consumer.get_watermark_offsets(where, cached=True)
        return int(high) if high >= 0 else 1 << 62

    def get_current(self) -> Any:
        return self._current.value

    def get_current_timestamp(self) -> Timestamp:
        return self._current.timestamp

    def get_watermark(self) -> Timestamp:
        at = self._watermark.current
        return MIN_TIMESTAMP if at == UNKNOWN_TIME else Timestamp(micros=at)

    def get_checkpoint_mark(self) -> Mark:
        return Mark(self._given, self._partition)

    def close(self) -> None:
        self._consumer.close()
