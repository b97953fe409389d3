"""Which partitions are read and from where: at the beginning, and those that appear while the pipeline runs.

A partition that check n finds was not there at check n-1, so its messages were appended after that: the watermark of
the discovery stands at the time of check n-1, and nothing in a new partition is late by the broker's clock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.coders import Coder
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider, WatermarkEstimatorProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Duration, Timestamp
from confluent_kafka import Consumer

from thingbeam.io.kafka.clients import (
    BEGINNING,
    END,
    LOGGER,
    Partition,
    committed,
    connect,
    first_record_times,
    offsets_at,
    partition_counts,
)  # fmt: skip
from thingbeam.io.kafka.commit import time_of_words
from thingbeam.io.kafka.config import KafkaConfig
from thingbeam.io.kafka.errors import ConnectorError, TopicMissingError
from thingbeam.io.kafka.positions import Position
from thingbeam.io.kafka.records import ENDLESS, KafkaPartition

__all__ = ["DiscoverEndlessly", "DiscoverOnce", "Selection", "TimestampEstimatorProvider", "select", "start_of"]

_TIMEOUT_S: Final = 30.0


class Selection(NamedTuple):
    """What is to be read."""

    config: KafkaConfig
    topics: tuple[str, ...]
    """By name; empty where `pattern` says."""
    pattern: str | None
    """A regular expression that the whole name of a topic must match."""
    start: Position
    otherwise: Position
    """Where the group has no offset."""
    stop: Position | None
    group: str | None
    warm_up_ms: int
    """How much before the committed offset, in the records' own time."""
    out_of_orderness: int
    """In microseconds."""
    read_committed: bool

    def connect(self) -> Consumer:
        """A consumer for questions."""
        return connect(self.config, self.config.reading_settings(self.group, read_committed=self.read_committed))


def select(counts: Mapping[str, int], topics: Sequence[str], pattern: str | None) -> dict[str, int]:
    """Of all topics those that are meant, with the number of their partitions.

    Raises:
        TopicMissingError: one that is named is not there; the message lists what there is.

    >>> select({"events-eu": 2, "events-us": 1, "other": 1}, (), "events-.*")
    {'events-eu': 2, 'events-us': 1}
    """
    if pattern is not None:
        matches = re.compile(pattern).fullmatch
        return {name: count for name, count in counts.items() if matches(name)}
    missing = [topic for topic in topics if topic not in counts]
    if missing:
        known = ", ".join(sorted(counts)[:20]) or "none"
        raise TopicMissingError(f"no topic {', '.join(missing)}; the cluster has: {known}")
    return {topic: counts[topic] for topic in topics}


def unknown_partitions(found: Mapping[str, int], known: Mapping[str, int]) -> list[Partition]:
    """The partitions that are new. A topic's partitions only ever become more.

    >>> unknown_partitions({"a": 3, "b": 1}, {"a": 2})
    [('a', 2), ('b', 0)]
    """
    return [(topic, number) for topic, count in found.items() for number in range(known.get(topic, 0), count)]


def start_of(
    position: Position, partitions: Sequence[Partition], consumer: Consumer, selection: Selection
) -> dict[Partition, int]:
    """The offset at which each partition begins."""
    if position.kind == "earliest":
        return offsets_at(consumer, partitions, BEGINNING, _TIMEOUT_S)
    if position.kind == "latest":
        return offsets_at(consumer, partitions, END, _TIMEOUT_S)
    if position.kind == "time":
        return _at_time(consumer, partitions, position.millis)
    held = committed(consumer, partitions, _TIMEOUT_S)
    starts = start_of(selection.otherwise, [p for p in partitions if p not in held], consumer, selection)
    found = {partition: offset for partition, (offset, _) in held.items()}
    if selection.warm_up_ms:
        found = _warmed(consumer, held, selection.warm_up_ms)
    return starts | found


def _at_time(consumer: Consumer, partitions: Sequence[Partition], millis: int) -> dict[Partition, int]:
    found = offsets_at(consumer, partitions, millis, _TIMEOUT_S)
    none = [partition for partition, offset in found.items() if offset < 0]
    return found | offsets_at(consumer, none, END, _TIMEOUT_S)


def _warmed(consumer: Consumer, held: Mapping[Partition, tuple[int, str]], warm_up_ms: int) -> dict[Partition, int]:
    """Committed offsets, taken back by a length of the records' own time."""
    times = {partition: time_of_words(words) for partition, (_, words) in held.items()}
    unsaid = [(partition, held[partition][0]) for partition, said in times.items() if said is None]
    times |= first_record_times(consumer, unsaid, _TIMEOUT_S) if unsaid else {}
    starts: dict[Partition, int] = {}
    for partition, (offset, _) in held.items():
        said = times[partition]
        earlier = offset
        if said is not None:
            earlier = offsets_at(consumer, [partition], max(0, said - warm_up_ms), _TIMEOUT_S)[partition]
        starts[partition] = min(offset, earlier) if earlier >= 0 else offset
    return starts


