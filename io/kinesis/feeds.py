"""The records of one shard, fetched ahead in the background: by polling, and what a feed is.

A shard gives five answers and 2 MB a second to all its polling readers together:
https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Literal, NamedTuple, Protocol

from thingbeam.io.aws.errors import code_of, connector_error, kind_of, message_of
from thingbeam.io.errors import ConnectorError
from thingbeam.io.kinesis.aggregation import MAGIC, take_apart
from thingbeam.io.kinesis.log import LOGGER
from thingbeam.io.kinesis.positions import HORIZON, Position
from thingbeam.io.kinesis.records import PLAIN
from thingbeam.io.kinesis.shards import Stream, server_millis

__all__ = ["Chunk", "Feed", "Gap", "GapError", "PollingFeed", "Row", "rows_of"]

Gap = Literal["fail", "skip"]

_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 5.0
_FETCHERS: Final = 16


class GapError(ConnectorError):
    """Records between the position and the oldest that is kept are gone: retention was shorter than the lag."""


class Row(NamedTuple):
    """One record, taken out of its aggregate."""

    data: bytes
    key: str
    hash_key: str | None
    sequence: str
    sub: int
    arrival_ms: int


class Chunk(NamedTuple):
    """What one answer brought."""

    rows: Sequence[Row] = ()
    position: Position | None = None
    """Behind the last record; None where the answer brought none."""
    behind_ms: int = 0
    """How far behind the newest record of the shard, by the service."""
    asked_at: float | None = None
    """When, in seconds since 1970, the shard was asked; None where it did not answer."""
    server_ms: int = 0
    """The same, by the server's clock."""
    ended: bool = False
    """Whether the shard is closed and this was the last of it."""
    throttled: bool = False

    @property
    def at_tip(self) -> bool:
        """Whether the shard answered and had no more than was read before."""
        return self.asked_at is not None and not self.rows and not self.behind_ms


class Feed(Protocol):
    """Brings chunks of one shard, one after the other."""

    @property
    def busy(self) -> bool:
        """Whether a chunk is underway or there."""
        ...

    def take(self) -> Chunk | None:
        """The next chunk, or None where none is there yet. Never waits.

        Raises:
            ConnectorError: trying again will not help.
        """
        ...

    def wait(self, seconds: float) -> None:
        """Return when a chunk may be there, or the time is over."""
        ...

    def close(self) -> None:
        """No more is wanted."""
        ...


def rows_of(records: Sequence[Any], after: Position) -> tuple[list[Row], Position | None]:
    """Records of an answer, each aggregate taken apart, and the position behind them.

    Args:
        records: as GetRecords has them.
        after: where the read stood; of an aggregate that was read in part, the rest is given.
    """
    rows: list[Row] = []
    for record in records:
        data, sequence = record["Data"], record["SequenceNumber"]
        arrival_ms = round(record["ApproximateArrivalTimestamp"].timestamp() * 1000)
        parts = take_apart(data) if data[:4] == MAGIC else None
        if parts is None:
            rows.append(Row(data, record["PartitionKey"], None, sequence, PLAIN, arrival_ms))
            continue
        done = after.sub if after.kind == "after" and after.sequence == sequence else PLAIN
        rows += [
            Row(part.data, part.partition_key, part.explicit_hash_key, sequence, sub, arrival_ms)
            for sub, part in enumerate(parts)
            if sub > done
        ]
    return rows, Position("after", records[-1]["SequenceNumber"]) if records else None


