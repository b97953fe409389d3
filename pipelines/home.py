"""The home application: a house's events become its action history, sessions and hourly usage."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import apache_beam as beam
import pyarrow as pa

from thingbeam.io import ReadBlobs, ReadFromFiles, WriteBatches, WriteManifest, WriteToFiles, check_inputs
from thingbeam.io.files.paths import Compression, Format, format_of, join
from thingbeam.schemas import Activity, DeadLetter, Event, EventBatch, Session, Usage
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.transforms import CapabilityTable, DeviceHistory, HomeZones, ParseEvents
from thingbeam.transforms.durations import Duration
from thingbeam.transforms.envelopes import Context, Limits, redact

__all__ = ["KINDS", "HomeJob", "HomeSettings"]

KINDS: Final = ("activities", "sessions", "usage", "late", "dead-letters")
"""What the names of the files begin with."""


class HomeSettings(NamedTuple):
    """What the home application is asked to do.

    Attributes:
        input: a path or glob of JSON Lines (plain, .gz, .zst: any envelope), or of our Avro or Parquet events.
        output: a directory.
        zones: of the homes.
    """

    input: str
    output: str
    zones: HomeZones
    session_gap: Duration = "10m"
    period: str = "1h"
    format: Format = "jsonl"
    compression: Compression | None = None
    table: CapabilityTable | None = None
    allowed_lateness: Duration = "60s"
    horizon: Duration | None = None
    hold: Duration = "24h"
    retention: Duration = "35d"
    hold_until: int | None = None
    provisional: Duration | None = None
    shards: int = 12
    context: Context = Context()
    limits: Limits = Limits()


class HomeJob:
    """The application, checked before anything runs.

    Raises:
        ValueError: a setting that cannot be; one line that says which, and how to mend it.
    """

    def __init__(self, settings: HomeSettings) -> None:
        self.settings = settings
        self.inputs = check_inputs(settings.input, None)
        self._history = DeviceHistory(
            zones=settings.zones,
            session_gap=settings.session_gap,
            period=settings.period,
            table=settings.table,
            horizon=settings.horizon,
            hold=settings.hold,
            retention=settings.retention,
            hold_until=settings.hold_until,
            shards=settings.shards,
            allowed_lateness=settings.allowed_lateness,
            provisional=settings.provisional,
            batches=True,
        )

    def build(self, pipeline: beam.Pipeline) -> None:
        """Read, parse, work out, write."""
        events, unreadable = self._read(pipeline)
        history = events | "History" >> self._history
        written = [
            history.activities | "WriteActivities" >> self._write("activities", Activity),
            history.sessions | "WriteSessions" >> self._write("sessions", Session),
            history.usage | "WriteUsage" >> self._write("usage", Usage),
            history.late | "LateRows" >> beam.MapTuple(_late_rows) | "WriteLate" >> self._write("late", Event),
            (*unreadable, history.dead_letters) | "DeadLetters" >> beam.Flatten() | self._write_dead_letters(),
        ]
        written | "Written" >> beam.Flatten() | WriteManifest(self.settings.output)

    def _read(self, pipeline: beam.Pipeline) -> tuple[Any, list[Any]]:
        """Events in batches, from files of any format, and what could not be read or understood."""
        paths: dict[Format, list[str]] = {}
        for file in self.inputs:
            paths.setdefault(format_of(file.path), []).append(file.path)
        events: list[Any] = []
        dead: list[Any] = []
        for kind, files in paths.items():
            if kind == "jsonl":
                lines = pipeline | "ReadLines" >> ReadBlobs(files, redact=redact)
                parsed = lines.blobs | ParseEvents(
                    batches=True, context=self.settings.context, limits=self.settings.limits
                )
                events.append(parsed.events)
                dead += [lines.dead_letters, parsed.dead_letters]
            else:
                read = pipeline | f"Read{kind.capitalize()}" >> ReadFromFiles(
                    files, Event, kind, batches=True, redact=redact
                )
                checked = read.records | f"Parse{kind.capitalize()}" >> ParseEvents(
                    batches=True, limits=self.settings.limits
                )
                events.append(checked.events)
                dead += [read.dead_letters, checked.dead_letters]
        return (events[0] if len(events) == 1 else events | "AllEvents" >> beam.Flatten()), dead

    def _write(self, kind: str, record: type) -> WriteBatches:
        settings = self.settings
        return WriteBatches(join(settings.output, kind), record, settings.format, settings.compression)

    def _write_dead_letters(self) -> WriteToFiles:
        settings = self.settings
        return WriteToFiles(join(settings.output, "dead-letters"), DeadLetter, settings.format, settings.compression)


def _late_rows(name: str, batch: EventBatch) -> tuple[str, pa.RecordBatch]:
    return name, to_record_batch(batch.to_events(), Event)
