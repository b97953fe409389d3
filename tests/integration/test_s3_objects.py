"""Objects of a real endpoint: put in one piece or in parts, read at any place, found by pattern, used as files."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.timestamp import Timestamp

from fault_proxy import Answer, Call, Forward, HttpProxy
from kafka_running import collect, collected
from stack_fixtures import ObjectStore
from thingbeam.io import (
    ReadBlobs,
    ReadFromFiles,
    WriteManifest,
    WriteToFiles,
    check_inputs,
    prepare_output,
    read_manifest,
    read_table,
)
from thingbeam.io.endpoints import Kind
from thingbeam.io.errors import ConnectorError
from thingbeam.io.files.paths import delete_file, exists, match_files, write_file
from thingbeam.io.s3 import ReadFromS3, Storage, parse_s3_uri
from thingbeam.io.s3.endpoint import S3Sink, S3Source
from thingbeam.io.s3.objects import open_object, pinned
from thingbeam.io.s3.requests import ObjectMissingError, PreconditionError, Requests
from thingbeam.io.s3.uploads import LEAST_PART, abort_stale, put
from thingbeam.schemas import DeadLetter, Event, Usage
from thingbeam.schemas.arrow import to_record_batch


@pytest.fixture(scope="module")
def bucket(s3: ObjectStore) -> str:
    """One for all tests here."""
    return s3.bucket("objects")


def requests_to(s3: ObjectStore, bucket: str, **more: str) -> Requests:
    """Calls to it."""
    return Requests(parse_s3_uri(s3.prefix(bucket, **more)))


@pytest.mark.parametrize("size", [0, 1, LEAST_PART, LEAST_PART + 1, 3 * LEAST_PART, 3 * LEAST_PART + 77])
def test_what_is_put_is_read(s3: ObjectStore, bucket: str, size: int) -> None:
    """In one piece, or in parts: whatever pieces it is made in."""
    data = random.Random(size).randbytes(size)
    chooser = random.Random(3)

    def pieces() -> Iterator[bytes]:
        at = 0
        while at < size:
            step = chooser.choice([0, 7, 500_000, 2_000_000, 12_000_000])
            yield data[at : at + step]
            at += step

    key = f"put/{size}"
    stored = put(requests_to(s3, bucket), key, pieces(), part_bytes=LEAST_PART, metadata={"a": "b"})
    assert stored.bytes == size
    parts = -(-size // LEAST_PART)
    assert stored.etag.strip('"').endswith(f"-{parts}") == (parts > 1)
    uri = s3.prefix(bucket, key)
    with open_object(uri) as file:
        assert file.read() == data
        for _ in range(5):
            at = chooser.randrange(size + 1)
            assert file.seek(at) == at
            assert file.read(1000) == data[at : at + 1000]
        assert file.seek(0, io.SEEK_END) == size
        assert file.read() == b""
    assert s3.client().head_object(Bucket=bucket, Key=key)["Metadata"] == {"a": "b"}
    assert put(requests_to(s3, bucket), key, [data], part_bytes=LEAST_PART).etag == stored.etag, "a retry is the same"


def test_reading_takes_few_requests(s3: ObjectStore, bucket: str) -> None:
    """Eight MiB a request, however the reader asks."""
    calls: list[str] = []

    def note(call: Call, forward: Forward) -> Answer:
        calls.append(call.method)
        return forward(call)

    put(requests_to(s3, bucket), "read", [bytes(20 << 20)])
    with HttpProxy(s3.address, note) as proxy:
        uri = s3.prefix(bucket, "read", proxy.url)
        with open_object(uri) as file:
            assert len(file.read()) == 20 << 20
        with open_object(uri) as file:
            assert sum(len(piece) for piece in iter(lambda: file.read(100_000), b"")) == 20 << 20
    assert calls == ["HEAD", "GET", "GET", "GET"] * 2


def test_what_fails_in_the_middle_leaves_nothing(s3: ObjectStore, bucket: str) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(3):
            yield bytes(LEAST_PART)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        put(requests_to(s3, bucket), "failed", pieces(), part_bytes=LEAST_PART)
    assert not exists(s3.prefix(bucket, "failed"))
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=bucket)


def test_stale_uploads_are_taken_back(s3: ObjectStore, bucket: str) -> None:
    client = s3.client()
    for key in ("stale/a", "stale/b", "other"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    assert abort_stale(requests_to(s3, bucket), "stale/", 60) == []
    assert sorted(abort_stale(requests_to(s3, bucket), "stale/", -1)) == ["stale/a", "stale/b"]
    assert [upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["other"]
    abort_stale(requests_to(s3, bucket), "", -1)


def test_two_versions_are_never_mixed(s3: ObjectStore, bucket: str) -> None:
    requests = requests_to(s3, bucket)
    uri = s3.prefix(bucket, "replaced")
    first = put(requests, "replaced", [os.urandom(20 << 20)], part_bytes=32 << 20)
    with open_object(uri) as file:
        file.read(100)
        put(requests, "replaced", [os.urandom(20 << 20)], part_bytes=32 << 20)
        file.seek(15 << 20)
        with pytest.raises(PreconditionError, match="replaced: it has changed"):
            file.read(100)
    with pytest.raises(PreconditionError):
        open_object(pinned(uri, first.etag))
    with pytest.raises(ObjectMissingError, match="nothing: there is no such object"):
        open_object(s3.prefix(bucket, "nothing"))


def test_conditions_hold(s3: ObjectStore, bucket: str) -> None:
    requests = requests_to(s3, bucket)
    stored = put(requests, "conditional", [b"1"], condition={"IfNoneMatch": "*"})
    with pytest.raises(PreconditionError):
        put(requests, "conditional", [b"2"], condition={"IfNoneMatch": "*"})
    second = put(requests, "conditional", [b"3"], condition={"IfMatch": stored.etag})
    with pytest.raises(PreconditionError):
        put(requests, "conditional", [b"4"], condition={"IfMatch": stored.etag})
    assert requests.get("conditional") == (b"3", second.etag)
    assert requests.get("nothing") is None
    with pytest.raises(ValueError, match="objects of one part"):
        put(requests, "conditional", [b"12"], condition={"IfMatch": stored.etag}, part_bytes=1)


@pytest.mark.parametrize("checksum", ["CRC32", "SHA1", "SHA256"])
def test_checksums_are_kept(s3: ObjectStore, bucket: str, checksum: str) -> None:
    requests = requests_to(s3, bucket, checksum=checksum, encryption="AES256", storage_class="STANDARD")
    assert requests.location.storage == Storage("AES256", None, "STANDARD", checksum)  # type: ignore[arg-type]
    for key, size in (("small", 10), ("large", 2 * LEAST_PART)):
        put(requests, key, [bytes(size)], part_bytes=LEAST_PART)
        found = s3.client().head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        assert found[f"Checksum{checksum}"]


def test_listing_goes_on_over_pages(s3: ObjectStore, bucket: str) -> None:
    requests = requests_to(s3, bucket)
    client = s3.client()
    for number in range(1_005):
        client.put_object(Bucket=bucket, Key=f"pages/{number:05}", Body=b"")
    assert [found.key for found in requests.list("pages/")] == [f"pages/{number:05}" for number in range(1_005)]
    assert [found.key for found in requests.list("pages/", "pages/01002")] == ["pages/01003", "pages/01004"]


def test_objects_are_found_by_pattern(s3: ObjectStore, bucket: str) -> None:
    for name in ("a.jsonl", "b.jsonl", "b.avro", "sub/c.jsonl", "sub/deep/d.jsonl", "[x].jsonl"):
        write_file(s3.prefix(bucket, f"glob/{name}"), b"{}\n")

    def found(pattern: str) -> list[str]:
        files = match_files(s3.prefix(bucket, pattern))
        assert all(file.size == 3 for file in files)
        return [file.path.partition("/glob/")[2].partition("?")[0] for file in files]

    assert found("glob/*.jsonl") == ["[x].jsonl", "a.jsonl", "b.jsonl"]
    assert found("glob/?.jsonl") == ["a.jsonl", "b.jsonl"]
    assert found("glob/[!a].jsonl") == ["b.jsonl"]
    assert found("glob/**.jsonl") == ["[x].jsonl", "a.jsonl", "b.jsonl", "sub/c.jsonl", "sub/deep/d.jsonl"]
    assert found("glob/*/*.jsonl") == ["sub/c.jsonl"]
    assert found("glob/sub/") == ["sub/c.jsonl"]
    assert found("glob/a.jsonl") == ["a.jsonl"]
    with pytest.raises(ValueError, match=r"no such file: 's3://"):
        check_inputs(s3.prefix(bucket, "glob/z.jsonl"))
    with pytest.raises(ValueError, match=r"cannot list 's3://no-such-bucket/x\*': .*not there"):
        check_inputs(s3.prefix("no-such-bucket", "x*"))


def events(count: int) -> list[Event]:
    """One a second."""
    return [Event.of(f"e{n}", Timestamp(n), f"d{n % 7}", "powerMeter", "power", float(n)) for n in range(count)]


def test_file_transforms_take_objects(s3: ObjectStore, bucket: str) -> None:
    """What docs/files.md shows of a directory, of a prefix."""
    out, rows = s3.prefix(bucket, "files"), events(500)
    prepare_output(out, ["events"])
    with beam.Pipeline(FnApiRunner()) as pipeline:
        files = pipeline | beam.Create(rows) | WriteToFiles(s3.prefix(bucket, "files/events"), Event, "jsonl", "zstd")
        files | WriteManifest(out)
    results = read_manifest(out)
    assert results.rows("events") == 500
    assert sorted(read_table(results.paths("events"), Event)["event_id"].to_pylist()) == sorted(
        r.event_id for r in rows
    )
    with pytest.raises(ValueError, match="already holds results"):
        prepare_output(out, ["events"])
    with beam.Pipeline(FnApiRunner()) as pipeline:
        read = pipeline | ReadFromFiles(results.paths("events"), Event)
        blobs = pipeline | ReadBlobs(s3.prefix(bucket, "files/*.zst"))
        records, lines = collect(read.records), collect(blobs.blobs)
    assert sorted(collected.pop(records)) == sorted(rows)
    assert sum(blob.data.count(b"\n") for blob in collected.pop(lines)) == 500
    prepare_output(out, ["events"], overwrite=True)
    assert not exists(results.paths("events")[0])
    with pytest.raises(ValueError, match="no run has finished there"):
        read_manifest(out)


def test_large_lines_are_shared_by_workers(s3: ObjectStore, bucket: str) -> None:
    """Ranges of an object, each line in one of them."""
    path = s3.prefix(bucket, "split/a.jsonl")
    lines = [f'{{"n": {n}}}' for n in range(20_000)]
    write_file(path, "\n".join(lines).encode())
    with beam.Pipeline(FnApiRunner()) as pipeline:
        found = collect((pipeline | ReadBlobs(path, split_bytes=10_000)).blobs)
    blobs = sorted(collected.pop(found), key=lambda blob: blob.offset)
    assert len(blobs) > 10
    assert "".join(blob.data.decode() for blob in blobs).split("\n") == lines
    delete_file(path)


def test_an_application_writes_and_reads_by_uri(s3: ObjectStore, bucket: str) -> None:
    rows = events(100)
    usage = Kind("usage", Usage)
    dead, late = Kind("dead-letters", DeadLetter), Kind("late", Event)
    uri = s3.prefix(bucket, "app", format="avro", compression="none", window="1h")
    sink = S3Sink(uri)
    sink.check([usage, dead, late])
    letter = DeadLetter(b"x", "a", "", "b", "invalid_json", "c", Timestamp(5))
    with beam.Pipeline(FnApiRunner()) as pipeline:
        named = pipeline | beam.Create([0]) | beam.Map(lambda _: ("s00000", to_record_batch(rows, Event)))
        stored = [
            sink.write_batches(named, late, "Late"),
            sink.write_records(pipeline | "Letters" >> beam.Create([letter]), dead, "Dead"),
        ]
        sink.finish(stored, "")
        counts = [collect(some.rows) for some in stored]
    assert [sum(collected.pop(name)) for name in counts] == [100, 1]
    with beam.Pipeline(FnApiRunner()) as pipeline:
        found = collect((pipeline | ReadFromS3(s3.prefix(bucket, "app/late"), Event)).records)
        letters = collect((pipeline | "L" >> ReadFromS3(s3.prefix(bucket, "app/dead-letters"), DeadLetter)).records)
        source = S3Source(s3.prefix(bucket, "app/late/*.avro"))
        source.check()
        [reading] = source.read(pipeline, "Again", lambda data: data)
        batches = collect(reading.payloads)
    assert sorted(collected.pop(found)) == sorted(rows)
    assert collected.pop(letters) == [letter]
    assert sum(batch.num_rows for batch in collected.pop(batches)) == 100
    with pytest.raises(ConnectorError, match="not there"):
        S3Sink(s3.prefix("no-such-bucket", "app")).check([usage])
