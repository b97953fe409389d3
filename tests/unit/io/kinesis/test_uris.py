"""kinesis:// URIs."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingbeam.io.aws import AwsConfig
from thingbeam.io.endpoints import Sink, Source, TableSink
from thingbeam.io.kinesis import DynamoDbCheckpoints, FileCheckpoints
from thingbeam.io.kinesis.endpoint import KinesisSink, KinesisSource
from thingbeam.io.kinesis.uris import parse_kinesis_uri


def test_what_a_uri_says() -> None:
    parsed = parse_kinesis_uri(
        "kinesis://Events_1?region=eu-west-1&endpoint=http://127.0.0.1:9&start=shardId-000000000000:4959"
        "&stop=latest&batch_records=5&max_rate=2.5&ordered=false&event_time=at"
    )
    assert (parsed.shown, parsed.stream) == ("kinesis://Events_1", "Events_1")
    assert parsed.config == AwsConfig("eu-west-1", "http://127.0.0.1:9")
    assert parsed.options == {
        "start": {"shardId-000000000000": "4959"},
        "stop": "latest",
        "batch_records": 5,
        "max_rate": 2.5,
        "ordered": False,
        "event_time": "at",
    }
    arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/events"
    assert parse_kinesis_uri(f"kinesis://{arn}").stream == arn
    assert parse_kinesis_uri("kinesis://events?max_record_bytes=2000000", write=True).options == {
        "max_record_bytes": 2000000
    }


def test_where_checkpoints_are_kept() -> None:
    kept = parse_kinesis_uri(
        "kinesis://events?region=eu-west-1&endpoint=http://a:1&checkpoints=dynamodb:t&application=a"
    )
    assert kept.options == {"checkpoints": DynamoDbCheckpoints("t", "a", AwsConfig("eu-west-1"))}
    local = parse_kinesis_uri("kinesis://e?checkpoints=dynamodb:t&application=a&checkpoints_endpoint=http://b:2")
    assert local.options["checkpoints"].config == AwsConfig(endpoint="http://b:2")
    assert parse_kinesis_uri("kinesis://e?checkpoints=file:/c").options == {"checkpoints": FileCheckpoints("/c")}


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("kafka://events", "kinesis://STREAM is expected"),
        ("kinesis://", "kinesis://STREAM is expected"),
        ("kinesis://key:hunter2@events", "no key before the @"),
        ("kinesis://events#x", "%23"),
        ("kinesis://events/x", "no slash"),
        ("kinesis://events?starts=latest", "starts: no such option; there are .*start"),
        ("kinesis://events?region=a&region=b", "region is given twice"),
        ("kinesis://events?batch_records=0", "a whole number from 1"),
        ("kinesis://events?max_rate=x", "a number"),
        ("kinesis://events?ordered=1", "true or false"),
        ("kinesis://events?start=noon", "horizon, latest"),
        ("kinesis://events?checkpoints=t", "dynamodb:TABLE or file:PATH"),
        ("kinesis://events?checkpoints=dynamodb:t", "needs application="),
        ("kinesis://events?application=a", "go with checkpoints=dynamodb"),
        ("kinesis://events?secret_key=hunter2&access_key=env:A", "must be a reference"),
    ],
)
def test_what_is_wrong_in_one_line(uri: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_kinesis_uri(uri)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_as_an_application_s_source(tmp_path: Path) -> None:
    source = KinesisSource(f"kinesis://events?region=eu-west-1&checkpoints=file:{tmp_path}")
    assert isinstance(source, Source)
    assert (source.shown, source.endless) == ("kinesis://events", True)
    assert not KinesisSource("kinesis://events?stop=latest&event_time=arrival").endless
    with pytest.raises(ValueError, match=r"kinesis://events: .*fetch_records 20000"):
        KinesisSource("kinesis://events?fetch_records=20000")


def test_as_an_application_s_sink() -> None:
    sink = KinesisSink("kinesis://results?region=eu-west-1&max_record_bytes=2000000")
    assert isinstance(sink, Sink)
    assert not isinstance(sink, TableSink)
    assert (sink.shown, sink.endless) == ("kinesis://results", True)
    with pytest.raises(ValueError, match=r"kinesis://results: max_record_bytes 5: 1 to 10 MiB"):
        KinesisSink("kinesis://results?max_record_bytes=5")
    with pytest.raises(ValueError, match="start: no such option; there are max_record_bytes"):
        KinesisSink("kinesis://results?start=latest")
