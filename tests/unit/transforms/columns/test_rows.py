from __future__ import annotations

import random

import numpy as np
import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from columnar import clash_of, rows_of, said, words, words_of
from streams import disorder, random_stream
from thingbeam.schemas import Event, EventBatch
from thingbeam.schemas.names import mix
from thingbeam.transforms.columns import rows as rows_module
from thingbeam.transforms.columns.rows import (
    device_codes,
    distinct_codes,
    factorize,
    lookup,
    places_of,
    segment_starts,
    series_order,
    sort_rows,
    stable_order,
)
from thingbeam.transforms.rules import rule_order


@given(st.lists(st.integers(0, 5), max_size=60), st.sampled_from([1, 1 << 20, 1 << 60]))
def test_stable_order_keeps_equal_codes_as_they_stood(codes: list[int], scale: int) -> None:
    array = np.array(codes, np.int64) * scale
    expected = [at for _, at in sorted((code, at) for at, code in enumerate(codes))]
    assert stable_order(array).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_factorize_gives_equal_ids_and_no_others_one_code(pairs: list[tuple[int, int]]) -> None:
    high, low = words(*(pair[0] for pair in pairs)), words(*(pair[1] for pair in pairs))
    codes, first = factorize(high, low)
    assert sorted(set(codes.tolist())) == list(range(len(set(pairs))))
    assert [(int(high[first[code]]), int(low[first[code]])) for code in codes.tolist()] == pairs


def test_factorize_tells_ids_of_one_mixed_word_apart() -> None:
    other = clash_of(5, 7, 6)
    high, low = words(5, 6, 5, 9, 6), words(7, other, 7, 9, other)
    assert mix(high, low)[0] == mix(high, low)[1]
    codes, first = factorize(high, low)
    assert codes[0] == codes[2]
    assert codes[1] == codes[4]
    assert len(set(codes.tolist())) == len(first) == 3


@given(st.lists(st.integers(0, 40) | st.integers(0, (1 << 40) - 1), min_size=1, max_size=60), st.sampled_from([0, 24]))
@example([5, 4], 0)
def test_factorize_goes_by_the_mixed_words_even_where_they_differ_in_their_last_bits(
    ids: list[int], shift: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "mix", lambda high, _: high << np.uint64(shift))
        codes, _ = factorize(words(*ids), words(*ids))
    assert codes.tolist() == [sorted(set(ids)).index(each) for each in ids]


@given(st.lists(st.integers(0, 5), max_size=40))
def test_distinct_codes_are_places_among_the_distinct(values: list[int]) -> None:
    for copies in (1, 256):
        distinct, codes = distinct_codes(np.tile(words(*values), copies))
        assert distinct.tolist() == sorted(set(values))
        assert distinct[codes].tolist() == values * copies


@given(st.lists(st.sampled_from("abcd"), max_size=12), st.lists(st.sampled_from("cdef"), max_size=12))
def test_devices_that_are_carried_have_the_codes_of_their_rows(carried: list[str], spoke: list[str]) -> None:
    rows = rows_of([said(at, 1.0, device=device) for at, device in enumerate(spoke)])
    before = rows_of([said(at, 1.0, device=device) for at, device in enumerate(carried)])
    high, low = before.device_high[before.device], before.device_low[before.device]
    codes = device_codes(high, low, rows)
    of = [*zip(high.tolist(), low.tolist(), strict=True)]
    of += [*zip(rows.device_high[rows.device].tolist(), rows.device_low[rows.device].tolist(), strict=True)]
    assert len(set(zip(codes.tolist(), of, strict=True))) == len(set(codes.tolist())) == len(set(of))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=40))
def test_rows_of_a_series_come_together_in_their_order(pairs: list[tuple[int, int]]) -> None:
    device, series = np.array([pair[0] for pair in pairs], np.int64), words(*(pair[1] for pair in pairs))
    group, order = series_order(device, series)
    assert len(set(group.tolist())) == len(set(pairs))
    assert sorted(order.tolist()) == list(range(len(pairs)))
    arranged = [(int(group[at]), at) for at in order.tolist()]
    assert arranged == sorted(arranged)
    assert [pairs[at][0] for at in order.tolist()] == sorted(pair[0] for pair in pairs)


def test_segments() -> None:
    assert segment_starts(np.array([1, 1, 2, 2]), np.array([5, 6, 6, 6])).tolist() == [True, True, True, False]
    assert segment_starts(np.array([3, 3])).tolist() == [True, False]
    assert segment_starts(np.zeros(0), np.zeros(0)).tolist() == []


