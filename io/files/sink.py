"""Writing records to files whose names and bytes do not depend on order, bundles or retries."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from thingbeam.io.files.compression import compress
from thingbeam.io.files.formats import encode_batch
from thingbeam.io.files.json_lines import decode_json_lines, encode_json_line
from thingbeam.io.files.paths import Compression, Format, ending, extend, write_file
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.schemas.coders import register_rows

__all__ = ["WriteBatches", "WriteToFiles", "WrittenFile"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")


class WrittenFile(NamedTuple):
    """A file that is in place, whole."""

    path: str
    rows: int
    bytes: int
    """As stored."""


register_rows(WrittenFile)


class WriteToFiles(beam.PTransform[Any, Any]):
    """Write a bounded PCollection of records to `shards` files, `PREFIX-00003-of-00016.jsonl`.

    Takes records, gives a PCollection of WrittenFile, one for each shard that has rows; one without has no file.

    A row's shard is a hash of the row (or of `shard_by`), and the rows of a file are in the order of their JSON, so the
    files are the same bytes whatever order the rows came in and however often a worker had to try. Each is written
    beside its place and renamed into it, replacing what had its name: a reader sees a whole file or none. Files of
    another run with other shards stay, so readers should go by the manifest. A worker holds one shard's rows in memory.

    Example:
        >>> import tempfile
        >>> from apache_beam.runners.portability.fn_api_runner import FnApiRunner
        >>> from apache_beam.utils.timestamp import Timestamp
        >>> from thingbeam.schemas import Event
        >>> event = Event.of("e1", Timestamp(0), "d1", "switch", "switch", "on")
        >>> with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        ...     written = pipeline | beam.Create([event]) | WriteToFiles(tempfile.mkdtemp() + "/events", Event)
        ...     _ = written | beam.Map(lambda file: print(file.path.rpartition("/")[2], file.rows))
        events-00000-of-00001.jsonl 1
    """

    def __init__(
        self,
        prefix: str,
        record_type: type[tuple[Any, ...]],
        format: Format = "jsonl",  # noqa: A002
        compression: Compression | None = None,
        *,
        shards: int = 1,
        shard_by: Callable[[Any], str] | None = None,
    ) -> None:
        """Say where to and how.

        Args:
            prefix: what the paths begin with; its directory is made where the filesystem has directories.
            record_type: what the elements are.
            format: jsonl, avro or parquet.
            compression: None, gzip or zstd; Avro and Parquet compress inside.
            shards: how many files.
            shard_by: a record's text to choose the shard by, so that rows of one device, say, are in one file.

        Raises:
            ValueError: no such format or compression, or less than one shard.
        """
        super().__init__()
        if not 1 <= shards <= 99_999:
            raise ValueError(f"shards must be 1 to 99999, not {shards}")
        self._format: Format = format
        self._compression: Compression | None = compression
        self._prefix, self._record_type = prefix, record_type
        self._ending = ending(format, compression)
        self._shards, self._shard_by = shards, shard_by

    def expand(self, records: beam.PCollection[Any]) -> beam.PCollection[WrittenFile]:
        """Shard, group, write.

        Raises:
            ValueError: the input has no end.
        """
        if not records.is_bounded:
            raise ValueError("WriteToFiles needs input that ends: for a stream use WriteBatches, which names its files")
        shards, shard_by = self._shards, self._shard_by

        def to_shard(record: Any) -> tuple[int, bytes]:
            line = encode_json_line(record)
            return _shard(shard_by(record).encode() if shard_by else line, shards), line

        written: beam.PCollection[WrittenFile] = (
            records
            # A user's windows would make a file of each, all of one name.
            | "OneWindow" >> beam.WindowInto(GlobalWindows())
            | "Shard" >> beam.Map(to_shard).with_output_types(tuple[int, bytes])
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.MapTuple(self._write).with_output_types(WrittenFile)
        )
        return written

    def _write(self, shard: int, values: Iterable[bytes]) -> WrittenFile:
        lines = sorted(values)
        data = b"".join(lines)
        if self._format == "jsonl":
            data = compress(data, self._compression)
        else:
            batch = to_record_batch(decode_json_lines(data, self._record_type), self._record_type)
            data = encode_batch(batch, self._record_type, self._format, self._compression)
        path = extend(self._prefix, f"-{shard:05d}-of-{self._shards:05d}{self._ending}")
        write_file(path, data)
        return WrittenFile(path, len(lines), len(data))


def _shard(key: bytes, shards: int) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") % shards


class WriteBatches(beam.PTransform[Any, Any]):
    """Write batches, each to a file of its own, `PREFIX-NAME.jsonl`, in the worker that holds it: no shuffle.

    Takes a PCollection of (name, pyarrow.RecordBatch), bounded or not, gives one of WrittenFile; a batch without rows
    writes nothing. Rows keep their order.

    At least once, and once in effect: a try again writes the same name again and replaces the file, provided that the
    producer makes the name from the rows' own period, shard and slice, and the rows of one name in one order. Each file
    is written beside its place and renamed into it: a reader sees a whole file or none.
    """

    def __init__(
        self,
        prefix: str,
        record_type: type[tuple[Any, ...]],
        format: Format = "jsonl",  # noqa: A002
        compression: Compression | None = None,
    ) -> None:
        """Say where to and how.

        Args:
            prefix: what the paths begin with; its directory is made where the filesystem has directories.
            record_type: what the rows are; the batches are of `arrow_schema(record_type)`.
            format: jsonl, avro or parquet.
            compression: None, gzip or zstd; Avro and Parquet compress inside.

        Raises:
            ValueError: no such format or compression.
        """
        super().__init__()
        self._format: Format = format
        self._compression: Compression | None = compression
        self._prefix, self._record_type = prefix, record_type
        self._ending = ending(format, compression)

    def expand(self, batches: beam.PCollection[Any]) -> beam.PCollection[WrittenFile]:
        """Write each."""
        write = beam.FlatMapTuple(self._write).with_output_types(WrittenFile)
        written: beam.PCollection[WrittenFile] = batches | "Write" >> write
        return written

    def _write(self, name: str, batch: pa.RecordBatch) -> Iterable[WrittenFile]:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be part of a file's name: letters, digits and . _ = + - only")
        if not batch.num_rows:
            return
        data = encode_batch(batch, self._record_type, self._format, self._compression)
        path = extend(self._prefix, f"-{name}{self._ending}")
        write_file(path, data)
        yield WrittenFile(path, batch.num_rows, len(data))
