"""Jobs of the stores for a Flink cluster, whose workers import this module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from thingbeam.io import ArchiveToS3, ReadFromKinesis, ReadFromS3, WriteToKinesis, WriteToS3
from thingbeam.io.aws import AwsConfig
from thingbeam.io.kinesis import KinesisBatch, KinesisMessage
from thingbeam.schemas import Event


def copy_and_archive(pipeline: Any, config: AwsConfig, source: str, copy: str, archive: str) -> None:
    """Each record of a stream to another stream, and to an archive."""
    batches = pipeline | ReadFromKinesis(source, config, batches=True, poll_interval="200ms", bundle_time="200ms")
    messages = batches | "Messages" >> beam.FlatMap(messages_of).with_output_types(KinesisMessage)
    _ = messages | WriteToKinesis(copy, config)
    _ = batches | ArchiveToS3(archive, roll_after="2s")


def messages_of(batch: KinesisBatch) -> Iterator[KinesisMessage]:
    """The records of a batch, to be written again."""
    for key, data in zip(batch.keys, batch.payloads, strict=True):
        yield KinesisMessage(data or b"", (key or b"").decode())


def copy_objects(pipeline: Any, source: str, copy: str) -> None:
    """The rows of whole windows, written again by window and shard."""
    rows = pipeline | ReadFromS3(source, Event)
    _ = rows.records | WriteToS3(copy, Event, "parquet", window="1h", shards=3)
