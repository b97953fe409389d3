"""Where events come from and where results go. Importing this imports no client of any service."""

from __future__ import annotations

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

__all__ = [
    "Blob",
    "Manifest",
    "ReadBlobs",
    "ReadFromFiles",
    "WriteBatches",
    "WriteManifest",
    "WriteToFiles",
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
