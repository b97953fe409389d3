"""Files as an application's input, and a directory as its output."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from thingbeam.io.endpoints import Kind, Reading, Redact, Stored
from thingbeam.io.files.blobs import ReadBlobs
from thingbeam.io.files.manifest import WriteManifest, prepare_output
from thingbeam.io.files.paths import Compression, Format, InputFile, check_inputs, ending, format_of, join
from thingbeam.io.files.records import ReadFromFiles
from thingbeam.io.files.sink import WriteBatches, WriteToFiles
from thingbeam.schemas.records import Event

__all__ = ["DirectorySink", "FileOptions", "FileSource"]


class FileSource:
    """A path or glob of JSON Lines (plain, .gz, .zst: any envelope), or of our Avro or Parquet events.

    Args:
        pattern: on any filesystem of Beam's.

    Raises:
        ValueError: nothing matches, what is there cannot be asked for, or what is in a file cannot be told.
    """

    def __init__(self, pattern: str) -> None:
        self.shown = pattern
        self.files: list[InputFile] = check_inputs(pattern)
        for file in self.files:
            try:
                format_of(file.path)
            except ValueError:
                raise ValueError(
                    f"{file.path!r}: what is in it cannot be told; name it .jsonl, .jsonl.gz, .jsonl.zst, .avro or "
                    ".parquet"
                ) from None

    @property
    def endless(self) -> bool:
        """Files end."""
        return False

    @property
    def commits(self) -> bool:
        """Nothing is noted of files."""
        return False

    def check(self) -> None:
        """See that those on this machine may be read.

        Raises:
            ValueError: one may not.
        """
        for file in self.files:
            if FileSystems.get_scheme(file.path) is None:
                try:
                    with open(file.path, "rb"):
                        pass
                except OSError as error:
                    raise ValueError(f"{file.path!r} cannot be read: {error.strerror}") from error

    def read(self, pipeline: Any, label: str, redact: Redact) -> list[Reading]:
        """Lines as Blob, records as pyarrow.RecordBatch."""
        paths: dict[Format, list[str]] = {}
        for file in self.files:
            paths.setdefault(format_of(file.path), []).append(file.path)
        readings: list[Reading] = []
        for form, files in paths.items():
            if form == "jsonl":
                lines = pipeline | f"ReadLines{label}" >> ReadBlobs(files, redact=redact)
                readings.append(Reading(lines.blobs, (lines.dead_letters,)))
            else:
                name = form.capitalize()
                read = pipeline | f"Read{name}{label}" >> ReadFromFiles(files, Event, form, batches=True, redact=redact)
                readings.append(Reading(read.records, (read.dead_letters,), name))
        return readings


class FileOptions(NamedTuple):
    """How files are written."""

    format: Format = "jsonl"
    compression: Compression | None = None
    overwrite: bool = False
    """Whether results that are there may be removed."""


class DirectorySink:
    """A directory of files `KIND-NAME.jsonl` (or .avro, .parquet), with a manifest that says that they are whole.

    Takes input that ends.

    Args:
        directory: on any filesystem of Beam's.
        options: how its files are written.

    Raises:
        ValueError: no such format or compression.
    """

    def __init__(self, directory: str, options: FileOptions) -> None:
        ending(options.format, options.compression)
        self.shown = self.directory = directory
        self._options = options

    @property
    def endless(self) -> bool:
        """A manifest says that all is there, so it takes what ends."""
        return False

    def check(self, kinds: Sequence[Kind]) -> None:
        """Make the directory ready: see `prepare_output`.

        Raises:
            ValueError: results are there and may not be removed, or the directory cannot be made or written.
        """
        prepare_output(self.directory, [kind.name for kind in kinds], self._options.overwrite)
        if os.path.isdir(self.directory) and not os.access(self.directory, os.W_OK | os.X_OK):
            raise ValueError(f"{self.directory!r} may not be written to")

    def write_batches(self, batches: Any, kind: Kind, label: str) -> Stored:
        """Each batch to a file of its own."""
        prefix = join(self.directory, kind.name)
        write = WriteBatches(prefix, kind.record, self._options.format, self._options.compression)
        return self._stored(batches, write, label)

    def write_records(self, records: Any, kind: Kind, label: str) -> Stored:
        """All records to one file."""
        prefix = join(self.directory, kind.name)
        write = WriteToFiles(prefix, kind.record, self._options.format, self._options.compression)
        return self._stored(records, write, label)

    def finish(self, stored: Sequence[Stored], label: str) -> None:
        """Write the manifest."""
        files = [some.written for some in stored]
        files | f"Written{label}" >> beam.Flatten() | f"WriteManifest{label}" >> WriteManifest(self.directory)

    @staticmethod
    def _stored(elements: Any, write: WriteBatches | WriteToFiles, label: str) -> Stored:
        files = elements | f"Write{label}" >> write
        rows = files | f"Rows{label}" >> beam.Map(lambda file: file.rows).with_output_types(int)
        return Stored(rows, (), files)
