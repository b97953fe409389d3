"""The main job's transforms in a pipeline of one's own, element by element or in batches.

usage: pipeline.py INPUT elements|batches SHARDS BLOB_BYTES
"""

from __future__ import annotations

import sys

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from thingbeam.io import ReadBlobs
from thingbeam.transforms import DeviceHistory, ParseEvents


def main(path: str, form: str, shards: int, blob_bytes: int) -> None:
    """Run it, and count what comes of it."""
    batches = form == "batches"
    with beam.Pipeline(FnApiRunner()) as pipeline:
        payloads = pipeline | ReadBlobs(path, blob_bytes=blob_bytes)
        blobs = payloads.blobs
        if not batches:
            blobs = blobs | "Lines" >> beam.FlatMap(lambda blob: blob.data.splitlines())
        events = (blobs | ParseEvents(batches=batches)).events
        history = events | DeviceHistory(shards=shards, batches=batches)
        for name, results in history._asdict().items():
            _ = results | f"Count{name}" >> beam.combiners.Count.Globally()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
