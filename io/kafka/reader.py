"""One partition's messages, from an offset on, through a consumer of its own that lives as long as the worker reads it.

A client costs some threads and a few round trips, and holds what it fetched ahead. So it is kept between the bundles of
a partition, and given up when none has come for a minute: the partition is then another worker's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from thingbeam.io.errors import ConnectorError
from thingbeam.io.kafka.clients import (
    BEGINNING,
    END,
    LOGGER,
    failure_of,
    make_consumer,
    offsets_at,
    partition_counts,
)  # fmt: skip
from thingbeam.io.kafka.ends import Ends
from thingbeam.io.kafka.errors import GapError, TopicMissingError
from thingbeam.io.kafka.messages import Messages
from thingbeam.io.kafka.spans import Span
from thingbeam.io.kafka.topics import TopicIds, recreated
from thingbeam.io.watermark import LeastWatermark, PartitionWatermark

__all__ = ["PartitionReader", "Readers"]

_IDLE_S: Final = 60.0
_QUERY_S: Final = 5.0
_FIRST_ID_S: Final = 0.5
_TOGETHER: Final = 500
"""Messages that the client is asked for at once: see Messages."""
_FATAL: Final = frozenset(
    {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError._FATAL}
)
_MISSING: Final = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)

Gap = Literal["fail", "skip"]

_error: Final[Any] = Message.error


class PartitionReader:
    """Reads one partition.

    Attributes:
        position: the next offset.
        skipped: how many offsets were passed over since the last look, because they are gone.
        watermark: the partition's; the caller's to keep.
        topic_id: of the topic that is read; empty where it is not known.
        recognised: whether it is known that the topic is still that one.
    """

    def __init__(
        self, consumer: Consumer, ends: Ends, ids: TopicIds, topic: str, partition: int, topic_id: str, on_gap: Gap
    ) -> None:
        self.topic, self.partition, self.topic_id = topic, partition, topic_id
        self.recognised = False
        self.position = -1
        self.skipped = 0
        self.watermark: PartitionWatermark | None = None
        self.bucket = 0.0
        self.bucket_at = time.monotonic()
        self._consumer = consumer
        self._on_gap = on_gap
        self._ends = ends
        self._ids = ids
        self._end = -1
        self._mean_bytes = 512.0
        self._failure: ConnectorError | None = None

    def seek(self, offset: int) -> None:
        """Go on at an offset: nothing to do where it stands there."""
        if offset == self.position:
            return
        self.position = offset
        self._end = -1
        self._consumer.assign([TopicPartition(self.topic, self.partition, offset)])

    def recognise(self) -> bool:
        """Whether the topic is still the one that the offsets are of. Where no broker has said so yet, nothing is read.

        Takes the id over where none was known.

        Raises:
            TopicRecreatedError: it is another of the same name.
        """
        found = self._ids.last(self.topic, 0.0 if self.recognised else _FIRST_ID_S)
        if recreated(self.topic, self.topic_id, found or ""):
            # What was told some seconds ago may be of the topic before this one.
            try:
                found = self._ids.ask([self.topic])[self.topic]
            except ConnectorError as error:
                LOGGER.warning("%s", error)
                return False
        self._compare(found)
        return self.recognised

    def _compare(self, found: str | None) -> None:
        if found is None:
            return
        error = recreated(self.topic, self.topic_id, found)
        if error is not None:
            raise error
        self.topic_id = self.topic_id or found
        self.recognised = True

    @property
    def behind(self) -> bool:
        """Whether the broker has more than was read, or has not yet been heard."""
        return self._end < self.position and (self._known_high() < 0 or self.lag > 0)

    @property
    def lag(self) -> int:
        """Messages behind, of which the client knows; control records of transactions count."""
        return max(0, self._known_high() - self.position)

    def _known_high(self) -> int:
        _, high = self._consumer.get_watermark_offsets(TopicPartition(self.topic, self.partition), cached=True)
        return max(high, self._ends.end((self.topic, self.partition)))

    def most(self, nbytes: int, records: int) -> int:
        """How many messages of the size that they have here make up so many bytes; at most `records`."""
        return max(1, min(records, int(nbytes / self._mean_bytes)))

    def read(self, most: int, wait: float) -> Messages:
        """The next messages, at most so many, in order; few or none where no more came within `wait` seconds.

        Raises:
            GapError: the position is out of range, and so it was to be.
            ConnectorError: the topic is gone, or we may not read it.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        found = Messages()
        while len(found) < most:
            messages = self._consumer.consume(min(most - len(found), _TOGETHER), 0.0)
            if not messages and wait and not len(found):
                # Asked for many, the client would wait for all of them.
                messages, wait = self._consumer.consume(1, wait), 0.0
            if not messages:
                break
            errors = [message for message in messages if message.error()] if any(map(_error, messages)) else []
            good = [message for message in messages if message.error() is None] if errors else messages
            if good:
                self.position = int(good[-1].offset() or 0) + 1
                found.add(good)
            try:
                for message in errors:
                    self._hear(message)
            except ConnectorError as error:
                if not len(found):
                    raise
                # What came before it is given first.
                self._failure = error
            if errors:
                break
        if len(found):
            size = found.nbytes / len(found)
            self._mean_bytes = max(1.0, 0.8 * self._mean_bytes + 0.2 * size, size if size > self._mean_bytes else 0.0)
        return found

    def confirm_end(self) -> float | None:
        """When, in seconds since 1970, the broker was asked and had nothing more than what was read.

        None where it had more, or did not answer.

        Raises:
            TopicMissingError: the topic was deleted.
        """
        return self._ends.confirmed((self.topic, self.partition), self.position)

    def close(self) -> None:
        """Let the connection go."""
        self._ends.forget((self.topic, self.partition))
        self._consumer.close()

    def _hear(self, message: Message) -> None:
        error, offset = message.error() or KafkaError(KafkaError.NO_ERROR), int(message.offset() or 0)
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            # Past the control records of transactions, which are no messages.
            self.position = max(self.position, offset)
            self._end = self.position
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._pass_gap()
        elif code in _MISSING:
            self._check_topic()
        elif code in _FATAL:
            raise failure_of(error, f"{self.topic}[{self.partition}]")
        else:
            LOGGER.warning("%s[%d]: %s", self.topic, self.partition, error.str())

    def _pass_gap(self) -> None:
        self._compare(self._ids.ask([self.topic])[self.topic])
        partition = (self.topic, self.partition)
        low = offsets_at(self._consumer, [partition], BEGINNING, _QUERY_S)[partition]
        high = offsets_at(self._consumer, [partition], END, _QUERY_S)[partition]
        if low <= self.position <= high:
            self._assign_again()
            return
        what = (
            f"{low - self.position} offsets are gone: retention was shorter than the lag"
            if self.position < low
            else "the log was cut, or the topic made anew"
        )
        message = f"{self.topic}[{self.partition}]: offset {self.position} is outside {low} to {high}: {what}"
        if self._on_gap == "fail":
            raise GapError(f'{message}; on_gap="skip" goes on at the nearest that is there, and counts what is lost')
        LOGGER.error("%s; going on at the nearest", message)
        if self.position < low:
            self.skipped += low - self.position
        self.position = low if self.position < low else high
        self._assign_again()

    def _assign_again(self) -> None:
        self._end = -1
        self._consumer.assign([TopicPartition(self.topic, self.partition, self.position)])

    def _check_topic(self) -> None:
        """The client says "unknown" also while a leader is being chosen: the cluster knows."""
        counts = partition_counts(self._consumer, _QUERY_S)
        if counts.get(self.topic, 0) <= self.partition:
            raise TopicMissingError(f"{self.topic}[{self.partition}]: the topic was deleted while it was read")


