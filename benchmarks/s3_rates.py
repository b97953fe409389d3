"""How fast WriteToS3 is beside a bare loop of put_object, with objects of the same size, alternating in one run.

    python benchmarks/s3_rates.py [--objects 64] [--rows 50000] [--rounds 3] [--format parquet]

Starts its own server of S3. The sink's objects are named batches of `--rows` rows, in one bundle. There are two bare
loops: one encodes the same batches and puts them, which is the same work; the other puts bytes that are there already,
which is what the store and boto3 can do at most.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.files.formats import encode_batch
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
        path: of the file for seconds by the clock, and of CPU time.
    """

    def __init__(self, encoded: bytes, path: str) -> None:
        self._encoded, self._path = encoded, path

    def setup(self) -> None:
        """Make the batch before the clock starts."""
        self._batch = _CODER.decode(self._encoded)

    def process(self, count: int) -> Any:
        """So many times."""
        began = time.perf_counter(), time.process_time()
        for number in range(count):
            yield f"20070401T{number // 60 % 24:02}{number % 60:02}00Z-s{number:05}", self._batch
        took = time.perf_counter() - began[0], time.process_time() - began[1]
        Path(self._path).write_text(f"{took[0]} {took[1]}")


def rows(count: int) -> pa.RecordBatch:
    """Rows as sensors make them."""
    events = (
        Event.of(f"e{n}", Timestamp(n * 0.1), f"device-{n % 997}", "powerMeter", "power", n % 3000 / 7, unit="W")
        for n in range(count)
    )
    return to_record_batch(list(events), Event)


def timed(what: Callable[[], tuple[float, float] | None]) -> tuple[float, float]:
    """Seconds that it takes: by the clock, and of CPU time, which other work on the machine leaves alone."""
    began = time.perf_counter(), time.process_time()
    return what() or (time.perf_counter() - began[0], time.process_time() - began[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, default=64)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--format", default="parquet", choices=("parquet", "avro", "jsonl"))
    given = parser.parse_args()
    compression = None if given.format == "jsonl" else "zstd"
    os.environ |= {"RATES_ACCESS_KEY": ACCESS_KEY, "RATES_SECRET_KEY": SECRET_KEY}
    batch = rows(given.rows)
    data = encode_batch(batch, Event, given.format, compression)
    print(f"{given.objects} objects of {len(data):,} bytes, {given.rows:,} rows each, {given.format}")
    with tempfile.TemporaryDirectory() as folder, running(folder, S3(buckets=BUCKET)) as stack:
        keys = "access_key=env:RATES_ACCESS_KEY&secret_key=env:RATES_SECRET_KEY"
        uri = f"s3://{BUCKET}/sink?region=us-east-1&endpoint={stack.uri('s3')}&{keys}"
        location = parse_s3_uri(uri)
        client = location.aws.client("s3")
        requests = Requests(location)

        def bare_put() -> None:
            for number in range(given.objects):
                client.put_object(Bucket=BUCKET, Key=f"bare/{number}", Body=data)

        def bare_encode() -> None:
            for number in range(given.objects):
                body = encode_batch(batch, Event, given.format, compression)
                client.put_object(Bucket=BUCKET, Key=f"bare/{number}", Body=body)

        def our_put() -> None:
            for number in range(given.objects):
                put(requests, f"put/{number}", (data,))

        said, encoded = Path(folder) / "took", _CODER.encode(batch)

        def sink() -> tuple[float, float]:
            with beam.Pipeline(FnApiRunner()) as pipeline:
                made = beam.ParDo(Batches(encoded, str(said))).with_output_types(tuple[str, pa.RecordBatch])
                batches = pipeline | beam.Create([given.objects], reshuffle=False) | made
                batches | WriteToS3(uri, Event, given.format, compression, named=True)
            wall, cpu = map(float, said.read_text().split())
            return wall, cpu

        sides = {"put_object": bare_put, "put": our_put, "encode + put_object": bare_encode, "sink": sink}
        timed(sink)
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(given.rounds):
            for name, side in sides.items():
                seconds[name].append(timed(side))
        for name, some in seconds.items():
            rate = [given.objects * len(data) / one / 1e6 for one, _ in some]
            print(f"{name:>20}: " + ", ".join(f"{one:.1f}" for one in rate) + " MB/s")
        for one, other in (("put", "put_object"), ("sink", "encode + put_object"), ("sink", "put_object")):
            for what, at in (("rate", 0), ("CPU", 1)):
                ratios = [b[at] / a[at] for a, b in zip(seconds[one], seconds[other], strict=True)]
                print(f"{one} to {other}, by {what}: " + ", ".join(f"{ratio:.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
