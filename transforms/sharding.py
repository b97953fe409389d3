"""From events, one or many at a time, to one batch per shard: what crosses the shuffle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow, GlobalWindows, TimestampedValue
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from thingbeam.schemas.batch import Description, EventBatch
from thingbeam.schemas.records import DeadLetter, Event
from thingbeam.transforms.capabilities import CapabilityTable
from thingbeam.transforms.envelopes import Limits
from thingbeam.transforms.faults import as_payload, fault_of
from thingbeam.transforms.rules.roles import ATTRIBUTE_KINDS, IGNORED
from thingbeam.transforms.spreading import shard_numbers
from thingbeam.transforms.zones import HomeZones

__all__ = ["DEFAULT_SHARDS", "NAMESPACE", "GatherEvents", "ShardBatches", "ShardEvents", "ShardedBatch"]

NAMESPACE: Final = "thingbeam"
"""Of all metrics."""
DEFAULT_SHARDS: Final = 12
"""Many divisors, so that workers share them evenly; few, since each shard and slice has its cost."""
_GATHER: Final = 4096

DEAD_LETTERS: Final = "dead_letters"

# Who parsed the events has asked what devices can mean; tests like to begin in 1970.
_LIMITS: Final = Limits(earliest=Timestamp(-631_152_000), latest=Timestamp(16_725_225_600))

ShardedBatch = tuple[int, EventBatch]
_SHARDED: Final[Any] = convert_to_beam_type(ShardedBatch)
"""As Beam knows it, which does not convert what is said of tagged outputs."""


class GatherEvents(beam.DoFn):
    """Events to batches of up to a few thousand, within a bundle. A batch's timestamp is its smallest event time."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._dead = Metrics.counter(NAMESPACE, "dead_letters")

    def start_bundle(self) -> None:
        """A bundle that failed may have left some."""
        self._events = []

    def process(self, event: Event) -> Iterator[Any]:
        """Gather one more."""
        fault = fault_of(event, _LIMITS)
        if fault:
            self._dead.inc()
            code, message = fault
            letter = DeadLetter(as_payload(event), "", "", "GatherEvents", code, message, Timestamp.now())
            yield TaggedOutput(DEAD_LETTERS, letter)
            return
        self._events.append(event)
        if len(self._events) >= _GATHER:
            batch = self._take()
            yield TimestampedValue(batch, _earliest(batch))

    def finish_bundle(self) -> Iterator[Any]:
        """Let the rest go."""
        if self._events:
            batch = self._take()
            yield WindowedValue(batch, _earliest(batch), (GlobalWindow(),))

    def _take(self) -> EventBatch:
        batch, self._events = EventBatch.from_events(self._events), []
        return batch


class ShardBatches(beam.DoFn):
    """Batches to (shard, batch), with time zones resolved; what no rule looks at is counted as ignored and left out.

    Small batches of a bundle are cut together: each batch that crosses the shuffle has its cost.

    Args:
        shards: how many.
        zones: of the homes.
        table: says what is ignored; None to keep everything.
    """

    def __init__(self, shards: int, zones: HomeZones, table: CapabilityTable | None) -> None:
        self._numbers = shard_numbers(shards)
        self._zones = zones
        self._table = table
        self._ignored = Metrics.counter(NAMESPACE, "ignored")
        self._gathered: list[EventBatch] = []
        self._rows = 0

    def start_bundle(self) -> None:
        """A bundle that failed may have left some."""
        self._gathered, self._rows = [], 0

    def process(self, batch: EventBatch) -> Iterator[Any]:
        """Cut a batch by shard, or let it wait for more."""
        self._gathered.append(batch)
        self._rows += len(batch)
        if self._rows >= _GATHER:
            for part in self._cut():
                yield TimestampedValue(part, _earliest(part[1]))

    def finish_bundle(self) -> Iterator[Any]:
        """Let the rest go."""
        for part in self._cut():
            yield WindowedValue(part, _earliest(part[1]), (GlobalWindow(),))

    def _cut(self) -> Iterator[ShardedBatch]:
        batch = self._gathered[0] if len(self._gathered) == 1 else EventBatch.concatenate(self._gathered)
        self._gathered, self._rows = [], 0
        if self._table is not None:
            kept = self._without_ignored(batch, self._table)
            self._ignored.inc(len(batch) - len(kept))
            batch = kept
        for shard, part in self._zones.resolve(batch).shards(len(self._numbers)):
            yield self._numbers[shard], part

    @staticmethod
    def _without_ignored(batch: EventBatch, table: CapabilityTable) -> EventBatch:
        rows = batch.rows
        ignored = [word for word, d in batch.names.descriptions.items() if is_ignored(d, table)]
        drop = (rows["device_high"] == 0) & (rows["device_low"] == 0)
        if ignored:
            drop |= np.isin(rows["description"], np.array(ignored, np.uint64))
        return batch.take(rows.compress(~drop)) if drop.any() else batch


def is_ignored(description: Description, table: CapabilityTable) -> bool:
    """Whether the table ignores the attribute of a description."""
    if description.kind not in ATTRIBUTE_KINDS:
        return False
    return table.role(description.capability, description.attribute, description.value_type).role == IGNORED


class ShardEvents(beam.PTransform[Any, Any]):
    """A PCollection of Event, or of EventBatch, to (shard, EventBatch) in the global window.

    Args:
        shards: how many; the same for as long as there is state.
        zones: the homes' time zones.
        table: what to ignore; None ignores nothing.
    """

    def __init__(self, shards: int, zones: HomeZones, table: CapabilityTable | None) -> None:
        super().__init__()
        if not 1 <= shards <= 1 << 15:
            raise ValueError(f"shards={shards}: from 1 to {1 << 15}")
        self._shards, self._zones, self._table = shards, zones, table

    def expand(self, events: Any) -> tuple[Any, Any]:
        """Gather, where they come one at a time; then cut. Gives the batches, and dead letters of what is no Event."""
        # A batch is stamped with its oldest event: a user's windows would drop it whole as late.
        events = events | "AllTime" >> beam.WindowInto(GlobalWindows())
        cut = beam.ParDo(ShardBatches(self._shards, self._zones, self._table))
        if events.element_type is EventBatch:
            # Batches are all good. An empty Create would be a part of the graph by itself, which Flink does not restart
            # with the rest: it would hold on to a Python worker that has died.
            parted = events | "Shard" >> cut.with_outputs(DEAD_LETTERS, main="sharded")
            sharded, dead = parted["sharded"], parted[DEAD_LETTERS]
        else:
            events, dead = events | "Gather" >> beam.ParDo(GatherEvents()).with_outputs(DEAD_LETTERS, main="batches")
            events.element_type = EventBatch
            sharded = events | "Shard" >> cut
        sharded.element_type, dead.element_type = _SHARDED, DeadLetter
        return sharded, dead


def _earliest(batch: EventBatch) -> Timestamp:
    return Timestamp(micros=int(batch.rows["time"].min()))
