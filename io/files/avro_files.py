"""Avro object container files, block by block (https://avro.apache.org/docs/1.12.0/specification/#object-container-files).

The framing is done here and the records by fastavro: so a damaged block costs that block alone and says where it is,
files are the same bytes whenever they are written, and zstd needs no package beside the one that we have.
"""

from __future__ import annotations

import functools
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import IO, Any, Final

import fastavro
import pyarrow as pa
import zstandard
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException

from thingbeam.io.files.batches import Fault, SchemaMismatchError, check_batch
from thingbeam.io.files.compression import CorruptFileError, TruncatedFileError
from thingbeam.io.files.lines import KEPT_BYTES
from thingbeam.io.files.paths import Compression
from thingbeam.io.files.times import timestamp_of
from thingbeam.schemas import codes
from thingbeam.schemas.avro import avro_schema
from thingbeam.schemas.fields import RecordType, fields_of

__all__ = ["encode_avro", "encode_avro_stream", "read_avro"]

_BLOCK_BYTES: Final = 256 << 10
_MAX_BLOCK_BYTES: Final = 256 << 20
_MAX_HEADER_BYTES: Final = 1 << 20
_SYNC_BYTES: Final = 16
_HEADER: Final = fastavro.parse_schema(
    {
        "type": "record",
        "name": "org.apache.avro.file.Header",
        "fields": [
            {"name": "magic", "type": {"type": "fixed", "name": "magic", "size": 4}},
            {"name": "meta", "type": {"type": "map", "values": "bytes"}},
            {"name": "sync", "type": {"type": "fixed", "name": "sync", "size": _SYNC_BYTES}},
        ],
    }
)
_MAGIC: Final = b"Obj\x01"
_CODECS: Final[dict[Compression | None, str]] = {None: "null", "gzip": "deflate", "zstd": "zstandard"}


@functools.cache
def _parsed(record_type: type) -> Any:
    return fastavro.parse_schema(avro_schema(record_type))


def encode_avro(batch: pa.RecordBatch, record_type: type[tuple[Any, ...]], compression: Compression | None) -> bytes:
    """The rows of a batch as an Avro file: the same bytes for the same rows.

    Compression is the codec of its blocks: gzip is `deflate`, zstd is `zstandard`.

    Raises:
        ValueError: what check_batch raises.
    """
    blocks = list(_blocks(batch, record_type, compression))
    # The marker must not occur in the data by chance and must not differ between tries: so it is a digest of the data.
    sync = hashlib.blake2b(b"".join(blocks), digest_size=_SYNC_BYTES).digest()
    return b"".join((_head(record_type, compression, sync), *(block + sync for block in blocks)))


def encode_avro_stream(
    batches: Iterable[pa.RecordBatch],
    record_type: type[tuple[Any, ...]],
    compression: Compression | None,
    name: str,
) -> Iterator[bytes]:
    """The rows of batches as one Avro file, in pieces, so that it need not fit in memory.

    Args:
        batches: of `arrow_schema(record_type)`.
        record_type: what their rows are.
        compression: the codec of its blocks.
        name: of the file. The marker of its blocks follows from it, since the data is not known yet.

    Raises:
        ValueError: what check_batch raises.
    """
    sync = hashlib.blake2b(name.encode(), digest_size=_SYNC_BYTES).digest()
    yield _head(record_type, compression, sync)
    for batch in batches:
        for block in _blocks(batch, record_type, compression):
            yield block + sync


def _head(record_type: type, compression: Compression | None, sync: bytes) -> bytes:
    meta = {"avro.schema": json.dumps(avro_schema(record_type)).encode(), "avro.codec": _CODECS[compression].encode()}
    file = BytesIO()
    fastavro.schemaless_writer(file, _HEADER, {"magic": _MAGIC, "meta": meta, "sync": sync})
    return file.getvalue()


