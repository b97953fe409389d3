"""Where events come from and where results go. Importing this imports no client of any service."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from thingbeam.io.files import (
    Blob,
    Manifest,
    ReadBlobs,
    ReadFromFiles,
    WriteBatches,
    WriteManifest,
    WriteToFiles,
    WrittenFile,
    check_inputs,
    decode_json_lines,
    encode_json_line,
    encode_json_lines,
    prepare_output,
    read_manifest,
    read_table,
    write_manifest,
)
from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.hbase.rows import HBaseRow
from thingbeam.io.kafka.config import KafkaConfig
from thingbeam.io.kafka.records import KafkaBatch, KafkaMessage, KafkaRecord

if TYPE_CHECKING:
    from thingbeam.io.dynamodb import ReadFromDynamoDB, WriteToDynamoDB
    from thingbeam.io.hbase import HBaseLookup, ReadFromHBase, WriteToHBase
    from thingbeam.io.kafka import ReadFromKafka, WriteToKafka
    from thingbeam.io.kinesis import ReadFromKinesis, WriteToKinesis
    from thingbeam.io.s3 import ArchiveToS3, ReadArchiveFromS3, ReadFromS3, WriteToS3

__all__ = [
    "ArchiveToS3",
    "Blob",
    "HBaseConfig",
    "HBaseLookup",
    "HBaseRow",
    "KafkaBatch",
    "KafkaConfig",
    "KafkaMessage",
    "KafkaRecord",
    "Manifest",
    "ReadArchiveFromS3",
    "ReadBlobs",
    "ReadFromDynamoDB",
    "ReadFromFiles",
    "ReadFromHBase",
    "ReadFromKafka",
    "ReadFromKinesis",
    "ReadFromS3",
    "WriteBatches",
    "WriteManifest",
    "WriteToDynamoDB",
    "WriteToFiles",
    "WriteToHBase",
    "WriteToKafka",
    "WriteToKinesis",
    "WriteToS3",
    "WrittenFile",
    "check_inputs",
    "decode_json_lines",
    "encode_json_line",
    "encode_json_lines",
    "prepare_output",
    "read_manifest",
    "read_table",
    "write_manifest",
]

_LAZY: Final = {
    "HBaseLookup": "thingbeam.io.hbase",
    "ReadFromHBase": "thingbeam.io.hbase",
    "WriteToHBase": "thingbeam.io.hbase",
    "ReadFromDynamoDB": "thingbeam.io.dynamodb",
    "WriteToDynamoDB": "thingbeam.io.dynamodb",
    "ReadFromKafka": "thingbeam.io.kafka",
    "ReadFromKinesis": "thingbeam.io.kinesis",
    "WriteToKafka": "thingbeam.io.kafka",
    "WriteToKinesis": "thingbeam.io.kinesis",
    "ArchiveToS3": "thingbeam.io.s3",
    "ReadArchiveFromS3": "thingbeam.io.s3",
    "ReadFromS3": "thingbeam.io.s3",
    "WriteToS3": "thingbeam.io.s3",
}


def __getattr__(name: str) -> Any:
    """Import what needs a service's client when it is asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
