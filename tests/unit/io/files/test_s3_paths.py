"""Paths of S3, told from others and taken apart."""

from __future__ import annotations

import pytest

from thingbeam.io.files.paths import compression_of, extend, format_of, join, make_directory, parent, unfinished_files
from thingbeam.io.files.s3_paths import is_s3, split_s3_uri

QUERY = "region=eu-west-1&endpoint=http://127.0.0.1:7070/"


@pytest.mark.parametrize(
    ("uri", "where", "query"),
    [
        ("s3://b/a.avro", "s3://b/a.avro", ""),
        (f"s3://b/a.avro?{QUERY}", "s3://b/a.avro", QUERY),
        (f"s3://b/a?.avro?{QUERY}", "s3://b/a?.avro", QUERY),
        ("s3://b/what?", "s3://b/what?", ""),
    ],
)
def test_the_query_begins_where_a_name_does(uri: str, where: str, query: str) -> None:
    assert split_s3_uri(uri) == (where, query)


def test_names_are_told_without_the_query() -> None:
    path = f"s3://bucket/out/usage-1.jsonl.gz?{QUERY}"
    assert (compression_of(path), format_of(path)) == ("gzip", "jsonl")
    assert parent(path) == (f"s3://bucket/out/?{QUERY}", "usage-1.jsonl.gz")
    assert join(*parent(path)) == path
    assert join(f"s3://bucket/out?{QUERY}", "usage-1.jsonl.gz") == path
    assert extend(f"s3://bucket/out/usage?{QUERY}", "-1.jsonl.gz") == path
    assert extend("out/usage", "-1") == "out/usage-1"
    assert extend("s3://bucket/out/usage", "-1") == "s3://bucket/out/usage-1"


def test_what_is_of_s3() -> None:
    assert is_s3("s3://bucket/key")
    assert is_s3("S3://bucket/key")
    assert not any(map(is_s3, ("gs://bucket/key", "/s3://x", "s3/x", "")))


def test_a_prefix_is_no_directory_to_make() -> None:
    make_directory(f"s3://bucket-that-nobody-asks/out?{QUERY}")


def test_nothing_is_unfinished_where_nobody_answers() -> None:
    keys = "access_key=env:NOT_THERE&secret_key=env:NOT_THERE"
    assert unfinished_files(f"s3://bucket/out?{QUERY.rstrip('/')}&{keys}") == []
