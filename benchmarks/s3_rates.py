"""How fast WriteToS3 is beside a bare loop of put_object, with objects of the same size, alternating in one run.

    python benchmarks/s3_rates.py [--objects 12] [--rows 50000] [--turns 5] [--format parquet]

Starts its own server of S3. The sink's objects are named batches of `--rows` rows, in one bundle. There are two bare
loops: one encodes the same batches and puts them, which is the same work; the other puts bytes that are there already,
beside what the sink puts them with.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import apache_beam as beam
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.timestamp import Timestamp
from beside import Beside, by_turns, command, keys

from thingbeam.io.files.formats import encode_batch
from thingbeam.io.files.paths import Compression, Format
from thingbeam.io.s3 import WriteToS3, parse_s3_uri
from thingbeam.io.s3.requests import Requests
from thingbeam.io.s3.uploads import put
from thingbeam.runners.stack import running
from thingbeam.runners.stack.components.s3 import ACCESS_KEY, S3, SECRET_KEY
from thingbeam.schemas import Event
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.schemas.coders import ArrowBatchCoder

BUCKET = "rates"
_CODER = ArrowBatchCoder()


class Batches(beam.DoFn):
    """A batch again and again. The writing is in one stage with it, so it sees all of it, and says what it took.

    What a runner takes to start is no part of a rate.

    Args:
        encoded: the batch.
        path: of the file for seconds by the clock.
    """

    def __init__(self, encoded: bytes, path: str) -> None:
        self._encoded, self._path = encoded, path

    def setup(self) -> None:
        """Make the batch before the clock starts."""
        self._batch = _CODER.decode(self._encoded)

    def process(self, count: int) -> Any:
        """So many times."""
        began = time.perf_counter()
        for number in range(count):
            yield f"20070401T{number // 60 % 24:02}{number % 60:02}00Z-s{number:05}", self._batch
        Path(self._path).write_text(str(time.perf_counter() - began))


def batch_of(count: int) -> pa.RecordBatch:
    """Rows as sensors make them."""
    events = (
        Event.of(f"e{n}", Timestamp(n * 0.1), f"device-{n % 997}", "powerMeter", "power", n % 3000 / 7, unit="W")
        for n in range(count)
    )
    return to_record_batch(list(events), Event)


def measure(format: Format, objects: int, rows: int, turns: int) -> list[Beside]:  # noqa: A002
    """The sink beside a loop that encodes and puts, and `put` beside `put_object`, turn by turn."""
    compression: Compression | None = None if format == "jsonl" else "zstd"
    batch = batch_of(rows)
    data = encode_batch(batch, Event, format, compression)
    megabytes = objects * len(data) / 1e6
    with tempfile.TemporaryDirectory() as folder, running(folder, S3(buckets=BUCKET)) as stack:
        about = {"region": "us-east-1", "endpoint": stack.uri("s3"), **keys(ACCESS_KEY, SECRET_KEY)}
        uri = f"s3://{BUCKET}/sink?{urlencode(about)}"
        location = parse_s3_uri(uri)
        client = location.aws.client("s3")
        requests = Requests(location)

        def bare_put(number: int) -> None:
            client.put_object(Bucket=BUCKET, Key=f"bare/{number}", Body=data)

        def bare_encode(number: int) -> None:
            client.put_object(Bucket=BUCKET, Key=f"bare/{number}", Body=encode_batch(batch, Event, format, compression))

        def our_put(number: int) -> None:
            put(requests, f"put/{number}", (data,))

        def of(each: Callable[[int], None]) -> Callable[[int], float]:
            def rate(_: int) -> float:
                began = time.perf_counter()
                for number in range(objects):
                    each(number)
                return megabytes / (time.perf_counter() - began)

            return rate

        said, encoded = Path(folder) / "took", _CODER.encode(batch)

        def sink(_: int) -> float:
            with beam.Pipeline(FnApiRunner()) as pipeline:
                made = beam.ParDo(Batches(encoded, str(said))).with_output_types(tuple[str, pa.RecordBatch])
                batches = pipeline | beam.Create([objects], reshuffle=False) | made
                batches | WriteToS3(uri, Event, format, compression, named=True)
            return megabytes / float(said.read_text())

        what = f"S3, {format}, {len(data) / 1e6:.1f} MB and {rows:,} rows an object"
        return [
            by_turns(f"{what}, encoded and put", "MB/s", turns, of(bare_encode), sink),
            by_turns(f"{what}, bytes that are there", "MB/s", turns, of(bare_put), of(our_put)),
        ]


if __name__ == "__main__":
    forms = {"default": "parquet", "choices": ("parquet", "avro", "jsonl")}
    command(__doc__, measure, objects=12, rows=50_000, turns=5, format=forms)