class PollingFeed:
    """Asks with GetRecords, one answer ahead of what was taken, no more often than it may.

    Args:
        stream: of the shard.
        shard: its id.
        position: where to begin.
        limit: the most records of one answer; 10,000 is Kinesis' own.
        interval: the least time between two questions, in seconds.
        rate: the most records a second, on average; None for no limit.
        on_gap: what to do where the position is no more in the shard.
    """

    def __init__(
        self,
        stream: Stream,
        shard: str,
        position: Position,
        *,
        limit: int = 10_000,
        interval: float = 0.2,
        rate: float | None = None,
        on_gap: Gap = "fail",
    ) -> None:
        self._stream, self._shard = stream, shard
        self._position = position
        self._limit = limit if rate is None else max(1, min(limit, int(rate)))
        self._interval, self._rate = interval, rate
        self._on_gap = on_gap
        self._iterator: str | None = None
        self._next_at = 0.0
        self._pause = _FIRST_PAUSE_S
        self._underway: Future[Chunk] | None = None
        self._over = False

    @property
    def busy(self) -> bool:
        """Whether an answer is underway or there."""
        return self._underway is not None

    def take(self) -> Chunk | None:
        """The next chunk, or None where none is there yet."""
        underway = self._underway
        if underway is None:
            self._ask()
            return None
        if not underway.done():
            return None
        self._underway = None
        chunk = underway.result()
        self._over = chunk.ended
        self._ask()
        return chunk

    def wait(self, seconds: float) -> None:
        """Return when a chunk may be there, or the time is over."""
        underway = self._underway
        if underway is None:
            time.sleep(min(seconds, max(0.0, self._next_at - time.monotonic())))
        elif not underway.done():
            heard = threading.Event()
            underway.add_done_callback(lambda _: heard.set())
            heard.wait(seconds)

    def close(self) -> None:
        """An answer underway is not waited for."""
        self._over = True
        if self._underway is not None:
            self._underway.cancel()

    def _ask(self) -> None:
        if not self._over and time.monotonic() >= self._next_at:
            self._underway = _fetchers().submit(self._fetch)

    def _fetch(self) -> Chunk:
        began = time.monotonic()
        self._next_at = began + self._interval
        try:
            chunk = self._answer()
        except Exception as error:
            # botocore makes classes of errors as it reads the service's model: there is no list to name.
            return self._heard(error)
        self._pause = _FIRST_PAUSE_S
        if self._rate is not None and chunk.rows:
            self._next_at = max(self._next_at, began + len(chunk.rows) / self._rate)
        return chunk

    def _answer(self) -> Chunk:
        client = self._stream.client(attempts=1)
        asked_at = time.time()
        if self._iterator is None:
            self._iterator = client.get_shard_iterator(
                **self._stream.argument, ShardId=self._shard, **_iterator_arguments(self._position)
            )["ShardIterator"]
        # Another account's stream is named in every call.
        named = self._stream.argument if "StreamARN" in self._stream.argument else {}
        answer = client.get_records(ShardIterator=self._iterator, Limit=self._limit, **named)
        rows, position = rows_of(answer["Records"], self._position)
        self._position = position or self._position
        self._iterator = answer.get("NextShardIterator")
        return Chunk(
            rows,
            position,
            int(answer.get("MillisBehindLatest") or 0),
            asked_at,
            server_millis(answer),
            self._iterator is None,
        )

    def _heard(self, error: Exception) -> Chunk:
        code, kind = code_of(error), kind_of(error)
        if code == "ExpiredIteratorException":
            # Five minutes have passed since it was given: the pipeline was held up.
            self._iterator = None
            self._next_at = 0.0
            return Chunk()
        if kind in ("throttled", "again"):
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)
            self._next_at = time.monotonic() + random.uniform(0, self._pause)  # noqa: S311 - jitter, no secret
            if kind == "again":
                # Whether the answer was lost on its way back is not known: the iterator may be spent.
                self._iterator = None
                LOGGER.warning("%s %s: %s; will try again", self._stream.name, self._shard, message_of(error))
            return Chunk(throttled=kind == "throttled")
        if code == "InvalidArgumentException" and self._iterator is None and self._position.kind in ("at", "after"):
            what = f"{self._stream.described}, {self._shard}: sequence number {self._position.sequence} is not in it"
            if self._on_gap == "skip":
                LOGGER.error("%s; going on at the oldest record", what)
                self._position, self._next_at = HORIZON, 0.0
                return Chunk()
            raise GapError(
                f'{what} ({message_of(error)}): on_gap="skip" goes on at the oldest record that is there'
            ) from error
        raise connector_error(
            error, f"{self._stream.described}, {self._shard}", "kinesis:GetRecords and kinesis:GetShardIterator"
        ) from error


def _iterator_arguments(position: Position) -> dict[str, Any]:
    if position.kind == "time":
        return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": position.millis / 1000}
    if position.kind == "at" or (position.kind == "after" and position.sub != PLAIN):
        return {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": position.sequence}
    if position.kind == "after":
        return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": position.sequence}
    return {"ShardIteratorType": "TRIM_HORIZON"}


_pool: ThreadPoolExecutor | None = None
_pool_of = 0
_lock: Final = threading.Lock()


def _fetchers() -> ThreadPoolExecutor:
    """The threads that wait for answers, for all streams of this process."""
    global _pool, _pool_of
    with _lock:
        if _pool is None or _pool_of != os.getpid():
            _pool = ThreadPoolExecutor(_FETCHERS, "thingbeam-kinesis")
            _pool_of = os.getpid()
        return _pool
