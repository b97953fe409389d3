"""Inputs and outputs by URI: the one place that knows the schemes. What has none of them is a path or glob of files.

A connector brings a function from a URI to a `Source` or a `Sink` (thingbeam.io.endpoints), and its scheme one line of
`SCHEMES`.
A secret is only ever a reference: `password=env:NAME` or `password=file:PATH`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from apache_beam.io.filesystem import FileSystem
from apache_beam.io.filesystems import FileSystems

from thingbeam.io.endpoints import Sink, Source
from thingbeam.io.files.endpoint import DirectorySink, FileOptions, FileSource

__all__ = ["SCHEMES", "Scheme", "is_service", "scheme_of", "sink_of", "source_of"]


class Scheme(NamedTuple):
    """How a scheme's URIs are read: functions as `module:name`, imported when one is given."""

    source: str | None
    sink: str | None
    extra: str
    """What to install: `thingbeam[EXTRA]`."""


SCHEMES: Final[Mapping[str, Scheme]] = {
    "dynamodb": Scheme(None, "thingbeam.io.dynamodb.endpoint:DynamoDbSink", "aws"),
    "hbase": Scheme(None, "thingbeam.io.hbase.endpoint:HBaseSink", "hbase"),
    "kafka": Scheme("thingbeam.io.kafka.endpoint:KafkaSource", "thingbeam.io.kafka.endpoint:KafkaSink", "kafka"),
    "kinesis": Scheme(
        "thingbeam.io.kinesis.endpoint:KinesisSource", "thingbeam.io.kinesis.endpoint:KinesisSink", "aws"
    ),
    "s3": Scheme("thingbeam.io.s3.endpoint:S3Source", "thingbeam.io.s3.endpoint:S3Sink", "aws"),
}
"""The schemes that are no files."""


_EXTRAS: Final[Mapping[str, str]] = {"azfs": "azure", "gs": "gcp"}
"""What of Beam brings the filesystems that it may have been installed without."""


def scheme_of(uri: str) -> str:
    """What stands before `://`, in lower case; empty for a plain path.

    >>> scheme_of("kafka://broker:9092/events"), scheme_of("/data/*.jsonl")
    ('kafka', '')
    """
    scheme, separator, _ = uri.partition("://")
    return scheme.lower() if separator else ""


def is_service(uri: str) -> bool:
    """Whether it is a service of SCHEMES, and no file of any filesystem.

    >>> is_service("kafka://broker:9092/events"), is_service("gs://bucket/*.avro")
    (True, False)
    """
    return scheme_of(uri) in SCHEMES


def source_of(uri: str) -> Source:
    """An input: a service by its URI, or files by a path or glob.

    Raises:
        ValueError: what the URI says cannot be; one line, without any secret.

    >>> source_of("kafka://broker:9092/events").endless
    True
    """
    if not is_service(uri):
        _check_filesystem(uri, [name for name, scheme in SCHEMES.items() if scheme.source])
        return FileSource(uri)
    scheme = SCHEMES[scheme_of(uri)]
    if scheme.source is None:
        raise ValueError(f"{scheme_of(uri)}:// is written to, not read")
    source: Source = _imported(scheme.source, scheme)(uri)
    return source


def sink_of(uri: str, files: FileOptions | None = None) -> Sink:
    """An output: a service by its URI, or a directory.

    Args:
        uri: which.
        files: how files are written.

    Raises:
        ValueError: what the URI says cannot be; one line, without any secret.
    """
    if not is_service(uri):
        _check_filesystem(uri, [name for name, scheme in SCHEMES.items() if scheme.sink])
        return DirectorySink(uri, files or FileOptions())
    scheme = SCHEMES[scheme_of(uri)]
    if scheme.sink is None:
        raise ValueError(f"{scheme_of(uri)}:// is read, not written to")
    sink: Sink = _imported(scheme.sink, scheme)(uri)
    return sink


def _check_filesystem(uri: str, services: Iterable[str]) -> None:
    """See that Beam has a filesystem for it.

    Raises:
        ValueError: it has none; the message names the schemes that there are, and nothing of the URI but its own.
    """
    given = FileSystems.get_scheme(uri)
    installed = {system.scheme() for system in FileSystem.get_all_subclasses()}
    if given in installed:
        return
    if given in _EXTRAS:
        raise ValueError(f"{given}:// needs more of Beam: pip install 'apache-beam[{_EXTRAS[given]}]'")
    there = ", ".join(f"{name}://" for name in sorted({*filter(None, installed), *_EXTRAS, *services}))
    raise ValueError(f"{given}:// is none of the schemes that there are: {there}; or give a path")


def _imported(name: str, scheme: Scheme) -> Callable[[str], Any]:
    module, _, function = name.partition(":")
    try:
        found: Callable[[str], Any] = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("thingbeam"):
            raise
        raise ValueError(f"it needs {error.name}: pip install 'thingbeam[{scheme.extra}]'") from error
    return found
