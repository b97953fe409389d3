"""ReadFromKafka against a real broker: bounded reads on the embedded runner, endless ones on Prism."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import apache_beam as beam
import confluent_kafka
import numpy as np
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import Timestamp
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient, NewPartitions

from kafka_running import Output, collect, collected, committed, produce, running, wait_for
from stack_fixtures import Broker
from thingbeam.io.kafka import JsonTime, KafkaBatch, KafkaConfig, KafkaRecord, ReadFromKafka
from thingbeam.io.kafka.lag import lag
from thingbeam.io.kafka.records import records_of
from thingbeam.runners.lag_cli import lag as lag_command
from thingbeam.schemas.payloads import PayloadBatch

NOON = 1_769_860_800_000


def read(broker: Broker, topics: Any, **how: Any) -> list[Any]:
    """What a bounded read gives."""
    how.setdefault("stop", "latest")
    with beam.Pipeline(FnApiRunner()) as pipeline:
        records = pipeline | ReadFromKafka(broker.address, topics, **how)
        name = collect(records)
    return collected.pop(name)


def fill(broker: Broker, topic: str, values: dict[int, list[tuple[bytes, int]]]) -> None:
    """Values with their times into partitions."""
    messages = ((topic, number, value, millis) for number, some in values.items() for value, millis in some)
    produce(broker.address, messages)


def test_records_as_they_stand_in_the_topic(kafka: Broker) -> None:
    topic = kafka.topic(partitions=2)
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.address})
    headers: Any = [("trace", b"1"), ("trace", b"2"), ("none", None)]
    producer.produce(topic, b"value", b"key", partition=1, timestamp=NOON, headers=headers)
    producer.produce(topic, None, b"gone", partition=1, timestamp=NOON + 1)
    producer.produce(topic, b"", partition=0, timestamp=NOON + 2)
    assert producer.flush(10) == 0
    with beam.Pipeline(FnApiRunner()) as pipeline:
        records = pipeline | ReadFromKafka(kafka.address, topic, stop="latest")
        assert records.element_type is KafkaRecord
        timed = records | beam.Map(lambda record, at=beam.DoFn.TimestampParam: (record, at))
        stamp = Timestamp(micros=NOON * 1000)
        written = KafkaRecord(b"key", b"value", (("trace", b"1"), ("trace", b"2"), ("none", None)), stamp, topic, 1, 0)
        assert_that(
            timed,
            equal_to(
                [
                    (written, stamp),
                    (KafkaRecord(b"gone", None, (), stamp + 0.001, topic, 1, 1), stamp + 0.001),
                    (KafkaRecord(None, b"", (), stamp + 0.002, topic, 0, 0), stamp + 0.002),
                ]
            ),
        )


def test_records_survive_a_shuffle(kafka: Broker) -> None:
    """Their coder is the row coder: nothing is pickled."""
    topic = kafka.topic()
    fill(kafka, topic, {0: [(b"%d" % n, NOON + n) for n in range(50)]})
    with beam.Pipeline(FnApiRunner()) as pipeline:
        records = pipeline | ReadFromKafka(kafka.address, topic, stop="latest") | beam.Reshuffle()
        assert_that(
            records | beam.Map(lambda r: (r.offset, r.value, tuple(r.headers))),
            equal_to([(n, b"%d" % n, ()) for n in range(50)]),
        )


def test_batches_hold_the_same(kafka: Broker) -> None:
    topic = kafka.topic(partitions=3)
    fill(kafka, topic, {p: [(b"%d/%d" % (p, n), NOON + n) for n in range(500)] for p in range(3)})
    batches: list[KafkaBatch] = read(kafka, topic, batches=True, batch_records=64)
    assert max(map(len, batches)) <= 64
    for number in range(3):
        some = [batch for batch in batches if batch.part == f"partition={number}"]
        assert [value for batch in some for value in batch.payloads] == [b"%d/%d" % (number, n) for n in range(500)]
        assert np.concatenate([batch.positions for batch in some]).tolist() == list(range(500))
        assert np.concatenate([batch.times for batch in some]).tolist() == [(NOON + n) * 1000 for n in range(500)]


@pytest.mark.parametrize(("event_time", "with_headers"), [(True, True), (False, True), (False, False)])
def test_a_batch_says_all_that_records_say(kafka: Broker, event_time: bool, with_headers: bool) -> None:
    """Tombstones, empty values and keys, headers that come twice or without a value, times in disorder."""
    topic, chance = kafka.topic(partitions=2), Random(time.time_ns())
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.address})

    def some_bytes() -> bytes | None:
        return chance.choice(
            [None, b"", chance.randbytes(chance.randrange(40)), b'{"at": %d}' % chance.randrange(10**9)]
        )

    for _ in range(700):
        names = chance.choices(["trace", "", "é"], k=chance.choice([0, 0, 1, 3])) if with_headers else []
        headers: Any = [(name, some_bytes()) for name in names]
        stamp = NOON + chance.randrange(100_000)
        producer.produce(topic, some_bytes(), some_bytes(), chance.randrange(2), timestamp=stamp, headers=headers)
    assert producer.flush(20) == 0
    how: dict[str, Any] = {"event_time": JsonTime("at")} if event_time else {}
    records: list[KafkaRecord] = read(kafka, topic, **how)
    batches: list[KafkaBatch] = read(kafka, topic, batches=True, batch_records=50, **how)
    assert len(records) == 700
    assert any(record.headers for record in records) is with_headers
    coded = [PayloadBatch.decode(batch.encode()) for batch in batches]
    for some in (batches, coded):
        found = [record for batch in some for record in records_of(batch)]
        by_place = {(record.partition, record.offset): record for record in found}
        assert len(found) == 700
        assert by_place == {(record.partition, record.offset): record for record in records}
    if not with_headers:
        assert all(batch.headers is None for batch in batches)
    assert all((batch.stamps is None) is not event_time for batch in batches)


def test_large_messages_make_small_batches(kafka: Broker) -> None:
    topic = kafka.topic()
    fill(kafka, topic, {0: [(b"x" * 300_000, NOON) for _ in range(40)]})
    batches = read(kafka, topic, batches=True)
    assert sum(map(len, batches)) == 40
    # The first is chosen before anything is known of their size.
    assert max(map(len, batches[1:])) <= 8


@pytest.mark.parametrize("batches", [False, True])
def test_between_two_times(kafka: Broker, batches: bool) -> None:
    """Exactly those at or after the one and before the other, in spite of create times that are out of order."""
    topic = kafka.topic(partitions=4)
    random = np.random.default_rng(5)
    values: dict[int, list[tuple[bytes, int]]] = {}
    for number in range(4):
        times = NOON + np.arange(3000) * 10 - random.integers(0, 4000, 3000)
        values[number] = [(b"%d" % time, int(time)) for time in times]
    fill(kafka, topic, values)
    begin, end = NOON + 5_000, NOON + 20_000
    wanted = sorted(millis for some in values.values() for _, millis in some if begin <= millis < end)
    found = read(
        kafka, topic, start=Timestamp(micros=begin * 1000), stop=Timestamp(micros=end * 1000), batches=batches
    )  # fmt: skip
    payloads = [p for b in found for p in b.payloads] if batches else [record.value for record in found]
    assert sorted(map(int, payloads)) == wanted


def test_nothing_between_two_times(kafka: Broker) -> None:
    topic = kafka.topic(partitions=2)
    fill(kafka, topic, {0: [(b"x", NOON)]})
    assert read(kafka, topic, start=Timestamp(NOON / 1000 + 1), stop=Timestamp(NOON / 1000 + 2)) == []


def test_patterns_and_lists(kafka: Broker) -> None:
    one, two, other = kafka.topic("house-a"), kafka.topic("house-b"), kafka.topic("barn")
    for topic in (one, two, other):
        fill(kafka, topic, {0: [(topic.encode(), NOON)]})
    assert {record.topic for record in read(kafka, [one, other])} == {one, other}
    mine = f"({one}|{two}|nothing)"
    assert {record.topic for record in read(kafka, None, pattern=mine)} == {one, two}


def test_starts(kafka: Broker) -> None:
    topic, group = kafka.topic(partitions=2), f"g{time.time_ns()}"
    fill(kafka, topic, {0: [(b"%d" % n, NOON + n) for n in range(10)], 1: [(b"a", NOON)]})
    assert len(read(kafka, topic)) == 11
    assert read(kafka, topic, start="latest") == []
    assert len(read(kafka, topic, start=Timestamp(micros=(NOON + 7) * 1000))) == 3
    assert len(read(kafka, topic, group=group)) == 11, "a group without offsets begins where otherwise= says"
    assert committed(kafka.address, group, topic, 2) == {0: 10, 1: 1}
    assert read(kafka, topic, group=group) == []
    fill(kafka, topic, {0: [(b"new", NOON + 100)]})
    assert [record.value for record in read(kafka, topic, group=group)] == [b"new"]
    assert len(read(kafka, topic, group=group, start="earliest")) == 12
    assert read(kafka, topic, group=f"{group}-2", otherwise="latest") == []


def test_a_warm_up_begins_before_the_groups_offset(kafka: Broker) -> None:
    topic, group = kafka.topic(), f"g{time.time_ns()}"
    fill(kafka, topic, {0: [(b"%d" % n, NOON + 1000 * n) for n in range(100)]})
    read(kafka, topic, group=group)
    again = read(kafka, topic, group=group, warm_up="10s")
    assert [record.offset for record in again] == list(range(84, 100)), (
        "from ten seconds before where the watermark stood, which trails the last one done by five"
    )
    consumer = confluent_kafka.Consumer({"bootstrap.servers": kafka.address, "group.id": group})
    consumer.commit(offsets=[confluent_kafka.TopicPartition(topic, 0, 50)], asynchronous=False)
    consumer.close()
    again = read(kafka, topic, group=group, warm_up="10s")
    assert [record.offset for record in again] == list(range(40, 100)), "another's offset: by the record that is next"


def test_event_times_come_from_the_payload(kafka: Broker) -> None:
    topic = kafka.topic()
    fill(kafka, topic, {0: [(b'{"at": 5000}', NOON), (b"broken", NOON)]})
    with beam.Pipeline(FnApiRunner()) as pipeline:
        records = pipeline | ReadFromKafka(kafka.address, topic, stop="latest", event_time=JsonTime("at"))
        times = records | beam.Map(lambda record, at=beam.DoFn.TimestampParam: (record.value, at.micros))
        assert_that(times, equal_to([(b'{"at": 5000}', 5_000_000), (b"broken", NOON * 1000)]))


@pytest.mark.parametrize(("kept", "asked"), [("LogAppendTime", "create"), ("CreateTime", "log_append")])
def test_the_other_sort_of_time_is_refused(kafka: Broker, kept: str, asked: Any) -> None:
    topic = kafka.topic(config={"message.timestamp.type": kept})
    fill(kafka, topic, {0: [(b"x", 0)]})
    with pytest.raises(Exception, match=r"message\.timestamp\.type"):
        read(kafka, topic, time=asked)
    other = "log_append" if asked == "create" else "create"
    assert len(read(kafka, topic, time=other)) == 1


def test_what_a_transaction_aborted_is_not_read(kafka: Broker) -> None:
    topic = kafka.topic()
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.address, "transactional.id": topic})
    producer.init_transactions(30)
    for number, commits in enumerate([True, False, True, False]):
        producer.begin_transaction()
        for n in range(10):
            producer.produce(topic, b"%d/%d" % (number, n))
        producer.flush(10)
        if commits:
            producer.commit_transaction(10)
        else:
            producer.abort_transaction(10)
    found = read(kafka, topic)
    assert [record.value for record in found] == [b"%d/%d" % (number, n) for number in (0, 2) for n in range(10)]
    assert len(read(kafka, topic, read_committed=False)) == 40


def test_the_rate_is_held(kafka: Broker) -> None:
    topic = kafka.topic()
    fill(kafka, topic, {0: [(b"%d" % n, NOON) for n in range(300)]})
    began = time.monotonic()
    assert len(read(kafka, topic, max_rate=100.0)) == 300
    assert time.monotonic() - began > 2.5


def test_lag(kafka: Broker) -> None:
    topic, group = kafka.topic(partitions=3), f"g{time.time_ns()}"
    hour_ago = int(time.time() * 1000) - 3_600_000
    fill(kafka, topic, {0: [(b"x", hour_ago)] * 5, 1: [(b"x", hour_ago)] * 2})
    read(kafka, topic, group=group)
    done = lag(kafka.address, group)
    assert [(one.topic, one.partition, one.committed, one.records, one.seconds) for one in done] == [
        (topic, 0, 5, 0, 0.0), (topic, 1, 2, 0, 0.0), (topic, 2, None, 0, 0.0),
    ]  # fmt: skip
    fill(kafka, topic, {1: [(b"y", hour_ago)] * 4})
    behind = lag(KafkaConfig(kafka.address), group, [topic])[1]
    assert (behind.end, behind.records, behind.committed) == (6, 4, 2)
    assert 3600 <= behind.seconds < 3660


def test_lag_from_the_command_line(kafka: Broker) -> None:
    topic, group = kafka.topic(partitions=2), f"g{time.time_ns()}"
    fill(kafka, topic, {0: [(b"x", NOON)] * 5})
    uri = f"{kafka.uri}/{topic}?group={group}"
    said = CliRunner().invoke(lag_command, [uri]).output.splitlines()
    assert said[0].startswith(f"{topic}[0]: nothing committed, 5 records and ")
    assert said[-1].startswith("2 partitions, 5 records behind, ")
    read(kafka, topic, group=group)
    rows = [json.loads(line) for line in CliRunner().invoke(lag_command, [uri, "--json"]).output.splitlines()]
    assert [(row["partition"], row["committed"], row["records"]) for row in rows] == [(0, 5, 0), (1, None, 0)]
    assert CliRunner().invoke(lag_command, [f"{kafka.uri}/{topic}"]).exit_code == 2


def test_metrics(kafka: Broker) -> None:
    topic = kafka.topic(partitions=2)
    fill(kafka, topic, {0: [(b"abc", NOON)] * 5, 1: [(b"abc", NOON)] * 2})
    pipeline = beam.Pipeline(FnApiRunner())
    _ = pipeline | ReadFromKafka(kafka.address, topic, stop="latest", batches=True)
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace("thingbeam.io.kafka"))
    assert {metric.key.metric.name: metric.committed for metric in found["counters"]}["records_read"] == 7
    gauges = {metric.key.metric.name: metric.committed.value for metric in found["gauges"]}
    assert gauges == {f"lag_{unit}/{topic}/{number}": 0 for unit in ("records", "ms") for number in (0, 1)}


def job_of(broker: Broker, out: Path, **source: Any) -> dict[str, Any]:
    return {"servers": broker.address, "out": str(out), "source": source}


def live(topic: str, partitions: list[int], count: int, late_s: float = 0.0) -> Iterator[tuple[str, int, bytes, int]]:
    """Messages of now, or of a while ago."""
    for number in range(count):
        at = int((time.time() - late_s) * 1000)
        yield topic, partitions[number % len(partitions)], json.dumps({"n": number, "at": at}).encode(), at


def until(out: Path, condition: Callable[[Output], bool]) -> Callable[[], bool]:
    return lambda: condition(Output.read(out))


def test_endless_new_partitions_and_topics_are_read(kafka: Broker, tmp_path: Path) -> None:
    name = f"fleet-{time.time_ns()}"
    first, out = kafka.topic(name), tmp_path / "out"
    source = {"pattern": f"{name}.*", "discover_every": "1s", "start": "latest"}
    with running(job_of(kafka, out, **source), tmp_path) as job:
        time.sleep(6)
        produce(kafka.address, live(first, [0], 10))
        wait_for(until(out, lambda o: len(o.values) >= 10), 60, "the first partition", job)
        admin = AdminClient({"bootstrap.servers": kafka.address})
        admin.create_partitions([NewPartitions(first, 3)])[first].result()
        second = kafka.topic(name, partitions=1)
        time.sleep(1)
        produce(kafka.address, live(first, [1, 2], 20))
        produce(kafka.address, live(second, [0], 5))
        wait_for(until(out, lambda o: len(o.values) >= 35), 60, "new partitions and topics", job)
    found = Output.read(out)
    assert len(found.values) == 35, "each once"
    assert {number: len(set(some)) for number, some in found.offsets.items()} == {0: 10, 1: 10, 2: 10}


@pytest.mark.slow
def test_endless_an_idle_partition_holds_no_window(kafka: Broker, tmp_path: Path) -> None:
    topic, out = kafka.topic(partitions=8), tmp_path / "out"
    source = {"topics": topic, "out_of_orderness": "1s", "idle_after": "3s"}
    with running(job_of(kafka, out, **source) | {"windows": 5}, tmp_path) as job:
        began = time.time()
        while time.time() - began < 20:
            produce(kafka.address, live(topic, list(range(7)), 70))
            time.sleep(0.2)
        wait_for(until(out, lambda o: len(o.windows) >= 3), 30, "windows that close", job)
        # All fell silent: what is open closes too.
        wait_for(until(out, lambda o: sum(n for _, n in o.windows) == len(o.values)), 60, "the last window", job)
    found = Output.read(out)
    assert 7 not in found.offsets
    assert len(dict(found.windows)) == len(found.windows), "each window closed once"


@pytest.mark.slow
def test_endless_no_partition_is_passed_by_the_others(kafka: Broker, tmp_path: Path) -> None:
    """Prism's watermark is that of the partitions in the bundle that was last; a quiet one is in few of them."""
    topic, out = kafka.topic(partitions=8), tmp_path / "out"
    source = {"topics": topic, "out_of_orderness": "1s", "idle_after": "6s", "poll_interval": "1s"}
    sent = 0
    with running(job_of(kafka, out, **source) | {"windows": 1}, tmp_path) as job:
        began = time.time()
        while time.time() - began < 20:
            # Others that have a hundred come back sooner than those that have one.
            sent += produce(kafka.address, live(topic, list(range(7)), 700))
            sent += produce(kafka.address, live(topic, [7], 1, late_s=3.0))
        wait_for(until(out, lambda o: len(o.values) == sent), 30, "all records", job)
        wait_for(until(out, lambda o: sum(n for _, n in o.windows) == sent), 60, "every record in its window", job)


@pytest.mark.slow
@pytest.mark.parametrize("max_delay", [None, "60s"])
def test_endless_a_partition_a_day_behind(kafka: Broker, tmp_path: Path, max_delay: str | None) -> None:
    """With a bound the others do not wait for it, and what it has comes out all the same, late; without, they do."""
    topic, out = kafka.topic(partitions=2), tmp_path / "out"
    source = {"topics": topic, "out_of_orderness": "1s", "idle_after": "60s", "max_delay": max_delay}
    sent = 0
    with running(job_of(kafka, out, **source) | {"windows": 5}, tmp_path) as job:
        began = time.time()
        while time.time() - began < 12:
            sent += produce(kafka.address, live(topic, [1], 20, late_s=86_400))
            sent += produce(kafka.address, live(topic, [0], 20, late_s=120 if max_delay else 0))
            time.sleep(0.2)
        wait_for(until(out, lambda o: len(o.values) == sent), 30, "all records", job)
        recent = [end for end, _ in Output.read(out).windows if end > began - 3600]
        if max_delay is not None:
            assert recent, "windows of the others closed while a partition was a day behind"
        else:
            assert not recent
    assert len(Output.read(out).values) == sent, "none is lost, and none comes twice"
