"""S3 while things break: the writer killed, the store killed, the connection cut and slowed, throttles.

THINGBEAM_TEST_ROWS says how many rows each test writes; by default so few that all take a minute.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

import s3_job
from fault_proxy import Answer, Call, Forward, HttpProxy, TcpProxy
from kafka_running import collect, collected
from stack_fixtures import ObjectStore
from structure import CHECKOUT
from thingbeam.io import ReadFromS3, WriteToS3
from thingbeam.io.aws.errors import AccessDeniedError, CredentialsError, WrongRegionError
from thingbeam.io.errors import MissingError, UnreachableError
from thingbeam.io.s3 import parse_s3_uri
from thingbeam.io.s3.requests import Requests, check_bucket
from thingbeam.io.s3.uploads import abort_stale
from thingbeam.io.writing.policies import RetryPolicy
from thingbeam.schemas import Event

ROWS = int(os.environ.get("THINGBEAM_TEST_ROWS", "32000"))
PATIENT = RetryPolicy(deadline="60s", longest="2s")


class Count(beam.DoFn):
    """The numbers of the rows of batches, seen to have the right texts."""

    def process(self, rows: pa.RecordBatch) -> Iterator[list[int]]:
        yield s3_job.numbers(rows)


def read(uri: str) -> Counter[int]:
    """How often each row is in what is committed."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        found = pipeline | ReadFromS3(uri, Event, batches=True)
        numbers, dead = collect(found.records | beam.ParDo(Count())), collect(found.dead_letters)
    assert collected.pop(dead) == []
    return Counter(number for some in collected.pop(numbers) for number in some)


def all_once(uri: str, count: int = ROWS) -> None:
    """Every row is there, once."""
    found = read(uri)
    assert found.keys() == set(range(count))
    assert found.total() == count


def keys(store: ObjectStore, bucket: str, client: Any = None) -> list[str]:
    """All objects."""
    pages = (client or store.client()).get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [found["Key"] for page in pages for found in page.get("Contents", ())]


def write(uri: str, count: int = ROWS, **options: Any) -> dict[str, int]:
    """Writes the rows; gives the counters."""
    pipeline = beam.Pipeline(FnApiRunner())
    made = (
        pipeline
        | beam.Create(list(range(0, count, s3_job.BATCH)))
        | beam.Map(lambda first: s3_job.batch(first, min(s3_job.BATCH, count - first), count))
    )
    made.element_type = pa.RecordBatch
    made | WriteToS3(uri, Event, "jsonl", None, retry=PATIENT, part_bytes=5 << 20, **options)
    result = pipeline.run()
    result.wait_until_finish()
    return {found.key.metric.name: found.committed for found in result.metrics().query()["counters"]}


