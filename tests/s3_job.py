"""A job that writes rows to one or more prefixes of S3, as a process of its own that tests can kill.

    python s3_job.py ROWS PREFIX…

Rows are those of `rows(ROWS)`, in batches that are made in the workers. It says `done` when all is committed.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io import WriteToS3
from thingbeam.schemas import Event
from thingbeam.schemas.arrow import to_record_batch

BATCH = 1_000
TEXT = 400
HOURS = 2
"""That the rows span, however many there are."""

_ROW = to_record_batch([Event.of("", Timestamp(0), "", "note", "note", "")], Event)


def text_of(number: int) -> str:
    """What a row says: a text that does not compress, and that follows from its number."""
    return hashlib.shake_128(str(number).encode()).hexdigest(TEXT // 2)


def batch(first: int, count: int, of: int) -> pa.RecordBatch:
    """Rows from a number on, of so many in all."""
    numbers = np.arange(first, first + count)
    own = {
        "event_id": pa.array([f"e{n}" for n in numbers.tolist()]),
        "event_time": pa.array(numbers * (HOURS * 3_600_000_000) // of).cast(pa.timestamp("us", tz="UTC")),
        "device_id": pa.array([f"device-{n % 97}" for n in numbers.tolist()]),
        "text": pa.array([text_of(n) for n in numbers.tolist()]),
    }
    same = pa.array(np.zeros(count, np.int64))
    columns = [own.get(name, _ROW.column(name).take(same)) for name in _ROW.schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=_ROW.schema)


def batches(count: int) -> Iterator[pa.RecordBatch]:
    """All rows."""
    for first in range(0, count, BATCH):
        yield batch(first, min(BATCH, count - first), count)


def numbers(rows: pa.RecordBatch) -> list[int]:
    """Which rows these are; each with the text that it must have.

    Raises:
        AssertionError: another text.
    """
    found = [int(text[1:]) for text in rows.column("event_id").to_pylist()]
    for number, text in zip(found, rows.column("text").to_pylist(), strict=True):
        assert text == text_of(number), number
    return found


def main(count: int, prefixes: list[str]) -> None:
    """Write them to every prefix."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        made = (
            pipeline
            | beam.Create(list(range(0, count, BATCH)))
            | beam.Map(lambda first: batch(first, min(BATCH, count - first), count)).with_output_types(pa.RecordBatch)
        )
        for number, prefix in enumerate(prefixes):
            made | f"Write{number}" >> WriteToS3(prefix, Event, "parquet", None, roll_bytes=1 << 40, part_bytes=5 << 20)
    print("done", np.sum(count))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
