"""Parquet files of our records, row group by row group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO, RawIOBase
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from thingbeam.io.files.batches import Fault, SchemaMismatchError, check_batch, resolve_batch
from thingbeam.io.files.paths import Compression
from thingbeam.schemas import codes
from thingbeam.schemas.arrow import arrow_schema

__all__ = ["encode_parquet", "encode_parquet_stream", "read_parquet"]

_MAGIC: Final = b"PAR1"
_BATCH_ROWS: Final = 16_384
_SAMPLED: Final = 256


def encode_parquet(batch: pa.RecordBatch, record_type: type[tuple[Any, ...]], compression: Compression | None) -> bytes:
    """The rows of a batch as a Parquet file: the same bytes for the same rows and release of pyarrow.

    Raises:
        ValueError: what check_batch raises.
    """
    file = BytesIO()
    table = pa.Table.from_batches([check_batch(batch, record_type)])
    repeating: Any = _repeating(table)
    pq.write_table(table, file, compression=compression or "none", write_page_checksum=True, use_dictionary=repeating)
    return file.getvalue()


def _repeating(table: pa.Table) -> list[str]:
    """The columns whose values seem to repeat: a dictionary of any other costs a third of all writing, and is given up.

    Measurements are taken not to. The first rows say it of the others, so that the same rows give the same bytes.
    """
    head = table.slice(0, _SAMPLED)
    names: list[str] = []
    for field, column in zip(table.schema, head.columns, strict=True):
        if pa.types.is_map(field.type):
            names.append(f"{field.name}.key_value.key")
        elif not pa.types.is_floating(field.type) and 2 * len(column.unique()) <= head.num_rows + 1:
            names.append(field.name)
    return names


def encode_parquet_stream(
    batches: Iterable[pa.RecordBatch], record_type: type[tuple[Any, ...]], compression: Compression | None
) -> Iterator[bytes]:
    """The rows of batches as one Parquet file, in pieces: a row group for each batch, so give it large ones.

    Raises:
        ValueError: what check_batch raises.
    """
    file = _Drained()
    with pq.ParquetWriter(
        file, arrow_schema(record_type), compression=compression or "none", write_page_checksum=True
    ) as writer:
        for batch in batches:
            writer.write_batch(check_batch(batch, record_type), row_group_size=max(1, batch.num_rows))
            yield file.drain()
    yield file.drain()


class _Drained(RawIOBase):
    """A file whose bytes are taken as they come: it knows where it is, and cannot go back."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._at += len(piece)
        return len(piece)

    def drain(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


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
