"""How far a group is behind: per partition, in records and in seconds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from confluent_kafka import KafkaException

from thingbeam.io.kafka.clients import (
    BEGINNING,
    END,
    Partition,
    committed,
    connect,
    failure_of,
    first_record_times,
    offsets_at,
    partition_counts,
)  # fmt: skip
from thingbeam.io.kafka.config import KafkaConfig
from thingbeam.io.kafka.errors import TopicMissingError

__all__ = ["PartitionLag", "lag"]

_TIMEOUT_S: Final = 30.0


class PartitionLag(NamedTuple):
    """How far a group is behind in one partition."""

    topic: str
    partition: int
    committed: int | None
    """The next offset of the group; None where it has none."""
    end: int
    """The offset that the next message will have."""
    records: int
    """Offsets from the committed one (else from the beginning) to the end. Control records of transactions count."""
    seconds: float
    """How long ago the first record that is not done was written, by its own time; 0 where there is none."""
    lost: int = 0
    """Offsets that are gone before the group came to them."""


def lag(config: KafkaConfig | str, group: str, topics: Sequence[str] | None = None) -> list[PartitionLag]:
    """The lag of a group, partition by partition.

    The offsets are those that the group committed. `ReadFromKafka` commits when the runner finalises a bundle, so what
    is underway counts as behind.

    Args:
        config: the cluster, or its servers.
        group: whose.
        topics: which; None for all of which the group has an offset.

    Raises:
        UnreachableError: no answer.
        AuthenticationError: we were refused.
        TopicMissingError: there is no such topic.
    """
    config = KafkaConfig(config) if isinstance(config, str) else config
    # All of a topic, also what is in open transactions: behind is behind.
    consumer = connect(config, config.reading_settings(group, read_committed=False))
    try:
        counts = partition_counts(consumer, _TIMEOUT_S)
        missing = [topic for topic in topics or () if topic not in counts]
        if missing:
            raise TopicMissingError(f"no topic {', '.join(missing)}")
        wanted = counts if topics is None else {topic: counts[topic] for topic in topics}
        partitions: list[Partition] = [(topic, n) for topic, count in sorted(wanted.items()) for n in range(count)]
        held = {partition: offset for partition, (offset, _) in committed(consumer, partitions, _TIMEOUT_S).items()}
        if topics is None:
            known = {topic for topic, _ in held}
            partitions = [partition for partition in partitions if partition[0] in known]
        begins = offsets_at(consumer, partitions, BEGINNING, _TIMEOUT_S)
        ends = offsets_at(consumer, partitions, END, _TIMEOUT_S)
        now = time.time()
        nexts = {p: max(begins[p], min(held.get(p, begins[p]), ends[p])) for p in partitions}
        behind = [(partition, offset) for partition, offset in nexts.items() if offset < ends[partition]]
        times = first_record_times(consumer, behind, _TIMEOUT_S) if behind else {}
        return [
            PartitionLag(
                *partition,
                held.get(partition),
                ends[partition],
                ends[partition] - nexts[partition],
                max(0.0, now - times[partition] / 1000) if partition in times else 0.0,
                max(0, begins[partition] - held.get(partition, begins[partition])),
            )
            for partition in partitions
        ]
    except KafkaException as error:
        raise failure_of(error.args[0], config.servers) from error
    finally:
        consumer.close()
