"""The home application: a house's events become its action history, sessions and hourly usage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from thingbeam.io.endpoints import Kind, RestartableSource, Sink, Source, Stored
from thingbeam.io.files.endpoint import FileOptions
from thingbeam.io.files.paths import Compression, Format
from thingbeam.io.uris import sink_of, source_of
from thingbeam.pipelines.restarts import LeaveOutPartial
from thingbeam.schemas import Activity, DeadLetter, Event, EventBatch, Session, Usage
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.transforms import CapabilityTable, DeviceHistory, HomeZones, ParseEvents
from thingbeam.transforms.durations import Duration, micros_of_duration
from thingbeam.transforms.envelopes import Context, Limits, redact
from thingbeam.transforms.rules import Period
from thingbeam.transforms.rules.roles import ACTIVITY
from thingbeam.transforms.sharding import NAMESPACE

__all__ = ["KINDS", "RECORDS", "HomeJob", "HomeSettings"]

RECORDS: Final = (
    Kind("activities", Activity),
    Kind("sessions", Session),
    Kind("usage", Usage),
    Kind("late", Event),
    Kind("dead-letters", DeadLetter),
)
"""What is written, in the order in which it is told."""
KINDS: Final = tuple(kind.name for kind in RECORDS)
"""What the names of the files begin with, and those of topics end with."""


_MINUTE_S: Final = 60.0


class HomeSettings(NamedTuple):
    """What the home application is asked to do.

    Attributes:
        input: a path or glob of JSON Lines (plain, .gz, .zst: any envelope), or of our Avro or Parquet events; or the
            URI of a service (`thingbeam.io.uris`). Several are read together.
        output: a directory, or the URI of a service. All results go to each of several.
        zones: of the homes.
    """

    input: str | Sequence[str]
    output: str | Sequence[str]
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
    provisional_within: Duration | None = None
    """None: the allowed lateness and a minute. An older event that is not late is one of a backlog."""
    shards: int = 12
    context: Context = Context()
    limits: Limits = Limits()
    complete_from: int | None = None
    """Of a run that goes on: microseconds since 1970 before which results are left out. See `restarts`."""
    overwrite: bool = False


class HomeJob:
    """The application, checked before anything runs.

    Args:
        settings: what is asked.
        sources: the inputs, where they are made already.
        sinks: the outputs, likewise.

    Raises:
        ValueError: a setting that cannot be; one line that says which, and how to mend it.
    """

    def __init__(
        self, settings: HomeSettings, sources: Sequence[Source] | None = None, sinks: Sequence[Sink] | None = None
    ) -> None:
        self.settings = settings
        files = FileOptions(settings.format, settings.compression, settings.overwrite)
        self.sources = list(sources) if sources is not None else [source_of(each) for each in _all(settings.input)]
        self.sinks = list(sinks) if sinks is not None else [sink_of(each, files) for each in _all(settings.output)]
        for sink in self.sinks:
            if self.endless and not sink.endless:
                raise ValueError(
                    f"{sink.shown}: a directory takes what ends, and the input does not: give it a stop= (stop=latest "
                    "is what is there now), or write to kafka://HOST:PORT/PREFIX"
                )
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
            provisional_within=_within(settings),
            batches=True,
        )

    @property
    def endless(self) -> bool:
        """Whether any of the inputs is a stream."""
        return any(source.endless for source in self.sources)

    @property
    def commits(self) -> bool:
        """Whether a source has the engine say when a bundle is safe."""
        return any(source.commits for source in self.sources)

    def longest(self) -> int:
        """How long, in microseconds, after it began a result is out at the latest, but for sessions without a silence.

        An activity of maximum length, a period, what a silent device still has.
        """
        settings = self.settings
        table = settings.table or CapabilityTable.default()
        lengths = (
            max((round(e.role.max_length_s * 1e6) for e in table.entries if e.role.role == ACTIVITY), default=0),
            Period.parse(settings.period).seconds * 1_000_000,
            micros_of_duration(settings.hold, "hold"),
        )
        return max(lengths) + sum(
            micros_of_duration(each, "length") for each in (settings.session_gap, settings.allowed_lateness)
        )

    def restartable(self) -> HomeJob:
        """The same, with streams read so that a run after a crash can go on, on an engine that keeps nothing.

        Raises:
            ValueError: what a URI says would lose results, or make wrong ones.
        """
        longest = self.longest()
        sources = [s.restartable(longest) if isinstance(s, RestartableSource) else s for s in self.sources]
        return HomeJob(self.settings, sources, self.sinks)

    def pinned(self) -> list[str]:
        """Where the streams begin, as their services say now; for `restart`.

        Raises:
            ConnectorError: a service does not answer.
        """
        return [source.pinned() if isinstance(source, RestartableSource) else "" for source in self.sources]

    def restart(self, pinned: Sequence[str]) -> HomeJob:
        """The same, to be run from where the last run's results are out.

        Raises:
            ConnectorError: a service does not answer.
        """
        sources: list[Source] = []
        complete: list[int] = []
        for source, begin in zip(self.sources, pinned, strict=True):
            if not isinstance(source, RestartableSource):
                sources.append(source)
                continue
            restart = source.restart(begin)
            sources.append(restart.source)
            if restart.complete_from is not None:
                complete.append(restart.complete_from)
        # Each stream alone says what was out before; a device is in one of them.
        settings = self.settings._replace(complete_from=max(complete, default=None))
        return HomeJob(settings, sources, self.sinks)

    def check(self) -> None:
        """See that the inputs are there. Asks services.

        Raises:
            ValueError: one cannot be read.
            ConnectorError: a service does not answer, or refuses, or has no such thing.
        """
        for source in self.sources:
            source.check()

    def prepare(self) -> None:
        """Make the outputs ready. Asks services.

        Raises:
            ValueError: one cannot be written.
            ConnectorError: a service does not answer, or refuses, or has no such thing.
        """
        for sink in self.sinks:
            sink.check(RECORDS)

    def build(self, pipeline: beam.Pipeline) -> None:
        """Read, parse, work out, write."""
        events, unreadable = self._read(pipeline)
        history = events | "History" >> self._history
        late = history.late | "LateRows" >> beam.MapTuple(_late_rows)
        results = [*map(self._whole, (history.activities, history.sessions, history.usage), KINDS), late]
        stored = [
            [
                _counted(sink.write_batches(batches, kind, _step(kind, number)), kind, number)
                for batches, kind in zip(results, RECORDS, strict=False)
            ]
            for number, sink in enumerate(self.sinks)
        ]
        refused = [letters for some in stored for one in some for letters in one.dead_letters]
        dead = (*unreadable, history.dead_letters, *(_count_refused(each, n) for n, each in enumerate(refused)))
        letters = dead | "DeadLetters" >> beam.Flatten()
        kind = RECORDS[-1]
        for number, sink in enumerate(self.sinks):
            last = _counted(sink.write_records(letters, kind, _step(kind, number)), kind, number)
            sink.finish([*stored[number], last], _suffix(number))

    def _read(self, pipeline: beam.Pipeline) -> tuple[Any, list[Any]]:
        """Events in batches, of all inputs, and what could not be read or understood."""
        settings = self.settings
        events: list[Any] = []
        dead: list[Any] = []
        for number, source in enumerate(self.sources):
            for reading in source.read(pipeline, _suffix(number), redact):
                label = f"Parse{reading.form or 'Events'}{_suffix(number)}"
                parse = ParseEvents(batches=True, context=settings.context, limits=settings.limits)
                parsed = reading.payloads | label >> parse
                events.append(parsed.events)
                dead += [*reading.dead_letters, parsed.dead_letters]
        return (events[0] if len(events) == 1 else events | "AllEvents" >> beam.Flatten()), dead

    def _whole(self, rows: Any, kind: str) -> Any:
        """Without what a run that goes on has only parts of."""
        if self.settings.complete_from is None:
            return rows
        leave_out = beam.ParDo(LeaveOutPartial(self.settings.complete_from))
        return rows | f"Whole{kind.capitalize()}" >> leave_out.with_output_types(tuple[str, pa.RecordBatch])


def _all(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _suffix(number: int) -> str:
    """What sets the steps of the second input or output apart."""
    return str(number + 1) if number else ""


def _step(kind: Kind, number: int) -> str:
    return "".join(word.capitalize() for word in kind.name.split("-")) + _suffix(number)


class _Count(beam.DoFn):
    def __init__(self, name: str) -> None:
        self._counter = Metrics.counter(NAMESPACE, name)

    def process(self, rows: int) -> Iterator[Any]:
        self._counter.inc(rows)
        return iter(())


def _counted(stored: Stored, kind: Kind, number: int) -> Stored:
    """Counts what a sink has stored, as `written/NUMBER/KIND`."""
    _ = stored.rows | f"Count{_step(kind, number)}" >> beam.ParDo(_Count(f"written/{number}/{kind.name}"))
    return stored


def _count_refused(letters: Any, number: int) -> Any:
    _ = letters | f"One{number}" >> beam.Map(lambda _: 1) | f"CountRefused{number}" >> beam.ParDo(_Count("refused"))
    return letters


def _late_rows(name: str, batch: EventBatch) -> tuple[str, pa.RecordBatch]:
    return name, to_record_batch(batch.to_events(), Event)


def _within(settings: HomeSettings) -> Duration:
    if settings.provisional_within is not None:
        return settings.provisional_within
    return micros_of_duration(settings.allowed_lateness, "allowed_lateness") / 1e6 + _MINUTE_S
