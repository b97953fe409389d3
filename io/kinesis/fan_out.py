"""The records of one shard by enhanced fan-out: pushed over one connection, 2 MB a second for this consumer alone.

https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html: a subscription lasts five minutes,
and is then made anew where the last one stopped.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from typing import Any, Final

from thingbeam.io.aws.errors import code_of, connector_error, kind_of, message_of
from thingbeam.io.errors import ConnectorError
from thingbeam.io.kinesis.feeds import Chunk, Gap, GapError, rows_of
from thingbeam.io.kinesis.log import LOGGER
from thingbeam.io.kinesis.positions import HORIZON, Position
from thingbeam.io.kinesis.records import PLAIN
from thingbeam.io.kinesis.shards import Stream

__all__ = ["FanOutFeed", "register_consumer"]

_AHEAD: Final = 4
_IDLE_S: Final = 60.0
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 5.0
_ACTIVE_S: Final = 60.0
_NEEDS: Final = "kinesis:SubscribeToShard"
# A subscription that ended is in use for a few seconds more.
_PASSING: Final = frozenset({"ResourceInUseException", "InternalFailureException", "InternalFailure"})


def register_consumer(stream: Stream, consumer: str) -> str:
    """The ARN of a consumer of the stream, registered where it is not there, and ready.

    Args:
        stream: whose.
        consumer: its name, or its ARN, which is given back.

    Raises:
        ConnectorError: no permission, no more consumers allowed, or it is not ready after a minute; one line.
    """
    if consumer.startswith("arn:"):
        return consumer
    client, arn = stream.client(), stream.check()
    until = time.monotonic() + _ACTIVE_S
    try:
        while True:
            try:
                said = client.describe_stream_consumer(StreamARN=arn, ConsumerName=consumer)["ConsumerDescription"]
            except Exception as error:
                # botocore makes classes of errors as it reads the service's model: there is no list to name.
                if code_of(error) != "ResourceNotFoundException":
                    raise
                said = client.register_stream_consumer(StreamARN=arn, ConsumerName=consumer)["Consumer"]
            if said["ConsumerStatus"] == "ACTIVE":
                return str(said["ConsumerARN"])
            if time.monotonic() > until:
                raise ConnectorError(f"{stream.described}: consumer {consumer} is {said['ConsumerStatus']}")
            time.sleep(0.2)
    except Exception as error:
        needs = "kinesis:DescribeStreamConsumer and kinesis:RegisterStreamConsumer"
        raise connector_error(error, f"{stream.described}, consumer {consumer}", needs) from error


class FanOutFeed:
    """Takes what is pushed, in a thread of its own that reads a few answers ahead and ends if nobody takes them.

    Args:
        stream: of the shard.
        consumer: the consumer's ARN. One subscription to a shard at a time is allowed to it.
        shard: its id.
        position: where to begin.
        on_gap: what to do where the position is no more in the shard.
        pause: how long to wait before the first subscription, in seconds.
    """

    def __init__(
        self,
        stream: Stream,
        consumer: str,
        shard: str,
        position: Position,
        *,
        on_gap: Gap = "fail",
        pause: float = 0.0,
    ) -> None:
        self._stream, self._consumer, self._shard = stream, consumer, shard
        self._position = position
        self._on_gap = on_gap
        self._queue: queue.Queue[Chunk | Exception] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._events: Any = None
        self._first = pause
        self._ended = False

    @property
    def busy(self) -> bool:
        """Whether a chunk is there or may come."""
        return not self._ended

    def take(self) -> Chunk | None:
        """The next chunk, or None where none is there yet."""
        if self._thread is None or (not self._thread.is_alive() and self._queue.empty() and not self._ended):
            self._thread = threading.Thread(target=self._run, name="thingbeam-kinesis-fan-out", daemon=True)
            self._thread.start()
        try:
            chunk = self._queue.get_nowait()
        except queue.Empty:
            return None
        if isinstance(chunk, Exception):
            raise chunk
        self._ended = chunk.ended
        return chunk

    def wait(self, seconds: float) -> None:
        """Return when a chunk is there, or the time is over."""
        until = time.monotonic() + seconds
        while self._queue.empty() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.01))

    def close(self) -> None:
        """End the subscription."""
        self._stop.set()
        events = self._events
        if events is not None:
            events.close()

    def _run(self) -> None:
        self._stop.wait(self._first)
        pause = _FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                if not self._subscribe():
                    return
                pause = _FIRST_PAUSE_S
            except Exception as error:
                # botocore makes classes of errors as it reads the service's model: there is no list to name.
                if self._stop.is_set():
                    return
                failure = self._failure(error)
                if failure is not None:
                    self._put(failure)
                    return
                self._put(Chunk(throttled=kind_of(error) == "throttled"))
                self._stop.wait(random.uniform(0, pause))  # noqa: S311 - jitter, no secret
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _subscribe(self) -> bool:
        """One subscription to its end; False where there is nothing more to do."""
        answer = self._stream.client(attempts=1).subscribe_to_shard(
            ConsumerARN=self._consumer, ShardId=self._shard, StartingPosition=_starting(self._position)
        )
        self._events = answer["EventStream"]
        try:
            for said in self._events:
                event = said.get("SubscribeToShardEvent")
                if event is None:
                    continue
                rows, position = rows_of(event["Records"], self._position)
                ended = not event.get("ContinuationSequenceNumber")
                now = time.time()
                behind_ms = int(event.get("MillisBehindLatest") or 0)
                if not self._put(Chunk(rows, position, behind_ms, now, int(now) * 1000, ended)) or ended:
                    return False
                # It moves on without records, too; but a record's own number is what GetRecords knows as well.
                self._position = position or self._position
        finally:
            self._events.close()
            self._events = None
        return True

    def _put(self, chunk: Chunk | Exception) -> bool:
        """Whether it is in the queue. Where nobody takes what is there, the thread ends; a later `take` begins anew."""
        until = time.monotonic() + _IDLE_S
        while not self._stop.is_set() and time.monotonic() < until:
            try:
                self._queue.put(chunk, timeout=1.0)
            except queue.Full:
                continue
            return True
        return False

    def _failure(self, error: Exception) -> Exception | None:
        """What to tell the reader; None where it is to be tried again."""
        code, kind = code_of(error), kind_of(error)
        if code in _PASSING or kind in ("throttled", "again"):
            if kind != "throttled":
                LOGGER.warning("%s %s: %s; will try again", self._stream.name, self._shard, message_of(error))
            return None
        if code == "InvalidArgumentException" and self._position.kind in ("at", "after"):
            what = f"{self._stream.described}, {self._shard}: sequence number {self._position.sequence} is not in it"
            if self._on_gap == "skip":
                LOGGER.error("%s; going on at the oldest record", what)
                self._position = HORIZON
                return None
            return GapError(f'{what}: on_gap="skip" goes on at the oldest record that is there')
        return connector_error(error, f"{self._stream.described}, {self._shard}", _NEEDS)


def _starting(position: Position) -> dict[str, Any]:
    if position.kind == "time":
        return {"Type": "AT_TIMESTAMP", "Timestamp": position.millis / 1000}
    if position.kind == "at" or (position.kind == "after" and position.sub != PLAIN):
        return {"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": position.sequence}
    if position.kind == "after":
        return {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": position.sequence}
    return {"Type": "TRIM_HORIZON"}
