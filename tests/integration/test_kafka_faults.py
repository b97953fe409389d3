"""What goes wrong with Kafka: workers and brokers that die, refusals, and data that is gone."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import confluent_kafka
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from confluent_kafka.admin import AdminClient, NewTopic

from kafka_running import Output, collect, collected, committed, produce, running, wait_for
from stack_fixtures import Broker
from thingbeam.io.kafka import KafkaConfig, KafkaRecord, OAuth, Plain, ReadFromKafka, Scram, Tls
from thingbeam.io.kafka.endpoint import KafkaSource
from thingbeam.io.kafka.errors import TopicRecreatedError
from thingbeam.io.kafka.reading import ReadSpan
from thingbeam.io.kafka.records import KafkaPartition
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


def make_anew(broker: Broker, topic: str, count: int) -> None:
    """Deletes a topic, makes it again under its name, and fills it."""
    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.delete_topics([topic])[topic].result()
    while True:
        try:
            admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()
            break
        except confluent_kafka.KafkaException as error:
            # It is being deleted still.
            if error.args[0].code() != confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            time.sleep(0.05)
    produce(broker.address, ((topic, 0, b"new-%d" % number, 0) for number in range(count)))


MADE_ANEW = r"was deleted and made again \(its id is \S+ and was \S+\)"


@pytest.mark.parametrize("fewer", [False, True], ids=["with more", "with fewer"])
@pytest.mark.parametrize("policy", ["fail", "end"])
def test_a_topic_that_is_made_anew_while_it_is_read(kafka: Broker, tmp_path: Path, policy: str, fewer: bool) -> None:
    """The client would go on in the new one at the old offset, or say that it is out of range."""
    topic, group, out = kafka.topic(), f"g{time.time_ns()}", tmp_path / "out"
    produce(kafka.address, ((topic, 0, b"old-%d" % number, 0) for number in range(50)))
    source = {"topics": topic, "group": group, "on_deleted": policy, "discover_every": "1s", "on_gap": "skip"}
    count = 20 if fewer else 200
    wanted = {f"new-{number}" for number in range(count)}
    with running({"servers": kafka.address, "out": str(out), "source": source}, tmp_path) as job:
        wait_for(lambda: len(Output.read(out).values) >= 50, 40, "the old topic", job)
        make_anew(kafka, topic, count)
        said = re.compile(MADE_ANEW)
        wait_for(lambda: said.search(job.log.read_text()) is not None, 60, "a word about it")
        if policy == "fail":
            wait_for(lambda: job.process.poll() is not None, 60, "the end of the job")
            return
        wait_for(lambda: wanted <= set(Output.read(out).values), 40, "all of the new topic", job)
        wait_for(lambda: committed(kafka.address, group, topic, 1) == {0: count}, 20, "its commits", job)


@pytest.mark.parametrize("policy", ["fail", "end"])
def test_a_topic_that_was_made_anew_between_two_runs(kafka: Broker, policy: str) -> None:
    """The group's offset is of the old one: a broker forgets it with the topic, but not what came a moment later."""
    topic, group = kafka.topic(), f"g{time.time_ns()}"
    produce(kafka.address, ((topic, 0, b"old-%d" % number, 0) for number in range(50)))
    assert len(read(kafka.address, topic, group=group)) == 50
    consumer = confluent_kafka.Consumer({"bootstrap.servers": kafka.address, "group.id": group})
    held = consumer.committed([confluent_kafka.TopicPartition(topic, 0)], 20)
    assert "topic=" in str(held[0].metadata)
    make_anew(kafka, topic, 200)
    consumer.commit(offsets=held, asynchronous=False)
    consumer.close()
    if policy == "fail":
        with pytest.raises(Exception, match=MADE_ANEW):
            read(kafka.address, topic, group=group)
        with pytest.raises(Exception, match=MADE_ANEW):
            read(kafka.address, topic, group=group, warm_up="1h")
        return
    found = read(kafka.address, topic, group=group, on_deleted=policy)
    assert [record.value for record in found] == [b"new-%d" % number for number in range(200)]
    assert read(kafka.address, topic, group=group) == [], "what the new one is committed to says its id"


@pytest.mark.parametrize("policy", ["fail", "end"])
def test_a_checkpoint_of_a_topic_that_was_made_anew(kafka: Broker, policy: Any) -> None:
    """What a runner gives back after a restart: a span of the old topic."""
    topic = kafka.topic()
    produce(kafka.address, ((topic, 0, b"old-%d" % number, 0) for number in range(50)))
    transform = ReadFromKafka(kafka.address, topic, stop="latest", on_deleted=policy)
    old = transform.topic_ids()[topic]
    read_span = ReadSpan(transform._selection, transform._how, "made-anew")
    make_anew(kafka, topic, 200)
    pipeline = beam.Pipeline(FnApiRunner())
    spans = pipeline | beam.Create([KafkaPartition(topic, 0, 20, 50, old)])
    name = collect(spans | beam.ParDo(read_span).with_output_types(KafkaRecord))
    if policy == "fail":
        with pytest.raises(Exception, match=MADE_ANEW):
            pipeline.run()
        return
    result = pipeline.run()
    result.wait_until_finish()
    assert collected.pop(name) == []
    found = result.metrics().query(MetricsFilter().with_name("skipped_offsets"))["counters"]
    assert [counter.committed for counter in found] == [30], "the rest of the old one is gone, and is counted"


def test_latest_of_a_topic_that_was_made_anew(kafka: Broker) -> None:
    """Where a relaunch begins: the first launch said `latest`, and all of the new topic came later."""
    topic = kafka.topic()
    produce(kafka.address, ((topic, 0, b"old-%d" % number, 0) for number in range(50)))
    uri = f"{kafka.uri}/{topic}?start=latest"
    pinned = KafkaSource(uri).pinned()
    assert options_after(KafkaSource(uri), pinned) == {(topic, 0): 50}
    make_anew(kafka, topic, 200)
    with pytest.raises(TopicRecreatedError, match=MADE_ANEW):
        KafkaSource(uri).restart(pinned)
    assert options_after(KafkaSource(f"{uri}&on_deleted=end"), pinned) == {(topic, 0): 0}


def options_after(source: KafkaSource, pinned: str) -> Any:
    """The offsets at which a relaunch begins."""
    again = source.restart(pinned).source
    assert isinstance(again, KafkaSource)
    return again._parsed.options["offsets"]


def test_a_named_topic_that_is_deleted_ends_alone(kafka: Broker, tmp_path: Path) -> None:
    """With on_deleted="end" the search for new partitions does not take it amiss either."""
    topic, other, out = kafka.topic("going"), kafka.topic("staying"), tmp_path / "out"
    produce(kafka.address, ((name, 0, b"before", 0) for name in (topic, other)))
    source = {"topics": [topic, other], "on_deleted": "end", "discover_every": "1s"}
    with running({"servers": kafka.address, "out": str(out), "source": source}, tmp_path) as job:
        wait_for(lambda: len(Output.read(out).values) >= 2, 40, "both topics", job)
        admin = AdminClient({"bootstrap.servers": kafka.address})
        admin.delete_topics([topic])[topic].result()
        wait_for(lambda: "its partition ends" in job.log.read_text(), 60, "a word about it", job)
        time.sleep(3)
        produce(kafka.address, iter([(other, 0, b"after", 0)]))
        wait_for(lambda: "after" in Output.read(out).values, 40, "the other topic goes on", job)
