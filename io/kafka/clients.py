"""Clients of confluent-kafka, and the questions that all parts ask a cluster, with errors for a person."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from thingbeam.io.kafka.config import KafkaConfig
from thingbeam.io.kafka.errors import AuthenticationError, ConnectorError, TopicMissingError, UnreachableError

__all__ = [
    "BEGINNING", "END", "LOGGER", "Health", "Partition", "committed", "connect", "failure_of", "first_record_times",
    "make_consumer", "offsets_at", "partition_counts",
]  # fmt: skip

LOGGER: Final = logging.getLogger("thingbeam.kafka")

T = TypeVar("T")
Partition = tuple[str, int]
BEGINNING: Final = -2
END: Final = -1
"""In place of a time in ListOffsets: https://kafka.apache.org/protocol#The_Messages_ListOffsets"""

_REFUSALS: Final = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
_MISSING: Final = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)
# A broker that has just begun, or just taken over.
_PASSING: Final = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError._WAIT_COORD,
        KafkaError._TRANSPORT,
    }
)
_SLICE_S: Final = 1.0
_AGAIN_S: Final = 0.2


class Health:
    """What the client's own threads said of the connection, and the last refusal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.last: KafkaError | None = None
        self.refusal: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """The client's error_cb."""
        with self._lock:
            # That all brokers are down says less than why.
            if error.code() != KafkaError._ALL_BROKERS_DOWN or self.last is None:
                self.last = error
            if error.code() in _REFUSALS:
                self.refusal = error


def make_consumer(settings: dict[str, Any]) -> tuple[Consumer, Health]:
    """A consumer that logs to ours, and what it says of its connection.

    Raises:
        ValueError: a setting that librdkafka does not know, or a value that it does not take.
    """
    health = Health()
    try:
        # The logger goes beside the settings: inside them it would be taken for one.
        return Consumer({**settings, "error_cb": health}, logger=LOGGER), health
    except KafkaException as error:
        raise ValueError(f"Kafka settings: {error.args[0].str()}") from error


def failure_of(error: KafkaError, what: str) -> ConnectorError:
    """An error of the client's as one of ours."""
    if error.code() in _REFUSALS:
        return AuthenticationError(f"{what}: refused: {error.str()}")
    if error.code() in _MISSING:
        return TopicMissingError(f"{what}: no such topic or partition")
    return UnreachableError(f"{what}: {error.str()}")


def connect(config: KafkaConfig, settings: dict[str, Any]) -> Consumer:
    """A consumer that has heard from its cluster.

    Raises:
        AuthenticationError: it was refused.
        UnreachableError: no answer within the configuration's connect_timeout.
        ValueError: a setting that librdkafka does not take.
    """
    consumer, health = make_consumer(settings)
    until = time.monotonic() + config.connect_timeout
    try:
        while True:
            try:
                # With a token callback the client has no token before it was polled.
                consumer.poll(0)
                consumer.list_topics(timeout=max(0.01, min(_SLICE_S, until - time.monotonic())))
                return consumer
            except KafkaException as error:
                consumer.poll(0)
                if health.refusal is not None:
                    raise failure_of(health.refusal, config.servers) from error
                if time.monotonic() >= until:
                    said = (health.last or error.args[0]).str()
                    raise UnreachableError(
                        f"{config.servers}: no answer in {config.connect_timeout:g} s: {said}"
                    ) from error
    except BaseException:
        consumer.close()
        raise


def partition_counts(consumer: Consumer, timeout: float) -> dict[str, int]:
    """Every topic with the number of its partitions; those of the broker itself (`__…`) left out.

    Raises:
        ConnectorError: there was no answer.
    """
    topics = _ask(lambda left: consumer.list_topics(timeout=left), "listing topics", timeout).topics
    return {
        name: len(about.partitions)
        for name, about in topics.items()
        if about.error is None and not name.startswith("__")
    }


def offsets_at(
    consumer: Consumer, partitions: Sequence[Partition], millis: int, timeout: float
) -> dict[Partition, int]:
    """For each partition the offset of the first message at that time or after, END where there is none such.

    Args:
        consumer: any.
        partitions: which.
        millis: since 1970; or BEGINNING, END.
        timeout: in seconds.

    Raises:
        ConnectorError: there was no answer, or no such partition.
    """
    if not partitions:
        return {}
    asked = [TopicPartition(topic, partition, millis) for topic, partition in partitions]
    answers = _ask(lambda left: consumer.offsets_for_times(asked, left), _names(partitions), timeout)
    for answer in answers:
        if answer.error is not None:
            raise failure_of(answer.error, f"{answer.topic}[{answer.partition}]")
    return {(answer.topic, answer.partition): answer.offset for answer in answers}


def committed(consumer: Consumer, partitions: Sequence[Partition], timeout: float) -> dict[Partition, tuple[int, str]]:
    """For each partition of which the consumer's group has an offset: that offset, and the words beside it.

    Raises:
        ConnectorError: there was no answer.
    """
    asked = [TopicPartition(*partition) for partition in partitions]
    answers = _ask(lambda left: consumer.committed(asked, left), "asking for the group's offsets", timeout)
    failed = next((answer.error for answer in answers if answer.error is not None), None)
    if failed is not None:
        # To take a partition for one without an offset would begin somewhere else.
        raise failure_of(failed, "asking for the group's offsets")
    return {(a.topic, a.partition): (a.offset, a.metadata or "") for a in answers if a.offset >= 0}


def first_record_times(
    consumer: Consumer, positions: Iterable[tuple[Partition, int]], timeout: float
) -> dict[Partition, int]:
    """The time, in milliseconds since 1970, of the first message at or after each position; none where none came.

    Takes over the consumer's assignment, and gives it up afterwards.
    """
    asked = dict(positions)
    found: dict[Partition, int] = {}
    until = time.monotonic() + timeout
    waited = set(asked)
    consumer.assign([TopicPartition(*partition, offset) for partition, offset in asked.items()])
    try:
        while waited and time.monotonic() < until:
            for message in consumer.consume(100, 0.1):
                error = message.error()
                partition = (str(message.topic()), int(message.partition() or 0))
                if error is None:
                    found.setdefault(partition, int(message.timestamp()[1]))
                ended = error is None or error.code() == KafkaError._PARTITION_EOF
                if ended and partition in waited:
                    waited.discard(partition)
                    consumer.pause([TopicPartition(*partition)])
    finally:
        consumer.unassign()
    return found


def _ask(question: Callable[[float], T], what: str, timeout: float) -> T:
    """The answer; asked again while the cluster is only changing."""
    until = time.monotonic() + timeout
    while True:
        try:
            return question(max(_AGAIN_S, until - time.monotonic()))
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or time.monotonic() + _AGAIN_S >= until:
                raise failure_of(error.args[0], what) from error
            time.sleep(_AGAIN_S)


def _names(partitions: Sequence[Partition]) -> str:
    return ", ".join(sorted({topic for topic, _ in partitions}))
