"""DeviceHistory: everything that a device's events come to, in one stateful step; and its parts by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypedDict, Unpack

import apache_beam as beam
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type

from thingbeam.schemas.arrow import from_record_batch
from thingbeam.schemas.batch import Description, EventBatch
from thingbeam.schemas.records import Activity, Event, Session, Usage
from thingbeam.transforms.capabilities import CapabilityTable
from thingbeam.transforms.columns.activities import ActivityColumns
from thingbeam.transforms.columns.deduplicate import DeduplicateColumns
from thingbeam.transforms.columns.history import History
from thingbeam.transforms.columns.sessions import SessionColumns
from thingbeam.transforms.columns.usage import UsageColumns
from thingbeam.transforms.durations import Duration, micros_of_duration
from thingbeam.transforms.exact import (
    ACTIVITIES,
    DISTINCT,
    LATE,
    SESSIONS,
    USAGE,
    BoundedPass,
    ExactPass,
    NamedBatch,
    Pace,
)
from thingbeam.transforms.provisional import ProvisionalPass
from thingbeam.transforms.rules.periods import Period
from thingbeam.transforms.rules.roles import Role
from thingbeam.transforms.sharding import DEFAULT_SHARDS, ShardEvents
from thingbeam.transforms.zones import HomeZones

__all__ = [
    "Activities",
    "Deduplicate",
    "DeviceHistory",
    "HistoryResults",
    "Sessions",
    "StepOptions",
    "UsageByHour",
    "WindowedResults",
]

_ZONES: Final = HomeZones()
# As Beam knows them, which does not convert what is said of tagged outputs, and pickles batches to learn their size.
_NAMED_ROWS: Final[Any] = convert_to_beam_type(NamedBatch)
_NAMED_EVENTS: Final[Any] = convert_to_beam_type(tuple[str, EventBatch])


class WindowedResults(NamedTuple):
    """What a windowed transform gives: three PCollections."""

    results: Any
    """The transform's records; with `batches=True`, (name, pyarrow.RecordBatch) of them."""
    late: Any
    """Events (with `batches=True`, (name, EventBatch)) whose slice was closed when they came."""
    dead_letters: Any
    """DeadLetter: what came and was no Event."""


class HistoryResults(NamedTuple):
    """What DeviceHistory gives: a PCollection for each kind of result."""

    activities: Any
    sessions: Any
    usage: Any
    late: Any
    dead_letters: Any


@dataclass(frozen=True)
class _RoleOf:
    """The role of a description by a capability table."""

    table: CapabilityTable

    def __call__(self, description: Description, /) -> Role:
        """Ask the table."""
        return self.table.role(description.capability, description.attribute, description.value_type)


class StepOptions(TypedDict, total=False):
    """What every transform of this module may be told.

    Attributes:
        zones: the homes' time zones; UTC by default.
        table: the roles of attributes; by default the one that comes with thingbeam.
        batches: give (name, pyarrow.RecordBatch), and late events as (name, EventBatch).
        shards: the unit of parallel work (12); the same as long as there is state.
        allowed_lateness: by how much the watermark must be past a slice before it is closed (60 s).
        slice_length: the step in which event time advances (60 s); it divides 15 minutes.
        backlog_slice: the longest step while event time is behind the clock (15 minutes): old data is in no hurry, and
            each step costs the reading and writing of a shard's state. A step takes at most half of how far it is
            behind. A multiple of `slice_length`.
    """

    zones: HomeZones | None
    table: CapabilityTable | None
    batches: bool
    shards: int
    allowed_lateness: Duration
    slice_length: Duration
    backlog_slice: Duration


