"""ParseEvents: payloads of any known envelope to events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.arrow import from_record_batch
from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.blob import Blob
from thingbeam.schemas.records import DeadLetter, Event
from thingbeam.transforms.columns.parse import BlobParser
from thingbeam.transforms.envelopes import Context, Limits
from thingbeam.transforms.faults import as_payload, fault_of
from thingbeam.transforms.sharding import NAMESPACE

__all__ = ["DEAD_LETTERS", "EVENTS", "ParseEvents", "ParsedEvents"]

EVENTS: Final = "events"
DEAD_LETTERS: Final = "dead_letters"


class ParsedEvents(NamedTuple):
    """What ParseEvents gives: two PCollections."""

    events: Any
    """Of Event, or of EventBatch."""
    dead_letters: Any
    """Of DeadLetter."""


class ParseEvents(beam.PTransform):  # type: ignore[misc]
    """Payloads to events: SmartThings (sinks, webhooks, Enterprise v2, device states), Matter, JSON arrays of these.

    Takes a PCollection of `bytes` or `str` (one payload each), of `Blob` (whole lines, a payload each: the fast path), or
    of `pyarrow.RecordBatch` of Event, as our own Avro and Parquet files are read. One payload may hold many events; an event of an unknown type passes as itself. Each event has its own time as
    timestamp (a batch its earliest). What cannot be understood is a dead letter with its bytes, secrets blanked out, its
    position, a code of `thingbeam.schemas.codes` and a message. Nothing is dropped: every payload is in one of the two.

    Args:
        batches: give EventBatch, not Event: what the other transforms take fastest. A batch does not carry
            `ingest_time`, nor digits of integers beyond what a double holds.
        context: what is known of all payloads, for those that do not say.
        limits: on size, depth and time.

    >>> from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    >>> line = '{"eventTime": 0, "eventType": "DEVICE_EVENT", "deviceEvent": {"eventId": "e1", "deviceId": "d1",'
    >>> line += '"capability": "switch", "attribute": "switch", "value": "on"}}'
    >>> with beam.Pipeline(FnApiRunner()) as pipeline:
    ...     parsed = pipeline | beam.Create([line.replace("0", "1175378400000", 1), "no JSON"]) | ParseEvents()
    ...     _ = parsed.events | beam.Map(lambda event: print(event.device_id, event.value))
    d1 on
    """

    def __init__(self, *, batches: bool = False, context: Context | None = None, limits: Limits | None = None) -> None:
        super().__init__()
        self._batches = batches
        self._context = context or Context()
        self._limits = limits or Limits()

    def expand(self, payloads: Any) -> ParsedEvents:
        """Parse."""
        of = EventBatch if self._batches else Event
        parsed = payloads | "Parse" >> beam.ParDo(
            _Parse(self.label, self._batches, self._context, self._limits)
        ).with_outputs(DEAD_LETTERS, main=EVENTS)
        events, dead = parsed[EVENTS], parsed[DEAD_LETTERS]
        events.element_type, dead.element_type = of, DeadLetter
        return ParsedEvents(events, dead)


class _Parse(beam.DoFn):  # type: ignore[misc]
    def __init__(self, step: str, batches: bool, context: Context, limits: Limits) -> None:
        self._arguments = context, limits, step
        self._limits, self._step = limits, step
        self._batches = batches
        self._lines = Metrics.counter(NAMESPACE, "lines")
        self._events = Metrics.counter(NAMESPACE, "events")
        self._dead = Metrics.counter(NAMESPACE, "dead_letters")
        self._failed = Metrics.counter(NAMESPACE, "failed_lines")

    def setup(self) -> None:
        """Caches live as long as the worker's copy of this."""
        self._parser = BlobParser(*self._arguments)

    def process(self, payload: bytes | str | Blob | pa.RecordBatch) -> Iterator[Any]:
        """Parse one payload, or the lines of one blob."""
        if isinstance(payload, Blob):
            batch, dead, lines, failed = self._parser.parse(payload)
            yield from self._from_blob(batch)
            count = len(batch)
        elif isinstance(payload, pa.RecordBatch):
            events, dead = self._sound(payload)
            lines, failed, count = payload.num_rows, len(dead), len(events)
            yield from self._from_blob(EventBatch.from_events(events))
        else:
            line = payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else payload
            events, dead = self._parser.parse_line(line, "", "")
            lines, failed, count = 1, int(bool(dead) and not events), len(events)
            if self._batches:
                if events:
                    batch = EventBatch.from_events(events)
                    yield TimestampedValue(batch, _earliest(batch))
            else:
                for event in events:
                    yield TimestampedValue(event, event.event_time)
        self._lines.inc(lines)
        self._events.inc(count)
        self._failed.inc(failed)
        self._dead.inc(len(dead))
        for letter in dead:
            yield TaggedOutput(DEAD_LETTERS, letter)

    def _sound(self, records: pa.RecordBatch) -> tuple[list[Event], list[DeadLetter]]:
        """The records that can be worked on, and the others."""
        events: list[Event] = []
        dead: list[DeadLetter] = []
        for event in from_record_batch(records, Event):
            fault = fault_of(event, self._limits)
            if fault:
                dead.append(DeadLetter(as_payload(event), "", "", self._step, *fault, Timestamp.now()))
            else:
                events.append(event)
        return events, dead

    def _from_blob(self, batch: EventBatch) -> Iterator[Any]:
        if not len(batch):
            return
        if self._batches:
            yield TimestampedValue(batch, _earliest(batch))
            return
        for event in batch.to_events():
            yield TimestampedValue(event, event.event_time)


def _earliest(batch: EventBatch) -> Timestamp:
    return Timestamp(micros=int(np.min(batch.rows["time"])))
