"""ReadFromKinesis against real local servers: where it begins and ends, what it takes apart, faults, fan-out."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import botocore.eventstream
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.timestamp import Timestamp

from fault_proxy import Answer, Call, Forward, HttpProxy, Throttling, aws_error
from kafka_running import collect, collected, wait_for
from kinesis_running import Lines, put, read, running
from stack_fixtures import Streams
from thingbeam.io.aws.errors import AccessDeniedError, CredentialsError
from thingbeam.io.errors import MissingError, UnreachableError
from thingbeam.io.kinesis import KinesisBatch, ReadFromKinesis
from thingbeam.io.kinesis.aggregation import SubRecord, aggregate
from thingbeam.io.kinesis.endpoint import KinesisSource
from thingbeam.io.kinesis.feeds import GapError, PollingFeed
from thingbeam.io.kinesis.positions import HORIZON, Position
from thingbeam.io.kinesis.shards import Stream
from thingbeam.schemas.records import Event
from thingbeam.transforms.parse import ParseEvents


def rows(count: int, begin: int = 0) -> list[tuple[str, bytes]]:
    return [(f"k{number % 7}", str(number).encode()) for number in range(begin, begin + count)]


def test_what_a_record_says(kinesis: Streams) -> None:
    stream, client = kinesis.stream(shards=2), kinesis.client()
    before = time.time()
    said = client.put_record(StreamName=stream, PartitionKey="dévice", Data=b"\x00one")
    (record,) = read(kinesis, stream)
    assert (record.data, record.partition_key, record.stream) == (b"\x00one", "dévice", stream)
    assert (record.shard, record.sequence, record.sub_sequence) == (said["ShardId"], said["SequenceNumber"], -1)
    assert before - 1 < record.arrival.micros / 1e6 < time.time() + 2
    assert record.explicit_hash_key is None


def test_an_aggregate_is_taken_apart_and_a_broken_one_is_not(kinesis: Streams) -> None:
    stream, client = kinesis.stream(), kinesis.client()
    parts = [SubRecord(b"a", "k1"), SubRecord(b"b", "k2", "7"), SubRecord(b"c", "k1")]
    whole = aggregate(parts)
    broken = whole[:-1] + bytes([whole[-1] ^ 1])
    put(client, stream, [("agg", whole), ("agg", broken), ("plain", b"d")])
    found = read(kinesis, stream)
    assert [(r.data, r.partition_key, r.sub_sequence, r.explicit_hash_key) for r in found] == [
        (b"a", "k1", 0, None),
        (b"b", "k2", 1, "7"),
        (b"c", "k1", 2, None),
        (broken, "agg", -1, None),
        (b"d", "plain", -1, None),
    ]
    assert len({record.sequence for record in found[:3]}) == 1
    # A checkpoint in the middle of an aggregate goes on there.
    feed = PollingFeed(
        Stream(stream, kinesis.config()), found[0].shard, Position("after", found[0].sequence, 1), interval=0.01
    )
    chunk = None
    while chunk is None:
        chunk = feed.take()
        feed.wait(0.1)
    assert [row.data for row in chunk.rows] == [b"c", broken, b"d"]


def test_between_two_places(kinesis: Streams) -> None:
    stream, client = kinesis.stream(shards=2), kinesis.client()
    put(client, stream, rows(50))
    time.sleep(1.1)
    middle = Timestamp.now()
    put(client, stream, rows(50, 50))
    time.sleep(0.1)
    end = Timestamp.now()
    everything = {int(record.data): record for record in read(kinesis, stream)}
    assert sorted(everything) == list(range(100))

    def numbers(**how: Any) -> list[int]:
        return sorted(int(record.data) for record in read(kinesis, stream, **how))

    assert numbers(start=middle) == list(range(50, 100))
    assert numbers(stop=middle) == list(range(50))
    assert numbers(start=middle, stop=end) == list(range(50, 100))
    chosen = everything[40]
    same_shard = [number for number, record in everything.items() if record.shard == chosen.shard]
    other_shard = [number for number in everything if number not in same_shard]
    assert numbers(start={chosen.shard: chosen.sequence}) == sorted(
        [number for number in same_shard if number >= 40] + other_shard
    )
    assert numbers(start={chosen.shard: chosen.sequence}, otherwise=middle) == sorted(
        [number for number in same_shard if number >= 40] + [number for number in other_shard if number >= 50]
    )


def test_batches_for_the_parser(kinesis: Streams) -> None:
    stream = kinesis.stream(shards=2)
    line = (
        '{"eventTime": %d, "eventType": "DEVICE_EVENT", "deviceEvent": {"eventId": "e%d", "deviceId": "d",'
        '"capability": "switch", "attribute": "switch", "value": "on"}}'
    )
    at = 1_769_860_800_000
    good = [(f"k{number}", (line % (at + number, number)).encode()) for number in range(100)]
    put(kinesis.client(), stream, [*good, ("bad", b"no JSON")])
    config = kinesis.config()
    with beam.Pipeline(FnApiRunner()) as pipeline:
        batches = pipeline | ReadFromKinesis(stream, config, stop="latest", batches=True, batch_records=10)
        sizes = collect(batches)
        parsed = batches | ParseEvents()
        events, dead = collect(parsed.events), collect(parsed.dead_letters)
    assert all(isinstance(batch, KinesisBatch) and len(batch) <= 10 for batch in collected.pop(sizes))
    found: list[Event] = collected.pop(events)
    assert sorted(event.event_time.micros // 1000 for event in found) == [at + number for number in range(100)]
    (letter,) = collected.pop(dead)
    assert letter.source == stream
    assert letter.position.startswith("shard=shardId-00000000000")
    assert " sequence=4" in letter.position


def test_as_an_application_s_input(kinesis: Streams) -> None:
    stream = kinesis.stream()
    config = kinesis.config()
    put(kinesis.client(), stream, [("k", b'{"eventTime": 5000}'), ("k", b"-")])
    where = f"region=us-east-1&endpoint={config.endpoint}&access_key={config.access_key}&secret_key={config.secret_key}"
    source = KinesisSource(f"kinesis://{stream}?{where}&stop=latest")
    source.check()
    with beam.Pipeline(FnApiRunner()) as pipeline:
        (reading,) = source.read(pipeline, "", lambda payload: payload)
        name = collect(reading.payloads)
    (batch,) = collected.pop(name)
    assert batch.times[0] == 5_000_000
    with pytest.raises(MissingError, match="stream none"):
        KinesisSource(f"kinesis://none?{where}").check()


def test_throttled_failing_and_cut_it_reads_all(kinesis: Streams) -> None:
    stream, client = kinesis.stream(shards=2), kinesis.client()
    put(client, stream, rows(1000))
    throttling = Throttling(0.3, "GetRecords", "GetShardIterator")
    failing = Throttling(0.1, "GetRecords", code="InternalFailure", seed=3)

    def intercept(call: Call, forward: Forward) -> Answer:
        return throttling(call, lambda same: failing(same, forward))

    with HttpProxy(kinesis.address, intercept) as proxy:
        cutter = threading.Timer(1.0, proxy.cut, (0.2,))
        cutter.start()
        result, name = _run(stream, kinesis.config(proxy.url), stop="latest", fetch_records=100)
        cutter.join()
    assert sorted(int(record.data) for record in collected.pop(name)) == list(range(1000))
    assert throttling.throttled > 0
    assert _counter(result, "records_read") == 1000
    assert _counter(result, "read_throttles") > 0


def _run(stream: str, config: Any, **how: Any) -> tuple[Any, str]:
    pipeline = beam.Pipeline(FnApiRunner())
    name = collect(pipeline | ReadFromKinesis(stream, config, **how))
    result = pipeline.run()
    result.wait_until_finish()
    return result, name


def _counter(result: Any, name: str) -> int:
    found = result.metrics().query(MetricsFilter().with_name(name))["counters"]
    return sum(counter.committed for counter in found)


def test_no_more_than_five_questions_a_second(kinesis: Streams) -> None:
    stream, client = kinesis.stream(), kinesis.client()
    put(client, stream, rows(2000))
    asked: list[float] = []

    def watch(call: Call, forward: Forward) -> Answer:
        if call.action == "GetRecords":
            asked.append(time.monotonic())
        return forward(call)

    with HttpProxy(kinesis.address, watch) as proxy:
        _, name = _run(stream, kinesis.config(proxy.url), stop="latest", fetch_records=200)
    assert len(collected.pop(name)) == 2000
    assert len(asked) > 10
    gaps = [after - before for before, after in itertools.pairwise(asked)]
    assert min(gaps) > 0.15
    began = time.monotonic()
    read(kinesis, stream, max_rate=1000.0)
    assert time.monotonic() - began > 1.0


def test_an_iterator_that_expired_is_renewed(kinesis: Streams) -> None:
    stream, client = kinesis.stream(), kinesis.client()
    put(client, stream, rows(500))
    expired = 0

    def expire(call: Call, forward: Forward) -> Answer:
        nonlocal expired
        if call.action == "GetRecords" and expired < 3:
            expired += 1
            return aws_error("ExpiredIteratorException", "Iterator expired.")
        return forward(call)

    with HttpProxy(kinesis.address, expire) as proxy:
        _, name = _run(stream, kinesis.config(proxy.url), stop="latest")
    assert sorted(int(record.data) for record in collected.pop(name)) == list(range(500))
    assert expired == 3


def test_a_place_that_is_gone(kinesis: Streams) -> None:
    stream, client = kinesis.stream(), kinesis.client()
    put(client, stream, rows(5))
    lost = Position("after", "49590338271490256608559692538361571095921575989136588898")

    def gone(call: Call, forward: Forward) -> Answer:
        if call.action == "GetShardIterator" and b"SEQUENCE_NUMBER" in call.body:
            return aws_error("InvalidArgumentException", "StartingSequenceNumber is invalid")
        return forward(call)

    def first(feed: PollingFeed) -> list[bytes]:
        while True:
            chunk = feed.take()
            if chunk is not None and chunk.rows:
                return [row.data for row in chunk.rows]
            feed.wait(0.1)

    with HttpProxy(kinesis.address, gone) as proxy:
        where = Stream(stream, kinesis.config(proxy.url))
        with pytest.raises(GapError, match="on_gap"):
            first(PollingFeed(where, "shardId-000000000000", lost, interval=0.01))
        assert first(PollingFeed(where, "shardId-000000000000", lost, interval=0.01, on_gap="skip"))[0] == b"0"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ResourceNotFoundException", MissingError),
        ("AccessDeniedException", AccessDeniedError),
        ("ExpiredTokenException", CredentialsError),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(kinesis: Streams, code: str, kind: type[Exception]) -> None:
    with HttpProxy(kinesis.address, lambda call, forward: aws_error(code, "no")) as proxy:
        with pytest.raises(kind, match="stream events") as caught:
            ReadFromKinesis("events", kinesis.config(proxy.url)).check()
        assert "\n" not in str(caught.value)


def test_no_server_and_no_stream(kinesis: Streams) -> None:
    with pytest.raises(UnreachableError, match="no answer"):
        ReadFromKinesis("events", kinesis.config("http://127.0.0.1:9", attempts=1)).check()
    with pytest.raises(MissingError, match="none-such"):
        ReadFromKinesis("none-such", kinesis.config()).check()


@pytest.fixture
def no_greeting(monkeypatch: pytest.MonkeyPatch) -> None:
    """kinesis-local does not begin a subscription with the empty message that AWS sends."""
    monkeypatch.setattr(botocore.eventstream.EventStream, "get_initial_response", _Greeting)


class _Greeting:
    def __init__(self, *_: object) -> None:
        self.payload = b"{}"
        self.headers = {":event-type": "initial-response"}

    def to_response_dict(self, status_code: int = 200) -> dict[str, Any]:
        return {"status_code": status_code, "headers": self.headers, "body": self.payload}


@pytest.mark.usefixtures("no_greeting")
def test_enhanced_fan_out(kinesis_local: Streams) -> None:
    """Without a reshard: kinesis-local does not tell a subscriber that a shard has ended."""
    stream, client = kinesis_local.stream(shards=2), kinesis_local.client()
    put(client, stream, rows(300))
    time.sleep(1.1)
    found: dict[str, list[int]] = {}
    for record in read(kinesis_local, stream, consumer="tests"):
        found.setdefault(record.partition_key, []).append(int(record.data))
    assert found == {f"k{key}": list(range(key, 300, 7)) for key in range(7)}
    arn = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    (consumer,) = client.list_stream_consumers(StreamARN=arn)["Consumers"]
    assert consumer["ConsumerName"] == "tests"


def test_the_lag_is_told(kinesis_local: Streams) -> None:
    stream, client = kinesis_local.stream(), kinesis_local.client()
    put(client, stream, rows(50))
    time.sleep(1.2)
    put(client, stream, rows(50, 50))
    feed = PollingFeed(Stream(stream, kinesis_local.config()), "shardId-000000000000", HORIZON, limit=10, interval=0.01)
    behind: list[int] = []
    while len(behind) < 11:
        chunk = feed.take()
        if chunk is not None and chunk.asked_at is not None:
            behind.append(chunk.behind_ms)
        feed.wait(0.1)
    assert behind[0] >= 900
    assert behind[-1] == 0


def test_two_regions_and_two_accounts_in_one_pipeline(kinesis_local: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_ACCOUNT_OF_TEST", "111122223333")
    configs = [
        kinesis_local.config(region=region, access_key=key)
        for region in ("us-east-1", "eu-west-1")
        for key in ("env:THINGBEAM_TEST_ACCESS_KEY", "env:OTHER_ACCOUNT_OF_TEST")
    ]
    for number, config in enumerate(configs):
        client = config.client("kinesis")
        client.create_stream(StreamName="same", ShardCount=1)
        client.get_waiter("stream_exists").wait(StreamName="same", WaiterConfig={"Delay": 1})
        put(client, "same", [("k", str(number).encode())])
    time.sleep(1.1)
    with beam.Pipeline(FnApiRunner()) as pipeline:
        names = [
            collect(pipeline | f"Read{number}" >> ReadFromKinesis("same", config, stop="latest"))
            for number, config in enumerate(configs)
        ]
    assert [[record.data for record in collected.pop(name)] for name in names] == [[b"0"], [b"1"], [b"2"], [b"3"]]


@pytest.fixture
def server_away(kinesis: Streams) -> Iterator[Streams]:
    """Mended when the test fails, too."""
    yield kinesis
    if kinesis.pid() is None:
        kinesis.restart()


def test_a_server_that_dies_is_waited_for(server_away: Streams, tmp_path: Path) -> None:
    kinesis, out = server_away, tmp_path / "out"
    stream = kinesis.stream(shards=2)
    put(kinesis.client(), stream, rows(700))
    source = {"poll_interval": "100ms", "bundle_time": "200ms"}
    arguments = {"stream": stream, "kinesis": kinesis.config().endpoint, "source": source, "out": str(out)}
    with running(arguments, tmp_path) as job:
        wait_for(lambda: len(Lines(out)) == 700, 60, "records", job)
        with kinesis.killed():
            time.sleep(2)
        put(kinesis.client(), stream, rows(700, 700))
        wait_for(lambda: len(Lines(out)) == 1400, 60, "more records", job)
    assert sorted(int(row[4]) for row in Lines(out).rows) == list(range(1400))


def test_latest_is_what_comes_from_now_on(kinesis: Streams, tmp_path: Path) -> None:
    stream, client, out = kinesis.stream(shards=2), kinesis.client(), tmp_path / "out"
    put(client, stream, rows(100))
    time.sleep(1.1)
    arguments = {
        "stream": stream,
        "kinesis": kinesis.config().endpoint,
        "source": {"start": "latest", "poll_interval": "100ms"},
        "checkpoints": str(tmp_path / "checkpoints"),
        "out": str(out),
    }
    with running(arguments, tmp_path) as job:
        # It has begun when it has said so.
        wait_for(lambda: len(list((tmp_path / "checkpoints").glob("*/*.json"))) == 2, 60, "checkpoints", job)
        put(client, stream, rows(100, 100))
        wait_for(lambda: len(Lines(out)) >= 100, 60, "records", job)
    assert sorted(int(row[4]) for row in Lines(out).rows) == list(range(100, 200))