class _OneStep(beam.PTransform[Any, Any]):
    """What the transforms here share: shard, let wait, apply the rules, give what is asked."""

    def __init__(
        self,
        *,
        zones: HomeZones | None = None,
        table: CapabilityTable | None = None,
        batches: bool = False,
        shards: int = DEFAULT_SHARDS,
        allowed_lateness: Duration = "60s",
        slice_length: Duration = "60s",
        backlog_slice: Duration = "15m",
    ) -> None:
        super().__init__()
        self._zones = zones or _ZONES
        self._table = table or CapabilityTable.default()
        self._batches = batches
        self._shards = shards
        self._pace = Pace(
            micros_of_duration(allowed_lateness, "allowed_lateness"),
            micros_of_duration(slice_length, "slice_length"),
            micros_of_duration(backlog_slice, "backlog_slice"),
        ).checked()

    def _through(
        self,
        events: Any,
        history: History,
        wanted: str,
        *more: str,
        hold_until: int | None = None,
        provisional: int = 0,
        provisional_within: int | None = None,
    ) -> tuple[Any, ...]:
        """The wanted results, then the late events and the dead letters."""
        distinct = wanted == DISTINCT
        # What no table has a role for is ignored; where events themselves are asked for, none is.
        table = None if distinct else self._table
        sharded, dead = events | "Shards" >> ShardEvents(self._shards, self._zones, table)
        if events.is_bounded:
            # Nothing is late before the end of what is bounded: no state and no timer is needed to wait for it.
            grouped = sharded | "ByShard" >> beam.GroupByKey()
            step: beam.DoFn = BoundedPass(history, hold_until=hold_until, emit_distinct=distinct)
            passed = grouped | "Exact" >> beam.ParDo(step).with_outputs(LATE, wanted, *more)
        else:
            step = ExactPass(history, self._pace, emit_distinct=distinct)
            if provisional:
                step = ProvisionalPass(history, self._pace, provisional, provisional_within, self._shards)
            passed = sharded | "Exact" >> beam.ParDo(step).with_outputs(LATE, wanted, *more)
        records = {ACTIVITIES: Activity, SESSIONS: Session, USAGE: Usage}
        given = [self._as_asked(passed[tag], tag, records.get(tag, Event)) for tag in (wanted, *more, LATE)]
        return (*given, dead)

    def _as_asked(self, passed: Any, tag: str, record: type) -> Any:
        arrow = tag not in (LATE, DISTINCT)
        if self._batches:
            passed.element_type = _NAMED_ROWS if arrow else _NAMED_EVENTS
            return passed
        explode = _Records(record) if arrow else _Events()
        return passed | f"{tag.capitalize()}Records" >> beam.ParDo(explode).with_output_types(record)


class _Records(beam.DoFn):
    def __init__(self, record: type) -> None:
        self._record = record

    def process(self, named: NamedBatch) -> Iterator[Any]:
        yield from from_record_batch(named[1], self._record)


class _Events(beam.DoFn):
    def process(self, named: tuple[str, EventBatch]) -> Iterator[Any]:
        yield from named[1].to_events()


class DeviceHistory(_OneStep):
    """What devices did and how much they were used: activities, sessions and usage, of distinct events.

    Takes a PCollection of Event, or of EventBatch (the fast path). docs/semantics.md says what the results mean.
    Results are final upserts: for one key the higher revision wins, so that a sink which writes by key makes
    at-least-once delivery come out exactly right. Endless input is worked on when the watermark is past it by
    `allowed_lateness`; bounded input when it ends.

    Args:
        session_gap: a silence that ends a session.
        period: of usage: 1h, or 15m, 30m, 1d, … (see `Period`).
        horizon: of event time in which an event id is not counted twice; by default the allowed lateness.
        hold: how long a silent device's values make rows.
        retention: how long a value is carried at all.
        hold_until: for bounded input, microseconds since 1970 up to which values are held.
        provisional: for endless input, how often in processing time to give provisional rows of what changed (`final`
            is false), which final rows replace or tombstones take back; None gives final rows only.
        provisional_within: how far behind the clock an event may be to make provisional rows; None for any. What a
            backlog holds is final soon enough, and its provisional rows would only make it last longer.
        options: see `StepOptions`.

    Raises:
        ValueError: a length of time, a period or a number of shards that cannot be.
    """

    def __init__(
        self,
        *,
        session_gap: Duration = "10m",
        period: str = "1h",
        horizon: Duration | None = None,
        hold: Duration = "24h",
        retention: Duration = "35d",
        hold_until: int | None = None,
        provisional: Duration | None = None,
        provisional_within: Duration | None = None,
        **options: Unpack[StepOptions],
    ) -> None:
        super().__init__(**options)
        self._provisional = 0 if provisional is None else _positive(provisional, "provisional")
        self._within = None if provisional_within is None else _positive(provisional_within, "provisional_within")
        self._hold_until = hold_until
        self._history = History(
            deduplicate=_deduplicate(horizon, self._pace),
            sessions=SessionColumns(_positive(session_gap, "session_gap")),
            activities=ActivityColumns(_RoleOf(self._table)),
            usage=_usage(self._table, period, hold, retention),
        )

    def expand(self, events: Any) -> HistoryResults:
        """Work everything out in one stateful step."""
        kinds = (ACTIVITIES, SESSIONS, USAGE)
        found = self._through(
            events,
            self._history,
            *kinds,
            hold_until=self._hold_until,
            provisional=self._provisional,
            provisional_within=self._within,
        )
        return HistoryResults(*found)


