"""Which partitions are read, and where each begins and ends: asked of the cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

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
from thingbeam.io.kafka.commit import Words, read_words
from thingbeam.io.kafka.config import KafkaConfig
from thingbeam.io.kafka.errors import TopicMissingError
from thingbeam.io.kafka.positions import Position
from thingbeam.io.kafka.records import ENDLESS, KafkaPartition
from thingbeam.io.kafka.topics import TopicIds, recreated

__all__ = ["Resumption", "Selection", "Topic", "beginnings", "find", "plan", "resumption", "select", "start_of",
           "topic_ids", "unknown_partitions"]  # fmt: skip

_TIMEOUT_S: Final = 30.0
_SOON_S: Final = 5.0
"""Where another question follows anyhow. A checkpoint waits for it."""


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
    on_deleted: Literal["fail", "end"] = "fail"

    def connect(self) -> Consumer:
        """A consumer for questions."""
        return connect(self.config, self.settings())

    def settings(self) -> dict[str, Any]:
        """A consumer's. Reads secrets."""
        return self.config.reading_settings(self.group, read_committed=self.read_committed)


class Topic(NamedTuple):
    """A topic that is meant."""

    partitions: int
    topic_id: str = ""
    """Empty where the broker gives none."""


def select(
    counts: Mapping[str, int], topics: Sequence[str], pattern: str | None, *, all_of_them: bool = True
) -> dict[str, int]:
    """Of all topics those that are meant, with the number of their partitions.

    Args:
        counts: all topics.
        topics: those that are meant, by name; empty where there is a pattern.
        pattern: that the whole name must match.
        all_of_them: whether one that is named has to be there.

    Raises:
        TopicMissingError: one that is named is not there; the message lists what there is.

    >>> select({"events-eu": 2, "events-us": 1, "other": 1}, (), "events-.*")
    {'events-eu': 2, 'events-us': 1}
    """
    if pattern is not None:
        matches = re.compile(pattern).fullmatch
        return {name: count for name, count in counts.items() if matches(name)}
    missing = [topic for topic in topics if topic not in counts]
    if missing and all_of_them:
        known = ", ".join(sorted(counts)[:20]) or "none"
        raise TopicMissingError(f"no topic {', '.join(missing)}; the cluster has: {known}")
    return {topic: counts[topic] for topic in topics if topic in counts}


def unknown_partitions(found: Mapping[str, Topic], known: Mapping[str, Topic]) -> list[Partition]:
    """The partitions that are new. A topic's partitions only ever become more; all are new where it was made anew.

    >>> unknown_partitions({"a": Topic(3), "b": Topic(1)}, {"a": Topic(2)})
    [('a', 2), ('b', 0)]
    >>> unknown_partitions({"a": Topic(2, "new")}, {"a": Topic(2, "old")})
    [('a', 0), ('a', 1)]
    """
    new: list[Partition] = []
    for topic, (count, topic_id) in found.items():
        before = known.get(topic, Topic(0))
        first = 0 if recreated(topic, before.topic_id, topic_id) else before.partitions
        new += [(topic, number) for number in range(first, count)]
    return new


def start_of(
    position: Position,
    partitions: Sequence[Partition],
    consumer: Consumer,
    selection: Selection,
    ids: Mapping[str, str],
) -> dict[Partition, int]:
    """The offset at which each partition begins.

    Args:
        position: where to begin.
        partitions: which.
        consumer: any of the group's.
        selection: what is read.
        ids: of the topics.
    """
    if position.kind == "earliest":
        return offsets_at(consumer, partitions, BEGINNING, _TIMEOUT_S)
    if position.kind == "latest":
        return offsets_at(consumer, partitions, END, _TIMEOUT_S)
    if position.kind == "time":
        return _at_time(consumer, partitions, position.millis)
    held, renewed = _held(consumer, partitions, selection, ids)
    others = [p for p in partitions if p not in held and p not in renewed]
    starts = start_of(selection.otherwise, others, consumer, selection, ids) | renewed
    found = {partition: offset for partition, (offset, _) in held.items()}
    if selection.warm_up_ms:
        found = _warmed(consumer, held, _said(consumer, held), selection.warm_up_ms)
    return starts | found


def _held(
    consumer: Consumer, partitions: Sequence[Partition], selection: Selection, ids: Mapping[str, str]
) -> tuple[dict[Partition, tuple[int, str]], dict[Partition, int]]:
    """The group's offsets, and the beginnings of those partitions whose topic was made anew since.

    A broker forgets a group's offsets with the topic; what was committed before anybody noticed says which topic's
    it is.

    Raises:
        TopicRecreatedError: there is such a partition, and that is to be an error.
    """
    held = committed(consumer, partitions, _TIMEOUT_S)
    renewed: list[Partition] = []
    for partition, (_, words) in held.items():
        said = read_words(words)
        error = recreated(partition[0], said.topic_id if said else "", ids.get(partition[0], ""))
        if error is None:
            continue
        if selection.on_deleted == "fail":
            raise error
        LOGGER.warning("%s", error)
        renewed.append(partition)
    return (
        {partition: offset for partition, offset in held.items() if partition not in renewed},
        offsets_at(consumer, renewed, BEGINNING, _TIMEOUT_S),
    )


