"""A producer that answers for a whole bundle: all acknowledged, or refused one by one, or an error."""

from __future__ import annotations

import contextlib
import random
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from thingbeam.io.kafka.clients import LOGGER, Health, failure_of
from thingbeam.io.kafka.config import KafkaConfig
from thingbeam.io.kafka.errors import SendError, UnreachableError

__all__ = ["BundleProducer", "Outgoing", "Refused"]

_TOO_LARGE: Final = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_MSG_SIZE}
)
_ANY_PARTITION: Final = -1
_SLICE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 10.0
_LOG_EVERY_S: Final = 30.0


class Outgoing(NamedTuple):
    """A message on its way, as the client takes it."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: list[tuple[str, str | bytes | None]] | None = None
    millis: int = 0
    """0 for the time of writing."""


class Refused(NamedTuple):
    """A message that no retry will bring through."""

    message: Outgoing
    reason: str


class BundleProducer:
    """Sends the messages of one bundle after another.

    Guarantee: when `finish` returns, every message that was sent is acknowledged by all in-sync replicas, or is among
    what it returns. With a transaction, all of them are visible to readers of committed records at once, or none.

    Args:
        config: the cluster.
        transactional: the beginning of transactional ids; None for no transactions.
        timeout: how long one message is tried, in seconds.
        attempts: how often what failed is sent anew.
    """

    def __init__(self, config: KafkaConfig, transactional: str | None, timeout: float, attempts: int) -> None:
        self._config = config
        self._transactional = transactional
        self._timeout = timeout
        self._attempts = attempts
        self._health = Health()
        self._producer: Producer | None = None
        self._failed: list[tuple[KafkaError, Outgoing]] = []
        self._refused: list[Refused] = []
        self._sent: list[Outgoing] = []
        self._open = False

    def begin(self) -> None:
        """A new bundle. What one that failed left behind is given up.

        Raises:
            ConnectorError: the cluster does not answer, or refuses.
        """
        if self._failed or self._open:
            self.abandon()
        self._refused.clear()
        self._sent.clear()

    def check_topic(self, topic: str) -> None:
        """Ask whether a topic is there, before the first message.

        Raises:
            TopicMissingError: it is not.
            UnreachableError: no answer.
            AuthenticationError: we were refused.
        """
        until = time.monotonic() + self._config.connect_timeout
        while True:
            producer = self._ready()
            try:
                producer.poll(0)
                about = producer.list_topics(topic, timeout=max(0.01, min(_SLICE_S, until - time.monotonic())))
            except KafkaException as error:
                producer.poll(0)
                if self._health.refusal is not None:
                    raise failure_of(self._health.refusal, self._config.servers) from error
                if time.monotonic() >= until:
                    said = (self._health.last or error.args[0]).str()
                    raise UnreachableError(
                        f"{self._config.servers}: no answer in {self._config.connect_timeout:g} s: {said}"
                    ) from error
                continue
            problem = about.topics[topic].error
            if problem is None:
                return
            if not problem.retriable() or time.monotonic() >= until:
                raise failure_of(problem, f"topic {topic}")

    def send(self, message: Outgoing) -> None:
        """Give a message to the client. Waits while its queue is full.

        Raises:
            ConnectorError: a mistake that every message would meet.
        """
        if self._transactional is not None:
            if not self._open:
                self._begin_transaction()
            self._sent.append(message)
        self._produce(message)

    def send_all(self, topic: str, values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> None:
        """As `send` of each: thousands of messages without headers, several times faster.

        Raises:
            ConnectorError: a mistake that every message would meet.
        """
        if self._transactional is not None:
            for value, key in zip(values, keys, strict=True):
                self.send(Outgoing(topic, value, key))
            return
        produce, on_failure = self._ready().produce, self._on_failure
        for value, key in zip(values, keys, strict=True):
            try:
                produce(topic, value, key, _ANY_PARTITION, on_failure)
            except (BufferError, KafkaException):
                # It was not taken: the queue is full, or there is something wrong with it.
                self._produce(Outgoing(topic, value, key))

    def finish(self) -> list[Refused]:
        """Wait until all is acknowledged, and send anew what failed.

        Returns:
            The messages that are too large for the client or the topic.

        Raises:
            SendError: messages that were not acknowledged, after all attempts.
            ConnectorError: refused, or no such topic.
        """
        if self._transactional is not None:
            self._finish_transaction()
        else:
            self._finish()
        refused = list(self._refused)
        self._refused.clear()
        return refused

    def abandon(self) -> None:
        """Give up the client and what it has not sent."""
        producer, self._producer = self._producer, None
        self._failed.clear()
        opened, self._open = self._open, False
        if producer is None:
            return
        if opened:
            with contextlib.suppress(KafkaException):
                producer.abort_transaction(self._timeout)
        producer.purge()
        producer.flush(_SLICE_S)
        self._failed.clear()

    def _ready(self) -> Producer:
        if self._producer is None:
            settings: dict[str, Any] = self._config.writing_settings()
            settings["error_cb"] = self._health
            settings.setdefault("message.timeout.ms", round(self._timeout * 1000))
            if self._transactional is not None:
                # Workers have no name that outlives them, so each client takes a new id; see WriteToKafka.
                settings["transactional.id"] = f"{self._transactional}-{uuid.uuid4().hex}"
                settings.setdefault("transaction.timeout.ms", max(60_000, round(self._timeout * 1000)))
            try:
                self._producer = Producer(settings, logger=LOGGER)
            except KafkaException as error:
                raise ValueError(f"Kafka settings: {error.args[0].str()}") from error
            if self._transactional is not None:
                self._call(lambda: self._ready().init_transactions(_SLICE_S), "beginning transactions")
        return self._producer

    def _produce(self, message: Outgoing) -> None:
        producer = self._ready()
        topic, value, key, headers, millis = message
        while True:
            try:
                if headers:
                    producer.produce(topic, value, key, on_delivery=self._on_failure, timestamp=millis, headers=headers)
                else:
                    producer.produce(topic, value, key, on_delivery=self._on_failure, timestamp=millis)
                return
            except BufferError:
                producer.poll(0.1)
                self._check_refusal()
            except KafkaException as error:
                if error.args[0].code() in _TOO_LARGE:
                    self._refused.append(Refused(message, error.args[0].str()))
                    self._sent = [sent for sent in self._sent if sent is not message]
                    return
                raise failure_of(error.args[0], f"topic {topic}") from error

    def _on_failure(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            return
        _, millis = message.timestamp()
        outgoing = Outgoing(
            str(message.topic()), message.value(), message.key(), _pairs(message.headers()), max(0, millis)
        )
        self._failed.append((error, outgoing))

    def _finish(self) -> None:
        for attempt in range(self._attempts):
            self._flush()
            failed, self._failed = self._failed, []
            again = [(error, message) for error, message in failed if error.code() not in _TOO_LARGE]
            again += self._send_apart([(error, message) for error, message in failed if error.code() in _TOO_LARGE])
            if not again:
                return
            error = again[0][0]
            if attempt == self._attempts - 1 or not _may_pass(error):
                self.abandon()
                if not _may_pass(error):
                    raise failure_of(error, f"topic {again[0][1].topic}")
                raise SendError(f"{len(again)} messages were not acknowledged: {error.str()}")
            LOGGER.warning("%d messages were not acknowledged: %s; sending them anew", len(again), error.str())
            if error.fatal():
                self.abandon()
            time.sleep(_pause(attempt))
            for _, message in again:
                self._produce(message)

    def _send_apart(self, failed: list[tuple[KafkaError, Outgoing]]) -> list[tuple[KafkaError, Outgoing]]:
        """Send halves, and halves of those that fail, until it is known which messages are themselves too large.

        A broker refuses a whole batch, be it for one large message or since the topic takes smaller batches than the
        client makes. Returns what failed for another reason.
        """
        others: list[tuple[KafkaError, Outgoing]] = []
        middle = len(failed) // 2
        for half in (failed[:middle], failed[middle:]):
            if len(failed) == 1 and half:
                self._refused.append(Refused(half[0][1], half[0][0].str()))
                continue
            for _, message in half:
                self._produce(message)
            self._flush()
            again, self._failed = self._failed, []
            others += [(error, message) for error, message in again if error.code() not in _TOO_LARGE]
            large = [(error, message) for error, message in again if error.code() in _TOO_LARGE]
            if large:
                others += self._send_apart(large)
        return others

    def _flush(self) -> None:
        producer = self._producer
        if producer is None:
            # Nothing was sent: it takes no client to say so.
            return
        logged = time.monotonic()
        while producer.flush(_SLICE_S):
            self._check_refusal()
            if time.monotonic() - logged > _LOG_EVERY_S:
                logged = time.monotonic()
                said = self._health.last.str() if self._health.last else "no answer"
                LOGGER.warning("%d messages wait for %s: %s", len(producer), self._config.servers, said)

    def _check_refusal(self) -> None:
        refusal, self._health.refusal = self._health.refusal, None
        if refusal is not None:
            self.abandon()
            raise failure_of(refusal, self._config.servers)

    def _begin_transaction(self) -> None:
        self._ready().begin_transaction()
        self._open = True

    def _finish_transaction(self) -> None:
        attempt = 0
        suspects: set[Outgoing] = set()
        while self._sent:
            if not self._open:
                self._send_again(suspects)
            self._flush()
            failed, self._failed = self._failed, []
            if not failed and self._commit_transaction():
                self._sent.clear()
                return
            self.abandon()
            large = {_content(message) for error, message in failed if error.code() in _TOO_LARGE}
            if large:
                suspects |= large
                if len(large) == 1:
                    self._refuse_sent(large, failed[0][0])
                continue
            if failed and not _may_pass(failed[0][0]):
                raise failure_of(failed[0][0], f"topic {failed[0][1].topic}")
            attempt += 1
            if attempt == self._attempts:
                raise SendError(f"a transaction of {len(self._sent)} messages was aborted {attempt} times")
            time.sleep(_pause(attempt))

    def _send_again(self, suspects: set[Outgoing]) -> None:
        """All of the bundle in a new transaction, in order; what may be too large each in a batch of its own."""
        self._begin_transaction()
        for message in self._sent:
            suspect = _content(message) in suspects
            if suspect:
                self._flush()
            self._produce(message)
            if suspect:
                self._flush()
            if self._failed:
                return

    def _refuse_sent(self, contents: set[Outgoing], error: KafkaError) -> None:
        refused = [message for message in self._sent if _content(message) in contents]
        self._refused += [Refused(message, error.str()) for message in refused]
        self._sent = [message for message in self._sent if _content(message) not in contents]

    def _commit_transaction(self) -> bool:
        """Whether it was committed; if not, it can only be aborted."""
        producer = self._ready()
        try:
            self._call(lambda: producer.commit_transaction(_SLICE_S), "committing a transaction")
        except KafkaException as error:
            LOGGER.warning("committing a transaction: %s", error.args[0].str())
            if error.args[0].txn_requires_abort() or error.args[0].fatal():
                return False
            # Nobody knows whether it was committed: the runner decides, and a reader may see the messages twice.
            self._open = False
            self.abandon()
            raise SendError(f"it is not known whether a transaction was committed: {error.args[0].str()}") from error
        self._open = False
        return True

    def _call(self, call: Callable[[], None], what: str) -> None:
        """Call again what has not yet had an answer, until the time is up."""
        until = time.monotonic() + self._timeout
        while True:
            try:
                call()
                return
            except KafkaException as error:
                if self._health.refusal is not None:
                    raise failure_of(self._health.refusal, what) from error
                if not error.args[0].retriable() or time.monotonic() >= until:
                    raise


def _pairs(headers: Any) -> list[tuple[str, str | bytes | None]] | None:
    return list(headers) if headers else None


def _content(message: Outgoing) -> Outgoing:
    """What tells messages apart; those that are alike share their fate."""
    return Outgoing(message.topic, message.value, message.key)


def _pause(attempt: int) -> float:
    """Seconds before the next attempt, with full jitter."""
    return random.uniform(0, min(_LONGEST_PAUSE_S, 2.0**attempt))  # noqa: S311 - spreads load, no secret


def _may_pass(error: KafkaError) -> bool:
    """Whether another attempt may succeed."""
    return error.retriable() or error.fatal() or error.code() in (
        KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT, KafkaError._ALL_BROKERS_DOWN, KafkaError._INCONSISTENT,
    )  # fmt: skip