@contextlib.contextmanager
def meanwhile(action: Callable[[], None]) -> Iterator[None]:
    """Does something in another thread, which has to end well."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert failed == []


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits for it."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@contextlib.contextmanager
def job(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The job, killed when the block ends."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT / "src")}
    argv = [sys.executable, str(CHECKOUT / "tests" / "s3_job.py"), *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, env=environment, start_new_session=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def busy(client: Any, bucket: str) -> bool:
    """Whether an object is there, and another on its way."""
    found = client.list_objects_v2(Bucket=bucket).get("KeyCount")
    return bool(found and client.list_multipart_uploads(Bucket=bucket).get("Uploads"))


def test_the_writer_dies_in_two_regions(s3: ObjectStore, s3_far: ObjectStore, tmp_path: Path) -> None:
    """Killed in the middle of a large object of each region, then run again: nothing partial, nothing doubled."""
    log = tmp_path / "job.log"
    stores = {s3: s3.bucket(), s3_far: s3_far.bucket()}
    prefixes = [store.prefix(bucket, "home/events") for store, bucket in stores.items()]
    with TcpProxy(s3.address) as near, TcpProxy(s3_far.address) as far:
        proxied = [
            store.prefix(bucket, "home/events", proxy.url)
            for (store, bucket), proxy in zip(stores.items(), (near, far), strict=True)
        ]
        near.delay = far.delay = 0.01
        for store, bucket in stores.items():
            client = store.client()
            with job([str(ROWS), *proxied], log) as process:
                until(lambda: busy(client, bucket) or process.poll() is not None, 600)  # noqa: B023 - it is called here
                assert process.poll() is None, log.read_text()[-3000:]
            for prefix in prefixes:
                assert read(prefix).total() % (ROWS // s3_job.HOURS) == 0, "windows are seen whole, or not at all"
    assert any("Uploads" in store.client().list_multipart_uploads(Bucket=name) for store, name in stores.items())
    with job([str(ROWS), *prefixes], log) as process:
        assert process.wait(1800) == 0, log.read_text()[-3000:]
    hours = range(s3_job.HOURS)
    wanted = {f"home/events/19700101T{hour:02}0000Z-s00000-p00000.parquet" for hour in hours}
    for (store, bucket), prefix in zip(stores.items(), prefixes, strict=True):
        all_once(prefix)
        objects = keys(store, bucket)
        assert {key for key in objects if "/_committed/" not in key} == wanted
        assert len(objects) == len(wanted) + s3_job.HOURS
        requests = Requests(parse_s3_uri(prefix))
        assert abort_stale(requests, "home/events/", 3600) == [], "what is young may be at work"
        abort_stale(requests, "home/events/", 0)
        assert "Uploads" not in store.client().list_multipart_uploads(Bucket=bucket)
    assert keys(s3, stores[s3]) == keys(s3_far, stores[s3_far])


def test_the_store_dies(s3: ObjectStore) -> None:
    uri = s3.prefix(bucket := s3.bucket(), "home/events")

    def kill() -> None:
        client = s3.client()
        for objects in (2, 10):
            until(lambda least=objects: len(keys(s3, bucket, client)) >= least)
            with s3.killed():
                time.sleep(1)

    with meanwhile(kill):
        counts = write(uri, shards=4, roll_bytes=1 << 20)
    assert counts["retries"] > 0
    all_once(uri)


def test_the_connection_is_cut_and_slow(s3: ObjectStore) -> None:
    bucket = s3.bucket()
    with TcpProxy(s3.address) as proxy:
        uri = s3.prefix(bucket, "home/events", proxy.url)

        def cut() -> None:
            client = s3.client()
            for objects in (1, 3):
                until(lambda least=objects: len(keys(s3, bucket, client)) >= least)
                proxy.cut(0.5)
                with proxy.slow(0.002):
                    time.sleep(1)

        with meanwhile(cut):
            counts = write(uri, shards=2)
        assert counts["retries"] > 0
        with meanwhile(lambda: proxy.cut(0.5)):
            all_once(uri)


def xml_error(code: str, status: int) -> Answer:
    """The error of S3."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code} it says</Message></Error>".encode()
    return Answer(status, body, {"Content-Type": "application/xml"})


class Every:
    """Answers every third call with an error, and keeps what the server answered to the others."""

    def __init__(self, code: str, status: int, every: int = 3) -> None:
        self._error, self._every = xml_error(code, status), every
        self._lock = threading.Lock()
        self.calls = self.refused = 0
        self.answers: list[tuple[str, int, str]] = []

    def __call__(self, call: Call, forward: Forward) -> Answer:
        with self._lock:
            self.calls += 1
            chosen = self._every and self.calls % self._every == 0
            self.refused += bool(chosen)
        answer = self._error if chosen else forward(call)
        region = re.search(r"Credential=[^/]+/\d+/([^/]+)/", call.headers.get("Authorization", ""))
        self.answers.append((call.method, answer.status, region[1] if region else ""))
        return answer


def test_throttles_are_waited_out(s3: ObjectStore) -> None:
    every = Every("SlowDown", 503)
    with HttpProxy(s3.address, every) as proxy:
        uri = s3.prefix(s3.bucket(), "home/events", proxy.url)
        counts = write(uri, shards=2)
        assert counts["throttles"] > 5
        all_once(uri)


