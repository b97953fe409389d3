"""What goes wrong with Kafka: workers and brokers that die, refusals, and data that is gone."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import confluent_kafka
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from confluent_kafka.admin import AdminClient

from kafka_running import Output, collect, collected, committed, produce, running, wait_for
from stack_fixtures import Broker
from thingbeam.io.kafka import KafkaConfig, OAuth, Plain, ReadFromKafka, Scram, Tls
from thingbeam.runners.stack.components.kafka import PASSWORD, USER

EVENTS = int(os.environ.get("THINGBEAM_TEST_EVENTS", "200000"))
"""1,000,000 is what the issue asks; the default keeps the suite short."""
PARTITIONS = 8
WORKER_KILLS = 5
BROKER_KILLS = 2


def events(topic: str, numbers: range) -> Iterator[tuple[str, int, bytes, int]]:
    """Events of about 500 bytes, round the partitions."""
    filler = "x" * 440
    for number in numbers:
        yield topic, number % PARTITIONS, f'{{"n": {number}, "filler": "{filler}"}}'.encode(), 0


def check_commits(held: dict[int, int], out: Path) -> None:
    """Every offset before the committed one was output."""
    written = Output.read(out).offsets
    for number, offset in held.items():
        missing = set(range(offset)) - set(written.get(number, ()))
        assert not missing, f"partition {number} is committed to {offset} without {sorted(missing)[:5]}"


@pytest.mark.slow
@pytest.mark.parametrize("batches", [True, False])
def test_worker_and_broker_die(kafka: Broker, tmp_path: Path, batches: bool) -> None:
    """Every event arrives at least once, and the committed offset never runs ahead of what was output.

    The worker is this test's child, killed with SIGKILL at random; Prism goes with it, as it keeps all in memory, and
    the next run begins at the committed offsets. The sink is in the source's own stage.
    """
    count = EVENTS if batches else EVENTS // 4
    chance = random.Random(11)
    topic, sink, group = kafka.topic(partitions=PARTITIONS), kafka.topic(partitions=2), f"g{time.time_ns()}"
    out = tmp_path / "out"
    source = {"topics": topic, "group": group, "batches": batches, "bundle_time": "200ms", "max_rate": count / 160}
    arguments = {"servers": kafka.address, "out": str(out), "source": source, "sink": sink}
    produce(kafka.address, events(topic, range(count // 2)), **{"queue.buffering.max.messages": 1_000_000})
    broker_dies_in = chance.sample(range(WORKER_KILLS), BROKER_KILLS)
    for run in range(WORKER_KILLS):
        before = len(Output.read(out).values)
        with running(arguments, tmp_path) as job:
            wait_for(lambda before=before: len(Output.read(out).values) > before, 60, f"run {run}", job)
            if run in broker_dies_in:
                kafka.kill()
                time.sleep(chance.uniform(0.5, 3))
                kafka.restart()
            time.sleep(chance.uniform(0.2, 2.5))
            job.kill()
        check_commits(committed(kafka.address, group, topic, PARTITIONS), out)
    produce(kafka.address, events(topic, range(count // 2, count)), **{"queue.buffering.max.messages": 1_000_000})
    ends = dict.fromkeys(range(PARTITIONS), count // PARTITIONS)
    del source["max_rate"]
    with running(arguments, tmp_path) as job:
        wait_for(
            lambda: committed(kafka.address, group, topic, PARTITIONS) == ends, 150, "the rest, all committed", job
        )  # fmt: skip
    found = Output.read(out)
    numbers = [json.loads(value)["n"] for value in found.values]
    assert set(numbers) == set(range(count))
    # Each crash repeats what was not committed: a fraction of a second of reading, in each partition.
    assert len(numbers) < 1.5 * count
    with beam.Pipeline(FnApiRunner()) as pipeline:
        copied = pipeline | ReadFromKafka(kafka.address, sink, stop="latest", batches=True)
        name = collect(copied | beam.FlatMap(lambda batch: [json.loads(value)["n"] for value in batch.payloads]))
    assert set(collected.pop(name)) == set(range(count)), "what was committed is in the sink's topic too"


def read(config: KafkaConfig | str, topic: Any = None, **how: Any) -> list[Any]:
    """What a bounded read gives."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        name = collect(pipeline | ReadFromKafka(config, topic, stop="latest", **how))
    return collected.pop(name)


def test_an_unreachable_broker_is_said() -> None:
    began = time.monotonic()
    with pytest.raises(Exception, match=r"127\.0\.0\.1:1: no answer in 2 s: .*[Cc]onnect"):
        read(KafkaConfig("127.0.0.1:1", connect_timeout=2), "t")
    assert time.monotonic() - began < 20


def test_a_missing_topic_is_said(kafka: Broker) -> None:
    topic = kafka.topic()
    with pytest.raises(Exception, match=rf"no topic missing; the cluster has: .*{topic}"):
        read(kafka.address, "missing")
    with pytest.raises(Exception, match=r"no topic matches 'missing\.\*'"):
        read(kafka.address, pattern="missing.*")


def test_a_setting_that_librdkafka_does_not_know_is_said(kafka: Broker) -> None:
    with pytest.raises(Exception, match="Kafka settings: No such configuration property"):
        read(KafkaConfig(kafka.address, settings={"no.such": 1}), kafka.topic())


