"""ReadArchiveFromS3: payload batches from a raw archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any, Final

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import TimestampedValue

from thingbeam.io.files.blobs import DEAD_LETTERS
from thingbeam.io.files.records import read_records
from thingbeam.io.s3.archive import ArchivedMessage, Span, span_of_name, times_of, to_payloads
from thingbeam.io.s3.location import S3Location, parse_s3_uri
from thingbeam.io.s3.requests import Requests, check_bucket
from thingbeam.io.s3.runs import Run, overlapping, run_of_name
from thingbeam.io.s3.source import Time, micros_of_time
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.schemas.payloads import PayloadBatch
from thingbeam.schemas.records import DeadLetter

__all__ = ["ReadArchiveFromS3"]

_BATCH_ROWS: Final = 2_000
_NO_BLOCK: Final = -1


class ReadArchiveFromS3(beam.PTransform[Any, Any]):
    """Read an archive that ArchiveToS3 wrote: by topic and partition, or stream and shard, and by time.

    Takes the pipeline, gives `batches` (PCollection of PayloadBatch, of one partition or shard each and in its order;
    what came of Kinesis is KinesisBatch again) and
    `dead_letters` (PCollection of DeadLetter, as ReadFromFiles gives). A batch is stamped with its earliest time. Each
    message once, whatever was archived twice, or again where the runner tries a bundle again.

    Args:
        prefix: as ArchiveToS3 was given.
        source: only this topic or stream.
        part: only this partition or shard, as `partition=3` or `shard=shardId-000000000000`; needs source.
        start: messages with an earlier time are left out; objects that hold only such are not read, but each is asked.
        stop: messages of that time or a later one are left out.
        redact: blanks secrets out of what dead letters keep. Must be picklable.
        check: ask the bucket when the pipeline is built.

    Raises:
        ValueError: an argument that cannot work.
        ConnectorError: no such bucket, no permission, another region, expired credentials: as the pipeline is built.
    """

    def __init__(
        self,
        prefix: str | S3Location,
        *,
        source: str | None = None,
        part: str | None = None,
        start: Time | None = None,
        stop: Time | None = None,
        redact: Callable[[bytes], bytes] | None = None,
        check: bool = True,
    ) -> None:
        super().__init__()
        if part is not None and source is None:
            raise ValueError("part needs source")
        self._location = parse_s3_uri(prefix) if isinstance(prefix, str) else prefix
        self._source, self._part = source, part
        self._start = None if start is None else micros_of_time(start, "start")
        self._stop = None if stop is None else micros_of_time(stop, "stop")
        self._redact, self._check = redact, check

    def expand(self, root: Any) -> Any:
        """List, spread, read."""
        if self._check:
            check_bucket(self._location)
        location, source, part, start, stop = self._location, self._source, self._part, self._start, self._stop

        def plan(_: Any) -> Iterator[tuple[int, tuple[str, ...]]]:
            yield from _plan(Requests(location), source, part, start, stop)

        return (
            root
            | "Prefix" >> beam.Create([None], reshuffle=False)
            | "List" >> beam.FlatMap(plan).with_output_types(tuple[int, tuple[str, ...]])
            | "Spread" >> beam.Reshuffle()
            | "Read"
            >> beam.ParDo(_ReadBlock(start, stop, self._redact))
            .with_output_types(PayloadBatch, dead_letters=DeadLetter)
            .with_outputs(DEAD_LETTERS, main="batches")
        )


def _plan(
    requests: Requests, source: str | None, part: str | None, start: int | None, stop: int | None
) -> Iterator[tuple[int, tuple[str, ...]]]:
    location = requests.location
    base = location.join("").key
    keys = [found.key for found in requests.list(base)]
    wanted: list[tuple[Span, str]] = []
    runs: list[tuple[Run, str]] = []
    for key in keys:
        span, run = span_of_name(key[len(base) :]), run_of_name(key[len(base) :])
        if span and source in (None, span.source) and part in (None, span.part):
            wanted.append((span, key))
        elif run and source in (None, run.source) and part in (None, run.part):
            runs.append((run, key))
    blocks = [(block, [key for _, key in some]) for (_, _, block), some in groupby(wanted, key=lambda one: one[0][:3])]
    for block, some in [*blocks, *((_NO_BLOCK, list(some)) for some in overlapping(runs))]:
        if start is not None or stop is not None:
            some = [key for key in some if _overlaps(requests, key, start, stop)]
        if some:
            yield block, tuple(location.at(key).uri for key in some)


def _overlaps(requests: Requests, key: str, start: int | None, stop: int | None) -> bool:
    found = requests.head(key)
    times = None if found is None else times_of(found["Metadata"])
    if times is None:
        return True
    return (start is None or times[1] >= start) and (stop is None or times[0] < stop)


class _ReadBlock(beam.DoFn):
    def __init__(self, start: int | None, stop: int | None, redact: Callable[[bytes], bytes] | None) -> None:
        self._start, self._stop, self._redact = start, stop, redact

    def process(self, block: tuple[int, tuple[str, ...]]) -> Iterator[Any]:
        """The messages of a block's objects, each once."""
        batches: list[PayloadBatch] = []
        for uri in block[1]:
            for some in read_records((uri, 0, -1), ArchivedMessage):
                if isinstance(some, DeadLetter):
                    payload = self._redact(some.payload) if self._redact else some.payload
                    yield TaggedOutput(DEAD_LETTERS, some._replace(payload=payload))
                    continue
                rows = to_record_batch(some, ArchivedMessage) if isinstance(some, list) else some
                if rows.num_rows:
                    batches.append(to_payloads(rows))
        if not batches:
            return
        whole = PayloadBatch.concatenate(batches).in_order()
        keep = np.ones(len(whole), bool)
        if self._start is not None:
            keep &= whole.times >= self._start
        if self._stop is not None:
            keep &= whole.times < self._stop
        numbers = np.flatnonzero(keep)
        for at in range(0, len(numbers), _BATCH_ROWS):
            batch = whole.take(numbers[at : at + _BATCH_ROWS])
            yield TimestampedValue(batch, batch.earliest)
