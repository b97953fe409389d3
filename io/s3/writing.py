"""Writing objects on a worker: batches in, an object of a name out, with what it cost counted."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.files.formats import encode_batches
from thingbeam.io.files.paths import Compression, Format, ending
from thingbeam.io.s3.location import S3Location
from thingbeam.io.s3.manifests import S3Object, S3Window, commit_window, decode_object
from thingbeam.io.s3.names import ALL, Window, check_name, part_name, window_of_name
from thingbeam.io.s3.requests import Requests
from thingbeam.io.s3.rows import Cut, Cutter, batch_of, packed
from thingbeam.io.s3.uploads import PART_BYTES, Stored, put
from thingbeam.io.writing.policies import RetryPolicy
from thingbeam.schemas.records import DeadLetter

__all__ = [
    "DEAD_LETTERS",
    "LATE",
    "NAMESPACE",
    "CutRows",
    "ObjectWriter",
    "Objects",
    "WriteGroup",
    "WriteManifests",
    "WriteNamed",
]  # fmt: skip

NAMESPACE: Final = "thingbeam.io.s3"
DEAD_LETTERS: Final = "dead_letters"
LATE: Final = "late"
_RECORDS: Final = 2_000


class Objects(NamedTuple):
    """How objects are made and stored."""

    location: S3Location
    """The prefix."""
    record_type: type[tuple[Any, ...]]
    format: Format
    compression: Compression | None
    roll_bytes: int
    """Of rows as Arrow holds them, in an object."""
    part_bytes: int = PART_BYTES
    in_flight: int = 4
    retry: RetryPolicy = RetryPolicy()

    @property
    def ending(self) -> str:
        """What names end in."""
        return ending(self.format, self.compression)


class ObjectWriter:
    """Writes objects and counts. One for a thread of a worker."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.requests = Requests(objects.location, objects.retry)
        self._written = Metrics.counter(NAMESPACE, "objects_written")
        self._rows = Metrics.counter(NAMESPACE, "rows_written")
        self._bytes = Metrics.counter(NAMESPACE, "bytes_written")
        self._retries = Metrics.counter(NAMESPACE, "retries")
        self._throttles = Metrics.counter(NAMESPACE, "throttles")
        self._millis = Metrics.distribution(NAMESPACE, "object_ms")

    @property
    def ending(self) -> str:
        """What the names of its objects end in."""
        return self._objects.ending

    def write(
        self, name: str, batches: Iterable[pa.RecordBatch], metadata: Mapping[str, str] | None = None
    ) -> tuple[str, int, Stored]:
        """One object of all the rows: its name with the ending, rows, and what is stored.

        Raises:
            ConnectorError: it is not, and what there was of it is taken back.
        """
        objects = self._objects
        rows = 0

        def counted() -> Iterator[pa.RecordBatch]:
            nonlocal rows
            for batch in batches:
                rows += batch.num_rows
                yield batch

        full = name + objects.ending
        began = time.monotonic()
        data = encode_batches(counted(), objects.record_type, objects.format, objects.compression, name=full)
        try:
            stored = put(
                self.requests, objects.location.join(full).key, data, part_bytes=objects.part_bytes,
                in_flight=objects.in_flight, metadata=metadata,
            )  # fmt: skip
        finally:
            self.count_failures()
        self._millis.update(int((time.monotonic() - began) * 1000))
        self._written.inc()
        self._rows.inc(rows)
        self._bytes.inc(stored.bytes)
        return full, rows, stored

    def write_part(
        self, window: Window, shard: int, part: int, batches: Iterable[pa.RecordBatch], *, last: bool = False
    ) -> S3Object:
        """One part of a window's shard."""
        name, rows, stored = self.write(part_name(window, shard, part), batches)
        return S3Object(name, *window, shard, part, last, rows, stored.bytes, stored.etag)

    def count_failures(self) -> None:
        """What the calls since then were worth, in the metrics: only the bundle's own thread may say it."""
        retries, throttles = self.requests.tally.take()
        if retries:
            self._retries.inc(retries)
            self._throttles.inc(throttles)


