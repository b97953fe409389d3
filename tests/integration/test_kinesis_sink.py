"""WriteToKinesis against a real local server: what it takes, partial failures, throttling, crashes of the server."""

from __future__ import annotations

import collections
import json
import os
import threading
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from fault_proxy import Answer, Call, Forward, HttpProxy, Throttling, aws_error
from kafka_running import collect, collected
from kinesis_running import read, read_plainly
from stack_fixtures import Streams
from thingbeam.io.aws.errors import AccessDeniedError
from thingbeam.io.errors import MissingError
from thingbeam.io.kinesis import KinesisMessage, WriteToKinesis
from thingbeam.io.writing import WriteResult
from thingbeam.schemas import codes
from thingbeam.schemas.records import DeadLetter

ROWS = int(os.environ.get("THINGBEAM_TEST_ROWS", "20000"))


def write(elements: list[Any], stream: str, config: Any, **how: Any) -> tuple[list[Any], list[DeadLetter]]:
    """Writes elements; gives their results and the dead letters."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        done = pipeline | beam.Create(elements) | WriteToKinesis(stream, config, **how)
        written, dead = collect(done.written), collect(done.dead_letters)
    return collected.pop(written), collected.pop(dead)


def test_what_it_takes(kinesis: Streams) -> None:
    stream, client = kinesis.stream(shards=2), kinesis.client()
    high = str((1 << 128) - 1)
    messages = [KinesisMessage(b"one", "k"), KinesisMessage(b"", "é" * 256), KinesisMessage(b"high", "k", high)]
    written, dead = write(messages, stream, kinesis.config())
    assert dead == []
    assert sorted(written) == sorted((message, WriteResult(1, 0, 0)) for message in messages)
    assert sorted(read_plainly(client, stream)) == sorted((m.partition_key, m.data) for m in messages)
    (found,) = [record for record in read(kinesis, stream) if record.data == b"high"]
    assert found.shard.endswith("1")
    other = kinesis.stream()
    write([b"bytes", "text", {"a": 1}], other, kinesis.config(), partition_key=lambda _: "same")
    assert sorted(read_plainly(client, other)) == [("same", b"bytes"), ("same", b"text"), ("same", b'{"a":1}')]
    third = kinesis.stream()
    write([1, 2], third, kinesis.config(), encode=lambda number: b"%d" % number)
    found_keys = {data: key for key, data in read_plainly(client, third)}
    assert set(found_keys) == {b"1", b"2"}
    assert len(set(found_keys.values())) == 2


def test_records_that_no_stream_takes(kinesis: Streams) -> None:
    stream = kinesis.stream()
    bad = [
        (KinesisMessage(bytes(1 << 20), "k"), codes.TOO_LARGE),
        (KinesisMessage(b"no key", ""), codes.REFUSED),
        (KinesisMessage(b"long key", "k" * 257), codes.REFUSED),
        (KinesisMessage(b"hash", "k", str(1 << 128)), codes.OUT_OF_RANGE),
        (KinesisMessage(b"hash", "k", "-1"), codes.OUT_OF_RANGE),
    ]
    good = [KinesisMessage(b"%d" % number, "k") for number in range(20)]
    good.append(KinesisMessage(bytes((1 << 20) - 1), "k"))
    written, dead = write([message for message, _ in bad] + good, stream, kinesis.config())
    assert sorted(read_plainly(kinesis.client(), stream)) == sorted((m.partition_key, m.data) for m in good)
    # Of a large payload the first 64 KiB are kept.
    kept = 64 << 10
    assert sorted((letter.payload[:kept], letter.code) for letter in dead) == sorted(
        (m.data[:kept], code) for m, code in bad
    )
    assert {letter.source for letter in dead} == {f"kinesis://{stream}"}
    assert sum(result.refused for _, result in written) == len(bad)


def test_only_what_failed_is_sent_again(kinesis: Streams) -> None:
    """Kinesis takes some records of a call and not others: what it took must not come twice."""
    stream = kinesis.stream(shards=2)
    messages = [KinesisMessage(b"%d" % number, f"k{number}") for number in range(3000)]
    sent: collections.Counter[str] = collections.Counter()
    lock = threading.Lock()

    def refuse_a_third(call: Call, forward: Forward) -> Answer:
        if call.action != "PutRecords":
            return forward(call)
        body = json.loads(call.body)
        records = body["Records"]
        with lock:
            sent.update(record["PartitionKey"] for record in records)
            refused = {
                at
                for at, record in enumerate(records)
                if sent[record["PartitionKey"]] <= int(record["PartitionKey"][1:]) % 3
            }
        kept = [record for at, record in enumerate(records) if at not in refused]
        said: list[dict[str, str]] = []
        if kept:
            call.body = json.dumps(body | {"Records": kept}).encode()
            said = json.loads(forward(call).body)["Records"]
        answers = iter(said)
        error = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"}
        result = [error if at in refused else next(answers) for at in range(len(records))]
        return Answer(
            200,
            json.dumps({"FailedRecordCount": len(refused), "Records": result}).encode(),
            {"Content-Type": "application/x-amz-json-1.1"},
        )

    with HttpProxy(kinesis.address, refuse_a_third) as proxy:
        _, dead = write(messages, stream, kinesis.config(proxy.url))
    assert dead == []
    found = collections.Counter(data for _, data in read_plainly(kinesis.client(), stream))
    assert found == collections.Counter(message.data for message in messages)
    assert {sent[f"k{number}"] for number in range(0, 3000, 3)} == {1}
    assert {sent[f"k{number}"] for number in range(2, 3000, 3)} == {3}


def test_throttled_and_killed_it_writes_all(kinesis: Streams) -> None:
    stream = kinesis.stream(shards=4)
    throttling = Throttling(1 / 3, "PutRecords")
    crash = threading.Thread(target=kinesis.restart)
    lock = threading.Lock()

    def crash_in_the_middle(call: Call, forward: Forward) -> Answer:
        with lock:
            if call.action == "PutRecords" and throttling.calls == ROWS // 1000:
                crash.start()
                throttling.calls += 1
        return throttling(call, forward)

    with HttpProxy(kinesis.address, crash_in_the_middle) as proxy, beam.Pipeline(FnApiRunner()) as pipeline:
        messages = (
            pipeline
            | beam.Create(range(0, ROWS, 1000))
            | beam.Reshuffle()
            | beam.FlatMap(_thousand).with_output_types(KinesisMessage)
        )
        done = messages | WriteToKinesis(stream, kinesis.config(proxy.url))
        dead = collect(done.dead_letters)
    crash.join()
    assert collected.pop(dead) == []
    assert throttling.throttled > 0
    found = {int(data) for _, data in read_plainly(kinesis.client(), stream)}
    assert found == set(range(ROWS))


def _thousand(begin: int) -> list[KinesisMessage]:
    return [KinesisMessage(b"%d" % number, f"k{number % 97}") for number in range(begin, min(begin + 1000, ROWS))]


def test_what_is_wrong_is_said_before_it_runs(kinesis: Streams) -> None:
    with pytest.raises(MissingError, match="stream none-such"):
        WriteToKinesis("none-such", kinesis.config())
    stream = kinesis.stream()

    def deny(call: Call, forward: Forward) -> Answer:
        return aws_error("AccessDeniedException", "no") if call.action == "PutRecords" else forward(call)

    with HttpProxy(kinesis.address, deny) as proxy:
        config = kinesis.config(proxy.url)
        WriteToKinesis(stream, config)
        with pytest.raises(Exception, match=r"no permission for kinesis:PutRecords") as caught:
            write([KinesisMessage(b"x", "k")], stream, config)
    assert AccessDeniedError.__name__ in repr(caught.value) or "AccessDenied" in str(caught.value)
