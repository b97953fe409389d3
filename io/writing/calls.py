"""One call to a store and what follows from its answer: retries, bisection, what became of each row."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from thingbeam.io.errors import WriteError
from thingbeam.io.writing.policies import RetryPolicy
from thingbeam.io.writing.store import Again, Refused, RefusedBatch, Store, Throttled
from thingbeam.io.writing.throttle import Throttle

__all__ = ["Call", "Counts", "GivenUpError", "Slot"]

LOGGER: Final = logging.getLogger("thingbeam.io.writing")
_LOG_EVERY_S: Final = 30.0
_SLOWEST_SLICE_S: Final = 1.0

R = TypeVar("R")


class GivenUpError(RuntimeError):
    """Nobody waits for the call any more: its bundle failed for another reason."""


class Slot(Generic[R]):
    """One key's place in a call: the newest row of it, and the older ones of the same call.

    They are kept until the newest is stored: if that one can never be, the next is the newest.
    """

    __slots__ = ("behind", "key", "older", "refusal", "revision", "row", "size", "stored", "tag")

    def __init__(self, row: R, tag: Any, size: int, key: Hashable | None, revision: int) -> None:
        self.row = row
        self.tag = tag
        self.size = size
        self.key = key
        self.revision = revision
        self.older: list[Slot[R]] | None = None
        self.behind: Call[R] | None = None
        """The call that had a row of this key, for which it waited."""
        self.refusal: Refused | None = None
        self.stored = False
        """Whether the store has this row; of one that is over and was not refused, it has a newer one."""


@dataclass
class Counts:
    """What happened, for metrics."""

    calls: int = 0
    rows: int = 0
    bytes: int = 0
    retried: int = 0
    """Rows that were sent again."""
    throttled: int = 0
    """Rows that the store had no room for."""
    waited: float = 0.0
    """Seconds that calls waited since the store throttled."""
    seconds: list[float] = field(default_factory=list)
    """How long each call took."""

    def add(self, other: Counts) -> None:
        """Sum up."""
        self.calls += other.calls
        self.rows += other.rows
        self.bytes += other.bytes
        self.retried += other.retried
        self.throttled += other.throttled
        self.waited += other.waited
        self.seconds += other.seconds


class Call(Generic[R]):
    """Brings the rows of one batch into the store, however many calls that takes. Runs in a thread of its own.

    Args:
        store: where to.
        slots: what; no two of one key.
        retry: how long.
        throttle: how fast.
        given_up: set when nobody waits any more.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        store: Store[R],
        slots: list[Slot[R]],
        retry: RetryPolicy,
        throttle: Throttle,
        given_up: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slots = slots
        self.counts = Counts()
        self._store = store
        self._retry = retry
        self._throttle = throttle
        self._given_up = given_up
        self._clock = clock

    def run(self) -> None:
        """Until each slot is stored, superseded or refused.

        Raises:
            WriteError: some are not within the deadline.
            ConnectorError: none ever will be.
        """
        self._bring(list(self.slots), self._clock() + self._retry.deadline_seconds)

    def _bring(self, slots: list[Slot[R]], until: float) -> None:
        failures, logged = 0, self._clock()
        while slots:
            try:
                again, throttled, why = self._attempt(slots)
            except RefusedBatch as refusal:
                if len(slots) == 1:
                    slots = self._refuse(slots[0], refusal)
                    continue
                middle = len(slots) // 2
                self._bring(slots[:middle], until)
                self._bring(slots[middle:], until)
                return
            if not again:
                return
            # A call that brought some rows through was no failure: the store is there and works at its own pace.
            failures = 1 if len(again) < len(slots) else failures + 1
            if not why and len(again) < len(slots):
                slots = again
                continue
            slots = again
            now, pause = self._clock(), self._retry.pause(failures)
            if now + pause > until:
                raise WriteError(f"{len(slots)} rows were not stored within {self._retry.deadline_seconds:g} s: {why}")
            if now - logged > _LOG_EVERY_S:
                logged = now
                LOGGER.warning("%d rows wait for the store: %s", len(slots), why)
            self.counts.retried += len(slots)
            self._wait(pause, throttled=throttled)

    def _attempt(self, slots: list[Slot[R]]) -> tuple[list[Slot[R]], bool, str]:
        """One call: the slots to try again, whether any was throttled, and why; without a why they need not wait."""
        counts, throttle = self.counts, self._throttle
        self._wait(throttle.ask(len(slots)), throttled=True)
        counts.calls += 1
        began = self._clock()
        try:
            failures = self._store.write([slot.row for slot in slots])
        except Throttled as answer:
            counts.throttled += len(slots)
            throttle.answered(0, len(slots))
            return slots, True, str(answer)
        except Again as answer:
            return slots, False, str(answer)
        finally:
            counts.seconds.append(self._clock() - began)
        again: list[Slot[R]] = []
        throttled, why = 0, ""
        failed: set[int] = set()
        for index, kind, code, reason in failures:
            failed.add(index)
            if kind == "refused":
                again += self._refuse(slots[index], Refused(code, reason))
            elif kind != "superseded":
                again.append(slots[index])
                throttled += kind == "throttled"
                if kind != "untried":
                    why = reason or kind
        taken = len(slots)
        if failed:
            taken -= len(failed)
            for index, slot in enumerate(slots):
                slot.stored = index not in failed
        else:
            for slot in slots:
                slot.stored = True
        counts.throttled += throttled
        throttle.answered(len(slots) - throttled, throttled)
        counts.rows += taken
        counts.bytes += sum(slot.size for slot in slots if slot.stored)
        return again, throttled > 0, why

    def _refuse(self, slot: Slot[R], refusal: Refused) -> list[Slot[R]]:
        """The next newest of the key, to be tried in its place, if there is one."""
        slot.refusal = refusal
        if not slot.older:
            return []
        older, slot.older = slot.older, None
        # The later of two that are equally new is the newer.
        best = max(range(len(older)), key=lambda place: (older[place].revision, place))
        newest = older.pop(best)
        newest.older = older
        self.slots.append(newest)
        return [newest]

    def _wait(self, seconds: float, *, throttled: bool) -> None:
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            if self._given_up.wait(min(left, _SLOWEST_SLICE_S)):
                raise GivenUpError
        if self._given_up.is_set():
            raise GivenUpError
        if throttled:
            self.counts.waited += seconds