def plan(
    consumer: Consumer, partitions: Sequence[Partition], selection: Selection, *, first: bool
) -> list[KafkaPartition]:
    """Partitions with their offsets. One that appears later is read from its beginning: all of it is new."""
    start = selection.start if first else Position("earliest")
    starts = start_of(start, partitions, consumer, selection)
    stops = dict.fromkeys(partitions, ENDLESS)
    if selection.stop is not None:
        stops = offsets_at(consumer, partitions, END, _TIMEOUT_S)
        if selection.stop.kind == "time":
            # Create times are out of order: a message of before the stop may stand behind one of after it.
            until = selection.stop.millis + -(-selection.out_of_orderness // 1000)
            found = offsets_at(consumer, partitions, until, _TIMEOUT_S)
            stops |= {partition: offset for partition, offset in found.items() if offset >= 0}
    return [KafkaPartition(topic, number, starts[topic, number], stops[topic, number]) for topic, number in partitions]


class DiscoverOnce(beam.DoFn):
    """The partitions that are there."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection

    def process(self, _: Any) -> Iterator[KafkaPartition]:
        """All of them."""
        selection = self._selection
        consumer = selection.connect()
        try:
            found = select(partition_counts(consumer, _TIMEOUT_S), selection.topics, selection.pattern)
            if not found:
                raise TopicMissingError(f"no topic matches {selection.pattern!r}")
            planned = plan(consumer, unknown_partitions(found, {}), selection, first=True)
        finally:
            consumer.close()
        yield from (partition for partition in planned if partition.start < partition.stop)


class _Known(NamedTuple):
    """What was found, as the restriction of the endless discovery."""

    counts: dict[str, int]
    """Partitions by topic."""
    checked: int
    """When the last check began, in microseconds; 0 before the first."""


class _KnownCoder(Coder):
    """JSON: a small text, readable in a checkpoint."""

    def encode(self, value: _Known) -> bytes:
        return json.dumps([1, value.checked, value.counts], separators=(",", ":"), sort_keys=True).encode()

    def decode(self, encoded: bytes) -> _Known:
        _, checked, counts = json.loads(encoded)
        return _Known(counts, checked)

    def is_deterministic(self) -> bool:
        return True


class _KnownTracker(RestrictionTracker):
    """A claim replaces what is known. Only checkpoints split it."""

    def __init__(self, known: _Known) -> None:
        self._known = known
        self._ended = False

    def current_restriction(self) -> _Known:
        return self._known

    def try_claim(self, position: _Known) -> bool:
        if self._ended:
            return False
        self._known = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[_Known, _Known] | None:
        if fraction_of_remainder or self._ended:
            return None
        self._ended = True
        return self._known, self._known

    def check_done(self) -> bool:
        if not self._ended:
            raise ValueError("the discovery of partitions ended without a checkpoint")
        return True

    def current_progress(self) -> RestrictionProgress:
        return RestrictionProgress(completed=0.0, remaining=1.0)

    def is_bounded(self) -> bool:
        return False


class _KnownProvider(RestrictionProvider):
    def initial_restriction(self, element: Any) -> _Known:
        return _Known({}, 0)

    def create_tracker(self, restriction: _Known) -> _KnownTracker:
        return _KnownTracker(restriction)

    def restriction_size(self, element: Any, restriction: _Known) -> int:
        return 1

    def restriction_coder(self) -> Coder:
        return _KnownCoder()

    def truncate(self, element: Any, restriction: _Known) -> None:
        """A drain ends the discovery."""
        return


class TimestampEstimatorProvider(WatermarkEstimatorProvider):
    """A watermark that is set by hand, kept as a timestamp and not pickled."""

    def initial_estimator_state(self, element: Any, restriction: Any) -> Timestamp:
        """Nothing is known yet."""
        return MIN_TIMESTAMP

    def create_watermark_estimator(self, estimator_state: Timestamp) -> ManualWatermarkEstimator:
        """Where it stood."""
        return ManualWatermarkEstimator(estimator_state)

    def estimator_state_coder(self) -> Coder:
        """Eight bytes."""
        return beam.coders.TimestampCoder()


_TRACKER: Final[Any] = beam.DoFn.RestrictionParam(_KnownProvider())
_ESTIMATOR: Final[Any] = beam.DoFn.WatermarkEstimatorParam(TimestampEstimatorProvider())


class DiscoverEndlessly(beam.DoFn):
    """The partitions that are there, and, every so often, those that are new."""

    def __init__(self, selection: Selection, every: float) -> None:
        self._selection = selection
        self._every = every
        self._consumer: Consumer | None = None

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        _: Any,
        tracker: Any = _TRACKER,
        estimator: Any = _ESTIMATOR,
    ) -> Iterator[Any]:
        """Look once, and come back later."""
        known: _Known = tracker.current_restriction()
        now = Timestamp.now()
        first = not known.checked
        try:
            found = self._look(known)
        except ConnectorError as error:
            # What runs waits for its cluster; what begins says what is wrong.
            if first or (isinstance(error, TopicMissingError) and self._selection.pattern is None):
                raise
            LOGGER.warning("looking for new partitions: %s", error)
            tracker.defer_remainder(Duration(seconds=self._every))
            return
        counts = dict(known.counts)
        for partition in found:
            counts[partition.topic] = max(counts.get(partition.topic, 0), partition.partition + 1)
        if not tracker.try_claim(_Known(counts, now.micros)):
            return
        if found and not first:
            LOGGER.info("new partitions: %s", ", ".join(f"{p.topic}[{p.partition}]" for p in found))
        at = estimator.current_watermark()
        for partition in found:
            yield TimestampedValue(partition, at)
        estimator.set_watermark(max(at, Timestamp(micros=now.micros - self._selection.out_of_orderness)))
        tracker.defer_remainder(Duration(seconds=self._every))

    def _look(self, known: _Known) -> list[KafkaPartition]:
        selection = self._selection
        if self._consumer is None:
            self._consumer = selection.connect()
        consumer = self._consumer
        found = select(partition_counts(consumer, _TIMEOUT_S), selection.topics, selection.pattern)
        first = not known.checked
        return plan(consumer, unknown_partitions(found, known.counts), selection, first=first)

    def teardown(self) -> None:
        """Let the connection go."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
