"""Where partitions end, asked of the broker for all of a worker's partitions together.

Not through the consumers that read: a broker answers a connection in order, so a question there waits behind the fetch
that waits for messages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import Consumer

from thingbeam.io.kafka.clients import END, LOGGER, Partition, make_consumer, offsets_at, partition_counts
from thingbeam.io.kafka.errors import ConnectorError, TopicMissingError

__all__ = ["Ends"]

_EVERY_S: Final = 1.0
_AFTER_FAILURE_S: Final = 5.0
_TIMEOUT_S: Final = 1.0


class Ends:
    """The ends of the partitions that were asked about.

    Args:
        settings: makes a consumer's settings; reads secrets. What open transactions wrote counts, so that a partition
            does not seem silent while one is open.
    """

    def __init__(self, settings: Callable[[], dict[str, Any]]) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None
        self._ends: dict[Partition, int] = {}
        self._missing: set[Partition] = set()
        self._answered = 0.0
        self._next = 0.0

    def end(self, partition: Partition) -> int:
        """The end as it was last told; -1 where it was not."""
        return self._ends.get(partition, -1)

    def confirmed(self, partition: Partition, position: int) -> float | None:
        """When, in seconds since 1970, the broker was last asked, if the partition ended at this position then.

        None where it had more, or did not answer. Asks once a second at most.

        Raises:
            TopicMissingError: it is not there any more.
        """
        with self._lock:
            self._ends.setdefault(partition, -1)
            if time.monotonic() >= self._next:
                self._ask()
            if partition in self._missing:
                raise TopicMissingError(f"{partition[0]}[{partition[1]}]: the topic was deleted while it was read")
            return self._answered if 0 <= self._ends[partition] <= position and self._answered else None

    def forget(self, partition: Partition) -> None:
        """It is read no more by this worker."""
        with self._lock:
            self._ends.pop(partition, None)
            self._missing.discard(partition)

    def close(self) -> None:
        """Let the connection go."""
        if self._consumer is not None:
            self._consumer.close()

    def _ask(self) -> None:
        at = time.time()
        try:
            if self._consumer is None:
                self._consumer = make_consumer({**self._settings(), "isolation.level": "read_uncommitted"})[0]
            self._consumer.poll(0)
            asked = [partition for partition in self._ends if partition not in self._missing]
            try:
                self._ends |= offsets_at(self._consumer, asked, END, _TIMEOUT_S)
            except TopicMissingError:
                # One that is missing spoils the answer for all.
                counts = partition_counts(self._consumer, _TIMEOUT_S)
                self._missing |= {(topic, number) for topic, number in asked if counts.get(topic, 0) <= number}
            self._answered, self._next = at, time.monotonic() + _EVERY_S
        except ConnectorError as error:
            LOGGER.warning("asking where partitions end: %s", error)
            self._answered, self._next = 0.0, time.monotonic() + _AFTER_FAILURE_S
