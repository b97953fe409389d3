"""The stack's broker: what it is given it keeps over kill -9, and each listener asks for what it should."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource

from stack_fixtures import Broker
from thingbeam.runners.stack import Stack, StackError
from thingbeam.runners.stack.components.kafka import PASSWORD, USER, Kafka

RECORDS = 20_000
SECURED = [
    ("SASL_PLAINTEXT", "SCRAM-SHA-256"),
    ("SASL_PLAINTEXT", "SCRAM-SHA-512"),
    ("SASL_PLAINTEXT", "PLAIN"),
    ("SSL", ""),
    ("SASL_SSL", "SCRAM-SHA-512"),
    ("SASL_SSL", "OAUTHBEARER"),
]


def write(settings: dict[str, Any], topic: str, count: int, timestamp: int = 0) -> None:
    """Writes numbers, each acknowledged."""
    failed: list[object] = []
    producer = Producer(settings | {"enable.idempotence": True, "linger.ms": 20})

    def told(error: object, _: object) -> None:
        if error is not None:
            failed.append(error)

    for number in range(count):
        producer.produce(topic, str(number), timestamp=timestamp, on_delivery=told)
        if number % 1000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0
    assert failed == []


def read(settings: dict[str, Any], topic: str, count: int) -> list[int]:
    """Reads that many numbers from the beginning of partition 0."""
    consumer = Consumer(settings | {"group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    numbers: list[int] = []
    until = time.monotonic() + 60
    while len(numbers) < count and time.monotonic() < until:
        for message in consumer.consume(1000, 1.0):
            assert message.error() is None, message.error()
            numbers.append(int(message.value() or b""))
    consumer.close()
    return numbers


def test_records_survive_kill_9(kafka: Broker) -> None:
    topic = kafka.topic()
    write(kafka.client(), topic, RECORDS)
    address, pid = kafka.address, kafka.pid()
    with kafka.killed():
        assert kafka.pid() is None
        with pytest.raises(KafkaException):
            AdminClient(kafka.client(log_level=0)).list_topics(timeout=1)
    assert kafka.address == address
    assert kafka.pid() != pid
    assert read(kafka.client(), topic, RECORDS) == list(range(RECORDS))


def test_old_records_stay(kafka: Broker) -> None:
    """Retention by time would empty a topic of old events within minutes; so the broker's default has none."""
    topic = kafka.topic()
    admin = AdminClient(kafka.client())
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    config = admin.describe_configs([resource])[resource].result(10)
    assert config["retention.ms"].value == "-1"
    year_2286 = 10_000_000_000_000
    write(kafka.client(), topic, 1, timestamp=1)
    write(kafka.client(), topic, 1, timestamp=year_2286)
    assert read(kafka.client(), topic, 2) == [0, 0]


@pytest.mark.parametrize(("protocol", "mechanism"), SECURED)
def test_each_listener_lets_the_user_in(secured_kafka: Broker, protocol: str, mechanism: str) -> None:
    topic = secured_kafka.topic()
    settings = secured_kafka.client(protocol, mechanism)
    if mechanism == "OAUTHBEARER":
        settings["oauth_cb"] = lambda _: (unsigned_token(USER), time.time() + 3600)
    write(settings, topic, 10)
    assert read(settings, topic, 10) == list(range(10))


def unsigned_token(subject: str) -> str:
    """A JSON Web Token without a signature (RFC 7519, section 6)."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": subject, "iat": now, "exp": now + 3600})
    return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts) + "."


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sasl.password": PASSWORD + "x"}, KafkaError._AUTHENTICATION),
        ({"sasl.username": "nobody"}, KafkaError._AUTHENTICATION),
        ({"ssl.ca.location": None}, KafkaError._SSL),
        ({"security.protocol": "SASL_PLAINTEXT"}, KafkaError._ALL_BROKERS_DOWN),
    ],
    ids=["password", "user", "authority", "no TLS"],
)
def test_a_listener_keeps_others_out(secured_kafka: Broker, change: dict[str, str | None], code: int) -> None:
    seen: list[int] = []
    settings = secured_kafka.client("SASL_SSL", error_cb=lambda error: seen.append(error.code()), log_level=0) | change
    admin = AdminClient({key: value for key, value in settings.items() if value is not None})
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=2)
    admin.poll(1)
    assert code in seen


def test_users_and_listeners_survive_kill_9(secured_kafka: Broker) -> None:
    with secured_kafka.killed():
        pass
    write(secured_kafka.client("SASL_SSL"), secured_kafka.topic(), 1)


def test_topics_asked_for_are_made_once(tmp_path: Path) -> None:
    stack = Stack(tmp_path, with_parent=True)
    try:
        stack.up([Kafka(topics="events:8, results")])
        stack.restart("kafka")
        admin = AdminClient({"bootstrap.servers": stack.place("kafka").address("kafka")})
        topics = admin.list_topics(timeout=10).topics
        assert {name: len(topic.partitions) for name, topic in topics.items()} == {"events": 8, "results": 1}
        stack.kill("kafka")
        (stack.place("kafka").directory / "data" / "meta.properties").write_text("broken")
        with pytest.raises(StackError, match=r"^kafka ended: .*; log: .*/kafka/logs/kafka\.log$"):
            stack.restart("kafka")
    finally:
        stack.down()
