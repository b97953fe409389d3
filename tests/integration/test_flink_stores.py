"""Kinesis and S3 as sources and sinks of jobs on a real Flink cluster."""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.timestamp import Timestamp

from flink_stores import copy_and_archive, copy_objects
from kafka_running import collect, collected, wait_for
from kinesis_running import Producer, Tail, open_shards, read_plainly, split_all
from stack_fixtures import Cluster, ObjectStore, Streams
from thingbeam.io import ReadArchiveFromS3, ReadFromS3, WriteToS3
from thingbeam.runners.stack.components import kinesis as kinesis_component
from thingbeam.runners.stack.components import s3 as s3_component
from thingbeam.schemas import Event

ROWS = int(os.environ.get("THINGBEAM_TEST_ROWS", "20000")) // 5
KEYS = 40
PATIENCE_S = 90 + ROWS / 1_000


def references(folder: Path, access_key: str, secret_key: str) -> dict[str, str]:
    """Keys as files: the cluster's workers do not have this process's environment."""
    folder.mkdir()
    (folder / "access").write_text(access_key)
    (folder / "secret").write_text(secret_key)
    return {"access_key": f"file:{folder / 'access'}", "secret_key": f"file:{folder / 'secret'}"}


@pytest.fixture
def kinesis_keys(tmp_path: Path) -> dict[str, str]:
    return references(tmp_path / "kinesis", kinesis_component.ACCESS_KEY, kinesis_component.SECRET_KEY)


@pytest.fixture
def s3_keys(tmp_path: Path) -> dict[str, str]:
    return references(tmp_path / "s3", s3_component.ACCESS_KEY, s3_component.SECRET_KEY)


@pytest.mark.slow
def test_a_stream_is_copied_and_archived_whatever_happens(
    flink: Cluster, kinesis: Streams, s3: ObjectStore, kinesis_keys: dict[str, str], s3_keys: dict[str, str]
) -> None:
    """Its shards are split and the workers killed on the way: each record at least once, in the archive once."""
    source, copy, client = kinesis.stream(shards=2), kinesis.stream("copy", shards=2), kinesis.client()
    archive = s3.prefix(s3.bucket(), "raw", **s3_keys)
    name = f"stores-{uuid.uuid4().hex[:8]}"
    given = flink.options("PROCESS", checkpoint_ms=1000, parallelism=2, more=[f"--job_name={name}"])
    pipeline = beam.Pipeline(options=PipelineOptions(given))
    copy_and_archive(pipeline, kinesis.config(**kinesis_keys), source, copy, archive)
    pipeline.run()
    job = flink.rest.job(name).id

    def copied() -> set[tuple[str, bytes]]:
        return set(read_plainly(client, copy))

    def archived() -> dict[str, list[int]]:
        with beam.Pipeline(FnApiRunner()) as reader:
            found = collect((reader | ReadArchiveFromS3(archive)).batches)
        batches = collected.pop(found)
        batches.sort(key=lambda batch: int(batch.sequences[0]))
        return Tail.by_key([
            (key.decode(), int(data))
            for batch in batches
            for key, data in zip(batch.keys, batch.payloads, strict=True)
        ])  # fmt: skip

    try:
        flink.rest.wait_for_tasks(job)
        with Producer(client, source, KEYS, KEYS, most=ROWS // 3) as producer:
            wait_for(lambda: len(copied()) >= ROWS // 4, PATIENCE_S, "records")
            producer.allow(2 * ROWS // 3)
            split_all(client, source)
            assert len(open_shards(client, source)) == 4
            wait_for(lambda: len(copied()) >= ROWS // 2, PATIENCE_S, "records of the new shards")
            flink.rest.wait_for_checkpoints(job)
            producer.allow(ROWS)
            for pid in flink.workers():
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda: producer.total >= ROWS, PATIENCE_S, "all are put")
            wait_for(lambda: len(copied()) == producer.total, PATIENCE_S, "all records")
        expected = {key: list(range(count)) for key, count in producer.counts.items()}
        assert {(key, int(data)) for key, data in copied()} == {
            (key, number) for key, numbers in expected.items() for number in numbers
        }
        wait_for(lambda: sum(map(len, archived().values())) >= producer.total, PATIENCE_S, "the archive")
        assert archived() == expected
    finally:
        flink.rest.cancel(job)


@pytest.mark.slow
def test_objects_are_read_and_written_by_window(flink: Cluster, s3: ObjectStore, s3_keys: dict[str, str]) -> None:
    bucket = s3.bucket()
    source, copy = (s3.prefix(bucket, name, **s3_keys) for name in ("in", "out"))
    events = [Event.of(f"e{n}", Timestamp(n * 3), f"d{n % 97}", "switch", "switch", "on") for n in range(ROWS)]
    with beam.Pipeline(FnApiRunner()) as writer:
        _ = writer | beam.Create(events) | WriteToS3(source, Event, "avro", window="1h", shards=2)
    pipeline = beam.Pipeline(options=PipelineOptions(flink.options("PROCESS", parallelism=2)))
    copy_objects(pipeline, source, copy)
    pipeline.run().wait_until_finish()
    with beam.Pipeline(FnApiRunner()) as reader:
        found = collect((reader | ReadFromS3(copy, Event)).records)
    assert sorted(collected.pop(found)) == sorted(events)
