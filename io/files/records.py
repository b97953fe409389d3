"""Reading our own records from files: as elements, as batches, or as one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import apache_beam as beam
import msgspec
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.files.avro_files import read_avro
from thingbeam.io.files.batches import Fault
from thingbeam.io.files.blobs import DEAD_LETTERS, SPLIT_BYTES, Blob, Part, PlanParts, parts, read_blobs
from thingbeam.io.files.json_lines import decode_json_lines
from thingbeam.io.files.parquet_files import read_parquet
from thingbeam.io.files.paths import FORMATS, Format, check_inputs, format_of, open_file
from thingbeam.schemas import codes
from thingbeam.schemas.arrow import arrow_schema, from_record_batch, to_record_batch
from thingbeam.schemas.fields import RecordType
from thingbeam.schemas.origin import with_origin
from thingbeam.schemas.records import DeadLetter

__all__ = ["ReadFromFiles", "read_records", "read_table"]

_STEP: Final = "ReadFromFiles"


def read_records(
    part: Part, record_type: type[RecordType], file_format: Format | None = None
) -> Iterator[list[RecordType] | pa.RecordBatch | DeadLetter]:
    """The records of a file or a range of one, some thousands at a time, and what could not be read.

    Lines and Avro give lists, Parquet gives batches: what each is in without a conversion.

    Raises:
        OSError: the file cannot be opened or read.
        ValueError: its ending names no format, and none is given.
    """
    path, start, stop = part
    found = file_format or format_of(path)
    if found == "jsonl":
        for piece in read_blobs(path, start, None if stop < 0 else stop, step=_STEP):
            if isinstance(piece, DeadLetter):
                yield piece
            else:
                yield from _lines(piece, record_type)
        return
    with open_file(path) as file:
        read: Iterable[Any] = read_avro(file, record_type) if found == "avro" else read_parquet(file, record_type)
        for some in read:
            yield _dead_letter(some, path) if isinstance(some, Fault) else some


def _lines(blob: Blob, record_type: type[RecordType]) -> Iterator[list[RecordType] | DeadLetter]:
    try:
        yield decode_json_lines(blob.data, record_type)
        return
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    good: list[RecordType] = []
    offset = blob.offset
    for line in blob.data.splitlines(keepends=True) if b"\r" not in blob.data else _split(blob.data):
        try:
            good.extend(decode_json_lines(line, record_type))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            payload = line.rstrip(b"\r\n")
            fault = Fault(_code(payload, error), f"offset={offset}", str(error), payload)
            yield _dead_letter(fault, blob.source)
        offset += len(line)
    yield good


def _split(data: bytes) -> list[bytes]:
    # splitlines of bytes would also end a line at a carriage return alone, which JSON allows between tokens.
    ended = [line + b"\n" for line in data.split(b"\n")]
    ended[-1] = ended[-1][:-1]
    return ended


def _code(line: bytes, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return codes.TOO_DEEP
    try:
        line.decode()
    except UnicodeDecodeError:
        return codes.INVALID_UTF8
    if not isinstance(error, msgspec.ValidationError):
        return codes.INVALID_JSON
    text = str(error)
    if "missing required field" in text:
        return codes.MISSING_FIELD
    return codes.IMPOSSIBLE_TIME if "RFC3339" in text or "years 1 to 9999" in text else codes.WRONG_TYPE


def _dead_letter(fault: Fault, path: str) -> DeadLetter:
    return DeadLetter(fault.payload, path, fault.position, _STEP, fault.code, fault.error, Timestamp.now())


class ReadFromFiles(beam.PTransform[Any, Any]):
    """Read records that this library wrote, in this release or another.

    Takes the pipeline, gives `records` (PCollection of the record type, or of pyarrow.RecordBatch with `batches`, in no
    order) and `dead_letters` (PCollection of DeadLetter): a line that is no such record (`invalid_json`, `wrong_type`,
    `missing_field`, …), a damaged Avro block or Parquet row group (`corrupt_file`), a file that ends in the middle
    (`truncated_file`) or holds something else (`schema_mismatch`, one for the file). The rest goes on. A batch carries
    its file and the number of its first record there, of those that could be read (`thingbeam.schemas.origin`).

    JSON Lines that are not compressed are split among workers as by ReadBlobs; other files are read whole by one.
    Fields that the file lacks have their defaults, fields that are unknown are left out. Each record is read once, or
    again where the runner tries a bundle again. Elements have the minimum timestamp.

    Example:
        >>> import pathlib, tempfile
        >>> from thingbeam.io.files.json_lines import encode_json_line
        >>> from thingbeam.schemas import Event
        >>> event = Event.of("e1", Timestamp(0), "d1", "switch", "switch", "on")
        >>> path = pathlib.Path(tempfile.mkdtemp(), "events.jsonl")
        >>> _ = path.write_bytes(encode_json_line(event))
        >>> from apache_beam.runners.portability.fn_api_runner import FnApiRunner
        >>> with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        ...     read = pipeline | ReadFromFiles(str(path), Event)
        ...     _ = read.records | beam.Map(lambda event: print(event.value))
        on
    """

    def __init__(
        self,
        patterns: str | Sequence[str],
        record_type: type[tuple[Any, ...]],
        format: Format | None = None,  # noqa: A002
        *,
        batches: bool = False,
        split_bytes: int = SPLIT_BYTES,
        redact: Callable[[bytes], bytes] | None = None,
        check: bool = True,
    ) -> None:
        """Say what to read.

        Args:
            patterns: one or more paths or globs of any Beam filesystem.
            record_type: Event, Usage, … .
            format: jsonl, avro or parquet; None tells it for each file by its ending.
            batches: give batches of `arrow_schema(record_type)` rather than records.
            split_bytes: plain JSON Lines larger than this are shared by workers.
            redact: blanks secrets out of what dead letters keep, which may be cut anywhere. Must be picklable.
            check: ask the filesystem when the pipeline is built. Say False where only the workers see the files.

        Raises:
            ValueError: no such format, or a size that is not positive.
        """
        super().__init__()
        if format is not None and format not in FORMATS:
            raise ValueError(f"no format {format!r}: one of {', '.join(FORMATS)}")
        if split_bytes <= 0:
            raise ValueError("split_bytes must be positive")
        self._format: Format | None = format
        self._patterns, self._record_type = patterns, record_type
        self._batches, self._split_bytes = batches, split_bytes
        self._redact, self._check = redact, check

    def expand(self, root: Any) -> Any:
        """Match, spread, read.

        Raises:
            ValueError: what check_inputs raises.
        """
        if self._check:
            check_inputs(self._patterns, self._format)
        return (
            root
            | PlanParts(self._patterns, self._format, self._split_bytes)
            | "Read"
            >> beam.ParDo(ReadPart(self._record_type, self._format, self._batches, self._redact))
            .with_output_types(pa.RecordBatch if self._batches else self._record_type, dead_letters=DeadLetter)
            .with_outputs(DEAD_LETTERS, main="records")
        )


class ReadPart(beam.DoFn):
    def __init__(
        self,
        record_type: type[tuple[Any, ...]],
        file_format: Format | None,
        batches: bool,
        redact: Callable[[bytes], bytes] | None,
    ) -> None:
        self._format: Format | None = file_format
        self._record_type, self._batches, self._redact = record_type, batches, redact

    def process(self, part: Part) -> Iterable[Any]:
        first = 0
        for some in read_records(part, self._record_type, self._format):
            if isinstance(some, DeadLetter):
                payload = self._redact(some.payload) if self._redact else some.payload
                yield TaggedOutput(DEAD_LETTERS, some._replace(payload=payload))
            elif self._batches:
                batch = to_record_batch(some, self._record_type) if isinstance(some, list) else some
                if batch.num_rows:
                    yield with_origin(batch, part[0], first)
                    first += batch.num_rows
            else:
                yield from some if isinstance(some, list) else from_record_batch(some, self._record_type)


def read_table(
    patterns: str | Sequence[str],
    record_type: type[tuple[Any, ...]],
    format: Format | None = None,  # noqa: A002
) -> pa.Table:
    """All records of some files as one table in memory, without a pipeline: for reports and tests.

    Args:
        patterns: one or more paths or globs; an empty list gives an empty table.
        record_type: Event, Usage, … .
        format: jsonl, avro or parquet; None tells it for each file by its ending.

    Raises:
        ValueError: what check_inputs raises, and the first thing that cannot be read.
    """
    batches: list[pa.RecordBatch] = []
    for part in parts(check_inputs(patterns, format), format, SPLIT_BYTES) if patterns else ():
        for some in read_records(part, record_type, format):
            if isinstance(some, DeadLetter):
                raise ValueError(f"{some.source}, {some.position}: {some.error}")
            batches.append(to_record_batch(some, record_type) if isinstance(some, list) else some)
    return pa.Table.from_batches(batches, schema=arrow_schema(record_type))
