"""Which partitions are read and from where: at the beginning, and those that appear while the pipeline runs.

A partition that check n finds was not there at check n-1, so its messages were appended after that: the watermark of
the discovery stands at the time of check n-1, and nothing in a new partition is late by the broker's clock. Windows
wait for that check, so that it comes every second.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.coders import Coder
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.metrics import Metrics
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp
from confluent_kafka import Consumer

from thingbeam.io.estimators import TimestampEstimatorProvider
from thingbeam.io.kafka.clients import LOGGER
from thingbeam.io.kafka.errors import ConnectorError, TopicMissingError, TopicRecreatedError
from thingbeam.io.kafka.planning import Selection, Topic, beginnings, find, plan, unknown_partitions
from thingbeam.io.kafka.records import KafkaPartition
from thingbeam.io.kafka.topics import TopicIds, recreated
from thingbeam.schemas.encoding import EncodingError

__all__ = ["NAMESPACE", "DiscoverEndlessly", "DiscoverOnce", "known_after"]

NAMESPACE: Final = "thingbeam.io.kafka"


class DiscoverOnce(beam.DoFn):
    """The partitions that are there."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection

    def process(self, _: Any) -> Iterator[KafkaPartition]:
        """All of them."""
        planned = beginnings(self._selection)
        if not planned:
            raise TopicMissingError(f"no topic matches {self._selection.pattern!r}")
        yield from (partition for partition in planned if partition.start < partition.stop)


def known_after(known: Mapping[str, Topic], found: Mapping[str, Topic]) -> dict[str, Topic]:
    """What is known after a look. A topic that was not seen this time is not forgotten.

    >>> known_after({"a": Topic(2), "b": Topic(1, "x")}, {"a": Topic(3, "y")})
    {'a': Topic(partitions=3, topic_id='y'), 'b': Topic(partitions=1, topic_id='x')}
    """
    after = dict(known)
    for name, topic in found.items():
        before = known.get(name, Topic(0))
        if recreated(name, before.topic_id, topic.topic_id):
            after[name] = topic
        else:
            after[name] = Topic(max(before.partitions, topic.partitions), topic.topic_id or before.topic_id)
    return after


class _Known(NamedTuple):
    """What was found, as the restriction of the endless discovery."""

    topics: dict[str, Topic]
    """By name."""
    checked: int
    """When the last check began, in microseconds; 0 before the first."""


class _KnownCoder(Coder):
    """JSON: a small text, readable in a checkpoint. Version 1 had no ids: of each topic the number of partitions."""

    def encode(self, value: _Known) -> bytes:
        return json.dumps([2, value.checked, value.topics], separators=(",", ":"), sort_keys=True).encode()

    def decode(self, encoded: bytes) -> _Known:
        version, checked, topics = json.loads(encoded)
        if version == 1:
            return _Known({name: Topic(count) for name, count in topics.items()}, checked)
        if version != 2:
            raise EncodingError(f"what is known of topics is of version {version}, and this release knows up to 2")
        return _Known({name: Topic(*topic) for name, topic in topics.items()}, checked)

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
        # A fraction: of two amounts Beam's worker puts a mean of bytes, at first NaN, for the one that is done.
        return RestrictionProgress(fraction=0.0)

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
        self._failed = False
        self._recreated = Metrics.counter(NAMESPACE, "recreated_partitions")

    def setup(self) -> None:
        """Asks for ids through a client of its own."""
        self._ids = TopicIds(self._selection.settings)

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
            topics, found = self._look(known)
        except ConnectorError as error:
            # What runs waits for its cluster; what begins says what is wrong.
            if first or self._ends_it(error):
                raise
            LOGGER.log(logging.DEBUG if self._failed else logging.WARNING, "looking for new partitions: %s", error)
            self._failed = True
            tracker.defer_remainder(Duration(seconds=self._every))
            return
        self._failed = False
        if not tracker.try_claim(_Known(known_after(known.topics, topics), now.micros)):
            return
        new = [p for p in found if recreated(p.topic, known.topics.get(p.topic, Topic(0)).topic_id, p.topic_id or "")]
        self._recreated.inc(len(new))
        if found and not first:
            LOGGER.info("new partitions: %s", ", ".join(f"{p.topic}[{p.partition}]" for p in found))
        at = estimator.current_watermark()
        for partition in found:
            yield TimestampedValue(partition, at)
        estimator.set_watermark(max(at, Timestamp(micros=now.micros - self._selection.out_of_orderness)))
        tracker.defer_remainder(Duration(seconds=self._every))

    def _ends_it(self, error: ConnectorError) -> bool:
        """Whether a topic that is gone or another is an error. That no topic matches is none."""
        if self._selection.on_deleted == "end" or not isinstance(error, TopicMissingError):
            return False
        return self._selection.pattern is None or isinstance(error, TopicRecreatedError)

    def _look(self, known: _Known) -> tuple[dict[str, Topic], list[KafkaPartition]]:
        """The topics, and the partitions that are new."""
        selection = self._selection
        if self._consumer is None:
            self._consumer = selection.connect()
        first = not known.checked
        topics = find(self._consumer, self._ids, selection, first=first)
        ids = {name: topic.topic_id for name, topic in topics.items()}
        for name, topic in topics.items():
            error = recreated(name, known.topics.get(name, Topic(0)).topic_id, topic.topic_id)
            if error is not None and selection.on_deleted == "fail":
                raise error
        return topics, plan(self._consumer, unknown_partitions(topics, known.topics), selection, ids, first=first)

    def teardown(self) -> None:
        """Let the connection go."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
