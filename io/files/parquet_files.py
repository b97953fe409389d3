"""Parquet files of our records, row group by row group."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from thingbeam.io.files.batches import Fault, SchemaMismatchError, check_batch, resolve_batch
from thingbeam.io.files.paths import Compression
from thingbeam.schemas import codes

__all__ = ["encode_parquet", "read_parquet"]

_MAGIC: Final = b"PAR1"
_BATCH_ROWS: Final = 16_384


def encode_parquet(batch: pa.RecordBatch, record_type: type[tuple[Any, ...]], compression: Compression | None) -> bytes:
    """The rows of a batch as a Parquet file: the same bytes for the same rows and release of pyarrow.

    Raises:
        ValueError: what check_batch raises.
    """
    file = BytesIO()
    table = pa.Table.from_batches([check_batch(batch, record_type)])
    pq.write_table(table, file, compression=compression or "none", write_page_checksum=True)
    return file.getvalue()


def read_parquet(file: IO[bytes], record_type: type[tuple[Any, ...]]) -> Iterator[pa.RecordBatch | Fault]:
    """The rows of a Parquet file as batches of `arrow_schema(record_type)`.

    Columns are taken by name, so files of older and newer releases read. A row group that does not decode is one fault
    (`corrupt_file`) after what of it did, and reading goes on at the next one. A file without its end, where Parquet
    keeps what the rest means, is one fault (`truncated_file`); one whose columns are not the record's is one
    (`schema_mismatch`).
    """
    head = file.read(len(_MAGIC))
    size = file.seek(0, 2)
    file.seek(max(0, size - len(_MAGIC)))
    tail = file.read()
    if head != _MAGIC[: len(head)]:
        yield Fault(codes.CORRUPT_FILE, "offset=0", "not a Parquet file: it does not begin with PAR1")
        return
    if tail != _MAGIC or size < 3 * len(_MAGIC):
        yield Fault(codes.TRUNCATED_FILE, f"offset={size}", "Parquet: the file does not end with PAR1")
        return
    try:
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        resolve_batch(pa.RecordBatch.from_pylist([], schema=parquet.schema_arrow), record_type)
    except SchemaMismatchError as error:
        yield Fault(codes.SCHEMA_MISMATCH, "offset=0", str(error))
        return
    except (pa.ArrowException, OSError) as error:
        yield Fault(codes.CORRUPT_FILE, "offset=0", _text(error))
        return
    for group in range(parquet.num_row_groups):
        try:
            for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group]):
                yield resolve_batch(batch, record_type)
        except SchemaMismatchError as error:
            yield Fault(codes.SCHEMA_MISMATCH, f"row_group={group}", str(error))
            return
        # Arrow reports damaged pages as OSError too, so one of the filesystem cannot be told from them here.
        except (pa.ArrowException, OSError) as error:
            yield Fault(codes.CORRUPT_FILE, f"row_group={group}", _text(error))


def _text(error: Exception) -> str:
    return f"Parquet: {' '.join(str(error).split())[:500]}"
