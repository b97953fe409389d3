"""Reading lines as blobs: the fast path, in which an element is thousands of lines and nothing is made per line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any, Final

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.files.compression import TruncatedFileError, decompress
from thingbeam.io.files.lines import Lines, LongLine, cut_lines
from thingbeam.io.files.paths import Format, InputFile, check_inputs, compression_of, format_of, is_local, open_file
from thingbeam.io.files.progress import read_so_far
from thingbeam.schemas import codes
from thingbeam.schemas.blob import Blob
from thingbeam.schemas.records import DeadLetter

__all__ = [
    "BLOB_BYTES",
    "DEAD_LETTERS",
    "MAX_LINE_BYTES",
    "SPLIT_BYTES",
    "Blob",
    "Part",
    "PlanParts",
    "ReadBlobs",
    "parts",
    "read_blobs",
]

BLOB_BYTES: Final = 4 << 20
"""Many enough that what each costs by itself is little, few enough to be most of the time in some cache."""
MAX_LINE_BYTES: Final = 16 << 20
SPLIT_BYTES: Final = 64 << 20
DEAD_LETTERS: Final = "dead_letters"
"""The tag of what could not be read."""

_STEP: Final = "ReadBlobs"
_READ_BYTES: Final = 256 << 10
"""At once, into memory that was used before: fresh pages cost as much as reading."""
_AHEAD_BYTES: Final = 4 << 10
"""Most lines are shorter."""

Part = tuple[str, int, int]
"""A file, or a range of one: path, first byte, first byte after it; -1 for the end of the file."""


def read_blobs(
    path: str,
    start: int = 0,
    stop: int | None = None,
    *,
    blob_bytes: int = BLOB_BYTES,
    max_line_bytes: int = MAX_LINE_BYTES,
    step: str = _STEP,
) -> Iterator[Blob | DeadLetter]:
    """The lines of a file, or of a range of an uncompressed one, as blobs; what cannot be read as dead letters.

    Args:
        path: plain, or compressed as its ending says (.gz, .zst).
        start: the first byte of the range.
        stop: the first byte after it; None for the end of the file.
        blob_bytes: bytes in a blob, about.
        max_line_bytes: longer lines are dead letters.
        step: what the dead letters name as the step.

    Raises:
        OSError: the file cannot be opened or read.
    """
    compression = compression_of(path)
    with open_file(path) as file:
        if compression:
            chunks = decompress(file, compression)
        else:
            if start:
                file.seek(start - 1)
            chunks = (
                _whole_lines(file, blob_bytes, stop)
                if is_local(path)
                else iter(lambda: file.read(min(blob_bytes, _READ_BYTES)), b"")
            )
        for piece in cut_lines(chunks, start=start, stop=stop, size=blob_bytes, limit=max_line_bytes):
            if isinstance(piece, Lines):
                yield Blob(path, piece.offset, piece.data)
                continue
            if isinstance(piece, LongLine):
                code = codes.TOO_LARGE
                error = f"a line of {piece.length} bytes, over the limit of {max_line_bytes}"
                payload = piece.head
            else:
                code = codes.TRUNCATED_FILE if isinstance(piece.error, TruncatedFileError) else codes.CORRUPT_FILE
                error, payload = str(piece.error), piece.tail
            yield DeadLetter(payload, path, f"offset={piece.offset}", step, code, error, Timestamp.now())


def _whole_lines(file: IO[bytes], size: int, stop: int | None) -> Iterator[bytes]:
    """Chunks of about a size that mostly end where lines end, so that nobody has to join them.

    It is looked ahead for the end of a line, which costs next to nothing where the file is on this machine; to join
    pieces of lines costs twice as much as reading them.
    """
    while True:
        at = file.tell()
        wanted = size if stop is None or stop <= at else min(size, stop - at)
        file.seek(at + wanted - 1)
        end = file.read(_AHEAD_BYTES).find(b"\n")
        file.seek(at)
        chunk = file.read(wanted + max(end, 0))
        if not chunk:
            return
        yield chunk


def parts(files: Iterable[InputFile], file_format: Format | None, split_bytes: int) -> Iterator[Part]:
    """What workers read of some files: plain lines in ranges of `split_bytes`, everything else whole.

    >>> list(parts([InputFile("a.jsonl", 25), InputFile("b.jsonl.gz", 25)], "jsonl", 10))
    [('a.jsonl', 0, 10), ('a.jsonl', 10, 20), ('a.jsonl', 20, -1), ('b.jsonl.gz', 0, -1)]
    """
    for file in files:
        if (file_format or format_of(file.path)) != "jsonl" or compression_of(file.path):
            yield file.path, 0, -1
            continue
        for start in range(0, file.size, split_bytes) or (0,):
            stop = start + split_bytes
            yield file.path, start, stop if stop < file.size else -1


class PlanParts(beam.PTransform[Any, Any]):
    """Patterns to the parts that workers read, spread over the workers.

    Gives (path, first byte, first byte after it or -1 for the end of the file).
    """

    def __init__(self, patterns: str | Sequence[str], file_format: Format | None, split_bytes: int) -> None:
        """Say what to match; a format of None is told by each file's ending."""
        super().__init__()
        self._patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        self._format: Format | None = file_format
        self._split_bytes = split_bytes

    def expand(self, root: Any) -> beam.PCollection[Part]:
        """Match on a worker, which sees the files as they are when the run begins."""
        file_format, split_bytes = self._format, self._split_bytes

        def plan(patterns: Sequence[str]) -> Iterable[Part]:
            return parts(check_inputs(patterns, file_format), file_format, split_bytes)

        planned: beam.PCollection[Part] = (
            root
            | "Patterns" >> beam.Create([self._patterns], reshuffle=False)
            | "Match" >> beam.FlatMap(plan).with_output_types(tuple[str, int, int])
            # Without it the runner fuses matching and reading, and one worker reads every file.
            | "Spread" >> beam.Reshuffle()
        )
        return planned