def _blocks(
    batch: pa.RecordBatch, record_type: type[tuple[Any, ...]], compression: Compression | None
) -> Iterator[bytes]:
    batch = check_batch(batch, record_type)
    columns: list[list[Any]] = []
    for field, column in zip(fields_of(record_type), batch.columns, strict=True):
        values = (column.cast(pa.int64()) if field.type == "timestamp" else column).to_pylist()
        columns.append([dict(sorted(pairs)) for pairs in values] if field.type == "map_of_double" else values)
    schema, names = _parsed(record_type), batch.schema.names
    buffer, count = BytesIO(), 0
    for row in zip(*columns, strict=True):
        fastavro.schemaless_writer(buffer, schema, dict(zip(names, row, strict=True)))
        count += 1
        if buffer.tell() >= _BLOCK_BYTES:
            yield _block(count, buffer.getvalue(), compression)
            buffer, count = BytesIO(), 0
    if count:
        yield _block(count, buffer.getvalue(), compression)


def _block(count: int, data: bytes, compression: Compression | None) -> bytes:
    if compression == "gzip":
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        data = deflate.compress(data) + deflate.flush()
    elif compression == "zstd":
        data = zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data)
    return _long(count) + _long(len(data)) + data


def _long(number: int) -> bytes:
    encoded, number = bytearray(), number << 1
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_avro(file: IO[bytes], record_type: type[RecordType]) -> Iterator[list[RecordType] | Fault]:
    """The records of an Avro file, block by block, by the schema that it was written with.

    A block that does not decode is one fault (`corrupt_file`, with its bytes) and reading goes on at the next one. A
    file that ends in the middle ends in one fault (`truncated_file`), one of another record, or of a schema that cannot
    be resolved to ours, is one fault (`schema_mismatch`). Codecs: null, deflate, zstandard.

    Args:
        file: at its beginning, and seekable.
        record_type: what to read its records as.
    """
    try:
        schema, codec, sync = _header(file, record_type)
    except SchemaMismatchError as error:
        yield Fault(codes.SCHEMA_MISMATCH, "offset=0", str(error))
        return
    except TruncatedFileError as error:
        yield Fault(codes.TRUNCATED_FILE, "offset=0", str(error))
        return
    except CorruptFileError as error:
        yield Fault(codes.CORRUPT_FILE, "offset=0", str(error))
        return
    while True:
        offset = file.tell()
        try:
            block = _read_block(file, sync)
            if block is None:
                return
            yield _records(*block, codec, schema, record_type)
        except SchemaResolutionError as error:
            yield Fault(codes.SCHEMA_MISMATCH, f"offset={offset}", " ".join(str(error).split())[:500])
            return
        # Damaged bytes lead fastavro to nearly any error; the filesystem's own are not the file's fault.
        except Exception as error:
            if isinstance(error, OSError):
                raise
            end = _next_block(file, offset, sync)
            file.seek(offset)
            kept = file.read(KEPT_BYTES if end is None else min(KEPT_BYTES, end - offset))
            text = f"Avro block: {error or type(error).__name__}"
            if end is None:
                yield Fault(codes.TRUNCATED_FILE, f"offset={offset}", text, kept)
                return
            yield Fault(codes.CORRUPT_FILE, f"offset={offset}", text, kept)
            file.seek(end)


def _header(file: IO[bytes], record_type: type) -> tuple[Any, str, bytes]:
    head = file.read(_MAX_HEADER_BYTES)
    if head[: len(_MAGIC)] != _MAGIC[: len(head)]:
        raise CorruptFileError("not an Avro file: it does not begin with Obj and 1")
    begin = BytesIO(head)
    try:
        header: Any = fastavro.schemaless_reader(begin, _HEADER, None)
        codec = header["meta"].get("avro.codec", b"null").decode()
        written = json.loads(header["meta"]["avro.schema"])
    except EOFError as error:
        raise TruncatedFileError("Avro: the file ends within its header") from error
    except Exception as error:
        raise CorruptFileError(f"Avro header: {error or type(error).__name__}") from error
    if codec not in _CODECS.values():
        raise CorruptFileError(f"Avro: codec {codec!r} is not read, only {', '.join(_CODECS.values())}")
    file.seek(begin.tell())
    return _resolvable(written, record_type), codec, header["sync"]


