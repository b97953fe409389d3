"""How fast ReadFromKafka and WriteToKafka are beside bare loops of confluent-kafka, by turns in one run.

    python benchmarks/kafka_rates.py [--records 1000000] [--turns 3] [--what read-batches …]

Starts its own broker and a Prism. Records have 500 bytes that hardly compress, and a key. The loop that reads takes
1,000 messages at a time and touches key, value, timestamp and offset of each; the loop that writes hands each message
to an idempotent producer with a callback for its delivery. A pipeline's rate is from its first element to its last, so
that starting is no part of it.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import confluent_kafka
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from beside import Beside, by_turns, command
from confluent_kafka.admin import AdminClient, NewTopic

from thingbeam.io.kafka import KafkaBatch, KafkaConfig, KafkaMessage, ReadFromKafka, WriteToKafka
from thingbeam.runners.prism import prism
from thingbeam.runners.stack import running
from thingbeam.runners.stack.components.kafka import Kafka

WHAT = ("read-batches", "read-batches-prism", "read-records", "read-records-prism", "write-batches", "write-records")
PARTITIONS = 8
_BATCH = 2000
_KEYS: list[bytes | None] = [b"device-%04d" % number for number in range(_BATCH)]
# As hard to compress as events with ids in them.
_VALUES: list[bytes | None] = [
    b'{"eventTime":%d,"deviceEvent":{"eventId":"%s","capability":"powerMeter","attribute":"power","value":%d.5,"data":"%s"}}'
    % (1_775_000_000_000 + number, os.urandom(16).hex().encode(), number, os.urandom(178).hex().encode())
    for number in range(_BATCH)
]


class _Count(beam.DoFn):
    """How many came, and when the first and the last did."""

    count = 0
    first = 0
    began = 0.0
    ended = 0.0

    @classmethod
    def reset(cls) -> None:
        cls.count = 0

    @classmethod
    def rate(cls) -> float:
        return (cls.count - cls.first) / (cls.ended - cls.began)

    def process(self, element: Any) -> None:
        """Counts a record, or those of a batch."""
        some = len(element) if isinstance(element, KafkaBatch) else 1
        now = time.perf_counter()
        if not _Count.count:
            _Count.began, _Count.first = now, some
        _Count.count += some
        _Count.ended = now


class _Give(beam.DoFn):
    """Batches, or the messages of batches, so many times; and when the first went. One bundle."""

    began = 0.0

    def __init__(self, *, batches: bool) -> None:
        self._batches = batches

    def process(self, count: int) -> Iterator[Any]:
        """All of them."""
        zeros = np.zeros(_BATCH, np.int64)
        batch = KafkaBatch("", "", zeros, _VALUES, _KEYS, zeros)
        messages = [KafkaMessage(value, key) for value, key in zip(_VALUES, _KEYS, strict=True)]
        _Give.began = time.perf_counter()
        for _ in range(count):
            if self._batches:
                yield batch
            else:
                yield from messages


class Kafkas:
    """A broker and an engine.

    Args:
        servers: the broker.
        engine: Prism's job service.
        records: how many are read and written in a turn.
    """

    def __init__(self, servers: str, engine: str, records: int) -> None:
        self._servers, self._engine, self._records = servers, engine, records
        self._admin = AdminClient({"bootstrap.servers": servers})
        self._full = self.topic()
        self.bare_write(0, self._full, "none")

    def topic(self) -> str:
        """A new topic."""
        name = f"t{uuid.uuid4().hex[:8]}"
        self._admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(30)
        return name

    def bare_read(self, _: int) -> float:
        """Messages a second of a consumer."""
        settings = KafkaConfig(self._servers).reading_settings(None)
        # The client's own: ours is for a consumer that reads one partition.
        own = {**settings, "queued.max.messages.kbytes": 64 << 10}
        consumer = confluent_kafka.Consumer(own)
        consumer.assign([confluent_kafka.TopicPartition(self._full, number, 0) for number in range(PARTITIONS)])
        count = first = ended = 0
        began = ended_at = 0.0
        while ended < PARTITIONS:
            for message in consumer.consume(1000, 1.0):
                if message.error() is not None:
                    ended += 1
                    continue
                message.key(), message.value(), message.timestamp(), message.offset()
                count += 1
            # The last call waits for more.
            ended_at = time.perf_counter() if ended < PARTITIONS or not began else ended_at
            if not began:
                began, first = ended_at, count
        rate = (count - first) / (ended_at - began)
        consumer.close()
        if count != self._records:
            raise RuntimeError(f"{count} of {self._records} records")
        return rate

    def read(self, *, batches: bool, on_prism: bool) -> Callable[[int], float]:
        """Records a second through the source, in this process as Beam's direct runner does it, or on Prism."""
        options = PipelineOptions(
            ["--runner=PortableRunner", f"--job_endpoint={self._engine}", "--environment_type=LOOPBACK"]
            if on_prism
            else ["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"]
        )

        def turn(_: int) -> float:
            _Count.reset()
            with beam.Pipeline(options=options) as pipeline:
                found = pipeline | ReadFromKafka(self._servers, self._full, stop="latest", batches=batches)
                _ = found | beam.ParDo(_Count())
            if _Count.count != self._records:
                raise RuntimeError(f"{_Count.count} of {self._records} records")
            return _Count.rate()

        return turn

    def bare_write(self, _: int, topic: str | None = None, compression: str = "lz4") -> float:
        """Messages a second of a producer, until all are acknowledged."""
        topic = topic or self.topic()
        settings = {**KafkaConfig(self._servers).writing_settings(), "delivery.report.only.error": False,
                    "compression.type": compression}  # fmt: skip
        producer = confluent_kafka.Producer(settings)
        done = [0]

        def delivered(error: Any, _: Any) -> None:
            done[0] += error is None

        producer.list_topics(topic, 30)
        began = time.perf_counter()
        for number in range(self._records):
            while True:
                try:
                    producer.produce(topic, _VALUES[number % _BATCH], _KEYS[number % _BATCH], on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.05)
            if not number % 1000:
                producer.poll(0)
        producer.flush(120)
        rate = self._records / (time.perf_counter() - began)
        if done[0] != self._records:
            raise RuntimeError(f"{done[0]} of {self._records} records were acknowledged")
        return rate

    def write(self, *, batches: bool) -> Callable[[int], float]:
        """Messages a second through the sink."""
        count = self._records // _BATCH

        def turn(_: int) -> float:
            with beam.Pipeline(FnApiRunner()) as pipeline:
                given = pipeline | beam.Create([count], reshuffle=False) | beam.ParDo(_Give(batches=batches))
                given.element_type = KafkaBatch if batches else KafkaMessage
                done = given | WriteToKafka(self._servers, self.topic())
                _ = done.written | beam.ParDo(_Count())
            return count * _BATCH / (_Count.ended - _Give.began)

        return turn


def beside(what: str, kafkas: Kafkas, turns: int) -> Beside:
    """One of WHAT beside its bare loop."""
    batches, on_prism = "batches" in what, what.endswith("prism")
    sides = (
        (kafkas.bare_read, kafkas.read(batches=batches, on_prism=on_prism))
        if what.startswith("read")
        else (kafkas.bare_write, kafkas.write(batches=batches))
    )
    return by_turns(f"Kafka, {what}", "records/s", turns, *sides)


def measure(records: int, turns: int, what: Sequence[str] = ()) -> Iterator[Beside]:
    """Turn by turn; all of WHAT, or some."""
    with tempfile.TemporaryDirectory() as folder, running(folder, Kafka()) as stack, prism() as engine:
        kafkas = Kafkas(stack.uri("kafka").partition("://")[2], engine, records)
        for each in what or WHAT:
            yield beside(each, kafkas, turns)


if __name__ == "__main__":
    some = {"action": "append", "default": [], "choices": WHAT, "help": "one of them (default all)"}
    command(__doc__, measure, records=1_000_000, turns=3, what=some)
