"""Names of files: finding them, telling their format, opening them, and putting whole files in place at once.

Paths of S3 are URIs that say where the bucket is, `s3://BUCKET/KEY?region=…`, so that one run can use several regions.
They go to thingbeam.io.s3; all other schemes to Beam's filesystems.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Sequence
from typing import IO, Final, Literal, NamedTuple

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from thingbeam.io.errors import ConnectorError
from thingbeam.io.files.s3_paths import is_s3, split_s3_uri

__all__ = [
    "COMPRESSIONS",
    "FORMATS",
    "Compression",
    "Format",
    "InputFile",
    "check_inputs",
    "compression_of",
    "delete_file",
    "ending",
    "exists",
    "extend",
    "format_of",
    "is_local",
    "join",
    "make_directory",
    "match_files",
    "open_file",
    "parent",
    "unfinished_files",
    "write_file",
]

Format = Literal["jsonl", "avro", "parquet"]
Compression = Literal["gzip", "zstd"]

FORMATS: Final[tuple[Format, ...]] = ("jsonl", "avro", "parquet")
COMPRESSIONS: Final[tuple[Compression, ...]] = ("gzip", "zstd")

_FORMAT_ENDINGS: Final[dict[str, Format]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".avro": "avro",
    ".parquet": "parquet",
}
_COMPRESSION_ENDINGS: Final[dict[str, Compression]] = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_FOREIGN_ENDINGS: Final = (".bz2", ".xz", ".lzma", ".deflate", ".zip", ".lz4", ".br", ".sz", ".7z", ".tar", ".tgz")
_GLOB: Final = re.compile(r"[*?\[]")
_TEMPORARY: Final = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")


class InputFile(NamedTuple):
    """A file that a pattern matched."""

    path: str
    size: int
    """Bytes as stored."""


def compression_of(path: str) -> Compression | None:
    """How a file is compressed, by its ending.

    >>> compression_of("events.jsonl.gz"), compression_of("events.jsonl")
    ('gzip', None)
    """
    return _COMPRESSION_ENDINGS.get(os.path.splitext(_bare(path).lower())[1])


def format_of(path: str) -> Format:
    """A file's format, by its ending.

    Raises:
        ValueError: an ending that names none.

    >>> format_of("usage-1.jsonl.zst")
    'jsonl'
    """
    name = _bare(path).lower()
    if compression_of(name):
        name = os.path.splitext(name)[0]
    found = _FORMAT_ENDINGS.get(os.path.splitext(name)[1])
    if found is None:
        raise ValueError(f"cannot tell the format of {path!r} by its ending: say format= one of {', '.join(FORMATS)}")
    return found


def _bare(path: str) -> str:
    """A path without the query of a URI of S3."""
    return split_s3_uri(path)[0] if is_s3(path) else path


def ending(file_format: Format, compression: Compression | None) -> str:
    """What the names of files of a format end in.

    Avro and Parquet compress inside, so their names do not say it.

    Raises:
        ValueError: no such format or compression.

    >>> ending("jsonl", "gzip"), ending("avro", "gzip")
    ('.jsonl.gz', '.avro')
    """
    if file_format not in FORMATS:
        raise ValueError(f"no format {file_format!r}: one of {', '.join(FORMATS)}")
    if compression is not None and compression not in COMPRESSIONS:
        raise ValueError(f"no compression {compression!r}: None or one of {', '.join(COMPRESSIONS)}")
    if file_format != "jsonl" or compression is None:
        return f".{file_format}"
    return ".jsonl.gz" if compression == "gzip" else ".jsonl.zst"


def match_files(patterns: str | Iterable[str]) -> list[InputFile]:
    """The files of one or more paths or globs, each once, by path.

    In a pattern `*` and `?` stay within a directory and `**` crosses them; a pattern that ends in `/` means every file
    in that directory. Unfinished files of writers of this package are left out.

    Raises:
        ValueError: one line that says which pattern matches nothing, names a directory, or cannot be asked.
    """
    found: dict[str, InputFile] = {}
    given = [patterns] if isinstance(patterns, str) else list(patterns)
    if not given:
        raise ValueError("no input: give a path or a pattern")
    for pattern in given:
        matched = _match(pattern)
        if not matched:
            kind = (
                "no file matches" if _GLOB.search(_bare(pattern)) or _bare(pattern).endswith("/") else "no such file:"
            )
            raise ValueError(f"{kind} {pattern!r}")
        found.update((file.path, file) for file in matched)
    return [found[path] for path in sorted(found) if not _TEMPORARY.fullmatch(parent(path)[1])]


def unfinished_files(directory: str) -> list[str]:
    """What writers of this package that died, or are at work, left in a directory: `.NAME.….tmp`."""
    try:
        files = _match(join(directory, ".*.tmp"))
    except ValueError:
        return []
    return sorted(file.path for file in files if _TEMPORARY.fullmatch(parent(file.path)[1]))


def _match(pattern: str) -> list[InputFile]:
    if is_s3(pattern):
        from thingbeam.io.s3.objects import match_objects

        try:
            return [InputFile(path, size) for path, size in match_objects(pattern)]
        except ConnectorError as error:
            raise ValueError(f"cannot list {_bare(pattern)!r}: {error}") from error
    local = FileSystems.get_scheme(pattern) is None
    if local and os.path.isdir(pattern) and not pattern.endswith("/"):
        raise ValueError(f"{pattern!r} is a directory: name its files, as in {pattern + '/*.jsonl'!r}")
    # Beam cannot quote a glob character, so a local file whose name has one is asked for by name first.
    if local and os.path.isfile(pattern):
        return [InputFile(pattern, os.path.getsize(pattern))]
    # Beam finds nothing for a local pattern without a directory.
    bare = local and not os.path.dirname(pattern)
    try:
        [result] = FileSystems.match([os.path.join(".", pattern) if bare else pattern])
    except ValueError as error:
        raise ValueError(f"cannot read {pattern!r}: {error}") from error
    except BeamIOError as error:
        reasons = [str(reason) for reason in (error.exception_details or {}).values()] or [str(error)]
        raise ValueError(f"cannot list {pattern!r}: {' '.join('; '.join(reasons).split())}") from error
    return [InputFile(file.path[2:] if bare else file.path, file.size_in_bytes) for file in result.metadata_list]


def check_inputs(patterns: str | Sequence[str], file_format: Format | None = "jsonl") -> list[InputFile]:
    """The files that a pipeline would read, asked before it starts so that a mistake costs a line, not a run.

    Args:
        patterns: one or more paths or globs.
        file_format: the format that they will be read as; None is by their endings.

    Returns:
        The files with their sizes, by path.

    Raises:
        ValueError: one line to mend it by: nothing matches, a directory, a filesystem that is not installed or cannot
            be asked, a compression that is not supported, an ending that names no format.
    """
    files = match_files(patterns)
    for file in files:
        foreign = os.path.splitext(_bare(file.path).lower())[1]
        if foreign in _FOREIGN_ENDINGS:
            raise ValueError(f"{file.path!r}: {foreign} files are not read; unpack it, or compress with gzip or zstd")
        if file_format is None:
            format_of(file.path)
    return files


def is_local(path: str) -> bool:
    """Whether a path is of this machine's own files.

    >>> is_local("a/b.jsonl"), is_local("s3://bucket/b.jsonl"), is_local("gs://bucket/b.jsonl")
    (True, False, False)
    """
    return FileSystems.get_scheme(path) is None


def open_file(path: str) -> IO[bytes]:
    """A file's stored bytes, to read."""
    if is_s3(path):
        from thingbeam.io.s3.objects import open_object

        return open_object(path)
    opened: IO[bytes] = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    return opened


