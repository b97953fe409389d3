"""Whole files of records as bytes, in any of the formats."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from thingbeam.io.files.avro_files import encode_avro
from thingbeam.io.files.compression import compress
from thingbeam.io.files.json_lines import encode_json_lines
from thingbeam.io.files.parquet_files import encode_parquet
from thingbeam.io.files.paths import Compression, Format

__all__ = ["encode_batch"]


def encode_batch(
    batch: pa.RecordBatch,
    record_type: type[tuple[Any, ...]],
    file_format: Format,
    compression: Compression | None = None,
) -> bytes:
    """The rows of a batch as one file, in their order: the same bytes for the same rows.

    Raises:
        ValueError: columns of another record, a null where the record has none, a number that is not finite, a time
            outside the years 1 to 9999.
    """
    if file_format == "avro":
        return encode_avro(batch, record_type, compression)
    if file_format == "parquet":
        return encode_parquet(batch, record_type, compression)
    return compress(encode_json_lines(batch, record_type), compression)