class CutRows(beam.DoFn):
    """Records or batches, cut by window and shard: (shard, packed rows)."""

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter
        self._dead = Metrics.counter(NAMESPACE, "dead_letters")

    def start_bundle(self) -> None:
        """Nothing waits."""
        self._records: list[Any] = []
        self._at: Timestamp | None = None

    def process(self, element: Any, at: Any = beam.DoFn.TimestampParam) -> Iterator[Any]:
        """Batches at once, records some thousands together."""
        if isinstance(element, pa.RecordBatch):
            yield from self._cut(element)
            return
        if not isinstance(element, self._cutter.record_type):
            raise TypeError(
                f"WriteToS3 was told {self._cutter.record_type.__name__}, and given {type(element).__name__}; named "
                "batches need named=True"
            )
        self._records.append(element)
        self._at = at if self._at is None else min(self._at, at)
        if len(self._records) >= _RECORDS:
            yield from self._cut(self._records)
            self._records, self._at = [], None

    def finish_bundle(self) -> Iterator[Any]:
        """What waits."""
        if self._records and self._at is not None:
            at = self._at
            for some in self._cut(self._records):
                tag, value = (some.tag, some.value) if isinstance(some, TaggedOutput) else (None, some)
                windowed = GlobalWindows.windowed_value(value, at)
                yield windowed if tag is None else TaggedOutput(tag, windowed)
        self._records = []

    def _cut(self, rows: Any) -> Iterator[Any]:
        for some in self._cutter.cut(rows):
            if isinstance(some, Cut):
                yield some.shard, packed(some)
            else:
                self._dead.inc()
                yield TaggedOutput(DEAD_LETTERS, some)


class _Writing(beam.DoFn):
    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def setup(self) -> None:
        """A writer for this copy."""
        self._writer = ObjectWriter(self._objects)


class WriteGroup(_Writing):
    """All rows of one window and shard to objects of about `roll_bytes` each. They need not fit in memory."""

    def __init__(self, objects: Objects, length: int) -> None:
        super().__init__(objects)
        self._length = length

    def process(self, group: tuple[tuple[int, int], Iterable[bytes]]) -> Iterator[S3Object]:
        """Write them."""
        (start, shard), cuts = group
        window = Window(start, start + self._length)
        waiting = map(batch_of, cuts)
        batch = next(waiting, None)
        part = 0
        while batch is not None:
            first, batch = batch, None

            def some(first: pa.RecordBatch = first) -> Iterator[pa.RecordBatch]:
                nonlocal batch
                yield first
                size = first.nbytes
                for batch in waiting:
                    if size + batch.nbytes > self._objects.roll_bytes:
                        return
                    size += batch.nbytes
                    yield batch
                batch = None

            yield self._writer.write_part(window, shard, part, some())
            part += 1


class WriteNamed(_Writing):
    """(name, batch): each to an object of its own, where it is."""

    def __init__(self, objects: Objects, cutter: Cutter, length: int, *, endless: bool) -> None:
        super().__init__(objects)
        self._cutter, self._length, self._endless = cutter, length, endless
        self._dead = Metrics.counter(NAMESPACE, "dead_letters")

    def process(self, named: tuple[str, pa.RecordBatch]) -> Iterator[Any]:
        """Write it."""
        name, batch = named
        window = window_of_name(check_name(name), self._length)
        if self._endless and window == ALL:
            raise ValueError(
                f"{name!r}: of a stream, names begin with the end of their slice, as 20070401T000100Z-s003"
            )
        good: list[pa.RecordBatch] = []
        for some in self._cutter.check(batch):
            if isinstance(some, DeadLetter):
                self._dead.inc()
                yield TaggedOutput(DEAD_LETTERS, some)
            elif some.num_rows:
                good.append(some)
        if good:
            full, rows, stored = self._writer.write(name, good)
            yield S3Object(full, *window, -1, 0, False, rows, stored.bytes, stored.etag)


class WriteManifests(beam.DoFn):
    """(window, its objects): the manifest that says that these are all."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._committed = Metrics.counter(NAMESPACE, "windows_committed")

    def setup(self) -> None:
        """A connection for this copy."""
        self._requests = Requests(self._objects.location, self._objects.retry)

    def process(self, group: tuple[tuple[int, int], Iterable[bytes]]) -> Iterator[S3Window]:
        """Write it."""
        window, written = group
        record = self._objects.record_type.__name__
        self._committed.inc()
        objects = list(map(decode_object, written))
        yield commit_window(self._requests, Window(*window), objects, record, replace=True)
