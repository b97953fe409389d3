"""ReadFromKafka: topics as typed records or batches, endless or between two places, exact across restarts."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import apache_beam as beam
from apache_beam.utils.timestamp import Timestamp
from confluent_kafka import libversion

from thingbeam.io.event_times import EventTimes, TimeKind
from thingbeam.io.kafka.clients import Partition
from thingbeam.io.kafka.config import KafkaConfig, check_version
from thingbeam.io.kafka.discovery import DiscoverEndlessly, DiscoverOnce
from thingbeam.io.kafka.elements import Form
from thingbeam.io.kafka.planning import Resumption, Selection, beginnings, resumption, topic_ids
from thingbeam.io.kafka.positions import Instant, position_of, stop_of
from thingbeam.io.kafka.reader import Gap
from thingbeam.io.kafka.reading import (
    NAMESPACE,
    Commits,
    How,
    ReadForEver,
    ReadForEverAndCommit,
    ReadSpan,
    ReadSpanAndCommit,
)
from thingbeam.io.kafka.records import KafkaPartition, KafkaRecord
from thingbeam.io.watermark import WatermarkPolicy
from thingbeam.schemas.durations import Duration as Length
from thingbeam.schemas.durations import micros_of_duration
from thingbeam.schemas.payloads import PayloadBatch

__all__ = ["NAMESPACE", "ReadFromKafka"]


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
        discover_every: how often new partitions and topics are looked for; None never. A bounded read never does. Event
            time goes on by as much at once, so that nothing in a new partition is late: longer means later results.
        poll_interval: how long a partition that had nothing more is left alone; the more records it just had, the
            shorter, and a tenth of it from 90 on. Half the delay that reading adds.
        bundle_time: how long the partitions of one bundle that have more are read, all together. What it gives goes on
            when the bundle ends, and so do commits. None for 250 ms, or a second where there is a `stop`: nobody waits.
        max_rate: records a second of each partition.
        on_gap: what to do where records are gone before they were read: `fail`, or `skip` to the nearest that are
            there, counting the offsets in the metric `skipped_offsets`.
        on_deleted: what to do when a topic is deleted while it is read: `fail`, or `end` its partitions. One that is
            made again under its name, while this runs or between two runs, has another id: that fails too, or the old
            one's partitions end and the new one is read from its beginning once it is found (see `discover_every`),
            counted in the metric `recreated_partitions`. Brokers give ids since Kafka 2.8.
        commit_margin: how long after being finalised an offset is committed. For engines that finalise when the
            source's own stage is done and keep in memory what waits behind a shuffle (Prism).
        commit_behind: how far in event time the watermark of all that is read, as it stood a margin ago, must be past
            the records before an offset: so that the windows that they began are out. For such engines too, where one
            process reads all partitions.
        warm_up: with `committed`: how far before the group's offset to begin, in the records' own time, so that windows
            that were open when the last run died are complete again. Offsets that the group has are then never taken
            back.
        offsets: where given partitions begin, before what `start` says: see `beginnings`.

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
        discover_every: Length | None = "1s",
        poll_interval: Length = "250ms",
        bundle_time: Length | None = None,
        max_rate: float | None = None,
        on_gap: Gap = "fail",
        on_deleted: Literal["fail", "end"] = "fail",
        commit_margin: Length = 0.0,
        commit_behind: Length = 0.0,
        warm_up: Length = 0.0,
        offsets: Mapping[Partition, int] | None = None,
    ) -> None:
        super().__init__()
        config = servers if isinstance(servers, KafkaConfig) else KafkaConfig(servers)
        config.check_reading()
        check_version(libversion())
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
        if bundle_time is None:
            bundle_time = "250ms" if end is None else "1s"
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
            config, named, pattern, begin, instead, end, group, warm // 1000, disorder, read_committed,
            tuple(sorted((offsets or {}).items())), on_deleted,
        )  # fmt: skip
        self._discover_every = (
            None if discover_every is None or end is not None
            else micros_of_duration(discover_every, "discover_every") / 1e6
        )  # fmt: skip
        margin = micros_of_duration(commit_margin, "commit_margin") / 1e6
        behind = micros_of_duration(commit_behind, "commit_behind")
        self._how = How(
            form=Form(
                batches=batches,
                time=time,
                event_time=event_time,
                least_ms=begin.millis if begin.kind == "time" else None,
                limit_ms=end.millis if end is not None and end.kind == "time" else None,
            ),
            batch_records=batch_records,
            poll_interval=micros_of_duration(poll_interval, "poll_interval") / 1e6,
            bundle_time=micros_of_duration(bundle_time, "bundle_time") / 1e6,
            max_rate=max_rate,
            policy=WatermarkPolicy(
                disorder,
                micros_of_duration(idle_after, "idle_after"),
                None if max_delay is None else micros_of_duration(max_delay, "max_delay"),
            ),
            on_gap=on_gap,
            on_deleted=on_deleted,
            commits=None if group is None else Commits(margin, behind, bool(warm)),
        )

    def beginnings(self) -> dict[Partition, int]:
        """Where each partition that is there now would begin: for `offsets`, so that `latest` stays what it is now.

        Raises:
            UnreachableError: no broker answers.
            AuthenticationError: we were refused.
            TopicMissingError: a topic that is named is not there; the message lists what there is.
        """
        return {(each.topic, each.partition): each.start for each in beginnings(self._selection)}

    def topic_ids(self) -> dict[str, str]:
        """The ids of the topics that are there now; without those of which the broker gives none.

        Raises:
            ConnectorError: as `beginnings`.
        """
        return topic_ids(self._selection)

    def resumption(self) -> Resumption:
        """Where this read goes on for an engine that kept nothing, and from when on its results are then complete.

        Raises:
            ConnectorError: as `beginnings`.
        """
        return resumption(self._selection)

    def expand(self, begin: Any) -> Any:
        """Find the partitions, share them out, read each."""
        selection, how = self._selection, self._how
        discover: Any = (
            DiscoverOnce(selection)
            if self._discover_every is None
            else DiscoverEndlessly(selection, self._discover_every)
        )
        read: type[beam.DoFn] = ReadForEver if how.commits is None else ReadForEverAndCommit
        if selection.stop is not None:
            read = ReadSpan if how.commits is None else ReadSpanAndCommit
        partitions = begin | beam.Impulse() | "Discover" >> beam.ParDo(discover).with_output_types(KafkaPartition)
        # Without it one worker would read all partitions: the one that found them.
        shared = partitions | "ShareOut" >> beam.Reshuffle()
        return shared | "Read" >> beam.ParDo(read(selection, how, uuid.uuid4().hex)).with_output_types(
            PayloadBatch if how.form.batches else KafkaRecord
        )
