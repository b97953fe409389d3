"""Rows into batches, batches into calls, several calls at once; and what became of each row. No Beam in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from thingbeam.io.writing.calls import Call, Counts, Slot
from thingbeam.io.writing.policies import BatchPolicy, RetryPolicy
from thingbeam.io.writing.store import Refused, Store
from thingbeam.io.writing.throttle import Throttle

__all__ = ["BatchedWriter", "Done"]

R = TypeVar("R")


class Done(NamedTuple, Generic[R]):
    """What became of one row."""

    tag: Any
    """As it was given with the row."""
    row: R
    kind: Literal["stored", "superseded", "refused"]
    """superseded: a newer row of its key is stored."""
    refusal: Refused | None = None


class BatchedWriter(Generic[R]):
    """Writes the rows of one bundle after another. Used by one thread; its calls run in threads of their own.

    Guarantee: when `flush` returns, each row that was added is stored, or a newer one of its key is, or it is among
    what `done` gives as refused. Of rows of one key that it was given, the newest revision is the one that stays, also
    where they are in different batches that are underway at the same time; what it gave to the store in an earlier
    batch it does not remember. A row is in the store once, however often it is sent, as far as the store's writes are
    idempotent.

    Args:
        store: where to.
        batch: how much in one call, how many calls at once.
        retry: how long what failed is tried again.
        throttle: shared by all writers of the store in this process.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        store: Store[R],
        batch: BatchPolicy | None = None,
        retry: RetryPolicy | None = None,
        throttle: Throttle | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._batch = batch or BatchPolicy()
        self._retry = retry or RetryPolicy()
        self._throttle = throttle or Throttle()
        self._clock = clock
        self._store = store
        self._limits = self._batch.within(store.limits())
        self._pool = ThreadPoolExecutor(self._batch.in_flight, thread_name_prefix="thingbeam-write")
        self._given_up = threading.Event()
        self._calls: dict[Future[None], Call[R]] = {}
        self._busy: dict[Hashable, Call[R]] = {}
        """The keys that are underway."""
        self._done: list[Done[R]] = []
        self._counts = Counts()
        self._new_batch()

    def add(self, row: R, tag: Any = None) -> None:
        """A row, to be stored by the next `flush` at the latest. Waits while enough calls are underway.

        Args:
            row: of the store's sort.
            tag: given back with what became of it.

        Raises:
            WriteError: rows that were not stored within the deadline.
            ConnectorError: no row ever will be.
        """
        try:
            size = self._store.measure(row)
        except Refused as refusal:
            self._done.append(Done(tag, row, "refused", refusal))
            return
        key = self._store.key(row)
        slot = Slot(row, tag, size, key, 0 if key is None else self._store.revision(row))
        same = None if key is None else self._open.get(key)
        if same is None:
            self._put(slot)
        else:
            self._merge(same, slot)
        if self._clock() - self._began >= self._batch.seconds:
            self._send()

    def flush(self) -> None:
        """Wait until each row is stored, superseded or refused.

        Raises:
            WriteError: rows that were not stored within the deadline.
            ConnectorError: no row ever will be.
        """
        while self._slots:
            self._send()
        while self._calls:
            self._collect(None)

    def done(self) -> list[Done[R]]:
        """What became of rows, of those whose call is known to be over, since this was last asked."""
        done, self._done = self._done, []
        return done

    def counts(self) -> Counts:
        """What happened since this was last asked."""
        counts, self._counts = self._counts, Counts()
        return counts

    def abandon(self) -> None:
        """Give up what is not stored yet, for a bundle that failed. Calls that are underway are waited for."""
        self._given_up.set()
        for future in self._calls:
            future.cancel()
        wait(self._calls)
        self._given_up.clear()
        self._calls.clear()
        self._busy.clear()
        self._done.clear()
        self._new_batch()

    def close(self) -> None:
        """Give up what is not stored yet, and end the threads. The store stays open: others may use it."""
        self.abandon()
        self._pool.shutdown()

    def _new_batch(self) -> None:
        self._slots: list[Slot[R]] = []
        self._open: dict[Hashable, Slot[R]] = {}
        self._bytes = 0
        self._began = self._clock()

    def _put(self, slot: Slot[R]) -> None:
        """Into the batch, or into the next one where it is full."""
        while self._slots and (len(self._slots) >= self._limits.rows or self._bytes + slot.size > self._limits.bytes):
            self._send()
        if not self._slots:
            self._began = self._clock()
        if slot.key is not None:
            self._open[slot.key] = slot
        self._slots.append(slot)
        self._bytes += slot.size

    def _merge(self, same: Slot[R], slot: Slot[R]) -> None:
        """Another row of a key that the batch has: the newer is sent, the other waits in case that one is refused."""
        newer, older = (slot, same) if slot.revision >= same.revision else (same, slot)
        if newer.older is None:
            newer.older = []
        newer.older += older.older or ()
        newer.older.append(older)
        older.older = None
        newer.behind = same.behind
        if newer is slot:
            self._slots.remove(same)
            self._bytes -= same.size
            self._put(slot)

    def _send(self) -> None:
        """A call of the batch; what is underway by key in another waits in the next batch, for one step at least."""
        slots = self._slots
        self._new_batch()
        self._collect(0)
        if not self._busy.keys().isdisjoint(slot.key for slot in slots):
            slots = self._without_busy(slots)
        slots = self._without_older(slots)
        while len(self._calls) >= self._batch.in_flight:
            self._collect(None)
        if not slots:
            return
        call = Call(self._store, slots, self._retry, self._throttle, self._given_up, self._clock)
        for slot in slots:
            if slot.key is not None:
                self._busy[slot.key] = call
        self._calls[self._pool.submit(call.run)] = call

    def _without_busy(self, slots: list[Slot[R]]) -> list[Slot[R]]:
        """Those that may go now, of which there is one; the others begin the next batch."""
        for slot in slots:
            slot.behind = slot.behind if slot.key is None else self._busy.get(slot.key, slot.behind)
        while not (free := [slot for slot in slots if slot.key is None or slot.key not in self._busy]):
            self._collect(None)
        for slot in slots:
            if slot.key is not None and slot.key in self._busy:
                self._put(slot)
        return free

    def _without_older(self, slots: list[Slot[R]]) -> list[Slot[R]]:
        """Leave out what is older than what the call that it waited for has stored."""
        stored: dict[Call[R], dict[Hashable, int]] = {}
        kept: list[Slot[R]] = []
        for slot in slots:
            call, slot.behind = slot.behind, None
            if call is not None and call not in stored:
                stored[call] = {one.key: one.revision for one in call.slots if one.stored}
            least = None if call is None else stored[call].get(slot.key)
            if least is None or slot.revision >= least:
                kept.append(slot)
            else:
                self._settle(slot)
                continue
            if least is not None and slot.older:
                # Should this one be refused, they would take its place.
                self._done += [Done(one.tag, one.row, "superseded") for one in slot.older if one.revision < least]
                slot.older = [one for one in slot.older if one.revision >= least]
        return kept

    def _collect(self, timeout: float | None) -> None:
        """Take in what is over; with None wait until one is."""
        if not self._calls:
            return
        finished, _ = wait(self._calls, timeout, FIRST_COMPLETED)
        for future in finished:
            call = self._calls.pop(future)
            self._counts.add(call.counts)
            for slot in call.slots:
                self._busy.pop(slot.key, None)
            try:
                future.result()
            except BaseException:
                # The bundle fails. What it still has underway must not land after what the next attempt writes.
                self.abandon()
                raise
            for slot in call.slots:
                self._settle(slot)

    def _settle(self, slot: Slot[R]) -> None:
        if slot.refusal is not None:
            self._done.append(Done(slot.tag, slot.row, "refused", slot.refusal))
            return
        self._done.append(Done(slot.tag, slot.row, "stored" if slot.stored else "superseded"))
        for one in slot.older or ():
            self._done.append(Done(one.tag, one.row, "superseded"))
