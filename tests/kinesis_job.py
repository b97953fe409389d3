"""A job that reads Kinesis for ever on a streaming engine, as a process of its own that tests can kill.

    python kinesis_job.py ENDPOINT ARGUMENTS.json

Arguments: `stream`, `kinesis` (the endpoint), `source` (of ReadFromKinesis), `checkpoints` (a folder), `out` (a file).
Every record becomes a line `TIME SHARD SEQUENCE KEY VALUE` of the file before its bundle ends.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import apache_beam as beam

from kafka_job import options
from thingbeam.io.aws import AwsConfig
from thingbeam.io.kinesis import FileCheckpoints, KinesisRecord, ReadFromKinesis


class Append(beam.DoFn):
    """Lines to the file, safe from this process's death when the bundle ends."""

    def __init__(self, path: str) -> None:
        self._path = path

    def setup(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._lines: list[str] = []

    def process(self, record: Any) -> None:
        now = f"{time.time():.3f}"
        if isinstance(record, KinesisRecord):
            row = record.shard, record.sequence, record.partition_key, record.data.decode()
            self._lines.append(" ".join((now, *row)))
            return
        shard = record.part.partition("=")[2]
        for sequence, key, data in zip(record.sequences, record.keys, record.payloads, strict=True):
            self._lines.append(" ".join((now, shard, sequence, key.decode(), data.decode())))

    def finish_bundle(self) -> None:
        os.write(self._file, "".join(f"{line}\n" for line in self._lines).encode())
        self._lines.clear()


def main(endpoint: str, arguments: dict[str, Any]) -> None:
    keys = {"access_key": "env:THINGBEAM_TEST_ACCESS_KEY", "secret_key": "env:THINGBEAM_TEST_SECRET_KEY"}
    config = AwsConfig("us-east-1", arguments["kinesis"], **keys)
    folder = arguments.get("checkpoints")
    source = dict(arguments["source"], checkpoints=FileCheckpoints(folder) if folder else None)
    pipeline = beam.Pipeline(options=options(endpoint))
    read = pipeline | ReadFromKinesis(arguments["stream"], config, **source)
    read | "Append" >> beam.ParDo(Append(arguments["out"]))
    pipeline.run().wait_until_finish()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
