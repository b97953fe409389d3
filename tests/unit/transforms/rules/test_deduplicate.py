from __future__ import annotations

import random
from itertools import pairwise

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import disorder, random_stream, role_of
from thingbeam.schemas.records import Event
from thingbeam.transforms.rules import Deduplicator, Role, payload_hash, sift


def said(seconds: float, event_id: str = "e1", device_id: str | None = "d1", value: str = "on") -> Event:
    return Event.of(event_id, Timestamp(micros=round(seconds * 1e6)), device_id, "switch", "switch", value)


def accepted(events: list[Event], horizon_s: float = 60) -> list[bool]:
    deduplicator = Deduplicator(horizon_s)
    return [deduplicator.accept(event) for event in events]


def test_horizon_is_inclusive() -> None:
    assert accepted([said(0), said(60)]) == [True, False]
    assert accepted([said(0), said(60.000001)]) == [True, True]


def test_chains_do_not_stretch() -> None:
    assert accepted([said(0), said(50), said(100), said(150), said(161)]) == [True, False, True, False, True]


def test_identity_is_device_and_id() -> None:
    assert accepted([said(0), said(1, event_id="e2"), said(1, device_id="d2"), said(2)]) == [True, True, True, False]


def test_no_horizon_leaves_the_same_time() -> None:
    assert accepted([said(0), said(0), said(0.000001)], horizon_s=0) == [True, False, True]


def test_another_value_is_no_other_event() -> None:
    assert accepted([said(0), said(1, value="off")]) == [True, False]


def test_refuses_a_horizon_below_zero() -> None:
    with pytest.raises(ValueError, match="horizon_s must be 0 or more"):
        Deduplicator(-1)


def test_refuses_events_that_go_back() -> None:
    with pytest.raises(ValueError, match="in rule order"):
        accepted([said(1), said(0)])


def test_of_two_at_one_time_the_smaller_hash_is_counted() -> None:
    pair = sorted([said(0), said(0, value="off")], key=payload_hash)
    for arrived in (pair, pair[::-1]):
        sifted = sift(arrived, lambda event: Role("state"))
        assert sifted.counted == [pair[0]]
        assert sifted.duplicates == [pair[1]]


def test_the_ignored_make_no_duplicates() -> None:
    def role(event: Event) -> Role:
        return Role("ignored" if event.attribute == "version" else "state")

    version = said(0)._replace(attribute="version")
    sifted = sift([version, version, said(1), said(2), said(3, device_id=None)], role)
    assert len(sifted.ignored) == 3
    assert sifted.counted == [said(1)]
    assert sifted.duplicates == [said(2)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.randoms())
def test_every_event_is_one_thing_however_it_arrives(seed: int, rng: random.Random) -> None:
    stream = random_stream(seed, events=60)
    first = sift(stream, role_of)
    assert sum(len(part) for part in first) == len(stream)

    arrived = disorder(stream, rng, slack_s=600)
    again = sift(arrived, role_of)
    assert sum(len(part) for part in again) == len(arrived)
    assert [repr(event) for event in again.counted] == [repr(event) for event in first.counted]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_each_duplicate_has_its_original_and_no_original_is_near_another(seed: int) -> None:
    counted, duplicates, _ = sift(random_stream(seed), role_of, horizon_s=60)
    times: dict[tuple[str | None, str], list[int]] = {}
    for event in counted:
        times.setdefault((event.device_id, event.event_id), []).append(event.event_time.micros)
    for of_one in times.values():
        assert all(after - before > 60_000_000 for before, after in pairwise(of_one))
    for event in duplicates:
        originals = times[event.device_id, event.event_id]
        assert any(0 <= event.event_time.micros - original <= 60_000_000 for original in originals)