def secured(broker: Broker, sasl: Any, *, tls: bool = True) -> KafkaConfig:
    """A configuration for one of the secured listeners."""
    settings = broker.client("SASL_SSL" if tls and sasl else "SSL" if tls else "SASL_PLAINTEXT")
    authority = Tls(ca=settings["ssl.ca.location"]) if tls else False
    return KafkaConfig(settings["bootstrap.servers"], authority, sasl, connect_timeout=15)


def unsigned_token() -> tuple[str, float]:
    """As RFC 7515 has them: what the local broker takes and no other should."""
    import base64

    def part(content: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    now = time.time()
    claims: dict[str, object] = {"sub": USER, "iat": now, "exp": now + 300}
    return f"{part({'alg': 'none'})}.{part(claims)}.", now + 300


@pytest.mark.parametrize(
    ("sasl", "tls"),
    [
        (None, True),
        (Scram(USER, "env:KAFKA_WORD"), False),
        (Scram(USER, "env:KAFKA_WORD", "SCRAM-SHA-256"), True),
        (Plain(USER, "env:KAFKA_WORD"), True),
        (OAuth(unsigned_token), False),
    ],
    ids=["tls", "scram-512", "scram-256-tls", "plain-tls", "token"],
)
def test_logins(secured_kafka: Broker, monkeypatch: pytest.MonkeyPatch, sasl: Any, tls: bool) -> None:
    monkeypatch.setenv("KAFKA_WORD", PASSWORD)
    topic, group = secured_kafka.topic(), f"g{time.time_ns()}"
    produce(secured_kafka.address, iter([(topic, 0, b"secret", 0)]))
    config = secured(secured_kafka, sasl, tls=tls)
    assert [record.value for record in read(config, topic, group=group)] == [b"secret"]
    assert committed(secured_kafka.address, group, topic, 1) == {0: 1}


def test_a_wrong_password_is_said(secured_kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_WORD", "wrong")
    began = time.monotonic()
    with pytest.raises(Exception, match=r"refused: .*[Aa]uthentication"):
        read(secured(secured_kafka, Scram(USER, "env:KAFKA_WORD"), tls=False), "t")
    assert time.monotonic() - began < 20


def test_an_unknown_authority_is_said(secured_kafka: Broker) -> None:
    servers = secured_kafka.client("SSL")["bootstrap.servers"]
    with pytest.raises(Exception, match=r"(?i)certificate|ssl"):
        read(KafkaConfig(servers, tls=True, connect_timeout=3), "t")


def delete_records(broker: Broker, topic: str, before: int) -> None:
    """As retention does."""
    admin = AdminClient({"bootstrap.servers": broker.address})
    wanted = confluent_kafka.TopicPartition(topic, 0, before)
    admin.delete_records([wanted])[wanted].result()


@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_records_that_are_gone(kafka: Broker, tmp_path: Path, policy: str) -> None:
    """The group is at 10, and what is kept begins at 60."""
    topic, group, out = kafka.topic(), f"g{time.time_ns()}", tmp_path / "out"
    produce(kafka.address, ((topic, 0, b"%d" % number, 0) for number in range(10)))
    read(kafka.address, topic, group=group)
    produce(kafka.address, ((topic, 0, b"%d" % number, 0) for number in range(10, 100)))
    delete_records(kafka, topic, 60)
    if policy == "fail":
        with pytest.raises(Exception, match=r"offset 10 is outside 60 to 100: 50 offsets are gone.*on_gap"):
            read(kafka.address, topic, group=group)
        return
    source = {"topics": topic, "group": group, "on_gap": policy}
    with running({"servers": kafka.address, "out": str(out), "source": source}, tmp_path) as job:
        wait_for(lambda: len(Output.read(out).values) >= 40, 40, "what is kept", job)
        assert "50 offsets are gone" in job.log.read_text()
    assert sorted(set(map(int, Output.read(out).values))) == list(range(60, 100))


@pytest.mark.parametrize("policy", ["fail", "end"])
def test_a_topic_that_is_deleted(kafka: Broker, tmp_path: Path, policy: str) -> None:
    topic, other, out = kafka.topic("going"), kafka.topic("staying"), tmp_path / "out"
    produce(kafka.address, ((name, 0, b"before", 0) for name in (topic, other)))
    named = {"pattern": f"{topic}|{other}"}
    source = {**named, "on_deleted": policy, "discover_every": "1s"}
    with running({"servers": kafka.address, "out": str(out), "source": source}, tmp_path) as job:
        wait_for(lambda: len(Output.read(out).values) >= 2, 40, "both topics", job)
        admin = AdminClient({"bootstrap.servers": kafka.address})
        admin.delete_topics([topic])[topic].result()
        said = f"{topic}[0]: the topic was deleted while it was read"
        wait_for(lambda: said in job.log.read_text(), 60, "a word about it")
        if policy == "fail":
            wait_for(lambda: job.process.poll() is not None, 60, "the end of the job")
            return
        time.sleep(2)
        produce(kafka.address, iter([(other, 0, b"after", 0)]))
        wait_for(lambda: "after" in Output.read(out).values, 40, "the other topic goes on", job)
