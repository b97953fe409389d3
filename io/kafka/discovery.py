"""Which partitions are read and from where: at the beginning, and those that appear while the pipeline runs.

A partition that check n finds was not there at check n-1, so its messages were appended after that: the watermark of
the discovery stands at the time of check n-1, and nothing in a new partition is late by the broker's clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.coders import Coder
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp
from confluent_kafka import Consumer

from thingbeam.io.estimators import TimestampEstimatorProvider
from thingbeam.io.kafka.clients import LOGGER
from thingbeam.io.kafka.errors import ConnectorError, TopicMissingError
from thingbeam.io.kafka.planning import Selection, find, plan, unknown_partitions
from thingbeam.io.kafka.records import KafkaPartition

__all__ = ["DiscoverEndlessly", "DiscoverOnce"]


class DiscoverOnce(beam.DoFn):
    """The partitions that are there."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection

    def process(self, _: Any) -> Iterator[KafkaPartition]:
        """All of them."""
        selection = self._selection
        consumer = selection.connect()
        try:
            found = find(consumer, selection)
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
        found = find(consumer, selection)
        first = not known.checked
        return plan(consumer, unknown_partitions(found, known.counts), selection, first=first)

    def teardown(self) -> None:
        """Let the connection go."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