class Sessions(_OneStep):
    """Runs of a device's events with no silence as long as the gap. Takes and gives what DeviceHistory does.

    >>> from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    >>> from apache_beam.utils.timestamp import Timestamp
    >>> events = [Event.of(f"e{at}", Timestamp(at), "d1", "switch", "switch", "on") for at in (0, 60, 3600)]
    >>> with beam.Pipeline(FnApiRunner()) as pipeline:
    ...     found = pipeline | beam.Create(events) | Sessions(gap="10m")
    ...     _ = found.results | beam.Map(lambda session: print(session.count, session.end - session.start))
    2 Duration(660)
    1 Duration(600)
    """

    def __init__(self, *, gap: Duration = "10m", **options: Unpack[StepOptions]) -> None:
        super().__init__(**options)
        self._history = History(_deduplicate(None, self._pace), sessions=SessionColumns(_positive(gap, "gap")))

    def expand(self, events: Any) -> WindowedResults:
        """Join."""
        return WindowedResults(*self._through(events, self._history, SESSIONS))


class Activities(_OneStep):
    """From start to stop, by the capability table: a wash, a light being on.

    Takes and gives what DeviceHistory does.
    """

    def __init__(self, **options: Unpack[StepOptions]) -> None:
        super().__init__(**options)
        self._history = History(_deduplicate(None, self._pace), activities=ActivityColumns(_RoleOf(self._table)))

    def expand(self, events: Any) -> WindowedResults:
        """Pair starts with stops."""
        return WindowedResults(*self._through(events, self._history, ACTIVITIES))


class UsageByHour(_OneStep):
    """Home Assistant's long-term statistics, and seconds in each state, by hour or any other period of local time.

    Takes and gives what DeviceHistory does.
    """

    def __init__(
        self,
        *,
        period: str = "1h",
        hold: Duration = "24h",
        retention: Duration = "35d",
        hold_until: int | None = None,
        **options: Unpack[StepOptions],
    ) -> None:
        super().__init__(**options)
        self._hold_until = hold_until
        self._history = History(_deduplicate(None, self._pace), usage=_usage(self._table, period, hold, retention))

    def expand(self, events: Any) -> WindowedResults:
        """Roll up."""
        return WindowedResults(*self._through(events, self._history, USAGE, hold_until=self._hold_until))


class Deduplicate(_OneStep):
    """Events once each, by device and event id within a horizon of event time. Takes and gives what DeviceHistory does.

    The distinct events come out in order of device and time within a shard and slice; `ingest_time` does not survive.

    Args:
        horizon: of event time in which an id is not counted twice; by default the allowed lateness.
    """

    def __init__(self, *, horizon: Duration | None = None, **options: Unpack[StepOptions]) -> None:
        super().__init__(**options)
        self._history = History(_deduplicate(horizon, self._pace))

    def expand(self, events: Any) -> WindowedResults:
        """Drop the repeats."""
        return WindowedResults(*self._through(events, self._history, DISTINCT))


def _deduplicate(horizon: Duration | None, pace: Pace) -> DeduplicateColumns:
    return DeduplicateColumns(pace.lateness if horizon is None else micros_of_duration(horizon, "horizon"))


def _usage(table: CapabilityTable, period: str, hold: Duration, retention: Duration) -> UsageColumns:
    length = Period.parse(period).seconds * 1_000_000
    kept = micros_of_duration(retention, "retention")
    if kept < length:
        raise ValueError(f"retention: {retention!r} is shorter than a period of {period}")
    return UsageColumns(_RoleOf(table), length, micros_of_duration(hold, "hold"), kept)


def _positive(duration: Duration, what: str) -> int:
    micros = micros_of_duration(duration, what)
    if not micros:
        raise ValueError(f"{what}: it must be above 0")
    return micros