def _at_time(consumer: Consumer, partitions: Sequence[Partition], millis: int) -> dict[Partition, int]:
    found = offsets_at(consumer, partitions, millis, _TIMEOUT_S)
    none = [partition for partition, offset in found.items() if offset < 0]
    return found | offsets_at(consumer, none, END, _TIMEOUT_S)


def _warmed(
    consumer: Consumer, held: Mapping[Partition, tuple[int, str]], said: Mapping[Partition, Words], warm_up_ms: int
) -> dict[Partition, int]:
    """Committed offsets, taken back by a length of the records' own time.

    From the earlier of that and of the event time there: an event may be older than its record, never younger.
    """
    starts: dict[Partition, int] = {}
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


def find(consumer: Consumer, ids: TopicIds, selection: Selection, *, first: bool = True) -> dict[str, Topic]:
    """The topics that are meant.

    Args:
        consumer: any.
        ids: where to ask for ids.
        selection: what is read.
        first: whether all that are named have to be there; later on `on_deleted` says.

    Raises:
        ConnectorError: there was no answer, or a topic is not there.
    """
    if not first:
        # Asked every second: only of those that are meant, where all are there.
        told = ids.describe(selection.topics)
        if told and all(count for count, _ in told.values()):
            return {topic: Topic(*told[topic]) for topic in selection.topics}
    found = select(
        partition_counts(consumer, _TIMEOUT_S if first else _SOON_S), selection.topics, selection.pattern,
        all_of_them=first or selection.on_deleted == "fail",
    )  # fmt: skip
    known = ids.ask(found)
    return {topic: Topic(count, known.get(topic, "")) for topic, count in found.items()}


def plan(
    consumer: Consumer, partitions: Sequence[Partition], selection: Selection, ids: Mapping[str, str], *, first: bool
) -> list[KafkaPartition]:
    """Partitions with their offsets. One that appears later is read from its beginning: all of it is new."""
    start = selection.start if first else Position("earliest")
    given = {partition: offset for partition, offset in selection.offsets if partition in set(partitions)}
    starts = start_of(start, [each for each in partitions if each not in given], consumer, selection, ids) | given
    stops = dict.fromkeys(partitions, ENDLESS)
    if selection.stop is not None:
        stops = offsets_at(consumer, partitions, END, _TIMEOUT_S)
        if selection.stop.kind == "time":
            # Create times are out of order: a message of before the stop may stand behind one of after it.
            until = selection.stop.millis + -(-selection.out_of_orderness // 1000)
            found = offsets_at(consumer, partitions, until, _TIMEOUT_S)
            stops |= {partition: offset for partition, offset in found.items() if offset >= 0}
    return [
        KafkaPartition(topic, number, starts[topic, number], stops[topic, number], ids.get(topic) or None)
        for topic, number in partitions
    ]


def beginnings(selection: Selection) -> list[KafkaPartition]:
    """Where each partition that there is now would begin.

    Raises:
        ConnectorError: there was no answer, or a topic is not there.
    """
    consumer = selection.connect()
    try:
        found = find(consumer, TopicIds(selection.settings), selection)
        ids = {topic: each.topic_id for topic, each in found.items()}
        return plan(consumer, unknown_partitions(found, {}), selection, ids, first=True)
    finally:
        consumer.close()


def topic_ids(selection: Selection) -> dict[str, str]:
    """The ids of the topics that there are now, without those of which the broker gives none.

    Raises:
        ConnectorError: there was no answer, or a topic is not there.
    """
    consumer = selection.connect()
    try:
        found = find(consumer, TopicIds(selection.settings), selection)
    finally:
        consumer.close()
    return {topic: each.topic_id for topic, each in found.items() if each.topic_id}


class Resumption(NamedTuple):
    """Where a run that keeps nothing goes on."""

    offsets: dict[Partition, int]
    """Of the partitions of which the group has an offset, the warm-up before it; the beginning, where the topic was
    made anew since."""
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
        found = find(consumer, TopicIds(selection.settings), selection)
        ids = {topic: each.topic_id for topic, each in found.items()}
        held, renewed = _held(consumer, unknown_partitions(found, {}), selection, ids)
        said = _said(consumer, held)
        offsets = _warmed(consumer, held, said, selection.warm_up_ms) | renewed
    finally:
        consumer.close()
    reached = [words.time if words.event is None else words.event for words in said.values()]
    return Resumption(offsets, max(reached) * 1000 if reached else None)
