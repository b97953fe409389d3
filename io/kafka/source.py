"""ReadFromKafka: topics as typed records or batches, endless or between two places, exact across restarts."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Message

from thingbeam.io.kafka.clients import LOGGER
from thingbeam.io.kafka.commit import close_committer, committer_of, words_of
from thingbeam.io.kafka.config import KafkaConfig
from thingbeam.io.kafka.discovery import DiscoverEndlessly, DiscoverOnce, Selection, TimestampEstimatorProvider
from thingbeam.io.kafka.errors import TopicMissingError, WrongTimesError
from thingbeam.io.kafka.positions import Instant, position_of, stop_of
from thingbeam.io.kafka.reader import Gap, PartitionReader, Readers
from thingbeam.io.kafka.records import KafkaHeader, KafkaPartition, KafkaRecord
from thingbeam.io.kafka.spans import Span, SpanProvider
from thingbeam.io.kafka.times import EventTimes, TimeKind, event_times
from thingbeam.io.kafka.watermark import UNKNOWN_TIME, PartitionWatermark, WatermarkPolicy
from thingbeam.schemas.durations import Duration as Length
from thingbeam.schemas.durations import micros_of_duration
from thingbeam.schemas.payloads import PayloadBatch

__all__ = ["NAMESPACE", "ReadFromKafka"]

NAMESPACE: Final = "thingbeam.io.kafka"

_TRACKER: Final[Any] = beam.DoFn.RestrictionParam(SpanProvider())
_ESTIMATOR: Final[Any] = beam.DoFn.WatermarkEstimatorParam(TimestampEstimatorProvider())
_CHUNK_BYTES: Final = 1 << 20
_WAIT_S: Final = 0.1
_TIME_TYPES: Final = {"log_append": TIMESTAMP_LOG_APPEND_TIME, "create": TIMESTAMP_CREATE_TIME}


class _How(NamedTuple):
    """How a partition is read."""

    batches: bool
    batch_records: int
    poll_interval: float
    bundle_time: float
    max_rate: float | None
    time: TimeKind
    event_time: EventTimes | None
    policy: WatermarkPolicy
    on_gap: Gap
    on_deleted: Literal["fail", "end"]
    commits: bool
    commit_margin: float
    least_ms: int | None
    """Records from before are passed over: a time as start, where create times are out of order."""
    limit_ms: int | None
    """Records from here on are passed over: a time as stop."""


class ReadFromKafka(beam.PTransform[Any, Any]):
    """Topics of Kafka as a PCollection of `KafkaRecord`, or of batches of them.

    Guarantee: every record at least once, and in the order of its partition. The runner's checkpoint holds the next
    offset of each partition, so a restart from it reads on exactly there. Offsets are committed to `group` when the
    runner finalises a bundle, never before its output is safe with the runner.

    Each record's timestamp is its event time: see `time` and `event_time`. A batch has its earliest.

    Args:
        servers: `host:port`, several with commas; or a `KafkaConfig` with encryption, login and librdkafka's settings.
        topics: one or more, by name.
        pattern: instead of `topics`, a regular expression for the whole name. Topics that match later are read too.
        group: where offsets are committed. Nothing else may read in that group.
        start: `earliest`, `latest`, `committed` (the group's) or a time. Default: `committed` where there is a group,
            else `earliest`. A checkpoint of the runner's comes before any of these. Partitions that appear later are
            read from their beginning.
        otherwise: where a partition of which the group has no offset begins: `earliest`, `latest` or a time.
        stop: `latest` (what is there when the read begins) or a time that is past; the read is then bounded, and ends.
            Between two times it gives exactly the records whose own times are at or after `start` and before `stop`,
            as long as none is more than `out_of_orderness` out of order.
        batches: give `KafkaBatch`, hundreds of records of one partition as one element: many times faster. What
            `ParseEvents` takes.
        batch_records: the most records in one batch. A batch is also held to about 1 MiB.
        time: which time of a record is meant where there is no `event_time`: `record` (what the topic keeps),
            `log_append` or `create`; one of the latter refuses a topic that keeps the other.
        event_time: a function from payloads to event times in microseconds since 1970: see `JsonTime`. What it does not
            find is taken from the record.
        out_of_orderness: how much older than the newest one of its partition a record may be without being late.
        idle_after: how long a partition is silent before it holds the watermark no more.
        max_delay: the furthest that the watermark falls behind the clock; records from before come out late. None waits
            for the slowest partition for ever.
        read_committed: only what committed transactions wrote.
        discover_every: how often new partitions and topics are looked for; None never. A bounded read never does.
        poll_interval: how long a partition that had nothing more is left alone. Half the delay that reading adds.
        bundle_time: how long a partition that has more is read in one bundle, and so how often its offset is committed.
        max_rate: records a second of each partition.
        on_gap: what to do where records are gone before they were read: `fail`, or `skip` to the nearest that are
            there, counting the offsets in the metric `skipped_offsets`.
        on_deleted: what to do when a topic is deleted while it is read: `fail`, or `end` its partitions.
        commit_margin: how long after being finalised an offset is committed. For engines that finalise when the
            source's own stage is done and keep in memory what waits behind a shuffle (Prism).
        warm_up: with `committed`: how far before the group's offset to begin, in the records' own time, so that windows
            that were open when the last run died are complete again.

    Raises:
        ValueError: what cannot work, as the pipeline is built.

    In the pipeline, with messages for a person: `UnreachableError`, `AuthenticationError` and `TopicMissingError` as it
    begins; `GapError`; `TopicMissingError` when a topic is deleted. A cluster that goes away while it is read is waited
    for; the watermark waits too.
    """

    def __init__(
        self,
        servers: str | KafkaConfig,
        topics: str | Sequence[str] | None = None,
        *,
        pattern: str | None = None,
        group: str | None = None,
        start: Instant | None = None,
        otherwise: Instant = "earliest",
        stop: Instant | None = None,
        batches: bool = False,
        batch_records: int = 2000,
        time: TimeKind = "record",
        event_time: EventTimes | None = None,
        out_of_orderness: Length = "5s",
        idle_after: Length = "10s",
        max_delay: Length | None = None,
        read_committed: bool = True,
        discover_every: Length | None = "30s",
        poll_interval: Length = "250ms",
        bundle_time: Length = "500ms",
        max_rate: float | None = None,
        on_gap: Gap = "fail",
        on_deleted: Literal["fail", "end"] = "fail",
        commit_margin: Length = 0.0,
        warm_up: Length = 0.0,
    ) -> None:
        super().__init__()
        config = servers if isinstance(servers, KafkaConfig) else KafkaConfig(servers)
        config.check_reading()
        named = (topics,) if isinstance(topics, str) else tuple(topics or ())
        if bool(named) == (pattern is not None):
            raise ValueError("name topics, or give a pattern")
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"pattern {pattern!r}: {error}") from error
        begin = position_of(start if start is not None else "committed" if group else "earliest")
        instead = position_of(otherwise, "otherwise")
        if begin.kind == "committed" and not group:
            raise ValueError("start='committed' needs a group")
        if instead.kind == "committed":
            raise ValueError("otherwise: earliest, latest or a time, for where the group has no offset")
        warm = micros_of_duration(warm_up, "warm_up")
        if warm and begin.kind != "committed":
            raise ValueError("warm_up goes before the committed offset: it needs start='committed'")
        end = stop_of(stop, Timestamp.now())
        if end is not None and begin.kind == end.kind == "time" and begin.millis >= end.millis:
            raise ValueError(f"nothing is between {begin} and {end}")
        if batch_records < 1:
            raise ValueError(f"batch_records {batch_records}: at least 1")
        if max_rate is not None and max_rate <= 0:
            raise ValueError(f"max_rate {max_rate}: above 0")
        for name, given, allowed in (
            ("time", time, ("record", "log_append", "create")),
            ("on_gap", on_gap, ("fail", "skip")),
            ("on_deleted", on_deleted, ("fail", "end")),
        ):
            if given not in allowed:
                raise ValueError(f"{name} {given!r}: {' or '.join(allowed)}")
        disorder = micros_of_duration(out_of_orderness, "out_of_orderness")
        self._selection = Selection(
            config, named, pattern, begin, instead, end, group, warm // 1000, disorder, read_committed
        )
        self._discover_every = (
            None if discover_every is None or end is not None
            else micros_of_duration(discover_every, "discover_every") / 1e6
        )  # fmt: skip
        self._how = _How(
            batches=batches,
            batch_records=batch_records,
            poll_interval=micros_of_duration(poll_interval, "poll_interval") / 1e6,
            bundle_time=micros_of_duration(bundle_time, "bundle_time") / 1e6,
            max_rate=max_rate,
            time=time,
            event_time=event_time,
            policy=WatermarkPolicy(
                disorder,
                micros_of_duration(idle_after, "idle_after"),
                None if max_delay is None else micros_of_duration(max_delay, "max_delay"),
            ),
            on_gap=on_gap,
            on_deleted=on_deleted,
            commits=group is not None,
            commit_margin=micros_of_duration(commit_margin, "commit_margin") / 1e6,
            least_ms=begin.millis if begin.kind == "time" else None,
            limit_ms=end.millis if end is not None and end.kind == "time" else None,
        )

    def expand(self, begin: Any) -> Any:
        """Find the partitions, share them out, read each."""
        selection, how = self._selection, self._how
        discover: Any = (
            DiscoverOnce(selection)
            if self._discover_every is None
            else DiscoverEndlessly(selection, self._discover_every)
        )
        read = _ReadSpan if selection.stop is not None else _ReadForEver
        partitions = begin | beam.Impulse() | "Discover" >> beam.ParDo(discover).with_output_types(KafkaPartition)
        # Without it one worker would read all partitions: the one that found them.
        shared = partitions | "ShareOut" >> beam.Reshuffle()
        return shared | "Read" >> beam.ParDo(read(selection, how, uuid.uuid4().hex)).with_output_types(
            PayloadBatch if how.batches else KafkaRecord
        )


class _Read(beam.DoFn):
    def __init__(self, selection: Selection, how: _How, token: str) -> None:
        self._selection = selection
        self._how = how
        self._token = token
        self._records = Metrics.counter(NAMESPACE, "records_read")
        self._bytes = Metrics.counter(NAMESPACE, "bytes_read")
        self._skipped = Metrics.counter(NAMESPACE, "skipped_offsets")

    def setup(self) -> None:
        """Readers and commits are the process's, shared by its copies of this."""
        self._readers = Readers(self._token, self._settings, self._how.on_gap)
        self._gauges: dict[tuple[str, int], tuple[Any, Any]] = {}

    def teardown(self) -> None:
        """Let the connections go."""
        if self._readers.close():
            close_committer(self._token)

    def _settings(self) -> dict[str, Any]:
        selection = self._selection
        return selection.config.reading_settings(selection.group, read_committed=selection.read_committed)

    def _read(self, partition: KafkaPartition, finalizer: Any, tracker: Any, estimator: Any) -> Iterator[Any]:
        span: Span = tracker.current_restriction()
        reader = self._readers.take(partition.topic, partition.partition, span.start)
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
        how = self._how
        if reader.watermark is None:
            reached = estimator.current_watermark().micros
            reader.watermark = PartitionWatermark(how.policy, reached, _now())
        until = time.monotonic() + how.bundle_time
        claimed, last_ms = span.start, -1
        delay = how.poll_interval
        while True:
            if reader.position >= span.stop:
                tracker.try_claim(span.stop)
                break
            most = self._allowed(reader)
            try:
                # What is underway is waited for once; after that the next bundle is soon enough.
                wait = _WAIT_S if reader.behind and claimed == span.start else 0.0
                messages = reader.read(most, wait) if most else []
                self._skipped.inc(reader.skipped)
                reader.skipped = 0
                ended = None if messages or not most else reader.confirm_end()
            except TopicMissingError as error:
                if how.on_deleted == "fail":
                    raise
                LOGGER.warning("%s; its partition ends", error)
                tracker.try_claim(span.stop)
                break
            if reader.position > span.stop:
                messages = [message for message in messages if int(message.offset() or 0) < span.stop]
            if not tracker.try_claim(min(reader.position, span.stop)):
                # The runner took the rest away, to be read later: so will these.
                reader.position = -1
                break
            claimed = min(reader.position, span.stop)
            if messages:
                last_ms = messages[-1].timestamp()[1]
                latest = None
                for element, newest in self._elements(reader, messages):
                    yield element
                    latest = newest
                if latest is not None:
                    reader.watermark.observe(latest, _now())
            elif ended is not None:
                reader.watermark.confirm_end(round(ended * 1e6))
            reader.watermark.pass_time(_now())
            _advance(estimator, reader.watermark.current)
            backlog = reader.lag >= how.batch_records
            if time.monotonic() >= until:
                delay = 0.0 if backlog else how.poll_interval
                break
            # A stream that comes as fast as it is read must not keep the other partitions waiting.
            if not messages or (len(messages) < most and not backlog):
                break
        if reader.position >= 0 and claimed < span.stop:
            tracker.defer_remainder(Duration(seconds=max(delay, self._wait_for_rate(reader))))
        self._report_lag(reader, last_ms)
        if how.commits and claimed > span.start:
            partition = (reader.topic, reader.partition)
            words = words_of(last_ms) if last_ms >= 0 else ""
            finalizer.register(_Finalised(self._token, self._settings, how.commit_margin, partition, claimed, words))

    def _elements(self, reader: PartitionReader, messages: list[Message]) -> Iterator[tuple[Any, int]]:
        """What is output for some messages, each with the latest event time of all."""
        how = self._how
        stamps = [message.timestamp() for message in messages]
        millis = np.array([stamp[1] for stamp in stamps], np.int64)
        wanted = _TIME_TYPES.get(how.time)
        if wanted is not None and stamps[0][0] != wanted:
            raise WrongTimesError(
                f"topic {reader.topic} keeps {'append' if wanted == TIMESTAMP_CREATE_TIME else 'create'} times, and "
                f"time={how.time!r} was asked: see its message.timestamp.type"
            )
        if (millis < 0).any():
            # Written by clients of before 0.10, which had none.
            millis = np.where(millis < 0, int(time.time() * 1000), millis)
        if how.least_ms is not None or how.limit_ms is not None:
            within = np.ones(len(messages), bool)
            if how.least_ms is not None:
                within &= millis >= how.least_ms
            if how.limit_ms is not None:
                within &= millis < how.limit_ms
            if not within.all():
                messages = [message for message, good in zip(messages, within.tolist(), strict=True) if good]
                millis = millis[within]
        if not messages:
            return
        payloads = [message.value() for message in messages]
        micros = millis * 1000
        times = event_times(how.event_time, payloads, micros)
        latest = int(times.max())
        self._records.inc(len(messages))
        self._bytes.inc(sum(map(len, messages)))
        if how.batches:
            keys = [message.key() for message in messages]
            offsets = np.array([message.offset() for message in messages], np.int64)
            batch = PayloadBatch(reader.topic, f"partition={reader.partition}", offsets, payloads, keys, times)
            yield TimestampedValue(batch, batch.earliest), latest
            return
        topic, number = reader.topic, reader.partition
        for message, payload, stamp, at in zip(messages, payloads, micros.tolist(), times.tolist(), strict=True):
            headers: Any = message.headers()
            record = KafkaRecord(
                message.key(),
                payload,
                tuple(KafkaHeader(*header) for header in headers) if headers else (),
                Timestamp(micros=stamp),
                topic,
                number,
                int(message.offset() or 0),
            )
            yield TimestampedValue(record, record.timestamp if at == stamp else Timestamp(micros=at)), latest

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


class _ReadForEver(_Read):
    """Partitions without an end."""

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


class _ReadSpan(_Read):
    """Partitions with an end."""

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
        self,
        token: str,
        settings: Callable[[], dict[str, Any]],
        margin: float,
        partition: tuple[str, int],
        offset: int,
        words: str,
    ) -> None:
        self._arguments = partition, offset, words
        self._token, self._settings, self._margin = token, settings, margin

    def __call__(self) -> None:
        committer_of(self._token, self._settings, self._margin).finalised(*self._arguments)


def _advance(estimator: Any, micros: int) -> None:
    if micros != UNKNOWN_TIME:
        reached = Timestamp(micros=micros)
        if reached > estimator.current_watermark():
            estimator.set_watermark(reached)


def _now() -> int:
    return time.time_ns() // 1000
