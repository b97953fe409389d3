"""Whole files of records as bytes, in any of the formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa

from thingbeam.io.files.avro_files import encode_avro, encode_avro_stream
from thingbeam.io.files.compression import compress
from thingbeam.io.files.json_lines import encode_json_lines
from thingbeam.io.files.parquet_files import encode_parquet, encode_parquet_stream
from thingbeam.io.files.paths import Compression, Format

__all__ = ["encode_batch", "encode_batches"]

_GROUP_ROWS: Final = 1 << 16


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


def encode_batches(
    batches: Iterable[pa.RecordBatch],
    record_type: type[tuple[Any, ...]],
    file_format: Format,
    compression: Compression | None = None,
    *,
    name: str,
) -> Iterator[bytes]:
    """The rows of batches as one file, in pieces, in their order: what a file too large for memory is written by.

    The same bytes for the same batches and name. Lines are compressed as members (gzip) or frames (zstd) one after
    another, which are one file. Small batches are joined, up to 65,536 rows, so that what is compressed together, or is
    one row group, is large.

    Args:
        batches: of `arrow_schema(record_type)`.
        record_type: what their rows are.
        file_format: jsonl, avro or parquet.
        compression: None, gzip or zstd.
        name: of the file, from which the marker in an Avro file follows.

    Raises:
        ValueError: what encode_batch raises.
    """
    joined = _joined(batches)
    if file_format == "avro":
        yield from encode_avro_stream(joined, record_type, compression, name)
    elif file_format == "parquet":
        yield from encode_parquet_stream(joined, record_type, compression)
    else:
        for batch in joined:
            yield compress(encode_json_lines(batch, record_type), compression)


def _joined(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if waiting and rows + batch.num_rows > _GROUP_ROWS:
            yield _one(waiting)
            waiting, rows = [], 0
        waiting.append(batch)
        rows += batch.num_rows
    if waiting:
        yield _one(waiting)


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
