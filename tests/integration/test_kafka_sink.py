"""WriteToKafka against a real broker."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from typing import Any

import apache_beam as beam
import confluent_kafka
import numpy as np
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.timestamp import Timestamp

from kafka_running import collect, collected
from stack_fixtures import Broker
from thingbeam.io.kafka import (
    KafkaBatch,
    KafkaConfig,
    KafkaHeader,
    KafkaMessage,
    KafkaRecord,
    KafkaWritten,
    ReadFromKafka,
    WriteToKafka,
)
from thingbeam.io.kafka.errors import SendError
from thingbeam.io.kafka.producing import BundleProducer, Outgoing

NOON = 1_769_860_800_000


def write(broker: Broker, elements: list[Any], topic: str | None, **how: Any) -> tuple[list[Any], list[Any]]:
    """Writes elements; gives what was written and the dead letters."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        done = pipeline | beam.Create(elements, reshuffle=False) | WriteToKafka(broker.address, topic, **how)
        written, dead = collect(done.written), collect(done.dead_letters)
    return collected.pop(written), collected.pop(dead)


def read(broker: Broker, topic: str, **how: Any) -> list[KafkaRecord]:
    """What a topic holds."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        name = collect(pipeline | ReadFromKafka(broker.address, topic, stop="latest", **how))
    return collected.pop(name)


def test_what_it_takes(kafka: Broker) -> None:
    topic, other = kafka.topic(), kafka.topic()
    headers = (KafkaHeader("h", b"1"), KafkaHeader("h", None))
    written, dead = write(
        kafka,
        [
            b"value",
            (b"key", b"pair"),
            KafkaMessage(b"message", b"k", None, headers, Timestamp(micros=NOON * 1000)),
            KafkaMessage(None, b"gone"),
            KafkaMessage(b"elsewhere", topic=other),
            KafkaRecord(b"k", b"copied", headers, Timestamp(micros=(NOON + 1) * 1000), "from", 3, 77),
        ],
        topic,
    )
    assert dead == []
    assert sorted(written) == sorted(
        [KafkaWritten(topic, 5, len(b"valuekeypairmessagekgonecopiedk")), KafkaWritten(other, 1, 9)]
    )
    found = {record.value: record for record in read(kafka, topic)}
    assert set(found) == {b"value", b"pair", b"message", None, b"copied"}
    assert found[b"pair"].key == b"key"
    assert tuple(found[b"message"].headers) == headers
    assert found[b"message"].timestamp == Timestamp(micros=NOON * 1000)
    assert found[b"copied"].timestamp == Timestamp(micros=(NOON + 1) * 1000)
    assert found[None].key == b"gone"
    assert [record.value for record in read(kafka, other)] == [b"elsewhere"]


def test_batches_keep_keys_and_tombstones(kafka: Broker) -> None:
    topic = kafka.topic()
    numbers = np.arange(3)
    batch = KafkaBatch("from", "partition=0", numbers, [b"a", None, b"c"], [b"1", b"2", None], numbers)
    written, _ = write(kafka, [batch], topic)
    assert [one.count for one in written] == [3]
    assert [(record.key, record.value) for record in read(kafka, topic)] == [(b"1", b"a"), (b"2", None), (None, b"c")]


def test_windows_of_the_input_do_not_matter(kafka: Broker) -> None:
    topic = kafka.topic()
    with beam.Pipeline(FnApiRunner()) as pipeline:
        values = pipeline | beam.Create([b"a", b"b" * 2_000_000]) | beam.WindowInto(FixedWindows(5))
        done = values | WriteToKafka(kafka.address, topic)
        dead = collect(done.dead_letters)
    assert len(collected.pop(dead)) == 1
    assert [record.value for record in read(kafka, topic)] == [b"a"]


@pytest.mark.parametrize("transactional", [None, "tx"])
def test_what_is_too_large_is_a_dead_letter(kafka: Broker, transactional: str | None) -> None:
    """Too large for the client, or for the topic, which only the broker knows."""
    topic = kafka.topic(config={"max.message.bytes": "20000"})
    for_client, for_topic = os.urandom(1_500_000), os.urandom(50_000)
    elements = [b"first", for_client, for_topic, b"last"]
    written, dead = write(kafka, elements, topic, transactional=transactional, redact=lambda data: b"*" + data[1:])
    assert {letter.code for letter in dead} == {"too_large"}
    assert sorted(letter.payload for letter in dead) == sorted(
        b"*" + large[1 : 64 << 10] for large in (for_client, for_topic)
    )
    assert {letter.source for letter in dead} == {topic}
    assert sum(one.count for one in written) == 2
    assert sorted(record.value or b"" for record in read(kafka, topic)) == [b"first", b"last"]


def test_a_missing_topic_is_said(kafka: Broker) -> None:
    with pytest.raises(Exception, match="topic no-such-topic: no such topic or partition"):
        write(kafka, [b"x"], "no-such-topic")
    with pytest.raises(Exception, match="names no topic"):
        write(kafka, [b"x"], None)


def test_an_unreachable_broker_is_said() -> None:
    config = KafkaConfig("127.0.0.1:1", connect_timeout=2)
    said = r"127\.0\.0\.1:1: no answer in 2 s: .*onnect"
    with pytest.raises(Exception, match=said), beam.Pipeline(FnApiRunner()) as pipeline:
        pipeline | beam.Create([b"x"]) | WriteToKafka(config, "t")


def test_a_transaction_that_is_given_up_shows_nothing(kafka: Broker) -> None:
    topic = kafka.topic()
    config = KafkaConfig(kafka.address)
    producer = BundleProducer(config, topic, 30.0, 3)
    producer.begin()
    producer.send(Outgoing(topic, b"given up"))
    producer.abandon()
    producer.begin()
    producer.send(Outgoing(topic, b"kept"))
    assert producer.finish() == []
    producer.abandon()
    assert [record.value for record in read(kafka, topic)] == [b"kept"]
    assert b"kept" in [record.value for record in read(kafka, topic, read_committed=False)]


@pytest.mark.slow
@pytest.mark.parametrize("transactional", [None, "tx"])
def test_the_broker_dies_while_a_bundle_is_written(kafka: Broker, transactional: str | None) -> None:
    """What failed is sent anew when the broker is back, and a bundle ends only when all is acknowledged."""
    topic = kafka.topic(partitions=4)
    count = 20_000
    producer = BundleProducer(KafkaConfig(kafka.address), transactional, 90.0, 5)
    producer.begin()
    for number in range(count // 2):
        producer.send(Outgoing(topic, b"%d" % number, b"%d" % number))
    kafka.kill()
    for number in range(count // 2, count):
        producer.send(Outgoing(topic, b"%d" % number, b"%d" % number))
    back = threading.Thread(target=lambda: (time.sleep(4), kafka.restart()))
    back.start()
    try:
        assert producer.finish() == []
    finally:
        back.join()
        producer.abandon()
    values = [record.value for record in read(kafka, topic)]
    assert set(values) == {b"%d" % number for number in range(count)}
    assert len(values) == count, "the producer's own retries double nothing"


def test_what_stays_unacknowledged_is_an_error(kafka: Broker) -> None:
    topic = kafka.topic()
    producer = BundleProducer(KafkaConfig(kafka.address), None, 1.5, 2)
    producer.begin()
    producer.check_topic(topic)
    with kafka.killed():
        for number in range(100):
            producer.send(Outgoing(topic, b"%d" % number))
        with pytest.raises(SendError, match="100 messages were not acknowledged"):
            producer.finish()
    producer.begin()
    producer.send(Outgoing(topic, b"after"))
    assert producer.finish() == [], "the next bundle has a new client"
    producer.abandon()
    assert b"after" in [record.value for record in read(kafka, topic)]


def test_compression_and_batching_are_the_users(kafka: Broker) -> None:
    topic = kafka.topic()
    config = KafkaConfig(kafka.address, settings={"compression.type": "zstd", "linger.ms": 0})
    with beam.Pipeline(FnApiRunner()) as pipeline:
        pipeline | beam.Create([b"a" * 1000] * 10) | WriteToKafka(dataclasses.replace(config), topic)
    consumer = confluent_kafka.Consumer({"bootstrap.servers": kafka.address, "group.id": "x"})
    assert consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, 0), 10)[1] == 10
    consumer.close()
