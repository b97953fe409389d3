"""WriteToS3: rows to objects, and a manifest for each window that is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from thingbeam.io.files.paths import Compression, Format, ending
from thingbeam.io.s3.location import S3Location, parse_s3_uri
from thingbeam.io.s3.manifests import S3Object, S3Window, encode_object
from thingbeam.io.s3.names import window_length
from thingbeam.io.s3.requests import check_bucket
from thingbeam.io.s3.rolling import CommitWindows, RollParts, RollPartsByTime
from thingbeam.io.s3.rows import Cutter, start_of
from thingbeam.io.s3.uploads import LEAST_PART, PART_BYTES
from thingbeam.io.s3.writing import DEAD_LETTERS, LATE, CutRows, Objects, WriteGroup, WriteManifests, WriteNamed
from thingbeam.io.writing.policies import RetryPolicy
from thingbeam.schemas.durations import Duration, micros_of_duration
from thingbeam.schemas.records import DeadLetter

__all__ = ["WriteToS3", "WrittenToS3"]

_OBJECTS: Final = "objects"
_CUT: Final = "cut"
_MOST_SHARDS: Final = 99_999


class WrittenToS3(NamedTuple):
    """What WriteToS3 gives: four PCollections."""

    committed: Any
    """Of S3Window: readers now see it whole. Again where late objects were added to it."""
    objects: Any
    """Of S3Object, each in place. Those without a name say only that a shard is at its end."""
    late: Any
    """Of pyarrow.RecordBatch: rows of an endless input whose window was over when they came. They are in no object;
    with `late="add"` there are none."""
    dead_letters: Any
    """Of DeadLetter: rows that no file can hold."""


class WriteToS3(beam.PTransform[Any, WrittenToS3]):
    """Rows to objects of Avro, Parquet or JSON Lines, by window and shard.

    Takes a PCollection of the record type or of pyarrow.RecordBatch of it, bounded or not; or, with `named`, of
    (name, pyarrow.RecordBatch) as DeviceHistory gives with `batches=True`: then each batch is an object, written by the
    worker that has it, without a shuffle.

    Guarantee: readers who go by the manifests (ReadFromS3) see each row once, and windows whole or not at all. An
    object is put whole. Its name follows from window, shard and part (or is the batch's), so what a bundle repeats
    replaces what it wrote, and the last to write it counts; a manifest is written when all of its window is in place
    and holds the objects' ETags. What a killed run leaves beside them is in no manifest. docs/s3.md says what engines
    without checkpoints can lose.

    Args:
        prefix: `s3://BUCKET/PREFIX?region=…` (see parse_s3_uri), or an S3Location.
        record_type: what the rows are.
        format: jsonl, avro or parquet.
        compression: None, gzip or zstd.
        named: whether elements are named batches. The time that a name begins with is the end of the slice it holds.
        window: length of the periods that are whole or not there; it divides a day.
        time: the field that says a row's window; by default event_time, start or time. Its clock must be the
            watermark's. Not for named batches.
        shards: objects beside each other in a window; the same as long as there is state.
        shard_by: a field of text, whose hash says the shard; by default device_id or the first text.
        allowed_lateness: how far the watermark is past a window's end before it is closed.
        roll_bytes: bytes of rows, as Arrow holds them, in one object. As many wait in state for each shard of an
            endless input.
        roll_after: for endless input, how long rows wait at most, by the clock, before they are an object. None waits
            for the window's end. Whatever it is, readers see the window when it is whole.
        part_bytes: objects larger than this, as stored, go in parts of it.
        in_flight: parts of one object that are sent at once.
        late: of endless input, what becomes of rows whose window was over when they came: `give` them out, or `add`
            them to the window as objects of their own, which a crash can double.
        retry: how long and how often what failed is tried again.
        redact: blanks secrets in what dead letters keep. Must be picklable.
        check: ask the bucket when the pipeline is built. Say False where only the workers reach it.

    Raises:
        ValueError: an argument that cannot work, as the transform is made.
        ConnectorError: no such bucket, no permission, another region, expired credentials: as the pipeline is built.

    Example (see docs/s3.md for one that runs)::

        events | WriteToS3("s3://home-events/events?region=eu-west-1", Event, window="1h", shards=4)
    """

    def __init__(
        self,
        prefix: str | S3Location,
        record_type: type[tuple[Any, ...]],
        format: Format = "parquet",  # noqa: A002
        compression: Compression | None = "zstd",
        *,
        named: bool = False,
        window: Duration = "1h",
        time: str | None = None,
        shards: int = 1,
        shard_by: str | None = None,
        allowed_lateness: Duration = "60s",
        roll_bytes: int = 64 << 20,
        roll_after: Duration | None = None,
        part_bytes: int = PART_BYTES,
        in_flight: int = 4,
        late: Literal["give", "add"] = "give",
        retry: RetryPolicy | None = None,
        redact: Callable[[bytes], bytes] | None = None,
        check: bool = True,
    ) -> None:
        super().__init__()
        location = parse_s3_uri(prefix) if isinstance(prefix, str) else prefix
        ending(format, compression)
        if not 1 <= shards <= _MOST_SHARDS:
            raise ValueError(f"shards {shards}: 1 to {_MOST_SHARDS}")
        if part_bytes < LEAST_PART:
            raise ValueError(f"part_bytes {part_bytes}: S3 takes no part below {LEAST_PART}")
        if roll_bytes < 1 or in_flight < 1:
            raise ValueError("roll_bytes and in_flight: at least 1")
        self._objects = Objects(
            location, record_type, format, compression, roll_bytes, part_bytes, in_flight, retry or RetryPolicy()
        )
        if late not in ("give", "add"):
            raise ValueError(f"late {late!r}: give or add")
        self._named, self._check, self._add = named, check, late == "add"
        self._length = window_length(window)
        self._lateness = micros_of_duration(allowed_lateness, "allowed_lateness")
        self._after = None if roll_after is None else micros_of_duration(roll_after, "roll_after") / 1e6
        if self._after == 0:
            raise ValueError("roll_after: above 0")
        self._rows = record_type, time, self._length, shards, shard_by
        self._redact = redact
        Cutter(*self._rows, "", "", None)

    def expand(self, rows: Any) -> WrittenToS3:
        """Cut, write, say what is whole."""
        if self._check:
            check_bucket(self._objects.location, write=True)
        cutter = Cutter(*self._rows, self.label, self._objects.location.plain, self._redact)
        if not isinstance(rows.windowing.windowfn, GlobalWindows):
            # What rows are together in is said by their own times.
            rows |= "Unwindow" >> beam.WindowInto(GlobalWindows())
        bounded = rows.is_bounded
        if self._named:
            write = WriteNamed(self._objects, cutter, self._length, endless=not bounded)
            done = rows | "Write" >> _tagged(beam.ParDo(write), S3Object, _OBJECTS)
            objects, late, dead = done[_OBJECTS], done[LATE], done[DEAD_LETTERS]
        else:
            cut = rows | "Cut" >> _tagged(beam.ParDo(CutRows(cutter)), tuple[int, bytes], _CUT)
            objects, late = self._write(cut[_CUT], cut[LATE], bounded)
            dead = cut[DEAD_LETTERS]
        return WrittenToS3(self._commit(objects, bounded), objects, late, dead)

    def _write(self, cut: Any, none: Any, bounded: bool) -> tuple[Any, Any]:
        """The objects, and the rows that came late."""
        if bounded:
            grouped = (
                cut
                | "ByWindow" >> beam.Map(_by_window).with_output_types(tuple[tuple[int, int], bytes])
                | "Group" >> beam.GroupByKey()
            )
            write = beam.ParDo(WriteGroup(self._objects, self._length))
            return grouped | "Write" >> write.with_output_types(S3Object), none
        arguments = self._objects, self._length, self._lateness, self._add
        roll = RollParts(*arguments) if self._after is None else RollPartsByTime(*arguments, self._after)
        done = cut | "Roll" >> _tagged(beam.ParDo(roll), S3Object, _OBJECTS)
        return done[_OBJECTS], done[LATE]

    def _commit(self, objects: Any, bounded: bool) -> Any:
        keyed = objects | "Windows" >> beam.Map(_window_and_object).with_output_types(tuple[tuple[int, int], bytes])
        if bounded:
            write = beam.ParDo(WriteManifests(self._objects)).with_output_types(S3Window)
            return keyed | "Whole" >> beam.GroupByKey() | "Commit" >> write
        return keyed | "Commit" >> beam.ParDo(CommitWindows(self._objects, self._lateness)).with_output_types(S3Window)


def _tagged(step: beam.ParDo, main: Any, name: str) -> Any:
    """With the outputs that every step here has, and their types."""
    return step.with_output_types(main, **{LATE: pa.RecordBatch, DEAD_LETTERS: DeadLetter}).with_outputs(
        LATE, DEAD_LETTERS, main=name
    )


def _by_window(cut: tuple[int, bytes]) -> tuple[tuple[int, int], bytes]:
    return (start_of(cut[1]), cut[0]), cut[1]


def _window_and_object(one: S3Object) -> tuple[tuple[int, int], bytes]:
    # As bytes: Flink's runner takes Python's rows for others' in a shuffle of bounded input, and fails.
    return (one.start, one.stop), encode_object(one)
