"""The DoFns that read families of shards: one bundle after another, each from where the last one stopped."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.timestamp import Duration, Timestamp

from thingbeam.io.errors import ConnectorError
from thingbeam.io.estimators import TimestampEstimatorProvider
from thingbeam.io.kinesis.checkpoints import CheckpointStore
from thingbeam.io.kinesis.commit import close_committer, committer_of
from thingbeam.io.kinesis.elements import Form, elements
from thingbeam.io.kinesis.family import Family, FamilyProvider
from thingbeam.io.kinesis.fan_out import FanOutFeed, register_consumer
from thingbeam.io.kinesis.feeds import Chunk, Feed, Gap, PollingFeed
from thingbeam.io.kinesis.log import LOGGER, NAMESPACE
from thingbeam.io.kinesis.positions import ENDED, Position
from thingbeam.io.kinesis.readers import ShardReader, Shelf
from thingbeam.io.kinesis.shards import Stream
from thingbeam.io.watermark import UNKNOWN_TIME, PartitionWatermark, WatermarkPolicy

__all__ = ["How", "ReadBounded", "ReadForEver"]

_TRACKER: Final[Any] = beam.DoFn.RestrictionParam(FamilyProvider())
_ESTIMATOR: Final[Any] = beam.DoFn.WatermarkEstimatorParam(TimestampEstimatorProvider())
_WAIT_S: Final = 0.1
_NO_CHILD_S: Final = 5.0


class How(NamedTuple):
    """How shards are read."""

    form: Form
    fetch_records: int
    fetch_interval: float
    poll_interval: float
    bundle_time: float
    max_rate: float | None
    policy: WatermarkPolicy
    on_gap: Gap
    checkpoints: CheckpointStore | None
    commit_margin: float
    consumer: str | None
    """The name or ARN of a consumer with enhanced fan-out."""


class _Bundle:
    """What one bundle has come to."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.done: dict[str, Position] = {}
        self.closed = False
        """Whether a shard ended: its children begin in the next bundle, when the runner has taken this one."""
        self.stopped: set[str] = set()
        """Shards that were read to the stop."""