def test_each_region_gets_its_own_signature(s3: ObjectStore, s3_far: ObjectStore) -> None:
    """By the servers' own answers: boto3 would sign again for another region and say nothing."""
    near, far = Every("", 0, 0), Every("", 0, 0)
    with HttpProxy(s3.address, near) as one, HttpProxy(s3_far.address, far) as other:
        uris = [s3.prefix(s3.bucket(), "a", one.url), s3_far.prefix(s3_far.bucket(), "a", other.url)]
        with beam.Pipeline(FnApiRunner()) as pipeline:
            made = pipeline | beam.Create([0]) | beam.FlatMap(lambda _: list(s3_job.batches(2_000)))
            for number, uri in enumerate(uris):
                made | f"Write{number}" >> WriteToS3(uri, Event)
        for uri in uris:
            all_once(uri, 2_000)
    for seen, region in ((near, "eu-west-1"), (far, "us-west-2")):
        assert {answer[2] for answer in seen.answers} == {region}
        # A manifest or a part that is not there yet is asked for by name; nothing was refused.
        assert {answer[1] for answer in seen.answers} <= {200, 204, 206}
        assert "PUT" in {answer[0] for answer in seen.answers}


def test_a_wrong_region_is_refused_and_said(s3_far: ObjectStore) -> None:
    seen = Every("", 0, 0)
    with HttpProxy(s3_far.address, seen) as proxy:
        uri = s3_far.prefix(s3_far.bucket(), "a", proxy.url, region="eu-west-1")
        with pytest.raises(WrongRegionError, match="in region us-west-2, not eu-west-1: say region=us-west-2"):
            check_bucket(parse_s3_uri(uri))
    assert seen.answers[0][1:] == (400, "eu-west-1"), "the server refused the first signature"


def test_what_cannot_work_is_said_before_the_start(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = s3.bucket()
    monkeypatch.setenv("NOBODY", "nobody")
    pipeline = beam.Pipeline(FnApiRunner())

    def refused(kind: type[Exception], text: str, uri: str) -> None:
        for transform in (WriteToS3(uri, Event), ReadFromS3(uri, Event)):
            rows = pipeline if isinstance(transform, ReadFromS3) else pipeline | os.urandom(4).hex() >> beam.Create([])
            with pytest.raises(kind, match=text) as found:
                rows | os.urandom(4).hex() >> transform
            assert "\n" not in str(found.value)
            assert "nobody" not in str(found.value)

    refused(MissingError, r"s3://no-such-bucket \(region eu-west-1 at .*\): not there", s3.prefix("no-such-bucket"))
    refused(CredentialsError, "AWS does not know these credentials", s3.prefix(bucket, access_key="env:NOBODY"))
    refused(CredentialsError, "AWS does not know these credentials", s3.prefix(bucket, secret_key="env:NOBODY"))
    access, secret = s3.user()
    monkeypatch.setenv("SOMEBODY", access)
    monkeypatch.setenv("SOMEBODYS_SECRET", secret)
    somebody = s3.prefix(bucket, access_key="env:SOMEBODY", secret_key="env:SOMEBODYS_SECRET")
    refused(AccessDeniedError, "no permission for s3:ListBucket", somebody)
    with HttpProxy(s3.address, Every("ExpiredToken", 400, 1)) as proxy:
        refused(CredentialsError, "the AWS credentials have run out", s3.prefix(bucket, endpoint=proxy.url))


def test_no_permission_to_write_is_said_before_the_start(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = s3.bucket()

    def deny(call: Call, forward: Forward) -> Answer:
        return xml_error("AccessDenied", 403) if call.method == "POST" else forward(call)

    with HttpProxy(s3.address, deny) as proxy:
        location = parse_s3_uri(s3.prefix(bucket, "a", proxy.url))
        check_bucket(location)
        with pytest.raises(AccessDeniedError, match="no permission for s3:PutObject"):
            check_bucket(location, write=True)


def test_a_store_that_never_answers_is_said(s3: ObjectStore) -> None:
    uri = s3.prefix("some-bucket", endpoint="http://127.0.0.1:1")
    requests = Requests(parse_s3_uri(uri), RetryPolicy(deadline="1s"))
    with pytest.raises(UnreachableError, match=r"list_objects_v2 failed for 1s, \d+ times, last with Endpoint"):
        list(requests.list(""))
