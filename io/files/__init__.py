"""Files: JSON Lines, Avro and Parquet, plain or compressed, on any filesystem that Beam knows. See docs/files.md."""

from __future__ import annotations

from thingbeam.io.files.batches import check_batch
from thingbeam.io.files.blobs import ReadBlobs, read_blobs
from thingbeam.io.files.formats import encode_batch
from thingbeam.io.files.json_lines import decode_json_lines, encode_json_line, encode_json_lines
from thingbeam.io.files.manifest import Manifest, WriteManifest, prepare_output, read_manifest, write_manifest
from thingbeam.io.files.paths import Compression, Format, InputFile, check_inputs
from thingbeam.io.files.records import ReadFromFiles, read_records, read_table
from thingbeam.io.files.sink import WriteBatches, WriteToFiles, WrittenFile
from thingbeam.schemas.blob import Blob, BlobCoder

__all__ = [
    "Blob",
    "BlobCoder",
    "Compression",
    "Format",
    "InputFile",
    "Manifest",
    "ReadBlobs",
    "ReadFromFiles",
    "WriteBatches",
    "WriteManifest",
    "WriteToFiles",
    "WrittenFile",
    "check_batch",
    "check_inputs",
    "decode_json_lines",
    "encode_batch",
    "encode_json_line",
    "encode_json_lines",
    "prepare_output",
    "read_blobs",
    "read_manifest",
    "read_records",
    "read_table",
    "write_manifest",
]
