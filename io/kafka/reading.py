"""The DoFns that read partitions: one bundle after another, each from the offset where the last one stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.timestamp import Duration, Timestamp

from thingbeam.io.estimators import TimestampEstimatorProvider
from thingbeam.io.kafka.clients import LOGGER
from thingbeam.io.kafka.commit import Committer, close_committer, committer_of, words_of
from thingbeam.io.kafka.discovery import NAMESPACE
from thingbeam.io.kafka.elements import Elements, Form
from thingbeam.io.kafka.errors import TopicMissingError
from thingbeam.io.kafka.messages import Messages
from thingbeam.io.kafka.planning import Selection
from thingbeam.io.kafka.reader import Gap, PartitionReader, Readers
from thingbeam.io.kafka.records import ENDLESS, KafkaPartition
from thingbeam.io.kafka.spans import OfTopic, Span, SpanProvider
from thingbeam.io.watermark import UNKNOWN_TIME, PartitionWatermark, WatermarkPolicy

__all__ = [
    "NAMESPACE", "Commits", "How", "ReadForEver", "ReadForEverAndCommit", "ReadSpan", "ReadSpanAndCommit",
]  # fmt: skip

_TRACKER: Final[Any] = beam.DoFn.RestrictionParam(SpanProvider())
_ESTIMATOR: Final[Any] = beam.DoFn.WatermarkEstimatorParam(TimestampEstimatorProvider())
_CHUNK_BYTES: Final = 1 << 20
_WAIT_S: Final = 0.1
_MANY: Final = 100
_SOONER: Final = 0.1
"""Coming back costs as much for one record as for hundreds, so that many are come back for sooner."""


class Commits(NamedTuple):
    """How offsets are committed."""

    margin: float
    """In seconds."""
    behind: int
    """In microseconds of event time."""
    rising: bool
    """Whether those that the group has already are never taken back."""


class How(NamedTuple):
    """How a partition is read."""

    form: Form
    batch_records: int
    poll_interval: float
    bundle_time: float
    max_rate: float | None
    policy: WatermarkPolicy
    on_gap: Gap
    on_deleted: Literal["fail", "end"]
    commits: Commits | None


class _Read(beam.DoFn):
    def __init__(self, selection: Selection, how: How, token: str) -> None:
        self._selection = selection
        self._how = how
        self._token = token
        self._records = Metrics.counter(NAMESPACE, "records_read")
        self._bytes = Metrics.counter(NAMESPACE, "bytes_read")
        self._skipped = Metrics.counter(NAMESPACE, "skipped_offsets")

    def setup(self) -> None:
        """Readers and commits are the process's, shared by its copies of this."""
        self._readers = Readers(self._token, self._settings, self._how.on_gap)
        self._least = self._readers.least()
        self._gauges: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._shares, self._taken = 1, 0

    def start_bundle(self) -> None:
        """What a partition yields stays in the bundle until all its partitions are read: they share its time."""
        self._shares, self._taken = max(1, self._taken), 0

    def teardown(self) -> None:
        """Let the connections go."""
        if self._readers.close():
            close_committer(self._token)

    def _settings(self) -> dict[str, Any]:
        return self._selection.settings()

    def _read(self, partition: KafkaPartition, finalizer: Any, tracker: Any, estimator: Any) -> Iterator[Any]:
        span: Span = tracker.current_restriction()
        reader = self._readers.take(partition.topic, partition.partition, span)
        sound = False
        try:
            yield from self._bundle(reader, span, finalizer, tracker, estimator)
            sound = True
        finally:
            if sound:
                self._readers.put_back(reader)
            else:
                reader.close()

    def _bundle(
        self, reader: PartitionReader, span: Span, finalizer: Any, tracker: Any, estimator: Any
    ) -> Iterator[Any]:
        how, partition = self._how, (reader.topic, reader.partition)
        first = reader.watermark is None
        if reader.watermark is None:
            reached = estimator.current_watermark().micros
            reader.watermark = PartitionWatermark(how.policy, reached, _now())
        self._taken += 1
        until = time.monotonic() + how.bundle_time / max(self._shares, self._taken)
        claimed, last_ms = span.start, -1
        delay, taken = how.poll_interval, 0
        while True:
            if reader.position >= span.stop:
                tracker.try_claim(span.stop)
                self._least.forget(partition)
                break
            try:
                most = self._allowed(reader) if self._recognise(reader, span, tracker) else 0
                # What is underway is waited for once; after that the next bundle is soon enough.
                wait = _WAIT_S if reader.behind and claimed == span.start else 0.0
                messages = reader.read(most, wait) if most else Messages()
                self._skipped.inc(reader.skipped)
                reader.skipped = 0
                ended = None if len(messages) or not most else reader.confirm_end()
            except TopicMissingError as error:
                if how.on_deleted == "fail":
                    raise
                LOGGER.warning("%s; its partition ends", error)
                if span.stop != ENDLESS:
                    self._skipped.inc(span.stop - claimed)
                tracker.try_claim(span.stop)
                self._least.forget(partition)
                if how.commits is not None:
                    self._committer().forget(partition)
                break
            if reader.position > span.stop:
                messages = messages.only(messages.offsets < span.stop)
            if not tracker.try_claim(min(reader.position, span.stop)):
                # The runner took the rest away, to be read later: so will these.
                reader.position = -1
                break
            claimed = min(reader.position, span.stop)
            taken += len(messages)
            if len(messages):
                last_ms = int(messages.millis[-1])
                found = Elements.of(how.form, reader.topic, reader.partition, messages)
                if found is not None:
                    self._records.inc(found.records)
                    self._bytes.inc(found.nbytes)
                    yield from found.outputs
                    reader.watermark.observe(found.latest, _now())
            elif ended is not None:
                reader.watermark.confirm_end(round(ended * 1e6))
            reader.watermark.pass_time(_now())
            least = self._least.told(partition, reader.watermark.current)
            # Those that come after this one in the first bundle have not yet said where they are.
            _advance(estimator, UNKNOWN_TIME if first else least)
            backlog = reader.lag >= how.batch_records
            if time.monotonic() >= until:
                delay = 0.0 if backlog else delay
                break
            # A stream that comes as fast as it is read must not keep the other partitions waiting.
            if not len(messages) or (len(messages) < most and not backlog):
                # What the broker has more is on its way to the client, and soon there.
                delay = 0.0 if backlog else delay
                break
        delay *= max(_SOONER, 1 - taken / _MANY)
        if reader.position >= 0 and claimed < span.stop:
            tracker.defer_remainder(Duration(seconds=max(delay, self._wait_for_rate(reader))))
        self._report_lag(reader, last_ms)
        if finalizer is not None:
            finalizer.register(self._to_commit(reader, claimed if claimed > span.start else None, last_ms))

    def _recognise(self, reader: PartitionReader, span: Span, tracker: Any) -> bool:
        """Whether it may be read: it is known to be the topic that the span's offsets are of."""
        before = reader.recognised
        if not reader.recognise():
            return False
        if reader.topic_id != span.topic_id:
            tracker.try_claim(OfTopic(reader.topic_id))
        if not before and self._how.commits is not None:
            self._committer().begin((reader.topic, reader.partition), reader.topic_id)
        return True

    def _to_commit(self, reader: PartitionReader, offset: int | None, last_ms: int) -> Callable[[], None]:
        """What to do when the runner is done with the bundle."""
        partition = (reader.topic, reader.partition)
        commits = self._how.commits
        reached = UNKNOWN_TIME if reader.watermark is None else reader.watermark.current
        if commits is not None and commits.behind:
            self._committer().hear(partition, reached)
        if offset is None:
            # Prism asks for every bundle of the stage, and Beam's worker takes it amiss where nothing is registered.
            return _nothing
        event = None if reached == UNKNOWN_TIME else reached // 1000
        words = words_of(last_ms, event, reader.topic_id) if last_ms >= 0 else ""
        return _Finalised(self._committer, (partition, offset, words, reached, reader.topic_id))

    def _committer(self) -> Committer:
        commits = self._how.commits or Commits(0.0, 0, False)
        return committer_of(self._token, self._settings, commits.margin, commits.behind, rising=commits.rising)

    def _allowed(self, reader: PartitionReader) -> int:
        """How many messages to ask for now."""
        how = self._how
        most = reader.most(_CHUNK_BYTES, how.batch_records)
        if how.max_rate is None:
            return most
        now = time.monotonic()
        # No more than a second's worth is saved up.
        reader.bucket = min(how.max_rate, reader.bucket + (now - reader.bucket_at) * how.max_rate)
        reader.bucket_at = now
        allowed = min(most, int(reader.bucket))
        reader.bucket -= allowed
        return allowed

    def _wait_for_rate(self, reader: PartitionReader) -> float:
        rate = self._how.max_rate
        return 0.0 if rate is None or reader.bucket >= 1 else (1 - reader.bucket) / rate

    def _report_lag(self, reader: PartitionReader, last_ms: int) -> None:
        key = (reader.topic, reader.partition)
        if key not in self._gauges:
            name = f"{reader.topic}/{reader.partition}"
            self._gauges[key] = (
                Metrics.gauge(NAMESPACE, f"lag_records/{name}"), Metrics.gauge(NAMESPACE, f"lag_ms/{name}"),
            )  # fmt: skip
        behind = reader.lag
        self._gauges[key][0].set(behind)
        if not behind:
            self._gauges[key][1].set(0)
        elif last_ms >= 0:
            self._gauges[key][1].set(max(0, int(time.time() * 1000) - last_ms))


