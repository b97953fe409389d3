"""ParseEvents: payloads of any known envelope to events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas import codes
from thingbeam.schemas.arrow import from_record_batch
from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.blob import Blob
from thingbeam.schemas.origin import origin_of
from thingbeam.schemas.payloads import Message, PayloadBatch
from thingbeam.schemas.records import DeadLetter, Event
from thingbeam.transforms.columns.parse import NO_ROWS, BlobParser, Parsed
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


class ParseEvents(beam.PTransform[Any, Any]):
    """Payloads to events: SmartThings (sinks, webhooks, Enterprise v2, device states), Matter, JSON arrays of these.

    Takes a PCollection of `bytes` or `str` (one payload each), of `Blob` (whole lines, a payload each: the fast path of
    files), of `PayloadBatch` (messages as `ReadFromKafka(batches=True)` gives them: the fast path of streams), of
    `Message` (`KafkaRecord`, `DeadLetter`: one payload that says where it stood), or of `pyarrow.RecordBatch` of Event,
    as our own Avro and Parquet files are read. One payload may hold many events; an event of an unknown type passes as
    itself. Each event has its own time as timestamp, a batch its earliest.

    What cannot be understood is a dead letter with its bytes, secrets blanked out, the source and position, a code of
    `thingbeam.schemas.codes`, a message, and this transform's label as step. Nothing is dropped: what is in none of the
    events is in a dead letter, but for documents that are understood and hold no event, and messages without a value
    (tombstones), which are counted.

    Counters in the namespace `thingbeam`: `lines` (payloads, messages or records), `events`, `failed_lines` (of which
    nothing came but dead letters), `empty_lines` (of which nothing came), `tombstones` (which are empty lines too),
    `dead_letters`.

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


class _Parse(beam.DoFn):
    def __init__(self, step: str, batches: bool, context: Context, limits: Limits) -> None:
        self._context, self._limits, self._step = context, limits, step
        self._batches = batches
        self._lines = Metrics.counter(NAMESPACE, "lines")
        self._events = Metrics.counter(NAMESPACE, "events")
        self._dead = Metrics.counter(NAMESPACE, "dead_letters")
        self._failed = Metrics.counter(NAMESPACE, "failed_lines")
        self._empty = Metrics.counter(NAMESPACE, "empty_lines")
        self._tombstones = Metrics.counter(NAMESPACE, "tombstones")

    def setup(self) -> None:
        """Caches live as long as the worker's copy of this."""
        self._parser = BlobParser(self._context, self._limits, self._step)

    def process(self, payload: bytes | str | Blob | PayloadBatch | Message | pa.RecordBatch) -> Iterator[Any]:
        """Parse one payload, the lines of one blob, or the messages or records of one batch."""
        parsed = self._parsed(payload)
        self._lines.inc(parsed.lines)
        self._events.inc(len(parsed.batch) + len(parsed.events))
        self._failed.inc(parsed.failed_lines)
        self._empty.inc(parsed.empty_lines)
        self._tombstones.inc(parsed.tombstones)
        self._dead.inc(len(parsed.dead_letters))
        if self._batches:
            yield from _as_batch(parsed.to_batch())
        else:
            yield from _one_by_one(parsed.events)
            ingested = self._context.ingest_time
            yield from _one_by_one([event._replace(ingest_time=ingested) for event in parsed.batch.to_events()])
        for letter in parsed.dead_letters:
            yield TaggedOutput(DEAD_LETTERS, letter)

    def _parsed(self, payload: object) -> Parsed:
        if isinstance(payload, Blob):
            return self._parser.parse(payload)
        if isinstance(payload, PayloadBatch):
            return self._parser.parse_batch(payload)
        if isinstance(payload, pa.RecordBatch):
            return self._checked(payload)
        source = position = ""
        if isinstance(payload, Message):
            source, position = payload.source, payload.position
            if payload.payload is None:
                return Parsed(NO_ROWS, [], [], 1, 0, 1, 1)
            payload = payload.payload
        if isinstance(payload, str):
            # A lone surrogate becomes bytes that are not UTF-8, and is told so.
            payload = payload.encode("utf-8", "surrogatepass")
        if isinstance(payload, bytes):
            return Parsed.of_one(*self._parser.parse_line(payload, source, position))
        message = f"a {type(payload).__name__}, not bytes, text, a Blob, a PayloadBatch, a Message or a RecordBatch"
        return Parsed.of_one([], [self._letter(as_payload(payload), "", "", codes.NOT_AN_EVENT, message)])

    def _checked(self, records: pa.RecordBatch) -> Parsed:
        """The records that can be worked on, and the others."""
        source, first = origin_of(records)
        missing = sorted(set(Event._fields) - set(records.schema.names))
        if missing:
            message = f"not records of Event: without {', '.join(missing)}"
            letter = self._letter(str(records.schema).encode(), source, "", codes.SCHEMA_MISMATCH, message)
            return Parsed(NO_ROWS, [], [letter], 1, 1, 0)
        events: list[Event] = []
        dead: list[DeadLetter] = []
        for number, event in enumerate(from_record_batch(records, Event), first):
            fault = fault_of(event, self._limits)
            if fault:
                dead.append(self._letter(as_payload(event), source, f"record={number}", *fault))
            else:
                events.append(event)
        return Parsed(NO_ROWS, events, dead, records.num_rows, len(dead), 0)

    def _letter(self, payload: bytes, source: str, position: str, code: str, error: str) -> DeadLetter:
        return DeadLetter(payload, source, position, self._step, code, error, Timestamp.now())


def _as_batch(batch: EventBatch) -> Iterator[Any]:
    if len(batch):
        yield TimestampedValue(batch, Timestamp(micros=int(np.min(batch.rows["time"]))))


def _one_by_one(events: Sequence[Event]) -> Iterator[Any]:
    for event in events:
        yield TimestampedValue(event, event.event_time)