def _resolvable(written: Any, record_type: type) -> Any:
    wanted = record_type.__name__
    if not isinstance(written, dict) or written.get("type") != "record":
        raise SchemaMismatchError(f"the file's schema is no record, where {wanted} was asked for")
    name = str(written.get("name", "")).rpartition(".")[2]
    if name != wanted:
        raise SchemaMismatchError(f"the file holds {name or 'nameless'} records, where {wanted} was asked for")
    try:
        schema: Any = fastavro.parse_schema(written)
    except (SchemaParseException, KeyError, TypeError, ValueError) as error:
        raise SchemaMismatchError(f"the file's schema is not Avro: {error}") from error
    present = {field["name"] for field in schema["fields"]}
    missing = [f.name for f in fields_of(record_type) if f.name not in present and not (f.has_default or f.optional)]
    if missing:
        raise SchemaMismatchError(f"the file's {name} has no {', '.join(missing)}")
    return schema


def _read_block(file: IO[bytes], sync: bytes) -> tuple[int, bytes] | None:
    first = file.read(1)
    if not first:
        return None
    count, size = _read_long(file, first), _read_long(file, file.read(1))
    if count < 0 or not 0 <= size <= _MAX_BLOCK_BYTES:
        raise CorruptFileError(f"{count} records in {size} bytes cannot be")
    data = file.read(size)
    marker = file.read(_SYNC_BYTES)
    if len(data) < size or len(marker) < _SYNC_BYTES:
        raise TruncatedFileError("the file ends in the middle")
    if marker != sync:
        raise CorruptFileError("its end is not marked")
    return count, data


def _read_long(file: IO[bytes], byte: bytes) -> int:
    number = shift = 0
    while byte and shift < 64:
        number |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return (number >> 1) ^ -(number & 1)
        shift += 7
        byte = file.read(1)
    raise TruncatedFileError("the file ends in the middle") if not byte else CorruptFileError("a number has no end")


def _records(count: int, data: bytes, codec: str, schema: Any, record_type: type[RecordType]) -> list[RecordType]:
    buffer = BytesIO(_unpacked(data, codec))
    length = len(buffer.getbuffer())
    if count > length:
        raise CorruptFileError(f"{count} records in {length} bytes cannot be")
    wanted = _parsed(record_type)
    rows: list[Any] = [fastavro.schemaless_reader(buffer, schema, wanted) for _ in range(count)]
    if buffer.tell() != length:
        raise CorruptFileError(f"{length - buffer.tell()} bytes are left after its records")
    columns: list[list[Any]] = []
    for field in fields_of(record_type):
        values = [row[field.name] for row in rows]
        if field.type == "timestamp":
            values = [None if time is None else timestamp_of(time) for time in values]
        columns.append(values)
    return list(map(record_type, *columns))


def _unpacked(data: bytes, codec: str) -> bytes:
    if codec == "deflate":
        inflate = zlib.decompressobj(-15)
        unpacked = inflate.decompress(data, _MAX_BLOCK_BYTES)
        if not inflate.eof:
            raise CorruptFileError("deflate data without an end, or too large")
        return unpacked
    if codec == "zstandard":
        frame = zstandard.get_frame_parameters(data)
        if frame.content_size != zstandard.CONTENTSIZE_UNKNOWN and frame.content_size > _MAX_BLOCK_BYTES:
            raise CorruptFileError(f"a block of {frame.content_size} bytes is too large")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=_MAX_BLOCK_BYTES)
    return data


def _next_block(file: IO[bytes], offset: int, sync: bytes) -> int | None:
    # A marker may lie across two pieces, so the end of one is searched again with the next.
    file.seek(offset)
    at, tail = offset, b""
    while piece := file.read(1 << 20):
        window = tail + piece
        found = window.find(sync)
        if found >= 0:
            return at - len(tail) + found + _SYNC_BYTES
        tail = window[-_SYNC_BYTES + 1 :]
        at += len(piece)
    return None
