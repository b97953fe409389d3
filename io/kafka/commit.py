"""Commits: the group's offset is raised when the runner says that a bundle is done, and never before.

The runner's checkpoint is what a restart resumes from; the group's offset is for people who look at lag, and for a
start with `start="committed"`. A commit that fails costs nothing but records read again, so it stops no bundle: it is
tried again with the next.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from thingbeam.io.kafka.clients import make_consumer
from thingbeam.io.kafka.holding import HeldOffsets, Offset, Partition

__all__ = ["Committer", "Words", "close_committer", "committer_of", "read_words", "words_of"]

_LOGGER: Final = logging.getLogger("thingbeam.kafka")
_WORDS: Final = re.compile(r"thingbeam time=(\d+)(?: event=(-?\d+))?(?: topic=(\S+))?")
_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_ANSWER_S: Final = 10.0


class Words(NamedTuple):
    """What is kept beside a committed offset, for a restart. In milliseconds since 1970."""

    time: int
    """Of the last record before it, as the topic has it."""
    event: int | None = None
    """Where the partition's watermark was: the event times of what comes after are no earlier."""
    topic_id: str = ""
    """Of the topic in which the offset means something; empty where it is not known."""


def words_of(time: int, event: int | None = None, topic_id: str = "") -> str:
    """The words for a time, and a watermark and a topic's id where they are known.

    >>> words_of(5), words_of(5, 4), words_of(5, 4, "a/b+c")
    ('thingbeam time=5', 'thingbeam time=5 event=4', 'thingbeam time=5 event=4 topic=a/b+c')
    """
    event_word = "" if event is None else f" event={event}"
    return f"thingbeam time={time}{event_word}" + (f" topic={topic_id}" if topic_id else "")


def read_words(words: str) -> Words | None:
    """What the words say, or None where something else committed.

    >>> read_words(words_of(5, -4))
    Words(time=5, event=-4, topic_id='')
    >>> read_words(words_of(5, -4, "a/b+c"))
    Words(time=5, event=-4, topic_id='a/b+c')
    """
    match = _WORDS.fullmatch(words)
    return Words(int(match[1]), None if match[2] is None else int(match[2]), match[3] or "") if match else None


class Committer:
    """Commits the newest finalised offsets of many partitions together, in a thread of its own.

    Offsets only rise. Some are held back, see HeldOffsets.

    Args:
        commit: commits offsets, or raises.
        margin: in seconds: how long after it was finalised an offset is committed.
        behind: in microseconds: how far the watermark must be past what is committed.
        clock: seconds, monotonic.
        end: called when the thread ends.
        renewed: called for a partition whose topic was made anew.
    """

    def __init__(
        self,
        commit: Callable[[dict[Partition, Offset]], None],
        margin: float = 0.0,
        behind: int = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[], None] = lambda: None,
        renewed: Callable[[Partition], None] = lambda _: None,
    ) -> None:
        self._commit = commit
        self._end = end
        self._renewed = renewed
        self._topics: dict[Partition, str] = {}
        self._held = HeldOffsets(margin, behind)
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted: dict[Partition, Offset] = {}
        self._done: dict[Partition, int] = {}
        self._wake = threading.Event()
        self._ending = False
        self._thread: threading.Thread | None = None

    def begin(self, partition: Partition, topic_id: str) -> None:
        """The id of the topic that the partition is read in from now on. What was of another is committed no more."""
        if not topic_id:
            return
        with self._lock:
            if self._topics.get(partition, topic_id) != topic_id:
                self._held.drop(partition)
                self._wanted.pop(partition, None)
                self._done.pop(partition, None)
                self._renewed(partition)
            self._topics[partition] = topic_id

    def finalised(self, partition: Partition, offset: int, words: str, reached: int = 0, topic_id: str = "") -> None:
        """The runner is done with everything before this offset, by which the partition's watermark was there."""
        with self._lock:
            if topic_id and self._topics.get(partition, topic_id) != topic_id:
                return
            self._held.add(partition, (offset, words), reached, self._clock())
            if self._thread is None and not self._ending:
                self._thread = threading.Thread(target=self._run, name="thingbeam-kafka-commit", daemon=True)
                self._thread.start()
        self._wake.set()

    def hear(self, partition: Partition, watermark: int) -> None:
        """The watermark of a partition, as often as it is read."""
        with self._lock:
            self._held.hear(partition, watermark, self._clock())

    def forget(self, partition: Partition) -> None:
        """The partition is read no more."""
        with self._lock:
            self._held.forget(partition)

    def due(self) -> dict[Partition, Offset]:
        """What is to be committed now."""
        now = self._clock()
        with self._lock:
            for partition, offset in self._held.take(now).items():
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
                if self._wanted.get(partition, (-1, ""))[0] >= offset[0]:
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
                waiting = bool(self._held) or bool(self._wanted)
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
    """Commits with a consumer that reads nothing.

    Args:
        settings: the consumer's.
        rising: whether offsets below those that the group has already are passed over: a run that begins before them,
            to warm up, must not take them back.
    """

    def __init__(self, settings: dict[str, Any], *, rising: bool) -> None:
        self._settings = settings
        self._rising = rising
        self._floors: dict[Partition, int] = {}
        self._consumer: Consumer | None = None

    def __call__(self, offsets: dict[Partition, Offset]) -> None:
        if self._consumer is None:
            self._consumer = make_consumer(self._settings)[0]
        self._consumer.poll(0)
        if self._rising:
            self._ask({partition: words for partition, (_, words) in offsets.items() if partition not in self._floors})
        asked = [
            TopicPartition(topic, number, offset, metadata=words)
            for (topic, number), (offset, words) in offsets.items()
            if offset > self._floors.get((topic, number), -1)
        ]
        if not asked:
            return
        for answer in self._consumer.commit(offsets=asked, asynchronous=False):
            if answer.error is not None:
                raise KafkaException(answer.error)

    def _ask(self, partitions: dict[Partition, str]) -> None:
        if partitions and self._consumer is not None:
            for answer in self._consumer.committed([TopicPartition(*each) for each in partitions], _ANSWER_S):
                if answer.error is not None:
                    raise KafkaException(answer.error)
                partition = (answer.topic, answer.partition)
                there, ours = read_words(answer.metadata or ""), read_words(partitions[partition])
                other = there and ours and there.topic_id and ours.topic_id and there.topic_id != ours.topic_id
                self._floors[partition] = -1 if other else answer.offset

    def forget(self, partition: Partition) -> None:
        """Its topic was made anew."""
        self._floors.pop(partition, None)

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()


_committers: dict[str, Committer] = {}
_lock: Final = threading.Lock()


def committer_of(
    token: str, settings: Callable[[], dict[str, Any]], margin: float = 0.0, behind: int = 0, *, rising: bool = False
) -> Committer:
    """The one committer that this process has for a source of a pipeline.

    One for all copies of a DoFn: were there several, a slow one could take an offset back that another had raised.

    Args:
        token: names the source of one pipeline.
        settings: makes a consumer's settings; reads secrets.
        margin: see Committer.
        behind: see Committer.
        rising: whether offsets below those that the group has already are not committed.
    """
    with _lock:
        if token not in _committers:
            commits = _GroupCommits(settings(), rising=rising)
            _committers[token] = Committer(commits, margin, behind, end=commits.close, renewed=commits.forget)
        return _committers[token]


def close_committer(token: str) -> None:
    """Let go of it, when the last copy of the DoFn ends."""
    with _lock:
        found = _committers.pop(token, None)
    if found is not None:
        found.close()
