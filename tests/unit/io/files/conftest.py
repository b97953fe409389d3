"""Random records of any type, a runner that is the same on every machine, and a filesystem that is no disk."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.utils.timestamp import Timestamp
from hypothesis import strategies as st

from thingbeam.schemas.fields import fields_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _micros() -> st.SearchStrategy[int]:
    first = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
    last = (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
    anywhere = st.integers(first, last)
    return st.one_of(anywhere, anywhere.map(lambda m: m // 1_000 * 1_000 + (1_000 if m < 0 else 0))).map(
        lambda m: min(max(m, first), last)
    ) | st.integers(-2_000_000_000, 4_000_000_000).map(lambda seconds: seconds * 1_000_000)


_FINITE = st.floats(allow_nan=False, allow_infinity=False)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=8),
    "double": _FINITE | st.integers(-1000, 1000).map(float),
    "long": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "bytes": st.binary(max_size=8),
    "timestamp": _micros().map(lambda micros: Timestamp(micros=micros)),
    "map_of_double": st.dictionaries(st.text(max_size=4), _FINITE, max_size=3),
}


@pytest.fixture(scope="session")
def records_of() -> Callable[[type], st.SearchStrategy[Any]]:
    """Lists of random records of a type."""

    def lists(record_type: type) -> st.SearchStrategy[Any]:
        values = [_VALUES[f.type] | st.none() if f.optional else _VALUES[f.type] for f in fields_of(record_type)]
        return st.lists(st.tuples(*values).map(lambda row: record_type(*row)), max_size=6)

    return lists


@pytest.fixture
def pipeline() -> Callable[[], TestPipeline]:
    """Makes pipelines on the FnApi runner, by object, since what DirectRunner picks depends on the machine."""
    return lambda: TestPipeline(runner=FnApiRunner(), options=PipelineOptions(["--environment_type=EMBED"]))


class MemoryFileSystem(FileSystem):
    """Objects by name, without directories, that refuses to rename onto an object, as HDFS does."""

    objects: dict[str, bytes] = {}  # noqa: RUF012

    @classmethod
    def scheme(cls) -> str:
        return "memory"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join((basepath.rstrip("/"), *paths))

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path: str) -> None:
        pass

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for path in sorted(self.objects):
            if path.startswith(dir_or_prefix):
                yield self.metadata(path)

    def create(self, path: str, mime_type: str = "", compression_type: str = "") -> Any:
        objects = self.objects

        class Upload(io.BytesIO):
            def close(self) -> None:
                if not self.closed:
                    objects[path] = self.getvalue()
                super().close()

        return Upload()

    def open(self, path: str, mime_type: str = "", compression_type: str = "") -> Any:
        if path not in self.objects:
            raise FileNotFoundError(path)
        return io.BytesIO(self.objects[path])

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            self.objects[target] = self.objects[source]

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            if target in self.objects:
                raise BeamIOError("Rename operation failed", {(source, target): FileExistsError(target)})
            self.objects[target] = self.objects.pop(source)

    def exists(self, path: str) -> bool:
        return path in self.objects

    def size(self, path: str) -> int:
        return len(self.objects[path])

    def last_updated(self, path: str) -> float:
        return 0.0

    def checksum(self, path: str) -> str:
        return str(len(self.objects[path]))

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, len(self.objects[path]))

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            del self.objects[path]


@pytest.fixture
def memory() -> Iterator[dict[str, bytes]]:
    """The objects of `memory://`, empty."""
    MemoryFileSystem.objects.clear()
    yield MemoryFileSystem.objects
    MemoryFileSystem.objects.clear()