class _Read(beam.DoFn):
    def __init__(self, stream: Stream, how: How, token: str) -> None:
        self._stream, self._how, self._token = stream, how, token
        self._records = Metrics.counter(NAMESPACE, "records_read")
        self._bytes = Metrics.counter(NAMESPACE, "bytes_read")
        self._throttles = Metrics.counter(NAMESPACE, "read_throttles")

    def setup(self) -> None:
        """Readers and checkpoints are the process's, shared by its copies of this."""
        self._shelf = Shelf(self._token)
        self._gauges: dict[str, Any] = {}
        self._consumer_arn: str | None = None

    def teardown(self) -> None:
        """Let connections go."""
        if self._shelf.close():
            close_committer(self._token)

    def _read(self, finalizer: Any, tracker: Any, estimator: Any) -> Iterator[Any]:
        family: Family = tracker.current_restriction()
        if family.foreign():
            family = self._freed(family)
        readers = {shard: self._reader(family, shard, estimator) for shard in family.reading()}
        bundle = _Bundle(family)
        sound = False
        try:
            yield from self._bundle(bundle, readers, tracker, estimator)
            sound = True
        finally:
            for reader in readers.values():
                if sound and reader.shard in bundle.family.shards:
                    self._shelf.put_back(reader)
                else:
                    reader.feed.close()
        how = self._how
        if how.checkpoints is not None and bundle.done:
            finalizer.register(
                _Finalised(self._token, how.checkpoints, self._stream.name, how.commit_margin, bundle.done)
            )

    def _bundle(
        self, bundle: _Bundle, readers: Mapping[str, ShardReader], tracker: Any, estimator: Any
    ) -> Iterator[Any]:
        how = self._how
        if not tracker.try_claim(bundle.family):
            return
        # A shard without a record has a place to go on at, too: what comes while nobody reads is read.
        bundle.done = {shard: reader.position for shard, reader in readers.items() if not reader.noted}
        for reader in readers.values():
            reader.noted = True
        until = time.monotonic() + how.bundle_time
        while True:
            taken = 0
            for shard, reader in readers.items():
                if shard not in bundle.family.shards:
                    continue
                chunk = reader.feed.take()
                if chunk is None:
                    continue
                taken += len(chunk.rows)
                outputs = yield from self._output(bundle, reader, chunk, tracker)
                if not outputs:
                    return
            self._advance(bundle, readers, estimator)
            if bundle.closed or time.monotonic() >= until or not bundle.family.shards:
                break
            if not taken:
                # Where no answer with more is underway, the next bundle is soon enough.
                behind = [reader for reader in readers.values() if reader.behind and reader.feed.busy]
                if not behind:
                    if bundle.family.stop_ms is not None and readers:
                        # The embedded runner comes back at once, whatever it is told.
                        next(iter(readers.values())).feed.wait(_WAIT_S)
                    break
                behind[0].feed.wait(min(_WAIT_S, until - time.monotonic()))
        if bundle.family.shards:
            backlog = any(reader.behind for shard, reader in readers.items() if shard in bundle.family.shards)
            # An answer is underway where there is more to read, and Kinesis gives five a second.
            delay = 0.0 if bundle.closed else min(how.poll_interval, _WAIT_S) if backlog else how.poll_interval
            tracker.defer_remainder(Duration(seconds=delay))

    def _output(self, bundle: _Bundle, reader: ShardReader, chunk: Chunk, tracker: Any) -> Generator[Any, None, bool]:
        """What a chunk brings; False where the runner has taken the rest away."""
        how, shard = self._how, reader.shard
        if chunk.throttled:
            self._throttles.inc()
        rows, family = chunk.rows, bundle.family
        stop_ms = family.stop_ms
        stopped = False
        if stop_ms is not None:
            stopped = chunk.at_tip and not chunk.ended and chunk.server_ms >= stop_ms and self._is_open(shard)
            if rows and rows[-1].arrival_ms >= stop_ms:
                stopped = True
                rows = [row for row in rows if row.arrival_ms < stop_ms]
        position = chunk.position or reader.position
        if chunk.ended and not stopped:
            family = self._ended(family, shard)
            if shard in family.shards:
                # Nothing is left of it, and nothing is known to follow: to be asked again.
                family = family.moved(shard, position)
                reader.feed.close()
                reader.feed = self._feed(shard, position, _NO_CHILD_S)
            else:
                bundle.closed, position = True, ENDED
        elif stopped:
            family = family.stopped(shard)
            bundle.stopped.add(shard)
        elif chunk.position is not None:
            family = family.moved(shard, position)
        if family is not bundle.family:
            if not tracker.try_claim(family):
                # The runner took the rest away, to be read later: so will these.
                reader.position = Position("ended", "not claimed")
                return False
            bundle.family = family
            bundle.done[shard] = reader.position = position
        latest = None
        nbytes = 0
        for element, newest in elements(how.form, self._stream.name, shard, rows):
            yield element
            latest = newest
        if rows:
            nbytes = sum(len(row.data) for row in rows)
            reader.last_ms = rows[-1].arrival_ms
            self._records.inc(len(rows))
            self._bytes.inc(nbytes)
        now = _now()
        if latest is not None:
            reader.watermark.observe(latest, now)
        elif chunk.at_tip and chunk.asked_at is not None:
            reader.watermark.confirm_end(round(chunk.asked_at * 1e6))
        reader.behind = bool(chunk.rows) or chunk.behind_ms > 0 or chunk.asked_at is None
        if chunk.asked_at is not None:
            self._gauge(shard).set(chunk.behind_ms)
        return True

    def _is_open(self, shard: str) -> bool:
        """Whether the shard has no children: those of a closed one may hold records of before the stop."""
        return not any(shard in child.parents for child in self._stream.list().shards.values())

    def _ended(self, family: Family, shard: str) -> Family:
        listing = self._stream.list()
        if not any(shard in child.parents for child in listing.shards.values()):
            LOGGER.warning("%s %s: it is closed and no shard follows it yet", self._stream.name, shard)
            return family
        after = family.ended(shard, listing.shards)
        LOGGER.info("%s %s: read to its end; next: %s", self._stream.name, shard, ", ".join(after.shards) or "none")
        return after

    def _freed(self, family: Family) -> Family:
        """The family without the parents that are known to be done elsewhere."""
        how = self._how
        if how.checkpoints is None:
            # Order across a merge was not asked for: see ReadFromKinesis(ordered=False).
            return family.freed(family.foreign())
        try:
            done = committer_of(self._token, how.checkpoints, self._stream.name, how.commit_margin).ended()
        except ConnectorError as error:
            LOGGER.warning("%s; shards after a merge wait", error)
            return family
        return family.freed(done)

    def _reader(self, family: Family, shard: str, estimator: Any) -> ShardReader:
        position = family.shards[shard].position

        def make() -> ShardReader:
            reached = estimator.current_watermark().micros
            watermark = PartitionWatermark(self._how.policy, reached, _now())
            return ShardReader(shard, self._feed(shard, position), position, watermark)

        return self._shelf.take(shard, position, make)

    def _feed(self, shard: str, position: Position, interval: float = 0.0) -> Feed:
        how = self._how
        if how.consumer is not None:
            if self._consumer_arn is None:
                self._consumer_arn = register_consumer(self._stream, how.consumer)
            return FanOutFeed(self._stream, self._consumer_arn, shard, position, on_gap=how.on_gap, pause=interval)
        return PollingFeed(
            self._stream,
            shard,
            position,
            limit=how.fetch_records,
            interval=max(interval, how.fetch_interval),
            rate=how.max_rate,
            on_gap=how.on_gap,
        )

    def _advance(self, bundle: _Bundle, readers: Mapping[str, ShardReader], estimator: Any) -> None:
        now = _now()
        # One that ended just now still holds the watermark, till its children do.
        holding = [reader for shard, reader in readers.items() if shard not in bundle.stopped]
        for reader in holding:
            reader.watermark.pass_time(now)
        # A shard that waits for another worker has a watermark that nobody knows.
        if not holding or bundle.family.foreign():
            return
        reached = min(reader.watermark.current for reader in holding)
        if reached != UNKNOWN_TIME and Timestamp(micros=reached) > estimator.current_watermark():
            estimator.set_watermark(Timestamp(micros=reached))

    def _gauge(self, shard: str) -> Any:
        if shard not in self._gauges:
            self._gauges[shard] = Metrics.gauge(NAMESPACE, f"lag_ms/{self._stream.name}/{shard}")
        return self._gauges[shard]


class ReadForEver(_Read):
    """Shards without an end."""

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        family: bytes,
        # Before the restriction: Beam fills these by place, and the others by name.
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = _TRACKER,
        estimator: Any = _ESTIMATOR,
    ) -> Iterator[Any]:
        """Read on for a bundle."""
        yield from self._read(finalizer, tracker, estimator)


class ReadBounded(_Read):
    """Shards with an end."""

    def process(
        self,
        family: bytes,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = _TRACKER,
        estimator: Any = _ESTIMATOR,
    ) -> Iterator[Any]:
        """Read on for a bundle."""
        yield from self._read(finalizer, tracker, estimator)


class _Finalised:
    """What the runner calls when a bundle is safe."""

    def __init__(
        self, token: str, store: CheckpointStore, stream: str, margin: float, positions: Mapping[str, Position]
    ) -> None:
        self._arguments = token, store, stream, margin
        self._positions = positions

    def __call__(self) -> None:
        committer_of(*self._arguments).finalised(self._positions)


def _now() -> int:
    return time.time_ns() // 1000
