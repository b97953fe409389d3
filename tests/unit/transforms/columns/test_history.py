"""The columnar rules against the plain ones, over random streams, however they arrive and are sliced."""

from __future__ import annotations

import random
from typing import Any

import pytest

from comparison import GAP_S, PERIODS, SECOND, assert_same, by_rule, history, in_columns
from streams import disorder, random_stream, role_of, zone_name
from thingbeam.schemas import Activity, Event, EventBatch, Session, Usage, from_record_batch
from thingbeam.transforms.columns.closing import END_OF_TIME
from thingbeam.transforms.columns.history import HistoryState
from thingbeam.transforms.rules import is_ignored


def random_cuts(events: list[Event], rng: random.Random) -> list[int]:
    times = [event.event_time.micros for event in events]
    low, high = min(times), max(times)
    cuts = {rng.randint(low, high) for _ in range(rng.choice([0, 1, 5, 40]))}
    # Slices end where things happen, too.
    cuts |= {rng.choice(times) + rng.choice([0, 1, GAP_S * SECOND]) for _ in range(rng.choice([0, 3, 10]))}
    cuts |= {rng.randint(low, high) // (900 * SECOND) * 900 * SECOND for _ in range(rng.choice([0, 20]))}
    return sorted(cuts)


def a_stream(seed: int, rng: random.Random) -> list[Event]:
    stream = random_stream(seed, devices=rng.choice([1, 4, 9]), events=rng.choice([5, 60, 300]))
    return disorder(stream, rng, 600)


def compare(found: tuple[dict[str, list[Any]], dict[str, int], HistoryState], expected: Any) -> None:
    for name, rows in expected[0].items():
        assert_same(found[0][name], rows)
    assert found[1] == expected[1]


@pytest.mark.parametrize("seed", range(50))
def test_bounded_input_at_once(seed: int) -> None:
    rng = random.Random(seed)
    period = rng.choice(PERIODS)
    events = a_stream(seed, rng)
    until = None
    if rng.random() < 0.3:
        until = max(event.event_time.micros for event in events) + rng.randint(-3600, 40 * 3600) * SECOND
    found = in_columns(events, [], rng, period, until=until)
    compare(found, by_rule(events, period, until))
    assert found[2].is_empty


@pytest.mark.parametrize("seed", range(80, 130))
def test_slices_of_any_length_then_the_end(seed: int) -> None:
    rng = random.Random(seed)
    period = rng.choice(PERIODS)
    events = a_stream(seed, rng)
    # In a stream values are held; so they are up to `until`, and slices do not show.
    until = max(event.event_time.micros for event in events) + rng.randint(GAP_S, 40 * 3600) * SECOND
    found = in_columns(events, random_cuts(events, rng), rng, period, until=until)
    compare(found, by_rule(events, period, until))
    assert found[2].is_empty


@pytest.mark.parametrize("seed", range(160, 190))
def test_an_endless_stream_forgets_everything(seed: int) -> None:
    rng = random.Random(seed)
    period = rng.choice(PERIODS)
    events = a_stream(seed, rng)
    stop = max(event.event_time.micros for event in events) + rng.randint(GAP_S, 40 * 3600) * SECOND
    expected, counts = by_rule(events, period, stop)
    cuts = [*random_cuts(events, rng), stop]
    found, found_counts, _ = in_columns(events, cuts, rng, period, ended=False)
    over = {
        "activities": [row for row in expected["activities"] if row.end is not None],
        "sessions": [row for row in expected["sessions"] if row.end.micros <= stop],
        "usage": [row for row in expected["usage"] if row.end.micros <= stop],
    }
    for name, rows in over.items():
        assert_same(found[name], rows)
    assert found_counts == counts
    forgotten = stop + 36 * 86400 * SECOND
    cuts += range(stop + 86400 * SECOND, forgotten + 1, 86400 * SECOND)
    _, _, state = in_columns(events, cuts, rng, period, ended=False)
    assert state.is_empty


@pytest.mark.parametrize("seed", range(220, 226))
def test_waking_when_due_misses_nothing(seed: int) -> None:
    """Calls at the moments that `due` names, and no others, give what is over, when it is over."""
    rng = random.Random(seed)
    period = rng.choice(["1h", "1d"])
    events = [event for event in random_stream(seed, events=60, long_silence=False) if not is_ignored(event, role_of)]
    stop = max(event.event_time.micros for event in events) + 3 * 86400 * SECOND
    rules, state = history(period), HistoryState()
    found: dict[str, list[Any]] = {"activities": [], "sessions": [], "usage": []}
    arrivals = sorted({event.event_time.micros + 1 for event in events})
    until, taken = -END_OF_TIME, 0
    ordered = sorted(events, key=lambda event: event.event_time.micros)
    while until < stop:
        due = rules.due(state)
        assert due is None or due > until, "what is due now was not done"
        moments = [moment for moment in (due, arrivals[0] if arrivals else None, stop) if moment is not None]
        until = min(moments)
        arrivals = [moment for moment in arrivals if moment > until]
        mine = []
        while taken < len(ordered) and ordered[taken].event_time.micros < until:
            mine.append(ordered[taken])
            taken += 1
        done = rules.advance(state, [EventBatch.from_events(mine, zone_name)], until, 0)
        for name, record in (("activities", Activity), ("sessions", Session), ("usage", Usage)):
            batch = getattr(done, name)
            if batch is not None:
                rows = from_record_batch(batch, record)
                found[name].extend(rows)
                for row in rows:
                    assert row.end.micros <= until
    expected, _ = by_rule(events, period, stop)
    assert_same(found["usage"], [row for row in expected["usage"] if row.end.micros <= stop])
    assert_same(found["sessions"], [row for row in expected["sessions"] if row.end.micros <= stop])
    assert_same(found["activities"], [row for row in expected["activities"] if row.end is not None])
