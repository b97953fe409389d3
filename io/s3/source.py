"""ReadFromS3: the rows of windows that are whole, and of no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.files.blobs import DEAD_LETTERS, Part
from thingbeam.io.files.paths import FORMATS, Format
from thingbeam.io.files.records import ReadPart
from thingbeam.io.s3.location import S3Location, parse_s3_uri
from thingbeam.io.s3.manifests import committed_windows
from thingbeam.io.s3.objects import pinned
from thingbeam.io.s3.requests import Requests, check_bucket
from thingbeam.schemas.records import DeadLetter

__all__ = ["ReadFromS3", "micros_of_time"]

Time = Timestamp | datetime | str
"""A Timestamp, a datetime with a zone, or RFC 3339 text."""


class ReadFromS3(beam.PTransform[Any, Any]):
    """Read what WriteToS3 has committed: by prefix, and by the time of windows.

    Takes the pipeline, gives `records` (PCollection of the record type, or of pyarrow.RecordBatch with `batches`, in no
    order) and `dead_letters` (PCollection of DeadLetter, as ReadFromFiles gives). Elements have the minimum timestamp.

    Each row of a whole window once, or again where the runner tries a bundle again. An object that was replaced since
    its manifest was read fails the bundle with PreconditionError: its window is being written anew, and rows may have
    moved from one object to another. Objects that no manifest names are read by ReadFromFiles, by pattern.

    Args:
        prefix: `s3://BUCKET/PREFIX?region=…`, or an S3Location, as WriteToS3 was given.
        record_type: what the rows are.
        start: windows that begin earlier are left out. What was written without times (named batches of a bounded run)
            is read only where neither is given.
        stop: windows that begin then or later are left out.
        format: jsonl, avro or parquet; None tells it for each object by its ending.
        batches: give batches of `arrow_schema(record_type)` rather than records.
        pin: refuse objects that have another ETag than their manifest says. False takes what is there now.
        redact: blanks secrets out of what dead letters keep. Must be picklable.
        check: ask the bucket when the pipeline is built. Say False where only the workers reach it.

    Raises:
        ValueError: no such format, a time that is none.
        ConnectorError: no such bucket, no permission, another region, expired credentials: as the pipeline is built.
    """

    def __init__(
        self,
        prefix: str | S3Location,
        record_type: type[tuple[Any, ...]],
        *,
        start: Time | None = None,
        stop: Time | None = None,
        format: Format | None = None,  # noqa: A002
        batches: bool = False,
        pin: bool = True,
        redact: Callable[[bytes], bytes] | None = None,
        check: bool = True,
    ) -> None:
        super().__init__()
        if format is not None and format not in FORMATS:
            raise ValueError(f"no format {format!r}: one of {', '.join(FORMATS)}")
        self._location = parse_s3_uri(prefix) if isinstance(prefix, str) else prefix
        self._start = None if start is None else micros_of_time(start, "start")
        self._stop = None if stop is None else micros_of_time(stop, "stop")
        if self._start is not None and self._stop is not None and self._start >= self._stop:
            raise ValueError(f"start {start} is not before stop {stop}")
        self._format: Format | None = format
        self._record_type, self._batches, self._pin = record_type, batches, pin
        self._redact, self._check = redact, check

    def expand(self, root: Any) -> Any:
        """List, spread, read."""
        if self._check:
            check_bucket(self._location)
        location, start, stop, pin = self._location, self._start, self._stop, self._pin

        def plan(_: Any) -> Iterator[Part]:
            for window in committed_windows(Requests(location), start, stop):
                for one in window.objects:
                    uri = location.join(one.name).uri
                    yield pinned(uri, one.etag) if pin else uri, 0, -1

        read = ReadPart(self._record_type, self._format, self._batches, self._redact)
        return (
            root
            | "Prefix" >> beam.Create([None], reshuffle=False)
            | "List" >> beam.FlatMap(plan).with_output_types(tuple[str, int, int])
            # Without it the runner fuses listing and reading, and one worker reads everything.
            | "Spread" >> beam.Reshuffle()
            | "Read"
            >> beam.ParDo(read)
            .with_output_types(pa.RecordBatch if self._batches else self._record_type, dead_letters=DeadLetter)
            .with_outputs(DEAD_LETTERS, main="records")
        )


def micros_of_time(time: Time, what: str) -> int:
    """A time in microseconds since 1970.

    Raises:
        ValueError: it is none, or has no zone.

    >>> micros_of_time("1970-01-01T01:00:00Z", "start")
    3600000000
    """
    if isinstance(time, Timestamp):
        return time.micros
    try:
        moment = datetime.fromisoformat(time) if isinstance(time, str) else time
        if moment.tzinfo is None:
            raise ValueError("it has no zone")
        return Timestamp.from_utc_datetime(moment.astimezone(UTC)).micros
    except ValueError as error:
        raise ValueError(f"{what}={time}: a time with a zone is expected, as 2007-04-01T00:00:00Z: {error}") from error