@dataclass
class _Shelf:
    """The readers of one source of a pipeline, in this process."""

    ends: Ends
    ids: TopicIds
    least: LeastWatermark = field(default_factory=LeastWatermark)
    users: int = 0
    waiting: dict[tuple[str, int, str], tuple[float, PartitionReader]] = field(default_factory=dict)


_shelves: dict[str, _Shelf] = {}
_lock: Final = threading.Lock()


class Readers:
    """The readers that a DoFn and its copies in this process share: a bundle takes one out and puts it back.

    Args:
        token: names the source of one pipeline.
        settings: makes a consumer's settings; reads secrets.
        on_gap: see PartitionReader.
    """

    def __init__(self, token: str, settings: Callable[[], dict[str, Any]], on_gap: Gap) -> None:
        self._token = token
        self._settings = settings
        self._on_gap: Gap = on_gap
        with _lock:
            _shelves.setdefault(token, _Shelf(Ends(settings), TopicIds(settings))).users += 1

    def take(self, topic: str, partition: int, span: Span) -> PartitionReader:
        """A reader that stands at the beginning of a span."""
        offset = span.start
        with _lock:
            shelf = _shelves[self._token]
            found = shelf.waiting.pop((topic, partition, span.topic_id), None)
            limit = time.monotonic() - _IDLE_S
            old = [key for key, (since, _) in shelf.waiting.items() if since < limit]
            stale = [shelf.waiting.pop(key)[1] for key in old]
        for reader in stale:
            reader.close()
        if found is None:
            consumer, _ = make_consumer(self._settings())
            # What was heard of a topic that had this name before is not of this one.
            shelf.ends.forget((topic, partition))
            reader = PartitionReader(
                consumer, shelf.ends, shelf.ids, topic, partition, span.topic_id, self._on_gap
            )  # fmt: skip
        else:
            reader = found[1]
        if reader.position != offset:
            reader.watermark = None
        reader.seek(offset)
        return reader

    def put_back(self, reader: PartitionReader) -> None:
        """Keep it for the partition's next bundle."""
        with _lock:
            shelf = _shelves.get(self._token)
            replaced = None
            if shelf is not None:
                key = (reader.topic, reader.partition, reader.topic_id)
                replaced = shelf.waiting.pop(key, None)
                shelf.waiting[key] = (time.monotonic(), reader)
        if shelf is None:
            reader.close()
        if replaced is not None:
            replaced[1].close()

    def least(self) -> LeastWatermark:
        """Of the partitions that this process reads."""
        with _lock:
            return _shelves[self._token].least

    def close(self) -> bool:
        """One user less; the last closes all, and is told so."""
        with _lock:
            shelf = _shelves[self._token]
            shelf.users -= 1
            if shelf.users:
                return False
            del _shelves[self._token]
        for _, reader in shelf.waiting.values():
            reader.close()
        shelf.ends.close()
        return True
