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
from thingbeam.io.kafka.config import KafkaConfig
from thingbeam.io.kafka.records import KafkaBatch, KafkaMessage, KafkaRecord

if TYPE_CHECKING:
    from thingbeam.io.kafka import ReadFromKafka, WriteToKafka

__all__ = [
    "Blob",
    "KafkaBatch",
    "KafkaConfig",
    "KafkaMessage",
    "KafkaRecord",
    "Manifest",
    "ReadBlobs",
    "ReadFromFiles",
    "ReadFromKafka",
    "WriteBatches",
    "WriteManifest",
    "WriteToFiles",
    "WriteToKafka",
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

_LAZY: Final = {"ReadFromKafka": "thingbeam.io.kafka", "WriteToKafka": "thingbeam.io.kafka"}


def __getattr__(name: str) -> Any:
    """Import what needs a service's client when it is asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
