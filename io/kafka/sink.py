"""WriteToKafka: a bundle ends when all its messages are acknowledged."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from confluent_kafka import libversion

from thingbeam.io.kafka.config import KafkaConfig, check_version
from thingbeam.io.kafka.producers import Producers
from thingbeam.io.kafka.producing import BundleProducer, Outgoing, Refused
from thingbeam.io.kafka.records import KafkaHeader, KafkaMessage, KafkaRecord, KafkaWritten
from thingbeam.schemas import codes
from thingbeam.schemas.durations import Duration as Length
from thingbeam.schemas.durations import micros_of_duration
from thingbeam.schemas.payloads import PayloadBatch
from thingbeam.schemas.records import DeadLetter

__all__ = ["WriteToKafka", "WrittenToKafka"]

NAMESPACE: Final = "thingbeam.io.kafka"
DEAD_LETTERS: Final = "dead_letters"
WRITTEN: Final = "written"
_KEPT_BYTES: Final = 64 << 10


class WrittenToKafka(NamedTuple):
    """What WriteToKafka gives: two PCollections."""

    written: Any
    """Of KafkaWritten: one for each bundle and topic, after all of it is acknowledged."""
    dead_letters: Any
    """Of DeadLetter: messages that are too large."""


class WriteToKafka(beam.PTransform[Any, Any]):
    """Messages into topics of Kafka.

    Takes a PCollection of `KafkaMessage`; of `KafkaRecord` (copied with key, value, headers and time, into the
    partition that the key says); of `bytes` (a value); of (key, value) pairs of bytes; or of `KafkaBatch`, hundreds
    as one element, the fastest.

    Guarantee: at least once. A bundle ends only when every message of it is acknowledged by all in-sync replicas; the
    producer is idempotent, so its own retries neither double nor reorder. What was not acknowledged in `timeout` is
    sent anew, and only that; when attempts run out the bundle fails and the runner tries it again, which doubles what
    had been acknowledged. Readers that keep the newest of a key (compaction, or our keyed sinks) see no difference.

    With `transactional`, each attempt at a bundle is one transaction, and readers of committed records see all of a
    bundle or nothing: attempts that failed do not show. What it cannot do: a bundle that was committed, and that the
    runner runs again all the same since it crashed before it could note that, shows twice; no engine's checkpoint is
    part of Kafka's transaction. And a worker that dies within a bundle leaves a transaction open, behind which readers
    of committed records wait until the broker ends it (`transaction.timeout.ms`, 1 minute).

    Args:
        servers: `host:port`, several with commas; or a `KafkaConfig`.
        topic: for messages that do not name one. A `KafkaRecord` goes to it, or to a topic of its own's name.
        transactional: the beginning of transactional ids.
        timeout: how long a message is tried before it is sent anew.
        attempts: how often.
        redact: blanks secrets in the values of dead letters.

    Raises:
        ValueError: a setting with which data would be lost, as the pipeline is built.

    In the pipeline: `UnreachableError`, `AuthenticationError`, `TopicMissingError`, `SendError`.
    """

    def __init__(
        self,
        servers: str | KafkaConfig,
        topic: str | None = None,
        *,
        transactional: str | None = None,
        timeout: Length = "60s",
        attempts: int = 3,
        redact: Callable[[bytes], bytes] | None = None,
    ) -> None:
        super().__init__()
        self._config = servers if isinstance(servers, KafkaConfig) else KafkaConfig(servers)
        self._config.check_writing()
        check_version(libversion())
        if attempts < 1:
            raise ValueError(f"attempts {attempts}: at least 1")
        self._topic = topic
        self._transactional = transactional
        self._timeout = micros_of_duration(timeout, "timeout") / 1e6
        self._attempts = attempts
        self._redact = redact

    def expand(self, messages: Any) -> WrittenToKafka:
        """Write."""
        if not isinstance(messages.windowing.windowfn, GlobalWindows):
            # What is left at the end of a bundle belongs to no window of theirs.
            messages |= "Unwindow" >> beam.WindowInto(GlobalWindows())
        arguments = self._config, self._transactional, self._timeout, self._attempts
        done = messages | "Write" >> beam.ParDo(_Write(self.label, self._topic, arguments, self._redact)).with_outputs(
            DEAD_LETTERS, main=WRITTEN
        )
        written, dead = done[WRITTEN], done[DEAD_LETTERS]
        written.element_type, dead.element_type = KafkaWritten, DeadLetter
        return WrittenToKafka(written, dead)


def _pairs(headers: Sequence[KafkaHeader]) -> list[tuple[str, str | bytes | None]] | None:
    return [(header.key, header.value) for header in headers] or None


class _Write(beam.DoFn):
    def __init__(
        self,
        step: str,
        topic: str | None,
        arguments: tuple[KafkaConfig, str | None, float, int],
        redact: Callable[[bytes], bytes] | None,
    ) -> None:
        self._token = uuid.uuid4().hex
        self._step = step
        self._topic = topic
        self._arguments = arguments
        self._redact = redact
        self._messages = Metrics.counter(NAMESPACE, "messages_written")
        self._bytes = Metrics.counter(NAMESPACE, "bytes_written")
        self._dead = Metrics.counter(NAMESPACE, "dead_letters")

    def setup(self) -> None:
        """Clients are the process's, shared by its copies of this."""
        self._producers = Producers(self._token, lambda: BundleProducer(*self._arguments))
        self._checked: set[str] = set()

    def start_bundle(self) -> None:
        """Nothing is underway."""
        self._abandon()
        self._producer = self._producers.take()
        self._producer.begin()
        self._counts: dict[str, list[int]] = {}
        self._earliest = MAX_TIMESTAMP

    def process(self, element: Any, at: Any = beam.DoFn.TimestampParam) -> None:
        """Give it to the client."""
        self._earliest = min(self._earliest, at)
        send = self._producer.send
        if isinstance(element, PayloadBatch):
            topic = self._topic_of(None)
            if element.headers is None:
                self._producer.send_all(topic, element.payloads, element.keys)
            else:
                for value, key, headers in zip(element.payloads, element.keys, element.headers, strict=True):
                    send(Outgoing(topic, value, key, list(headers) or None))
            self._count(topic, len(element), element.nbytes)
            return
        message = self._outgoing(element)
        self._topic_of(message.topic)
        send(message)
        self._count(message.topic, 1, len(message.value or b"") + len(message.key or b""))

    def finish_bundle(self) -> Iterator[Any]:
        """Wait for all acknowledgements."""
        at = min(self._earliest, Timestamp.now())
        for refused in self._producer.finish():
            message = refused.message
            self._count(message.topic, -1, -len(message.value or b"") - len(message.key or b""))
            self._dead.inc()
            yield TaggedOutput(DEAD_LETTERS, GlobalWindows.windowed_value(self._letter(refused), at))
        for topic, (count, nbytes) in self._counts.items():
            self._messages.inc(count)
            self._bytes.inc(nbytes)
            if count:
                yield GlobalWindows.windowed_value(KafkaWritten(topic, count, nbytes), at)
        self._producers.put_back(self._producer)
        del self._producer

    def teardown(self) -> None:
        """Let the connections go: that of a bundle that failed, and with the last copy all."""
        self._abandon()
        if hasattr(self, "_producers"):
            self._producers.close()

    def _abandon(self) -> None:
        """What a bundle that failed has not sent."""
        if hasattr(self, "_producer"):
            self._producer.abandon()
            del self._producer

    def _outgoing(self, element: Any) -> Outgoing:
        if isinstance(element, KafkaMessage):
            headers = _pairs(element.headers)
            millis = 0 if element.timestamp is None else element.timestamp.micros // 1000
            return Outgoing(element.topic or self._named(), element.value, element.key, headers, millis)
        if isinstance(element, KafkaRecord):
            headers = _pairs(element.headers)
            topic = self._topic or element.topic
            return Outgoing(topic, element.value, element.key, headers, element.timestamp.micros // 1000)
        if isinstance(element, bytes):
            return Outgoing(self._named(), element)
        if isinstance(element, tuple) and len(element) == 2:
            key, value = element
            return Outgoing(self._named(), value, key)
        raise TypeError(
            "WriteToKafka takes KafkaMessage, KafkaRecord, KafkaBatch, bytes or (key, value), "
            f"not {type(element).__name__}"
        )

    def _named(self) -> str:
        if self._topic is None:
            raise ValueError("the message names no topic, and WriteToKafka was given none")
        return self._topic

    def _topic_of(self, named: str | None) -> str:
        """The topic, asked of the cluster the first time."""
        topic = named or self._named()
        if topic not in self._checked:
            self._producer.check_topic(topic)
            self._checked.add(topic)
        return topic

    def _count(self, topic: str, messages: int, nbytes: int) -> None:
        counts = self._counts.setdefault(topic, [0, 0])
        counts[0] += messages
        counts[1] += nbytes

    def _letter(self, refused: Refused) -> DeadLetter:
        value = refused.message.value or b""
        # Cut after the secrets are gone: half a secret is one still.
        kept = (value if self._redact is None else self._redact(value))[:_KEPT_BYTES]
        error = f"{len(value)} bytes: {refused.reason}"
        return DeadLetter(kept, refused.message.topic, "", self._step, codes.TOO_LARGE, error, Timestamp.now())
