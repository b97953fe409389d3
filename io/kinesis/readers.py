"""What reads the shards between bundles: feeds, and where each stands, shared by a process's copies of a DoFn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from thingbeam.io.kinesis.feeds import Feed
from thingbeam.io.kinesis.positions import Position
from thingbeam.io.watermark import PartitionWatermark

__all__ = ["ShardReader", "Shelf"]

_IDLE_S: Final = 60.0


@dataclass
class ShardReader:
    """One shard, as it is read by this worker."""

    shard: str
    feed: Feed
    position: Position
    """Up to where it was claimed."""
    watermark: PartitionWatermark
    behind: bool = True
    """Whether there is, as far as is known, more to read at once."""
    last_ms: int = -1
    """When the last record arrived, in milliseconds since 1970."""
    noted: bool = False
    """Whether the runner was asked to finalise where it stands."""
    put_back_at: float = 0.0


@dataclass
class _Kept:
    users: int = 0
    waiting: dict[str, ShardReader] = field(default_factory=dict)


_kept: Final[dict[str, _Kept]] = {}
_lock: Final = threading.Lock()


class Shelf:
    """The readers of one source of a pipeline: a bundle takes them out and puts them back.

    Args:
        token: names the source of one pipeline.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        with _lock:
            _kept.setdefault(token, _Kept()).users += 1

    def take(self, shard: str, position: Position, make: Callable[[], ShardReader]) -> ShardReader:
        """The reader that stands at a position, or a new one."""
        limit = time.monotonic() - _IDLE_S
        with _lock:
            waiting = _kept[self._token].waiting
            found = waiting.pop(shard, None)
            stale = [waiting.pop(name) for name, reader in list(waiting.items()) if reader.put_back_at < limit]
        if found is not None and found.position != position:
            stale.append(found)
            found = None
        for reader in stale:
            # Its shard is another worker's now, or was read again from an earlier place.
            reader.feed.close()
        return make() if found is None else found

    def put_back(self, reader: ShardReader) -> None:
        """Keep it for the shard's next bundle."""
        reader.put_back_at = time.monotonic()
        with _lock:
            kept = _kept.get(self._token)
            replaced = reader if kept is None else kept.waiting.pop(reader.shard, None)
            if kept is not None:
                kept.waiting[reader.shard] = reader
        if replaced is not None:
            replaced.feed.close()

    def close(self) -> bool:
        """One user less; the last lets all go, and is told so."""
        with _lock:
            kept = _kept[self._token]
            kept.users -= 1
            if kept.users:
                return False
            del _kept[self._token]
        for reader in kept.waiting.values():
            reader.feed.close()
        return True