def test_lookup_asks_once_for_each_word() -> None:
    assert lookup(words(7, 3, 7), {3: 30, 7: 70}, np.int64).tolist() == [70, 30, 70]


def in_rule_order(events: list[Event]) -> dict[str | None, list[str]]:
    order: dict[str | None, list[str]] = {}
    for event in rule_order(events):
        order.setdefault(event.device_id, []).append(event.event_id)
    return order


def in_columns(events: list[Event]) -> dict[str | None, list[str]]:
    rows = sort_rows(EventBatch.from_events(events))
    order: dict[str | None, list[str]] = {}
    found = rows.to_batch().to_events()
    for event in found:
        order.setdefault(event.device_id, []).append(event.event_id)
    # A device's rows stand together.
    assert [event.device_id for event in found] == [device for device, ids in order.items() for _ in ids]
    assert rows.device.tolist() == sorted(rows.device.tolist())
    return order


@pytest.mark.parametrize("seed", range(5))
def test_the_order_is_that_of_the_rules(seed: int) -> None:
    events = disorder(random_stream(seed, events=200), random.Random(seed), 10**6)
    assert in_columns(events) == in_rule_order(events)


TIMES = st.sampled_from([0, 1, 1_175_040_000, -1, -62_135_596_800, 253_402_300_799])
IDS = st.sampled_from(
    ["e1", "e2", *(words_of(high, low) for high in (1, 2**63, 2**64 - 1) for low in (1, 2**63, 2**64 - 1))]
)


@given(st.lists(st.tuples(TIMES, IDS, st.sampled_from(["d1", "d2", words_of(9)])), unique=True, max_size=12))
def test_times_far_apart_and_ids_of_any_size(triples: list[tuple[int, str, str]]) -> None:
    events = [Event.of(name, Timestamp(time), device, "c", "a", 1.0) for time, name, device in triples]
    assert in_columns(events) == in_rule_order(events)


def test_the_widest_times_and_many_devices() -> None:
    """More bits than time and device can share."""
    widest = [-(1 << 61), 0, 1, 1 << 61]
    events = [
        Event.of(name, Timestamp(micros=time), f"d{device}", "c", "a", 1.0)
        for device in range(40)
        for time in reversed(widest)
        for name in ("b", "a")
    ]
    assert in_columns(events) == in_rule_order(events)


@pytest.mark.parametrize("size", [2, 17, 300])
def test_equal_rows_stay_in_order_of_arrival(size: int) -> None:
    rng = random.Random(size)
    events = [said(rng.choice([0, 1]), float(number), event_id=rng.choice("ab")) for number in range(size)]
    found = rows_of(events).to_batch().to_events()
    for time in (0, 1):
        for name in "ab":
            at = [
                event.number
                for event in found
                if event.event_id == name and event.event_time == said(time, 0).event_time
            ]
            assert at == sorted(at, key=lambda number: number or 0.0)


def test_no_rows() -> None:
    rows = rows_of([])
    assert rows.count == 0
    assert rows.to_batch().to_events() == []


def test_rows_back_to_a_batch() -> None:
    events = [said(2, "on", "switch", unit="W"), said(1, {"energy": 1}, "report", device="d2", home_id=None)]
    found = rows_of(events).to_batch().to_events()
    assert sorted(found) == sorted(events)
    assert rows_of(events).select(np.array([False, True])).to_batch().to_events() == found[1:]


@given(st.lists(st.integers(0, 5) | st.integers(0, (1 << 64) - 1), min_size=1, max_size=30))
def test_words_have_their_places_whatever_their_first_bits(given_words: list[int]) -> None:
    distinct = sorted(set(given_words))
    assert places_of(words(*distinct), words(*given_words)).tolist() == [distinct.index(word) for word in given_words]
    found, places = distinct_codes(words(*given_words))
    assert found.tolist() == distinct
    assert found[places].tolist() == given_words


def test_words_that_are_none_of_the_distinct_ones_are_learnt() -> None:
    # Beyond those that are looked at first, with the first bits of one that is known.
    given_words = words(*[7 << 60] * 300, (7 << 60) + 1, 3 << 60)
    found, places = distinct_codes(given_words)
    assert found.tolist() == [3 << 60, 7 << 60, (7 << 60) + 1]
    assert (found[places] == given_words).all()
