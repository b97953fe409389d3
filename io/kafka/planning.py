"""Which partitions are read, and where each begins and ends: asked of the cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from confluent_kafka import Consumer

from thingbeam.io.kafka.clients import (
    BEGINNING,
    END,
    Partition,
    committed,
    connect,
    first_record_times,
    offsets_at,
    partition_counts,
)  # fmt: skip
from thingbeam.io.kafka.commit import Words, read_words
from thingbeam.io.kafka.config import KafkaConfig
from thingbeam.io.kafka.errors import TopicMissingError
from thingbeam.io.kafka.positions import Position
from thingbeam.io.kafka.records import ENDLESS, KafkaPartition

__all__ = ["Resumption", "Selection", "beginnings", "find", "plan", "resumption", "select", "start_of",
           "unknown_partitions"]  # fmt: skip

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
    offsets: tuple[tuple[Partition, int], ...] = ()
    """Where some partitions begin, whatever `start` says."""

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
    """Committed offsets, taken back by a length of the records' own time.

    From the earlier of that and of the event time there: an event may be older than its record, never younger.
    """
    starts: dict[Partition, int] = {}
    said = _said(consumer, held)
    for partition, (offset, _) in held.items():
        earlier = offset
        if partition in said:
            at = said[partition]
            since = max(0, (at.time if at.event is None else min(at.time, at.event)) - warm_up_ms)
            earlier = offsets_at(consumer, [partition], since, _TIMEOUT_S)[partition]
        starts[partition] = min(offset, earlier) if earlier >= 0 else offset
    return starts


def _said(consumer: Consumer, held: Mapping[Partition, tuple[int, str]]) -> dict[Partition, Words]:
    """The times at committed offsets; of those that something else committed, the next record's."""
    found = {partition: read_words(words) for partition, (_, words) in held.items()}
    unsaid = [(partition, held[partition][0]) for partition, words in found.items() if words is None]
    times = first_record_times(consumer, unsaid, _TIMEOUT_S) if unsaid else {}
    known = {partition: words for partition, words in found.items() if words is not None}
    return known | {partition: Words(time) for partition, time in times.items()}


def find(consumer: Consumer, selection: Selection) -> dict[str, int]:
    """The topics that are meant, with the number of their partitions.

    Raises:
        ConnectorError: there was no answer, or a topic is not there.
    """
    return select(partition_counts(consumer, _TIMEOUT_S), selection.topics, selection.pattern)


def plan(
    consumer: Consumer, partitions: Sequence[Partition], selection: Selection, *, first: bool
) -> list[KafkaPartition]:
    """Partitions with their offsets. One that appears later is read from its beginning: all of it is new."""
    start = selection.start if first else Position("earliest")
    given = {partition: offset for partition, offset in selection.offsets if partition in set(partitions)}
    starts = start_of(start, [each for each in partitions if each not in given], consumer, selection) | given
    stops = dict.fromkeys(partitions, ENDLESS)
    if selection.stop is not None:
        stops = offsets_at(consumer, partitions, END, _TIMEOUT_S)
        if selection.stop.kind == "time":
            # Create times are out of order: a message of before the stop may stand behind one of after it.
            until = selection.stop.millis + -(-selection.out_of_orderness // 1000)
            found = offsets_at(consumer, partitions, until, _TIMEOUT_S)
            stops |= {partition: offset for partition, offset in found.items() if offset >= 0}
    return [KafkaPartition(topic, number, starts[topic, number], stops[topic, number]) for topic, number in partitions]


def beginnings(selection: Selection) -> dict[Partition, int]:
    """Where each partition that there is now would begin.

    Raises:
        ConnectorError: there was no answer, or a topic is not there.
    """
    consumer = selection.connect()
    try:
        planned = plan(consumer, unknown_partitions(find(consumer, selection), {}), selection, first=True)
    finally:
        consumer.close()
    return {(each.topic, each.partition): each.start for each in planned}


class Resumption(NamedTuple):
    """Where a run that keeps nothing goes on."""

    offsets: dict[Partition, int]
    """Of the partitions of which the group has an offset, the warm-up before it."""
    complete_from: int | None
    """Microseconds since 1970: results that begin from here on are complete, and those before are out. None where the
    group has no offset."""


def resumption(selection: Selection) -> Resumption:
    """Where to go on after the group's offsets.

    They were committed when every result that began before them was done. Partition p was committed when everything
    was read up to its watermark w(p) and further. So what began before the greatest of these is out; and each partition
    begins its warm-up before its own.

    Raises:
        ConnectorError: there was no answer, or a topic is not there.
    """
    consumer = selection.connect()
    try:
        partitions = unknown_partitions(find(consumer, selection), {})
        held = committed(consumer, partitions, _TIMEOUT_S)
        said = _said(consumer, held)
        offsets = _warmed(consumer, held, selection.warm_up_ms)
    finally:
        consumer.close()
    reached = [words.time if words.event is None else words.event for words in said.values()]
    return Resumption(offsets, max(reached) * 1000 if reached else None)
