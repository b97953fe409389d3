"""Producers that the copies of a DoFn in one process share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from thingbeam.io.kafka.producing import BundleProducer

__all__ = ["Producers"]


@dataclass
class _Shelf:
    """The producers of one sink of a pipeline that no bundle has."""

    users: int = 0
    idle: list[BundleProducer] = field(default_factory=list)


_shelves: Final[dict[str, _Shelf]] = {}
_lock: Final = threading.Lock()


class Producers:
    """The producers that a DoFn and its copies in this process share: a bundle takes one out and puts it back.

    Behind a source Beam's worker keeps a copy for each bundle that no checkpoint covers yet, and all copies it ever
    had: there are as many producers as bundles at work at one time, and not as many as copies.

    Args:
        token: names the sink of one pipeline.
        make: a new producer.

    >>> from thingbeam.io.kafka.config import KafkaConfig
    >>> from thingbeam.io.kafka.producing import BundleProducer
    >>> copies = [Producers("sink", lambda: BundleProducer(KafkaConfig("127.0.0.1:9092"), None, 1.0, 1)) for _ in "ab"]
    >>> producer = copies[0].take()
    >>> copies[0].put_back(producer)
    >>> copies[1].take() is producer
    True
    >>> for copy in copies:
    ...     copy.close()
    """

    def __init__(self, token: str, make: Callable[[], BundleProducer]) -> None:
        self._token, self._make = token, make
        with _lock:
            _shelves.setdefault(token, _Shelf()).users += 1

    def take(self) -> BundleProducer:
        """One that nobody has."""
        with _lock:
            idle = _shelves[self._token].idle
            if idle:
                return idle.pop()
        return self._make()

    def put_back(self, producer: BundleProducer) -> None:
        """For another bundle. One that failed is not put back, but abandoned."""
        with _lock:
            _shelves[self._token].idle.append(producer)

    def close(self) -> None:
        """One user less; the last closes all that are idle."""
        with _lock:
            shelf = _shelves[self._token]
            shelf.users -= 1
            if shelf.users:
                return
            del _shelves[self._token]
        for producer in shelf.idle:
            producer.abandon()