class ReadBlobs(beam.PTransform[Any, Any]):
    r"""Read lines of text files as blobs of whole lines.

    Takes the pipeline, gives `blobs` (PCollection of Blob, in no order) and `dead_letters` (PCollection of DeadLetter):
    a line over the limit (`too_large`), a compressed file that ends in the middle (`truncated_file`) or does not decode
    (`corrupt_file`); what came before the fault is in `blobs`. A plain file larger than `split_bytes` is read by
    several workers, a compressed one by one. Elements have the minimum timestamp: who parses them knows the time.

    Each line is read once, or again with the same offset where the runner tries a bundle again. The counter
    `thingbeam.io.files/bytes_read` grows by the uncompressed bytes of blobs. An error of the filesystem in the middle
    of a file fails the bundle, which the runner tries again.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "a.jsonl")
        >>> _ = path.write_bytes(b'{"a": 1}\n{"a": 2}\n')
        >>> from apache_beam.runners.portability.fn_api_runner import FnApiRunner
        >>> with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        ...     read = pipeline | ReadBlobs(str(path))
        ...     _ = read.blobs | beam.Map(lambda blob: print(blob.offset, blob.data.count(b"\n")))
        0 2
    """

    def __init__(
        self,
        patterns: str | Sequence[str],
        *,
        blob_bytes: int = BLOB_BYTES,
        max_line_bytes: int = MAX_LINE_BYTES,
        split_bytes: int = SPLIT_BYTES,
        redact: Callable[[bytes], bytes] | None = None,
        check: bool = True,
    ) -> None:
        """Say what to read.

        Args:
            patterns: one or more paths or globs of any Beam filesystem.
            blob_bytes: bytes in a blob, about; a blob is never cut within a line.
            max_line_bytes: longer lines are dead letters.
            split_bytes: plain files larger than this are shared by workers.
            redact: blanks secrets out of what dead letters keep, which may be cut anywhere. Must be picklable.
            check: ask the filesystem when the pipeline is built. Say False where only the workers see the files.

        Raises:
            ValueError: a size that is not positive.
        """
        super().__init__()
        if min(blob_bytes, max_line_bytes, split_bytes) <= 0:
            raise ValueError("blob_bytes, max_line_bytes and split_bytes must be positive")
        self._patterns = patterns
        self._blob_bytes, self._max_line_bytes, self._split_bytes = blob_bytes, max_line_bytes, split_bytes
        self._redact, self._check = redact, check

    def expand(self, root: Any) -> Any:
        """Match, spread, read.

        Raises:
            ValueError: what check_inputs raises.
        """
        if self._check:
            check_inputs(self._patterns)
        return (
            root
            | PlanParts(self._patterns, "jsonl", self._split_bytes)
            | "Read"
            >> beam.ParDo(_ReadPart(self._blob_bytes, self._max_line_bytes, self._redact))
            .with_output_types(Blob, dead_letters=DeadLetter)
            .with_outputs(DEAD_LETTERS, main="blobs")
        )


class _ReadPart(beam.DoFn):
    def __init__(self, blob_bytes: int, max_line_bytes: int, redact: Callable[[bytes], bytes] | None) -> None:
        self._blob_bytes, self._max_line_bytes, self._redact = blob_bytes, max_line_bytes, redact
        self._bytes_read = Metrics.counter("thingbeam.io.files", "bytes_read")

    def process(self, part: Part) -> Iterable[Any]:
        path, start, stop = part
        for piece in read_blobs(
            path,
            start,
            None if stop < 0 else stop,
            blob_bytes=self._blob_bytes,
            max_line_bytes=self._max_line_bytes,
        ):
            if isinstance(piece, Blob):
                self._bytes_read.inc(len(piece.data))
                read_so_far.add(len(piece.data))
                yield piece
                continue
            if self._redact:
                piece = piece._replace(payload=self._redact(piece.payload))
            yield TaggedOutput(DEAD_LETTERS, piece)
