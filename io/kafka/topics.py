"""The ids of topics: a topic that is deleted and made again under its name has another, and its offsets begin anew.

Brokers give them since Kafka 2.8 (https://cwiki.apache.org/confluence/display/KAFKA/KIP-516). The client reads
by name and goes on in the new topic at the old offset without a word, so that they are compared here.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from thingbeam.io.kafka.clients import LOGGER, failure_of
from thingbeam.io.kafka.errors import TopicRecreatedError

__all__ = ["TopicIds", "recreated"]

_EVERY_S: Final = 5.0
_TIMEOUT_S: Final = 5.0
_SILENT: Final = frozenset({KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN})


class TopicIds:
    """The ids that topics have now, as text; empty where the broker gives none.

    Args:
        settings: makes a client's settings; reads secrets.
    """

    def __init__(self, settings: Callable[[], dict[str, Any]]) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None
        self._found: dict[str, str] = {}
        self._wanted: set[str] = set()
        self._asked: Mapping[str, Future[Any]] = {}
        self._next = 0.0
        self._questions = itertools.count()
        self._question = 0
        self._newest: dict[str, int] = {}

    def ask(self, topics: Collection[str], timeout: float = _TIMEOUT_S) -> dict[str, str]:
        """The ids of these, asked now.

        Raises:
            ConnectorError: there was no answer.
        """
        return {topic: topic_id for topic, (_, topic_id) in self.describe(topics, timeout).items()}

    def describe(self, topics: Collection[str], timeout: float = _TIMEOUT_S) -> dict[str, tuple[int, str]]:
        """Of each of these how many partitions it has, 0 where it is not there, and its id; asked now.

        Raises:
            ConnectorError: there was no answer.
        """
        if not topics:
            return {}
        question, answers = next(self._questions), self._describe(topics, timeout)
        found: dict[str, tuple[int, str]] = {}
        for topic, answer in answers.items():
            try:
                found[topic] = _described(answer, timeout)
            except (KafkaException, TimeoutError) as error:
                raise _failure(error, topic) from error
        with self._lock:
            for topic in self._wanted.intersection(found):
                self._take(topic, found[topic][1], question)
        return found

    def last(self, topic: str, wait: float = 0.0) -> str | None:
        """The id as it was last told, a few seconds ago at most where the broker answers; None before its first answer.

        Asks in the background: a bundle is not held up.

        Args:
            topic: which.
            wait: how long the first answer is waited for, in seconds.
        """
        with self._lock:
            self._wanted.add(topic)
            if not self._asked and (time.monotonic() >= self._next or topic not in self._found):
                self._question, self._asked = next(self._questions), self._describe(self._wanted, _TIMEOUT_S)
            patience = wait if topic not in self._found else 0.0
            until = time.monotonic() + patience
            while self._asked and not all(answer.done() for answer in self._asked.values()):
                if time.monotonic() >= until:
                    return self._found.get(topic)
                time.sleep(0.005)
            self._hear()
            return self._found.get(topic)

    def _hear(self) -> None:
        if not self._asked:
            return
        for topic, answer in self._asked.items():
            try:
                self._take(topic, _described(answer, 0)[1], self._question)
            except (KafkaException, TimeoutError) as error:
                LOGGER.warning("%s", _failure(error, topic))
        self._asked, self._next = {}, time.monotonic() + _EVERY_S

    def _take(self, topic: str, found: str, question: int) -> None:
        """Keeps an answer, unless a later question has been answered: that one knows of a topic made anew meanwhile."""
        if question >= self._newest.get(topic, 0):
            self._found[topic], self._newest[topic] = found, question

    def _describe(self, topics: Collection[str], timeout: float) -> Mapping[str, Future[Any]]:
        if self._admin is None:
            # An admin client takes a consumer's settings, but says of each that it has no use for it.
            settings = {name: value for name, value in self._settings().items() if name not in _CONSUMERS}
            self._admin = AdminClient(settings, logger=LOGGER)
        # With a token callback the client has no token before it was polled.
        self._admin.poll(0)
        answers: Mapping[str, Future[Any]] = self._admin.describe_topics(
            TopicCollection(sorted(topics)), request_timeout=timeout
        )
        return answers


_CONSUMERS: Final = frozenset(
    {
        "queued.max.messages.kbytes", "queued.min.messages", "fetch.queue.backoff.ms", "fetch.wait.max.ms",
        "fetch.min.bytes", "fetch.max.bytes", "max.partition.fetch.bytes", "fetch.message.max.bytes", "check.crcs",
        "group.id", "group.instance.id", "enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset",
        "enable.partition.eof", "isolation.level", "max.poll.interval.ms", "session.timeout.ms",
    }
)  # fmt: skip


def recreated(topic: str, was: str, now: str) -> TopicRecreatedError | None:
    """What is wrong where a topic's id was another; None where it was not, or one of the two is not known.

    >>> recreated("events", "a", "a"), recreated("events", "", "b")
    (None, None)
    """
    if not was or not now or was == now:
        return None
    return TopicRecreatedError(
        f"topic {topic} was deleted and made again (its id is {now} and was {was}): offsets from before mean nothing "
        'in it; on_deleted="end" lets the old one end and reads the new one from its beginning'
    )


def _described(answer: Future[Any], timeout: float) -> tuple[int, str]:
    """Partitions and id: 0 where there is no such topic, empty where the broker has no ids."""
    try:
        found = answer.result(timeout + 1)
    except KafkaException as error:
        if error.args[0].code() in _SILENT:
            raise
        return 0, ""
    bits = found.topic_id.get_most_significant_bits(), found.topic_id.get_least_significant_bits()
    return len(found.partitions), str(found.topic_id) if any(bits) else ""


def _failure(error: KafkaException | TimeoutError, topic: str) -> Exception:
    cause = error.args[0] if isinstance(error, KafkaException) else KafkaError(KafkaError._TIMED_OUT)
    return failure_of(cause, f"asking for the id of topic {topic}")
