"""S3: rows to objects of Avro, Parquet and JSON Lines, by window and shard, and back. See docs/s3.md."""

from __future__ import annotations

from thingbeam.io.s3.archive import ArchivedMessage, ArchivedObject
from thingbeam.io.s3.archive_reading import ReadArchiveFromS3
from thingbeam.io.s3.archiving import ArchiveToS3
from thingbeam.io.s3.location import S3Location, Storage, parse_s3_uri
from thingbeam.io.s3.manifests import S3Object, S3Window
from thingbeam.io.s3.sink import WriteToS3, WrittenToS3
from thingbeam.io.s3.source import ReadFromS3

__all__ = [
    "ArchiveToS3",
    "ArchivedMessage",
    "ArchivedObject",
    "ReadArchiveFromS3",
    "ReadFromS3",
    "S3Location",
    "S3Object",
    "S3Window",
    "Storage",
    "WriteToS3",
    "WrittenToS3",
    "parse_s3_uri",
]
