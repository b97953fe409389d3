"""Kinesis, native: a source that follows resharding, and a sink. See docs/kinesis.md."""

from __future__ import annotations

from thingbeam.io.kinesis.checkpoints import CheckpointStore, DynamoDbCheckpoints, FileCheckpoints
from thingbeam.io.kinesis.records import KinesisBatch, KinesisMessage, KinesisRecord
from thingbeam.io.kinesis.sink import WriteToKinesis
from thingbeam.io.kinesis.source import ReadFromKinesis

__all__ = [
    "CheckpointStore",
    "DynamoDbCheckpoints",
    "FileCheckpoints",
    "KinesisBatch",
    "KinesisMessage",
    "KinesisRecord",
    "ReadFromKinesis",
    "WriteToKinesis",
]
