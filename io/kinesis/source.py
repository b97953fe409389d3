"""ReadFromKinesis: a stream as typed records or batches, endless or between two places, resharding followed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.event_times import EventTimes
from thingbeam.io.kinesis.checkpoints import CheckpointStore
from thingbeam.io.kinesis.elements import Form
from thingbeam.io.kinesis.family import FamilyCoder, plan
from thingbeam.io.kinesis.fan_out import register_consumer
from thingbeam.io.kinesis.feeds import Gap, GapError
from thingbeam.io.kinesis.log import LOGGER
from thingbeam.io.kinesis.positions import HORIZON, Instant, Position, Start, start_of, stop_of
from thingbeam.io.kinesis.reading import How, ReadBounded, ReadForEver
from thingbeam.io.kinesis.records import KinesisBatch, KinesisRecord
from thingbeam.io.kinesis.shards import Listing, Stream
from thingbeam.io.watermark import WatermarkPolicy
from thingbeam.schemas.durations import Duration as Length
from thingbeam.schemas.durations import micros_of_duration

__all__ = ["ReadFromKinesis"]

_MOST_RECORDS: Final = 10_000


class _Selection(NamedTuple):
    stream: Stream
    start: Start
    otherwise: Start
    stop: Start | None
    checkpoints: CheckpointStore | None
    ordered: bool
    on_gap: Gap


class ReadFromKinesis(beam.PTransform[Any, Any]):
    """A stream of Kinesis as a PCollection of `KinesisRecord`, or of batches of them.

    Guarantee: every record at least once; those of one partition key in the order of their sequence numbers, across
    splits and merges too. The runner's checkpoint holds the sequence number of each shard, so a restart from it reads
    on exactly there. A runner that keeps no checkpoints, as Prism, reads on from `checkpoints`.

    A shard's children are read when all of it is done and the runner has taken it. Within one restriction that is seen
    in the runner's checkpoint. So without a store, one worker reads the whole stream; with one, each shard is a
    restriction of its own, and one that was merged of two waits until the store says that both are done.

    Each record's timestamp is its event time, else its approximate arrival. A batch has its earliest.

    Args:
        stream: its name, or its ARN, which another account's stream needs.
        config: region, endpoint, account: see AwsConfig. None for the worker's own.
        start: `horizon` (the oldest that is kept), `latest`, a time of arrival, or `{shard: sequence number}` of the
            first records; `checkpoint` for where the store says. Default: `checkpoint` where there is a store, else
            `horizon`. A checkpoint of the runner's comes before any of these.
        otherwise: where shards begin of which the store or `start` says nothing: `horizon`, `latest` or a time.
        stop: `latest` (what is there when the read begins) or a time that is past; the read is then bounded, and ends.
            Records that arrived at that time or later are not given.
        checkpoints: where positions are kept when the runner has finalised them: `DynamoDbCheckpoints`,
            `FileCheckpoints`. Nothing else may read with the same.
        ordered: False gives each shard to a worker of its own even without a store. Then a shard merged of two workers'
            may be read before one of its parents is done.
        batches: give `KinesisBatch`, hundreds of records of one shard as one element: many times faster. What
            `ParseEvents` takes.
        batch_records: the most records in one batch. A batch is also held to about 1 MiB.
        consumer: the name or ARN of a consumer for enhanced fan-out, registered where it is not there. Costs extra on
            AWS. None polls.
        event_time: a function from payloads to event times in microseconds since 1970: see `JsonTime`. What it does not
            find is the arrival.
        out_of_orderness: how much older than the newest one of its shard a record may be without being late.
        idle_after: how long a shard is silent before it holds the watermark no more.
        max_delay: the furthest that the watermark falls behind the clock; records from before come out late. None waits
            for the slowest shard for ever.
        fetch_records: the most records of one answer, up to 10,000.
        fetch_interval: the least time between two questions to a shard. All polling readers of a shard together have
            five a second.
        poll_interval: how long shards that had nothing more are left alone.
        bundle_time: how long is read in one bundle, and so how often positions are finalised.
        max_rate: records a second of each shard; not with `consumer`.
        on_gap: what to do where records expired before they were read: `fail`, or `skip` to the oldest that are there.
        commit_margin: how long after being finalised a position is written to the store. For engines that finalise
            when the source's own stage is done and keep in memory what waits behind a shuffle (Prism).

    Raises:
        ValueError: what cannot work, as the pipeline is built.

    In the pipeline, with messages for a person: as it begins, `MissingError`, `AuthenticationError`, `MismatchError`
    (another region), `UnreachableError`; later, `GapError`, and credentials or permissions that went away. A service
    that throttles or fails is waited for; the watermark waits too.
    """

    def __init__(
        self,
        stream: str,
        config: AwsConfig | None = None,
        *,
        start: Instant | Mapping[str, str] | None = None,
        otherwise: Instant = "horizon",
        stop: Instant | None = None,
        checkpoints: CheckpointStore | None = None,
        ordered: bool = True,
        batches: bool = False,
        batch_records: int = 2000,
        consumer: str | None = None,
        event_time: EventTimes | None = None,
        out_of_orderness: Length = "5s",
        idle_after: Length = "10s",
        max_delay: Length | None = None,
        fetch_records: int = _MOST_RECORDS,
        fetch_interval: Length = "200ms",
        poll_interval: Length = "250ms",
        bundle_time: Length = "500ms",
        max_rate: float | None = None,
        on_gap: Gap = "fail",
        commit_margin: Length = 0.0,
    ) -> None:
        super().__init__()
        if not stream:
            raise ValueError("stream: a name or an ARN is expected")
        begin = start_of(start if start is not None else "checkpoint" if checkpoints else "horizon")
        instead = start_of(otherwise, "otherwise")
        if begin.kind == "checkpoint" and checkpoints is None:
            raise ValueError("start='checkpoint' needs checkpoints=")
        if instead.kind not in ("horizon", "latest", "time"):
            raise ValueError("otherwise: horizon, latest or a time, for shards of which nothing else says it")
        end = stop_of(stop, Timestamp.now())
        if end is not None and begin.kind == end.kind == "time" and begin.millis >= end.millis:
            raise ValueError("nothing is between start and stop")
        if batch_records < 1:
            raise ValueError(f"batch_records {batch_records}: at least 1")
        if not 1 <= fetch_records <= _MOST_RECORDS:
            raise ValueError(f"fetch_records {fetch_records}: 1 to {_MOST_RECORDS}")
        if max_rate is not None and (max_rate <= 0 or consumer is not None):
            raise ValueError(f"max_rate {max_rate}: above 0, and not with a consumer, to whom Kinesis pushes")
        if on_gap not in ("fail", "skip"):
            raise ValueError(f"on_gap {on_gap!r}: fail or skip")
        self._consumer = consumer
        self._selection = _Selection(
            Stream(stream, config or AwsConfig()), begin, instead, end, checkpoints, ordered, on_gap
        )
        self._how = How(
            form=Form(batches, batch_records, event_time),
            fetch_records=fetch_records,
            fetch_interval=micros_of_duration(fetch_interval, "fetch_interval") / 1e6,
            poll_interval=micros_of_duration(poll_interval, "poll_interval") / 1e6,
            bundle_time=micros_of_duration(bundle_time, "bundle_time") / 1e6,
            max_rate=max_rate,
            policy=WatermarkPolicy(
                micros_of_duration(out_of_orderness, "out_of_orderness"),
                micros_of_duration(idle_after, "idle_after"),
                None if max_delay is None else micros_of_duration(max_delay, "max_delay"),
            ),
            on_gap=on_gap,
            checkpoints=checkpoints,
            commit_margin=micros_of_duration(commit_margin, "commit_margin") / 1e6,
            consumer=consumer,
        )

    def check(self) -> None:
        """Ask for the stream's shards, and make the checkpoint store ready, before anything is run.

        Raises:
            ConnectorError: no answer, a refusal, or no such stream; one line.
        """
        self._selection.stream.list()
        if self._selection.checkpoints is not None:
            self._selection.checkpoints.prepare()

    def expand(self, begin: Any) -> Any:
        """Find the shards, share them out, read each."""
        selection, how = self._selection, self._how
        discover = beam.ParDo(_Discover(selection, self._consumer)).with_output_types(bytes)
        found = begin | beam.Impulse() | "Discover" >> discover
        # Without it one worker would read all shards: the one that found them.
        shared = found | "ShareOut" >> beam.Reshuffle()
        read = ReadForEver if selection.stop is None else ReadBounded
        return shared | "Read" >> beam.ParDo(read(selection.stream, how, uuid.uuid4().hex)).with_output_types(
            KinesisBatch if how.form.batches else KinesisRecord
        )


class _Discover(beam.DoFn):
    """The families of shards that are read from the start, as FamilyCoder has them."""

    def __init__(self, selection: _Selection, consumer: str | None) -> None:
        self._selection = selection
        self._consumer = consumer

    def process(self, _: Any) -> Iterator[bytes]:
        """All of them."""
        selection = self._selection
        listing = selection.stream.list()
        if self._consumer is not None:
            register_consumer(selection.stream, self._consumer)
        known: dict[str, Position] = {}
        if selection.checkpoints is not None:
            selection.checkpoints.prepare()
            if selection.start.kind == "checkpoint":
                known = selection.checkpoints.read(selection.stream.name)
                self._check_gap(listing, known)
        families = plan(
            selection.stream.name,
            listing.shards.values(),
            known,
            self._first(listing),
            sequences=selection.start.sequences,
            stop_ms=self._stop_ms(listing),
            alone=selection.ordered and selection.checkpoints is None,
        )
        coder = FamilyCoder()
        yield from (coder.encode(family) for family in families)

    def _first(self, listing: Listing) -> Position:
        selection = self._selection
        start = selection.otherwise if selection.start.kind in ("checkpoint", "sequences") else selection.start
        if start.kind == "horizon":
            return HORIZON
        # "latest" as a time is a place that is the same after a crash; the service's clock says it.
        return Position("time", millis=listing.at_ms if start.kind == "latest" else start.millis)

    def _stop_ms(self, listing: Listing) -> int | None:
        stop = self._selection.stop
        if stop is None or stop.kind == "time":
            return None if stop is None else stop.millis
        return listing.at_ms + 1000

    def _check_gap(self, listing: Listing, known: Mapping[str, Position]) -> None:
        gone = sorted(s for s, at in known.items() if at.kind != "ended" and s not in listing.shards)
        if not gone:
            return
        what = f"{self._selection.stream.described}: {', '.join(gone)} expired before all of it was read"
        if self._selection.on_gap == "fail":
            raise GapError(f'{what}: retention was shorter than the lag; on_gap="skip" goes on without')
        LOGGER.error("%s; going on without", what)
