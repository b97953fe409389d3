"""BatchedWriter against a store that fails in every way it can, for random rows."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thingbeam.io.errors import AuthenticationError, WriteError
from thingbeam.io.writing import (
    Again,
    BatchedWriter,
    BatchPolicy,
    Failure,
    Limits,
    Refused,
    RefusedBatch,
    RetryPolicy,
    Throttled,
)

QUICK = RetryPolicy("20s", "1ms", "2ms")


class Row(NamedTuple):
    key: int | None
    revision: int
    kind: str = "good"
    """good, small (refused before a call), named (refused by name) or poison (refused with its batch)."""


class Memory:
    """A store that keeps the last that was written, and fails as often as it is told."""

    def __init__(self, seed: int = 0, failing: float = 0.0, rows: int = 5, most: int = 100) -> None:
        self.random = random.Random(seed)
        self.failing = failing
        self.kept: dict[int, Row] = {}
        self.plain: list[Row] = []
        self.calls: list[list[Row]] = []
        self._limits = Limits(rows, most)
        self._lock = threading.Lock()
        self.underway: set[int] = set()

    def limits(self) -> Limits:
        return self._limits

    def measure(self, row: Row) -> int:
        if row.kind == "small":
            raise Refused("too_large", "small")
        return 10

    def key(self, row: Row) -> int | None:
        return row.key

    def revision(self, row: Row) -> int:
        return row.revision

    def write(self, rows: Sequence[Row]) -> Sequence[Failure]:
        keys = [row.key for row in rows if row.key is not None]
        with self._lock:
            assert len(set(keys)) == len(keys), "a key twice in a call"
            assert self.underway.isdisjoint(keys), "a key in two calls at once"
            self.underway.update(keys)
            self.calls.append(list(rows))
            draw = self.random.random()
        try:
            time.sleep(0.0002)
            if draw < self.failing / 3:
                raise Throttled("slow")
            if draw < self.failing / 2:
                raise Again("cut")
            if any(row.kind == "poison" for row in rows):
                raise RefusedBatch("refused", "poison")
            failures: list[Failure] = []
            with self._lock:
                for place, row in enumerate(rows):
                    if row.kind == "named":
                        failures.append(Failure(place, "refused", "refused", "named"))
                    elif self.random.random() < self.failing / 4:
                        kinds = ("throttled", "again", "untried")
                        failures.append(Failure(place, self.random.choice(kinds)))  # type: ignore[arg-type]
                    elif row.key is None:
                        self.plain.append(row)
                    else:
                        self.kept[row.key] = row
            return failures
        finally:
            with self._lock:
                self.underway.difference_update(keys)

    def close(self) -> None:
        """Nothing."""


kinds = st.sampled_from(["good"] * 12 + ["small", "named", "poison"])
rows = st.lists(st.builds(Row, st.none() | st.integers(0, 12), st.integers(0, 5), kinds), max_size=60)


@settings(max_examples=30)
@given(rows, st.integers(0, 1 << 30), st.sampled_from([0.0, 0.3, 0.7]), st.integers(1, 4))
def test_each_row_is_stored_superseded_or_refused(
    given_rows: list[Row], seed: int, failing: float, flight: int
) -> None:
    store = Memory(seed, failing)
    writer = BatchedWriter(store, BatchPolicy(in_flight=flight), QUICK)
    for number, row in enumerate(given_rows):
        writer.add(row, number)
    writer.flush()
    done = writer.done()
    writer.close()
    assert sorted(one.tag for one in done) == list(range(len(given_rows)))
    assert all(given_rows[one.tag] == one.row for one in done)
    for one in done:
        assert one.kind in {"good": ("stored", "superseded"), "small": ("refused",)}.get(
            one.row.kind, ("refused", "superseded")
        )
        assert one.kind != "superseded" or one.row.key is not None
    assert store.plain.count(Row(None, 0)) == given_rows.count(Row(None, 0))
    assert sorted(store.plain) == sorted(row for row in given_rows if row.key is None and row.kind == "good")
    stored = [one.row for one in done if one.kind == "stored" and one.row.key is not None]
    assert set(store.kept.values()) <= set(stored)
    assert store.kept.keys() == {row.key for row in given_rows if row.kind == "good" and row.key is not None}


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=40), st.integers(0, 1 << 30))
def test_the_newest_of_what_is_underway_stays(pairs: list[tuple[int, int]], seed: int) -> None:
    """All rows fit in the batches that are underway at once: then no older one may win, whatever fails."""
    store = Memory(seed, 0.5, rows=100, most=10_000)
    writer = BatchedWriter(store, BatchPolicy(in_flight=2), QUICK)
    for pair in pairs:
        writer.add(Row(*pair))
    writer.flush()
    writer.close()
    assert {key: row.revision for key, row in store.kept.items()} == {
        key: max(revision for other, revision in pairs if other == key) for key, _ in pairs
    }


def test_batches_by_count_and_bytes() -> None:
    store = Memory(rows=5, most=30)
    writer = BatchedWriter(store, BatchPolicy(in_flight=1))
    for key in range(7):
        writer.add(Row(key, 0))
    writer.flush()
    assert [len(call) for call in store.calls] == [3, 3, 1]
    writer.close()
    store = Memory(rows=5)
    writer = BatchedWriter(store, BatchPolicy(rows=2, in_flight=1))
    for key in range(5):
        writer.add(Row(key, 0))
    writer.flush()
    assert [len(call) for call in store.calls] == [2, 2, 1]
    writer.close()


def test_a_batch_that_waits_too_long_goes() -> None:
    now = [0.0]
    store = Memory(rows=100, most=10_000)
    writer = BatchedWriter(store, BatchPolicy(seconds=2.0, in_flight=1), clock=lambda: now[0])
    writer.add(Row(1, 0))
    now[0] = 1.9
    writer.add(Row(2, 0))
    now[0] = 2.0
    writer.add(Row(3, 0))
    writer.add(Row(4, 0))
    writer.flush()
    assert [len(call) for call in store.calls] == [3, 1]
    writer.close()


def test_several_calls_are_underway() -> None:
    barrier = threading.Barrier(3, timeout=10)

    class Meeting(Memory):
        def write(self, rows: Sequence[Row]) -> Sequence[Failure]:
            barrier.wait()
            return super().write(rows)

    writer = BatchedWriter(Meeting(rows=1), BatchPolicy(in_flight=3))
    for key in range(3):
        writer.add(Row(key, 0))
    writer.flush()
    assert len(writer.done()) == 3
    writer.close()


class Held(Memory):
    """The first call waits until it is told."""

    def __init__(self) -> None:
        super().__init__(rows=2)
        self.release = threading.Event()
        self.begun = threading.Semaphore(0)

    def write(self, rows: Sequence[Row]) -> Sequence[Failure]:
        first = not self.calls
        try:
            if first:
                with self._lock:
                    self.underway.update(row.key for row in rows if row.key is not None)
                    self.calls.append(list(rows))
                self.begun.release()
                assert self.release.wait(10)
                self.kept |= {row.key: row for row in rows if row.key is not None}
                with self._lock:
                    self.underway.clear()
                return ()
            return super().write(rows)
        finally:
            self.begun.release()


def test_a_key_that_is_underway_holds_up_nothing_else() -> None:
    store = Held()
    writer = BatchedWriter(store, BatchPolicy(in_flight=3), QUICK)
    for row in (Row(1, 5), Row(2, 5), Row(1, 7), Row(3, 0), Row(4, 0)):
        writer.add(row)
    assert store.begun.acquire(timeout=10)
    for row in (Row(5, 0), Row(2, 3), Row(6, 0), Row(7, 0)):
        writer.add(row)
    until = time.monotonic() + 10
    while not {3, 4} <= store.kept.keys():
        assert time.monotonic() < until, "they wait for the first call"
        time.sleep(0.001)
    assert not store.release.is_set()
    store.release.set()
    writer.flush()
    assert {key: row.revision for key, row in store.kept.items()} == {1: 7, 2: 5, 3: 0, 4: 0, 5: 0, 6: 0, 7: 0}
    assert sorted((one.row, one.kind) for one in writer.done() if one.row.key == 2) == [
        (Row(2, 3), "superseded"), (Row(2, 5), "stored"),
    ]  # fmt: skip
    writer.close()


@pytest.mark.parametrize("first_is_stored", [True, False])
def test_where_a_held_row_is_refused_no_older_one_replaces_what_is_stored(first_is_stored: bool) -> None:
    store = Held()
    writer = BatchedWriter(store, BatchPolicy(in_flight=2), QUICK)
    first = Row(1 if first_is_stored else 8, 5)
    for row in (first, Row(2, 0), Row(3, 0), Row(1, 3), Row(1, 9, "named")):
        writer.add(row)
    store.release.set()
    writer.flush()
    done = {one.row: one.kind for one in writer.done()}
    assert store.kept[1].revision == (5 if first_is_stored else 3)
    assert done[Row(1, 3)] == ("superseded" if first_is_stored else "stored")
    assert done[Row(1, 9, "named")] == "refused"
    writer.close()


def test_bisection_asks_few_calls() -> None:
    store = Memory(rows=64, most=10_000)
    writer = BatchedWriter(store, BatchPolicy(in_flight=1), QUICK)
    for key in range(64):
        writer.add(Row(key, 0, "poison" if key == 37 else "good"))
    writer.flush()
    assert [one.row.key for one in writer.done() if one.kind == "refused"] == [37]
    assert len(store.calls) == 13
    writer.close()


def test_only_what_failed_is_sent_again() -> None:
    class Half(Memory):
        def write(self, rows: Sequence[Row]) -> Sequence[Failure]:
            self.calls.append(list(rows))
            return [Failure(place, "throttled") for place in range(len(rows) // 2)]

    store = Half(rows=8)
    writer = BatchedWriter(store, BatchPolicy(in_flight=1), QUICK)
    for key in range(8):
        writer.add(Row(key, 0))
    writer.flush()
    assert [len(call) for call in store.calls] == [8, 4, 2, 1]
    counts = writer.counts()
    assert (counts.rows, counts.calls, counts.retried, counts.throttled) == (8, 4, 7, 7)
    writer.close()


def test_where_the_newest_is_refused_the_next_takes_its_place() -> None:
    store = Memory()
    writer = BatchedWriter(store, BatchPolicy(in_flight=1), QUICK)
    for row in (Row(1, 1), Row(1, 9, "named"), Row(1, 3), Row(1, 8, "poison")):
        writer.add(row)
    writer.flush()
    assert store.kept == {1: Row(1, 3)}
    assert {one.row.revision: one.kind for one in writer.done()} == {
        1: "superseded", 9: "refused", 3: "stored", 8: "refused"
    }  # fmt: skip
    writer.close()


def test_after_the_deadline_it_fails_and_can_go_on() -> None:
    class Down(Memory):
        down = True

        def write(self, rows: Sequence[Row]) -> Sequence[Failure]:
            if self.down:
                raise Again("nobody there")
            return super().write(rows)

    store = Down()
    writer = BatchedWriter(store, BatchPolicy(in_flight=2), RetryPolicy("50ms", "1ms", "5ms"))
    writer.add(Row(1, 0))
    with pytest.raises(WriteError, match=r"1 rows were not stored within 0\.05 s: nobody there"):
        writer.flush()
    store.down = False
    writer.add(Row(2, 0))
    writer.flush()
    assert [one.row.key for one in writer.done()] == [2]
    writer.close()


def test_what_no_retry_mends_fails_at_once_and_ends_the_others() -> None:
    class Denied(Memory):
        def write(self, rows: Sequence[Row]) -> Sequence[Failure]:
            if rows[0].key == 0:
                raise Again("wait")
            raise AuthenticationError("no permission")

    writer = BatchedWriter(Denied(rows=1), BatchPolicy(in_flight=2), RetryPolicy("60s", "1s", "10s"))
    began = time.monotonic()
    writer.add(Row(0, 0))
    writer.add(Row(1, 0))
    with pytest.raises(AuthenticationError):
        writer.flush()
    assert time.monotonic() - began < 10
    assert writer.done() == []
    writer.close()