def parent(path: str) -> tuple[str, str]:
    """A path's directory, with its separator, and its name.

    >>> parent("gs://bucket/a/b.avro"), parent("b.avro")
    (('gs://bucket/a/', 'b.avro'), ('', 'b.avro'))
    """
    if is_s3(path):
        where, query = split_s3_uri(path)
        name = where.rpartition("/")[2]
        return f"{where[: len(where) - len(name)]}{'?' + query if query else ''}", name
    name = os.path.basename(path) if FileSystems.get_scheme(path) is None else path.rpartition("/")[2]
    return path[: len(path) - len(name)], name


def join(directory: str, name: str) -> str:
    """A name inside a directory.

    >>> join("gs://bucket/out/", "a.avro"), join("out", "a.avro"), join("", "a.avro")
    ('gs://bucket/out/a.avro', 'out/a.avro', 'a.avro')
    >>> join("s3://bucket/out?region=eu-west-1", "a.avro")
    's3://bucket/out/a.avro?region=eu-west-1'
    """
    if is_s3(directory):
        where, query = split_s3_uri(directory)
        return f"{where}{'' if where.endswith('/') else '/'}{name}{'?' + query if query else ''}"
    return f"{directory}{'' if directory.endswith('/') else '/'}{name}" if directory else name


def extend(prefix: str, text: str) -> str:
    """What a path begins with, with more at its end.

    >>> extend("out/usage", "-1.jsonl"), extend("s3://b/usage?region=eu-west-1", "-1.jsonl")
    ('out/usage-1.jsonl', 's3://b/usage-1.jsonl?region=eu-west-1')
    """
    if not is_s3(prefix):
        return prefix + text
    where, query = split_s3_uri(prefix)
    return f"{where}{text}{'?' + query if query else ''}"


def write_file(path: str, data: bytes) -> None:
    """Put a whole file in place, replacing one of that name: a reader sees all of it or nothing.

    The bytes go to a hidden name beside it (`.NAME.….tmp`), which is then renamed; an object of S3 is put as it is.
    """
    if is_s3(path):
        from thingbeam.io.s3.objects import write_object

        write_object(path, data)
        return
    directory, name = parent(path)
    temporary = f"{directory}.{name}.{uuid.uuid4().hex}.tmp"
    try:
        with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(data)
        _replace(temporary, path)
    except BaseException:
        if FileSystems.exists(temporary):
            delete_file(temporary)
        raise


def _replace(source: str, target: str) -> None:
    try:
        FileSystems.rename([source], [target])
    except BeamIOError:
        # HDFS, and Windows, refuse to rename onto a file that exists.
        if not FileSystems.exists(target):
            raise
        delete_file(target)
        FileSystems.rename([source], [target])


def exists(path: str) -> bool:
    """Whether there is a file of that exact name."""
    if is_s3(path):
        from thingbeam.io.s3.objects import exists as is_there

        return is_there(path)
    found: bool = FileSystems.exists(path)
    return found


def make_directory(path: str) -> None:
    """Make a directory where it is not there and the filesystem has directories.

    Raises:
        OSError: it cannot be made.
    """
    if not is_s3(path) and not FileSystems.exists(path):
        FileSystems.mkdirs(path)


def delete_file(path: str) -> None:
    """Delete one file by its exact name."""
    if is_s3(path):
        from thingbeam.io.s3.objects import delete_object

        delete_object(path)
    elif FileSystems.get_scheme(path) is None:
        # Beam's delete takes names for patterns, so a bracket in a local path would name other files.
        os.remove(path)
    else:
        FileSystems.delete([path])
