"""How fast WriteToS3 is beside a bare loop of put_object, with objects of the same size, alternating in one run.

    python benchmarks/s3_rates.py [--objects 64] [--rows 50000] [--rounds 3] [--format parquet]

Starts its own server of S3. The sink's objects are named batches of `--rows` rows, in one bundle. There are two bare
loops: one encodes the same batches and puts them, which is the same work; the other puts bytes that are there already,
which is what the store and boto3 can do at most.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
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

BUCKET = "rates"
_made: list[pa.RecordBatch] = []


class Batches(beam.DoFn):
    """The batches, that were made before the clock started."""

    def process(self, count: int) -> Any:
        for number in range(count):
            yield f"20070401T{number // 60 % 24:02}{number % 60:02}00Z-s{number:05}", _made[0]


def rows(count: int) -> pa.RecordBatch:
    """Rows as sensors make them."""
    events = (
        Event.of(f"e{n}", Timestamp(n * 0.1), f"device-{n % 997}", "powerMeter", "power", n % 3000 / 7, unit="W")
        for n in range(count)
    )
    return to_record_batch(list(events), Event)


def timed(what: Callable[[], None]) -> float:
    """Seconds that it takes."""
    begin = time.perf_counter()
    what()
    return time.perf_counter() - begin


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
    _made.append(rows(given.rows))
    data = encode_batch(_made[0], Event, given.format, compression)
    print(f"{given.objects} objects of {len(data):,} bytes, {given.rows:,} rows each, {given.format}")
    with tempfile.TemporaryDirectory() as folder, running(folder, S3(buckets=BUCKET)) as stack:
        place = stack.place("s3")
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
                body = encode_batch(_made[0], Event, given.format, compression)
                client.put_object(Bucket=BUCKET, Key=f"bare/{number}", Body=body)

        def our_put() -> None:
            for number in range(given.objects):
                put(requests, f"put/{number}", (data,))

        def sink() -> None:
            with beam.Pipeline(FnApiRunner()) as pipeline:
                batches = pipeline | beam.Create([given.objects], reshuffle=False) | beam.ParDo(Batches())
                batches | WriteToS3(uri, Event, given.format, compression, named=True)

        def nothing() -> None:
            with beam.Pipeline(FnApiRunner()) as pipeline:
                batches = pipeline | beam.Create([0], reshuffle=False) | beam.ParDo(Batches())
                batches | WriteToS3(uri, Event, given.format, compression, named=True)

        assert place is not None
        sides = {"put_object": bare_put, "put": our_put, "encode + put_object": bare_encode, "sink": sink}
        sink()
        start = statistics.median(timed(nothing) for _ in range(3))
        print(f"an empty pipeline takes {start:.2f} s, which is taken off the sink's time")
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(given.rounds):
            for name, side in sides.items():
                seconds[name].append(timed(side) - (start if name == "sink" else 0.0))
        for name, some in seconds.items():
            rate = [given.objects * len(data) / one / 1e6 for one in some]
            print(f"{name:>20}: " + ", ".join(f"{one:.1f}" for one in rate) + " MB/s")
        for one, other in (("put", "put_object"), ("sink", "encode + put_object"), ("sink", "put_object")):
            ratios = [b / a for a, b in zip(seconds[one], seconds[other], strict=True)]
            print(f"{one} to {other}: " + ", ".join(f"{ratio:.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
