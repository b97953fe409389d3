"""Commits: the group's offset is raised when the runner says that a bundle is done, and never before.

The runner's checkpoint is what a restart resumes from; the group's offset is for people who look at lag, and for a
start with `start="committed"`. A commit that fails costs nothing but records read again, so it stops no bundle: it is
tried again with the next.
"""

from __future__ import annotations

import collections
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from thingbeam.io.kafka.clients import Partition, make_consumer

__all__ = ["Committer", "close_committer", "committer_of", "time_of_words", "words_of"]

_LOGGER: Final = logging.getLogger("thingbeam.kafka")
_WORDS: Final = re.compile(r"thingbeam time=(\d+)")
_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0

Offset = tuple[int, str]


def words_of(millis: int) -> str:
    """What is kept beside a committed offset: the time of the last record before it, for `warm_up`."""
    return f"thingbeam time={millis}"


def time_of_words(words: str) -> int | None:
    """The time, in milliseconds, or None where something else committed.

    >>> time_of_words(words_of(5))
    5
    """
    match = _WORDS.fullmatch(words)
    return int(match[1]) if match else None


class Committer:
    """Commits the newest finalised offsets of many partitions together, in a thread of its own.

    Offsets only rise. What `margin` holds back is committed that many seconds after it was finalised: on an engine that
    finalises before what follows a shuffle is done.

    Args:
        commit: commits offsets, or raises.
        margin: in seconds.
        clock: seconds, monotonic.
        end: called when the thread ends.
    """

    def __init__(
        self,
        commit: Callable[[dict[Partition, Offset]], None],
        margin: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[], None] = lambda: None,
    ) -> None:
        self._commit = commit
        self._end = end
        self._margin = margin
        self._clock = clock
        self._lock = threading.Lock()
        self._finalised: collections.deque[tuple[float, Partition, Offset]] = collections.deque()
        self._wanted: dict[Partition, Offset] = {}
        self._done: dict[Partition, int] = {}
        self._wake = threading.Event()
        self._ending = False
        self._thread: threading.Thread | None = None

    def finalised(self, partition: Partition, offset: int, words: str) -> None:
        """The runner is done with everything before this offset."""
        with self._lock:
            self._finalised.append((self._clock() + self._margin, partition, (offset, words)))
            if self._thread is None and not self._ending:
                self._thread = threading.Thread(target=self._run, name="thingbeam-kafka-commit", daemon=True)
                self._thread.start()
        self._wake.set()

    def due(self) -> dict[Partition, Offset]:
        """What is to be committed now."""
        now = self._clock()
        with self._lock:
            while self._finalised and self._finalised[0][0] <= now:
                _, partition, offset = self._finalised.popleft()
                if offset[0] > max(self._done.get(partition, -1), self._wanted.get(partition, (-1, ""))[0]):
                    self._wanted[partition] = offset
            return dict(self._wanted)

    def commit(self) -> bool:
        """Commit what is due. False where that failed: it stays due."""
        due = self.due()
        if not due:
            return True
        try:
            self._commit(due)
        except KafkaException as error:
            _LOGGER.warning("committing offsets: %s; will try again", error.args[0].str())
            return False
        with self._lock:
            for partition, offset in due.items():
                self._done[partition] = max(offset[0], self._done.get(partition, -1))
                if self._wanted.get(partition) == offset:
                    del self._wanted[partition]
        return True

    def close(self) -> None:
        """Commit what is due, once, and end the thread. What the margin holds back is read again."""
        with self._lock:
            self._ending = True
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(_LONGEST_PAUSE_S)

    def _run(self) -> None:
        pause = _PAUSE_S
        while not self._ending:
            with self._lock:
                waiting = bool(self._finalised) or bool(self._wanted)
            if not waiting:
                self._wake.wait()
            self._wake.clear()
            pause = _PAUSE_S if self.commit() else min(2 * pause, _LONGEST_PAUSE_S)
            self._wake_or_pass(pause)
        self.commit()
        self._end()

    def _wake_or_pass(self, seconds: float) -> None:
        # Gathers what is finalised meanwhile; only the end is worth waking for.
        until = time.monotonic() + seconds
        while not self._ending and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _PAUSE_S))


class _GroupCommits:
    """Commits with a consumer that reads nothing."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._consumer: Consumer | None = None

    def __call__(self, offsets: dict[Partition, Offset]) -> None:
        if self._consumer is None:
            self._consumer = make_consumer(self._settings)[0]
        asked = [
            TopicPartition(topic, number, offset, metadata=words)
            for (topic, number), (offset, words) in offsets.items()
        ]
        self._consumer.poll(0)
        for answer in self._consumer.commit(offsets=asked, asynchronous=False):
            if answer.error is not None:
                raise KafkaException(answer.error)

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()


_committers: dict[str, Committer] = {}
_lock: Final = threading.Lock()


def committer_of(token: str, settings: Callable[[], dict[str, Any]], margin: float) -> Committer:
    """The one committer that this process has for a source of a pipeline.

    One for all copies of a DoFn: were there several, a slow one could take an offset back that another had raised.
    """
    with _lock:
        if token not in _committers:
            commits = _GroupCommits(settings())
            _committers[token] = Committer(commits, margin, end=commits.close)
        return _committers[token]


def close_committer(token: str) -> None:
    """Let go of it, when the last copy of the DoFn ends."""
    with _lock:
        found = _committers.pop(token, None)
    if found is not None:
        found.close()
