"""An application's output by URI."""

from __future__ import annotations

import pytest

from thingbeam.io.s3.endpoint import S3Sink, parse_s3_output


def test_options_are_taken_out_of_the_uri() -> None:
    location, options = parse_s3_output(
        "s3://bucket/out?region=eu-west-1&format=jsonl&shards=4&endpoint=http://127.0.0.1:7070&roll_after=5m"
        "&compression=gzip&window=15m&allowed_lateness=2m&roll_bytes=1000&part_bytes=5242880&in_flight=2"
    )
    assert location.uri == "s3://bucket/out?region=eu-west-1&endpoint=http://127.0.0.1:7070"
    assert options == {
        "format": "jsonl", "shards": 4, "roll_after": "5m", "compression": "gzip", "window": "15m",
        "allowed_lateness": "2m", "roll_bytes": 1000, "part_bytes": 5 << 20, "in_flight": 2,
    }  # fmt: skip
    assert parse_s3_output("s3://bucket/out")[1] == {}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("format=xml", "no format 'xml'"),
        ("compression=lz4", "no compression 'lz4'"),
        ("shards=none", "shards=none: a whole number from 1"),
        ("shards=2&shards=3", "shards is given twice"),
        ("windw=1h", "windw: no such option"),
    ],
)
def test_what_cannot_be_is_said(query: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        S3Sink(f"s3://bucket/out?{query}")


def test_it_takes_streams_and_shows_no_query() -> None:
    sink = S3Sink("s3://bucket/out?region=eu-west-1&access_key=env:A&secret_key=env:B")
    assert sink.endless
    assert sink.shown == "s3://bucket/out"
