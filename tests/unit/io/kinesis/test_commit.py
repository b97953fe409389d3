"""Positions are written when they are final, only forward, and again after a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from thingbeam.io.errors import ConnectorError
from thingbeam.io.kinesis.commit import Committer, close_committer, committer_of
from thingbeam.io.kinesis.positions import ENDED, Position


class Store:
    """Remembers what was written."""

    def __init__(self) -> None:
        self.writes: list[dict[str, Position]] = []
        self.failing = False
        self.reads = 0
        self.written = threading.Event()

    def prepare(self) -> None:
        """Nothing to do."""

    def read(self, stream: str) -> dict[str, Position]:
        self.reads += 1
        return {shard: at for positions in self.writes for shard, at in positions.items()}

    def write(self, stream: str, positions: Mapping[str, Position]) -> None:
        if self.failing:
            raise ConnectorError("away")
        self.writes.append(dict(positions))
        self.written.set()


class Clock:
    """Goes when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def at(number: int) -> Position:
    return Position("after", str(number))


def still(store: Store, margin: float = 0.0) -> tuple[Committer, Clock]:
    """A committer whose thread does nothing: the test commits."""
    clock = Clock()
    committer = Committer(store, "events", margin, clock)
    committer._thread = threading.current_thread()
    return committer, clock


def test_the_newest_of_each_shard_once() -> None:
    store = Store()
    committer, _ = still(store)
    for positions in ({"a": at(1)}, {"a": at(3), "b": at(1)}, {"a": at(2)}):
        committer.finalised(positions)
    assert committer.commit()
    assert store.writes == [{"a": at(3), "b": at(1)}]
    # What comes late from a worker that was thought dead, or comes again.
    committer.finalised({"a": at(2), "b": at(1)})
    assert committer.commit()
    assert len(store.writes) == 1
    committer.finalised({"a": ENDED})
    committer.finalised({"a": at(9)})
    assert committer.commit()
    assert store.writes[1:] == [{"a": ENDED}]


def test_a_margin_holds_back() -> None:
    store = Store()
    committer, clock = still(store, margin=30.0)
    committer.finalised({"a": at(1)})
    clock.now = 29.0
    assert committer.commit()
    assert store.writes == []
    clock.now = 30.0
    assert committer.commit()
    assert store.writes == [{"a": at(1)}]


def test_a_failure_is_tried_again() -> None:
    store = Store()
    committer, _ = still(store)
    store.failing = True
    committer.finalised({"a": at(1)})
    assert not committer.commit()
    store.failing = False
    assert committer.commit()
    assert store.writes == [{"a": at(1)}]


def test_who_is_done_is_asked_once_a_second() -> None:
    store = Store()
    committer, clock = still(store)
    clock.now = 10.0
    store.writes = [{"a": ENDED, "b": at(1)}]
    assert committer.ended() == {"a"}
    store.writes = [{"b": ENDED}]
    assert (committer.ended(), store.reads) == ({"a"}, 1)
    clock.now = 11.0
    assert (committer.ended(), store.reads) == ({"a", "b"}, 2)


def test_written_in_the_background_and_when_closed() -> None:
    store = Store()
    committer = committer_of("token", store, "events", 0.0)
    assert committer_of("token", store, "events", 0.0) is committer
    committer.finalised({"a": at(1)})
    assert store.written.wait(5)
    committer.finalised({"a": at(2)})
    close_committer("token")
    assert store.writes[-1] == {"a": at(2)}
    close_committer("token")
    assert committer_of("token", store, "events", 0.0) is not committer
    close_committer("token")
    idle = time.monotonic()
    Committer(store, "events").close()
    assert time.monotonic() - idle < 1
