"""A job that reads Kafka for ever on a streaming engine, as a process of its own that tests can kill.

    python kafka_job.py ENDPOINT ARGUMENTS.json

Arguments: `servers`, `source` (of ReadFromKafka), `out` (a file), `sink` (a topic), `windows` (seconds).
Every record becomes a line `TIME PARTITION OFFSET EVENT_MICROS VALUE` of the file before its bundle ends; every window
that closes a line `window END COUNT AFTER`, the last in seconds after its end. Lines end with END.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows

from thingbeam.io.kafka import JsonTime, KafkaRecord, ReadFromKafka, WriteToKafka

END = "\x03"
"""At the end of every line: one without it was torn when the process was killed, and its record comes again."""


def written(lines: list[str]) -> bytes:
    """Lines to be appended, whatever the file ends with."""
    return "".join(f"\n{line}{END}" for line in lines).encode()


class Append(beam.DoFn):
    """Lines to the file, safe from this process's death when the bundle ends."""

    def __init__(self, path: str) -> None:
        self._path = path

    def setup(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._lines: list[str] = []

    def process(self, record: Any, at: Any = beam.DoFn.TimestampParam) -> Iterator[Any]:
        now = time.time()
        if isinstance(record, KafkaRecord):
            value = (record.value or b"").decode()
            self._lines.append(f"{now:.3f} {record.partition} {record.offset} {at.micros} {value}")
        else:
            number = record.part.partition("=")[2]
            for payload, offset, micros in zip(record.payloads, record.positions, record.times, strict=True):
                self._lines.append(f"{now:.3f} {number} {offset} {micros} {payload.decode()}")
        yield record

    def finish_bundle(self) -> None:
        os.write(self._file, written(self._lines))
        self._lines.clear()


class AppendWindow(beam.DoFn):
    """A line for each window that closed."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, counted: tuple[str, int], window: Any = beam.DoFn.WindowParam) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        after = time.time() - float(window.end)
        os.write(file, written([f"window {float(window.end):.0f} {counted[1]} {after:.3f}"]))
        os.close(file)


def options(endpoint: str) -> PipelineOptions:
    """For Prism, with the worker in this process."""
    return PipelineOptions(
        ["--runner=PortableRunner", f"--job_endpoint={endpoint}", "--environment_type=LOOPBACK", "--streaming"]
    )


def build(pipeline: Any, arguments: dict[str, Any]) -> None:
    """The job's steps."""
    source = dict(arguments["source"])
    if "event_time" in source:
        source["event_time"] = JsonTime(source["event_time"])
    read = pipeline | ReadFromKafka(arguments["servers"], **source)
    records = read | "Append" >> beam.ParDo(Append(arguments["out"]))
    if arguments.get("sink"):
        records | WriteToKafka(arguments["servers"], arguments["sink"])
    if arguments.get("windows"):
        counted = (
            records
            | beam.Map(lambda _: ("all", 1))
            | beam.WindowInto(FixedWindows(arguments["windows"]))
            | beam.CombinePerKey(sum)
        )
        counted | beam.ParDo(AppendWindow(arguments["out"]))


def main(endpoint: str, arguments: dict[str, Any]) -> None:
    pipeline = beam.Pipeline(options=options(endpoint))
    build(pipeline, arguments)
    pipeline.run().wait_until_finish()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