class ReadForEver(_Read):
    """Partitions without an end, of which nothing is committed."""

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(self, partition: KafkaPartition, tracker: Any = _TRACKER, estimator: Any = _ESTIMATOR) -> Iterator[Any]:
        """Read on for a bundle."""
        yield from self._read(partition, None, tracker, estimator)


class ReadForEverAndCommit(_Read):
    """Partitions without an end. Asks the engine to say when a bundle is safe, which not every engine can."""

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        partition: KafkaPartition,
        # Before the restriction: Beam fills these by place, and the others by name.
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = _TRACKER,
        estimator: Any = _ESTIMATOR,
    ) -> Iterator[Any]:
        """Read on for a bundle."""
        yield from self._read(partition, finalizer, tracker, estimator)


class ReadSpan(_Read):
    """Partitions with an end, of which nothing is committed."""

    def process(self, partition: KafkaPartition, tracker: Any = _TRACKER, estimator: Any = _ESTIMATOR) -> Iterator[Any]:
        """Read on for a bundle."""
        yield from self._read(partition, None, tracker, estimator)


class ReadSpanAndCommit(_Read):
    """Partitions with an end. Asks the engine to say when a bundle is safe."""

    def process(
        self,
        partition: KafkaPartition,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = _TRACKER,
        estimator: Any = _ESTIMATOR,
    ) -> Iterator[Any]:
        """Read on for a bundle."""
        yield from self._read(partition, finalizer, tracker, estimator)


class _Finalised:
    """What the runner calls when a bundle is safe."""

    def __init__(
        self, committer: Callable[[], Committer], arguments: tuple[tuple[str, int], int, str, int, str]
    ) -> None:
        self._committer = committer
        self._arguments = arguments

    def __call__(self) -> None:
        self._committer().finalised(*self._arguments)


def _nothing() -> None:
    return


def _advance(estimator: Any, micros: int) -> None:
    if micros != UNKNOWN_TIME:
        reached = Timestamp(micros=micros)
        if reached > estimator.current_watermark():
            estimator.set_watermark(reached)


def _now() -> int:
    return time.time_ns() // 1000
