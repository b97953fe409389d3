from __future__ import annotations

import random
from itertools import permutations

import pytest

from columnar import SECOND, Shard, clash_of, deduplicating, said, seconds, words, words_of
from streams import disorder, random_stream
from streams import role_of as role_in_stream
from thingbeam.schemas import Event
from thingbeam.schemas.names import mix
from thingbeam.transforms.rules import is_ignored, sift
from thingbeam.transforms.rules.order import payload_hash


def kept(*events: Event, until: float | None = None) -> list[float]:
    """When the events that count were, all given at once."""
    shard = Shard(deduplicating())
    return [
        seconds(event.event_time)
        for event in (shard.end(*events) if until is None else shard.until(until, *events)).rows
    ]


def test_at_exactly_the_horizon_it_is_a_duplicate() -> None:
    assert kept(said(0, 1.0, event_id="e"), said(60, 2.0, event_id="e")) == [0]
    assert kept(said(0, 1.0, event_id="e"), said(60.000001, 2.0, event_id="e")) == [0, 60.000001]


def test_chains_do_not_stretch() -> None:
    assert kept(*(said(at, 1.0, event_id="e") for at in (0, 50, 100, 160, 161))) == [0, 100, 161]


def test_another_device_or_id_is_no_duplicate() -> None:
    assert (
        len(kept(said(0, 1.0, event_id="e"), said(0, 1.0, event_id="e", device="d2"), said(0, 1.0, event_id="f"))) == 3
    )


def test_repeats_on_one_device_do_not_touch_another() -> None:
    events = [
        said(at, 1.0, event_id="e", device=device) for at, device in ((0, "d1"), (10, "d2"), (20, "d1"), (30, "d2"))
    ]
    assert sorted(kept(*events)) == [0, 10]
    shard = Shard(deduplicating())
    assert [shard.until(at + 1, event).counted for at, event in zip((0, 10, 20, 30), events, strict=True)] == [
        1,
        1,
        0,
        0,
    ]


@pytest.mark.parametrize("cut", [0.5, 30, 60, 60.000001])
def test_the_horizon_reaches_over_slices(cut: float) -> None:
    shard = Shard(deduplicating())
    shard.until(cut, said(0, 1.0, event_id="e"))
    again = shard.until(300, said(60, 1.0, event_id="e")) if cut <= 60 else None
    beyond = shard.until(400, said(300, 1.0, event_id="e"))
    assert again is None or (again.counted, again.duplicates) == (0, 1)
    assert (beyond.counted, beyond.duplicates) == (1, 0)


def test_the_horizon_reaches_over_several_slices() -> None:
    shard = Shard(deduplicating())
    shard.until(1, said(0, 1.0, event_id="e"))
    shard.until(59)
    shard.until(60)
    assert shard.until(61, said(60, 1.0, event_id="e")).duplicates == 1


def test_chains_over_slices() -> None:
    shard = Shard(deduplicating())
    found = [shard.until(at + 1, said(at, 1.0, event_id="e")).counted for at in (0, 50, 100, 160, 161)]
    assert found == [1, 0, 1, 0, 1]


def test_the_smallest_payload_of_one_time_is_accepted() -> None:
    said_at_once = [said(0, value, event_id="e", unit=unit) for value in (1.0, "on", {"a": 1}) for unit in (None, "W")]
    smallest = min(said_at_once, key=payload_hash)
    beside = [said(0, 1.0, event_id="d"), said(0, 1.0, event_id="f")]
    for order in permutations(range(len(said_at_once)), 3):
        events = [said_at_once[at] for at in order]
        given = Shard(deduplicating()).end(beside[0], *events, beside[1])
        assert given.duplicates == 2
        assert min(events, key=payload_hash) in given.rows
    assert smallest in Shard(deduplicating()).end(*said_at_once).rows


def test_the_earlier_is_accepted_whatever_its_payload() -> None:
    early, late = said(0, 1.0, event_id="e"), said(1, 2.0, event_id="e")
    for first, second in ((early, late), (early._replace(number=2.0), late._replace(number=1.0))):
        assert Shard(deduplicating()).end(second, first).rows == [first]


def test_ids_of_one_mixed_word_are_not_one() -> None:
    other = words_of(6, clash_of(5, 7, 6))
    assert mix(words(5, 6), words(7, clash_of(5, 7, 6)))[0] == mix(words(6), words(clash_of(5, 7, 6)))[0]
    assert len(kept(said(0, 1.0, event_id=words_of(5, 7)), said(0, 1.0, event_id=other))) == 2
    shard = Shard(deduplicating())
    shard.until(1, said(0, 1.0, event_id=words_of(5, 7)))
    assert shard.until(2, said(1, 1.0, event_id=other)).counted == 1


def test_what_is_remembered_and_until_when() -> None:
    shard = Shard(deduplicating())
    assert shard.due is None
    shard.until(10, said(0, 1.0), said(5, 1.0))
    assert shard.due == 60.000001
    shard.until(60)
    assert not shard.state.is_empty
    shard.until(60.000001)
    assert shard.due == 65.000001
    shard.until(65.000001)
    assert shard.state.is_empty
    assert shard.due is None


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("horizon", [0, 60, 3600])
def test_against_the_rule(seed: int, horizon: int) -> None:
    rng = random.Random(seed)
    events = [
        e for e in disorder(random_stream(seed, events=80), rng, 60, repeat=0.3) if not is_ignored(e, role_in_stream)
    ]
    expected = sift(events, role_in_stream, horizon)
    shard = Shard(deduplicating(horizon))
    times = [event.event_time.micros for event in events]
    cuts = sorted({rng.choice(times) + rng.choice([0, 1, horizon * SECOND]) for _ in range(12)} | {max(times) + 1})
    begin = min(times)
    for cut in cuts:
        mine = [event for event in events if begin <= event.event_time.micros < cut]
        shard.until(seconds(cut), *mine)
        begin = cut
    assert shard.all.duplicates == len(expected.duplicates)
    # By their text: NaN is not equal to itself.
    assert sorted(map(repr, shard.all.rows)) == sorted(map(repr, expected.counted))
