"""The manifest: which files of a directory are the results, so that what other runs left is not read as ours."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import apache_beam as beam
import msgspec
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.window import GlobalWindows

from thingbeam.io.files.paths import (
    delete_file,
    exists,
    join,
    make_directory,
    match_files,
    open_file,
    parent,
    unfinished_files,
    write_file,
)
from thingbeam.io.files.sink import WrittenFile

__all__ = ["MANIFEST_NAME", "Manifest", "WriteManifest", "prepare_output", "read_manifest", "write_manifest"]

MANIFEST_NAME: Final = "manifest.json"
_VERSION: Final = 1
_NAME: Final = re.compile(r"[^/\\]+")


class Manifest(NamedTuple):
    """The files of a whole result, and what the writer says about it."""

    files: tuple[WrittenFile, ...]
    """By path, which includes the directory that was asked for."""
    about: dict[str, Any]
    """What the writer added: counts, options; JSON."""

    def paths(self, kind: str) -> list[str]:
        """Paths of the files of one kind, those named `KIND-…`.

        >>> files = (WrittenFile("out/usage-1.jsonl", 3, 99), WrittenFile("out/late-1.jsonl", 1, 9))
        >>> Manifest(files, {}).paths("usage")
        ['out/usage-1.jsonl']
        """
        return [file.path for file in self.files if _base(file.path).startswith(f"{kind}-")]

    def rows(self, kind: str) -> int:
        """Rows in the files of one kind."""
        return sum(file.rows for file in self.files if _base(file.path).startswith(f"{kind}-"))


class _File(msgspec.Struct):
    name: str
    rows: int
    bytes: int


class _Document(msgspec.Struct):
    version: int
    files: list[_File]
    about: dict[str, Any] = {}


def _base(path: str) -> str:
    return re.split(r"[/\\]", parent(path)[1])[-1]


def write_manifest(directory: str, files: Iterable[WrittenFile], about: Mapping[str, Any] | None = None) -> str:
    """Write `DIRECTORY/manifest.json`, at once, and return its path. Write it last: it says that the rest is whole.

    Args:
        directory: where the files are.
        files: the results; one that is given again (a bundle tried again) counts once.
        about: what else to say, as JSON.

    Raises:
        ValueError: a file that is not in the directory.
    """
    entries: dict[str, _File] = {}
    for path, rows, size in files:
        name = _base(path)
        if join(directory, name) != path:
            raise ValueError(f"{path!r} is not in {directory!r}, whose manifest it was to be in")
        entries[name] = _File(name, rows, size)
    document = _Document(_VERSION, [entries[name] for name in sorted(entries)], dict(about or {}))
    path = join(directory, MANIFEST_NAME)
    write_file(path, msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    return path


def read_manifest(directory: str) -> Manifest:
    """The manifest of a directory.

    Raises:
        ValueError: one line: there is none (the run is not finished, or failed), or it cannot be read.
    """
    path = join(directory, MANIFEST_NAME)
    if not exists(path):
        raise ValueError(f"{directory!r} holds no {MANIFEST_NAME}: no run has finished there")
    with open_file(path) as file:
        data = file.read()
    try:
        document = msgspec.json.decode(data, type=_Document)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path!r} cannot be read: {error}") from error
    if document.version != _VERSION:
        raise ValueError(f"{path!r} is of version {document.version}; this release reads {_VERSION}")
    for entry in document.files:
        if not _NAME.fullmatch(entry.name) or entry.name in (".", ".."):
            raise ValueError(f"{path!r} names {entry.name!r}, which is not in its directory")
    files = (WrittenFile(join(directory, entry.name), entry.rows, entry.bytes) for entry in document.files)
    return Manifest(tuple(files), document.about)


def prepare_output(directory: str, kinds: Sequence[str], overwrite: bool = False) -> None:
    """Make a directory ready for results, before the pipeline starts.

    With `overwrite`, what an earlier run left is removed: its manifest first, so that a reader never sees one whose
    files are gone; then the files that it lists, those named `KIND-….jsonl`, `.jsonl.gz`, `.jsonl.zst`, `.avro` or
    `.parquet`, of the kinds given, and what of these was not finished. Nothing else in the directory is touched.

    Args:
        directory: where results are to go; made where the filesystem has directories.
        kinds: what the names of result files begin with: activities, usage, … .
        overwrite: whether results that are there may be removed.

    Raises:
        ValueError: one line: results are there and may not be removed, or the directory cannot be made.
    """
    if FileSystems.get_scheme(directory) is None and os.path.isfile(directory):
        raise ValueError(f"{directory!r} is a file, not a directory")
    results = _results(directory, kinds)
    manifest = join(directory, MANIFEST_NAME)
    finished = exists(manifest)
    if (results or finished) and not overwrite:
        found = _base(results[0]) if results else MANIFEST_NAME
        raise ValueError(f"{directory!r} already holds results ({found}): give --overwrite to replace them")
    if finished:
        listed = _listed(directory)
        delete_file(manifest)
        results = sorted({*results, *(path for path in listed if exists(path))})
    if overwrite:
        ours = tuple(f".{kind}-" for kind in kinds)
        for path in (*results, *(path for path in unfinished_files(directory) if _base(path).startswith(ours))):
            delete_file(path)
    _make(directory)


def _listed(directory: str) -> list[str]:
    try:
        return [file.path for file in read_manifest(directory).files]
    except ValueError:
        return []


def _results(directory: str, kinds: Sequence[str]) -> list[str]:
    name = re.compile(rf"(?:{'|'.join(map(re.escape, kinds))})-.*\.(?:jsonl(?:\.gz|\.zst)?|avro|parquet)")
    try:
        files = match_files(join(directory, "*"))
    except ValueError:
        return []
    return [file.path for file in files if name.fullmatch(_base(file.path))]


def _make(directory: str) -> None:
    try:
        make_directory(directory)
    except OSError as error:
        raise ValueError(f"cannot make {directory!r}: {error}") from error


class WriteManifest(beam.PTransform[Any, Any]):
    """Write the manifest of a bounded run, once all of its files are in place.

    Takes a PCollection of WrittenFile, gives one of the manifest's path. Without files the manifest is empty.
    """

    def __init__(self, directory: str, about: Mapping[str, Any] | None = None) -> None:
        """Say where to, and what else to say; see write_manifest."""
        super().__init__()
        self._directory, self._about = directory, dict(about or {})

    def expand(self, files: beam.PCollection[WrittenFile]) -> beam.PCollection[str]:
        """Gather, write.

        Raises:
            ValueError: the input has no end.
        """
        if not files.is_bounded:
            raise ValueError("WriteManifest needs input that ends: a stream's results are never whole")
        directory, about = self._directory, self._about
        # Beam's ToList has a side input, with which Flink's runner fails at the first checkpoint.
        keyed = (
            files
            | "OneWindow" >> beam.WindowInto(GlobalWindows())
            | "Key" >> beam.Map(lambda file: ("", file)).with_output_types(tuple[str, WrittenFile])
        )
        always = files.pipeline | "Always" >> beam.Create([("", "")], reshuffle=False)
        written: beam.PCollection[str] = (
            {"files": keyed, "always": always}
            | "Gather" >> beam.CoGroupByKey()
            | "Write"
            >> beam.MapTuple(
                lambda _, gathered: write_manifest(directory, list(gathered["files"]), about)
            ).with_output_types(str)
        )
        return written
