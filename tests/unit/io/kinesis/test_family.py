"""Resharding: whatever is split and merged, each shard is read once, and never before its parents."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.kinesis.family import Family, FamilyCoder, FamilyProvider, FamilyTracker, Shard, State, plan
from thingbeam.io.kinesis.positions import ENDED, HORIZON, Position


def resharded(seed: int, first: int, changes: int) -> dict[str, Shard]:
    """A stream's shards after random splits and merges."""
    source = random.Random(seed)
    listed = {f"s{number:03}": Shard(f"s{number:03}") for number in range(first)}
    opened = list(listed)

    def add(*parents: str) -> str:
        shard = Shard(f"s{len(listed):03}", parents)
        listed[shard.id] = shard
        return shard.id

    for _ in range(changes):
        at = source.randrange(len(opened))
        if at + 1 < len(opened) and source.random() < 0.5:
            pair = opened[at : at + 2]
            opened[at : at + 2] = [add(*(pair if source.random() < 0.5 else pair[::-1]))]
        else:
            opened[at : at + 1] = [add(opened[at]), add(opened[at])]
    return listed


def read_all(listed: dict[str, Shard], families: list[Family], done: set[str], seed: int) -> list[str]:
    """The order in which shards are read to their end, each family a step at a time in random order."""
    source = random.Random(seed)
    order: list[str] = []
    coder = FamilyCoder()
    while any(family.shards for family in families):
        before = len(order)
        for at in source.sample(range(len(families)), len(families)):
            family = coder.decode(coder.encode(families[at].freed(done)))
            ready = family.reading()
            for shard in source.sample(ready, source.randint(0, len(ready))):
                assert all(parent not in listed or parent in done for parent in listed[shard].parents)
                family = family.ended(shard, listed)
                done.add(shard)
                order.append(shard)
            families[at] = family
        if len(order) == before:
            assert any(family.reading() for family in families), "nothing can go on"
    return order


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 12), st.booleans(), st.integers(0, 10**6))
def test_each_once_and_parents_first(seed: int, first: int, changes: int, alone: bool, order: int) -> None:
    listed = resharded(seed, first, changes)
    families = plan("s", listed.values(), {}, HORIZON, alone=alone)
    assert len(families) == (1 if alone else first)
    found = read_all(listed, families, set(), order)
    assert sorted(found) == sorted(listed)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 12), st.integers(0, 10**6), st.data())
def test_a_restart_from_a_store_reads_what_is_left(
    seed: int, first: int, changes: int, order: int, data: st.DataObject
) -> None:
    listed = resharded(seed, first, changes)
    all_read = read_all(listed, plan("s", listed.values(), {}, HORIZON, alone=False), set(), order)
    # What was done when it died, in any order that keeps parents before children.
    done = all_read[: data.draw(st.integers(0, len(all_read)))]
    known = dict.fromkeys(done, ENDED)
    families = plan("s", listed.values(), known, HORIZON, alone=False)
    left = read_all(listed, families, set(done), order + 1)
    assert sorted(done + left) == sorted(listed)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 12), st.integers(0, 8), st.booleans())
def test_expired_parents_are_not_waited_for(seed: int, first: int, changes: int, expired: int, alone: bool) -> None:
    whole = resharded(seed, first, changes)
    parents = {parent for shard in whole.values() for parent in shard.parents}
    # The oldest closed shards expire first.
    gone = [name for name in whole if name in parents][:expired]
    listed = {name: shard for name, shard in whole.items() if name not in gone}
    families = plan("s", listed.values(), {}, HORIZON, alone=alone)
    assert sorted(read_all(listed, families, set(gone), seed)) == sorted(listed)


def test_where_each_begins() -> None:
    shards = [Shard("a"), Shard("b"), Shard("c", ("a",)), Shard("d", ("c", "b"))]
    (family,) = plan("s", shards, {"a": ENDED, "b": Position("after", "7")}, Position("time", millis=5))
    assert dict(family.shards) == {
        "b": State(Position("after", "7")),
        "c": State(Position("time", millis=5)),
    }
    # What follows a shard that was read before is new, all of it.
    assert family.first == HORIZON
    (family,) = plan("s", shards, {}, Position("time", millis=5))
    assert family.first == Position("time", millis=5)
    (family,) = plan("s", shards, {}, HORIZON, sequences={"c": "9"})
    assert dict(family.shards) == {"b": State(HORIZON), "c": State(Position("at", "9"))}
    with pytest.raises(ValueError, match="no shard x; it has a, b, c, d"):
        plan("s", shards, {}, HORIZON, sequences={"x": "9"})
    assert plan("s", shards[:1], {"a": ENDED}, HORIZON) == []


def test_the_encoding_of_a_released_checkpoint() -> None:
    kept = b'[1,"events",["horizon"],null,true,[["a",["after","4959",-1],[]],["d",["horizon"],["b"]]]]'
    family = FamilyCoder().decode(kept)
    assert family == Family(
        "events", {"a": State(Position("after", "4959")), "d": State(HORIZON, ("b",))}, HORIZON, None, True
    )
    assert FamilyCoder().encode(family) == kept
    with pytest.raises(ValueError, match="version 2"):
        FamilyCoder().decode(b"[2]")


def test_the_tracker_answers_for_what_is_left() -> None:
    family = Family("s", {"a": State(HORIZON)}, HORIZON)
    tracker = FamilyTracker(family)
    with pytest.raises(ValueError, match="shards a were neither"):
        tracker.check_done()
    assert tracker.try_split(0.5) is None
    primary, rest = tracker.try_split(0) or (None, None)
    assert (primary, rest) == (family._replace(shards={}), family)
    assert tracker.try_split(0) is None
    assert not tracker.try_claim(family)
    assert tracker.check_done()
    over = FamilyTracker(family)
    assert over.try_claim(family.stopped("a"))
    assert over.check_done()
    assert over.try_split(0) is None


def test_a_drain_ends_what_is_endless() -> None:
    endless, bounded = (Family("s", {"a": State(HORIZON)}, HORIZON, stop) for stop in (None, 5))
    provider = FamilyProvider()
    assert provider.truncate(b"", endless) is None
    assert provider.truncate(b"", bounded) == bounded
    assert (FamilyTracker(endless).is_bounded(), FamilyTracker(bounded).is_bounded()) == (False, True)
    assert provider.restriction_size(b"", endless) == 1
    assert provider.initial_restriction(FamilyCoder().encode(endless)) == endless


def test_the_progress_is_a_number_whatever_beam_counts() -> None:
    """Beam's worker puts its own number for what is done: a mean of bytes, which is NaN until there is one."""
    family = Family("s", {"a": State(HORIZON), "b": State(HORIZON)}, HORIZON)
    progress = FamilyTracker(family).current_progress()
    assert progress.with_completed(float("nan")).fraction_completed == 0.0
    assert progress.remaining_work == 2.0
