"""Writes positions to a checkpoint store when the runner says that a bundle is done, and never before."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from thingbeam.io.errors import ConnectorError
from thingbeam.io.kinesis.checkpoints import CheckpointStore
from thingbeam.io.kinesis.log import LOGGER
from thingbeam.io.kinesis.positions import Position

__all__ = ["Committer", "close_committer", "committer_of"]

_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 5.0
_HEARD_FOR_S: Final = 1.0


class Committer:
    """Gathers what is finalised and writes the newest position of each shard, in a thread of its own.

    A write that fails costs nothing but records read again after a restart: it is tried again, and stops no bundle.

    Args:
        store: where to.
        stream: whose shards they are.
        margin: how many seconds after it was finalised a position is written.
        clock: seconds, monotonic.
    """

    def __init__(
        self, store: CheckpointStore, stream: str, margin: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._stream, self._margin, self._clock = store, stream, margin, clock
        self._lock = threading.Lock()
        self._held: collections.deque[tuple[float, Mapping[str, Position]]] = collections.deque()
        self._wanted: dict[str, Position] = {}
        self._written: dict[str, Position] = {}
        self._ended: set[str] = set()
        self._heard_at = float("-inf")
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def finalised(self, positions: Mapping[str, Position]) -> None:
        """The runner is done with everything before these."""
        with self._lock:
            self._held.append((self._clock() + self._margin, positions))
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="thingbeam-kinesis-checkpoints", daemon=True)
                self._thread.start()
        self._wake.set()

    def ended(self) -> set[str]:
        """The shards that the store says are done, by whichever worker; asked once a second at most.

        Raises:
            ConnectorError: the store does not answer.
        """
        with self._lock:
            if self._clock() - self._heard_at < _HEARD_FOR_S:
                return set(self._ended)
            self._heard_at = self._clock()
        found = {shard for shard, position in self._store.read(self._stream).items() if position.kind == "ended"}
        with self._lock:
            self._ended |= found
            return set(self._ended)

    def commit(self) -> bool:
        """Write what is due. False where that failed: it stays due."""
        with self._lock:
            now = self._clock()
            while self._held and self._held[0][0] <= now:
                # Bundles of one shard are finalised in order, but for those of a worker that came back from the dead.
                for shard, position in self._held.popleft()[1].items():
                    kept = self._wanted.get(shard, self._written.get(shard))
                    if kept is None or position.rank > kept.rank:
                        self._wanted[shard] = position
            due = dict(self._wanted)
        if not due:
            return True
        try:
            self._store.write(self._stream, due)
        except ConnectorError as error:
            LOGGER.warning("%s; will try again", error)
            return False
        with self._lock:
            self._written |= due
            self._wanted = {shard: at for shard, at in self._wanted.items() if due.get(shard) != at}
        return True

    def close(self) -> None:
        """Write what is due, once, and end the thread. What the margin holds back is read again."""
        with self._lock:
            self._stop.set()
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(_LONGEST_PAUSE_S)

    def _run(self) -> None:
        pause = _PAUSE_S
        while not self._stop.is_set():
            with self._lock:
                waiting = bool(self._held) or bool(self._wanted)
            if not waiting:
                self._wake.wait()
            self._wake.clear()
            pause = _PAUSE_S if self.commit() else min(2 * pause, _LONGEST_PAUSE_S)
            # Gathers what is finalised meanwhile; only the end is worth waking for.
            self._stop.wait(pause)
        self.commit()


_committers: Final[dict[str, Committer]] = {}
_lock: Final = threading.Lock()


def committer_of(token: str, store: CheckpointStore, stream: str, margin: float) -> Committer:
    """The one committer that this process has for a source of a pipeline."""
    with _lock:
        if token not in _committers:
            _committers[token] = Committer(store, stream, margin)
        return _committers[token]


def close_committer(token: str) -> None:
    """Let go of it, when the last copy of the DoFn ends."""
    with _lock:
        found = _committers.pop(token, None)
    if found is not None:
        found.close()
