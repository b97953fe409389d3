from __future__ import annotations

import random
from bisect import bisect_left

import numpy as np
import pytest

from columnar import DAY, HOUR, SECOND, micros, rows_of, said, seconds, sign
from thingbeam.schemas import Event
from thingbeam.schemas.names import Words, hash_text, id_words
from thingbeam.transforms.columns.closing import Columns, empty
from thingbeam.transforms.columns.liveness import DEVICE_STATE, Liveness
from thingbeam.transforms.rules.usage import ends_hold

HOLD = 2 * HOUR


def heard(*events: Event, state: Columns | None = None, hold: int = HOLD) -> Liveness:
    return Liveness.of(state or empty(DEVICE_STATE), rows_of(events), hold * SECOND)


def words_of(devices: list[str]) -> tuple[Words, Words]:
    words, _ = id_words(devices)
    return words[:, 0], words[:, 1]


def lives(alive: Liveness, start: float, end: float, device: str = "d1") -> bool:
    return bool(alive.lives(*words_of([device]), np.array([micros(start)]), np.array([micros(end)]))[0])


def last_of(alive: Liveness, device: str) -> float:
    return seconds(int(alive.last_of(*words_of([device]))[0]))


def test_it_lives_in_a_period_with_an_event_of_any_kind() -> None:
    for event in (said(0, 1.0), sign(0), sign(0, "OFFLINE"), sign(0, "DELETE", "DEVICE_LIFECYCLE_EVENT")):
        alive = heard(event)
        assert lives(alive, 0, HOUR)
        assert lives(alive, -1, 0.000001)
        assert not lives(alive, -HOUR, 0)


def test_it_lives_for_less_than_hold_before_the_period() -> None:
    alive = heard(said(0, 1.0))
    assert lives(alive, HOLD - 0.000001, HOLD + HOUR)
    assert not lives(alive, HOLD, HOLD + HOUR)


def test_it_does_not_live_after_it_went_away() -> None:
    assert not lives(heard(said(0, 1.0), sign(1, "OFFLINE")), 2, HOUR)
    assert lives(heard(said(0, 1.0), sign(1, "OFFLINE"), sign(1.5)), 2, HOUR)
    assert not lives(heard(sign(1, "DELETE", "DEVICE_LIFECYCLE_EVENT")), 2, HOUR)


def test_what_comes_after_the_period_does_not_matter() -> None:
    assert not lives(heard(said(0, 1.0), said(9 * HOUR, 1.0)), 5 * HOUR, 9 * HOUR)
    assert lives(heard(said(0, 1.0), sign(HOUR, "OFFLINE")), 0.5 * HOUR, HOUR)


def test_only_those_kinds_and_values_end_it() -> None:
    for kind, value in (
        ("DEVICE_HEALTH_EVENT", "DELETE"),
        ("DEVICE_HEALTH_EVENT", "ONLINE"),
        ("DEVICE_LIFECYCLE_EVENT", "OFFLINE"),
        ("DEVICE_EVENT", "OFFLINE"),
    ):
        assert lives(heard(said(0, value, "mode", kind=kind)), 2, HOUR)


def test_a_number_with_the_bits_of_the_text_ends_nothing() -> None:
    """The kind and the hash agree; that it is no text is all that tells them apart."""
    number = float(np.array([hash_text("OFFLINE")], np.uint64).view(np.float64)[0])
    event = said(0, number, "", kind="DEVICE_HEALTH_EVENT")
    assert not ends_hold(event)
    assert lives(heard(event), 2, HOUR)


def test_each_device_by_itself() -> None:
    alive = heard(said(0, 1.0), sign(10, "OFFLINE", device="d2"), said(20, 1.0, device="d3"))
    assert [lives(alive, 30, HOUR, device) for device in ("d1", "d2", "d3", "d4")] == [True, False, True, False]
    assert [last_of(alive, device) for device in ("d1", "d2", "d3")] == [0, 10, 20]
    assert last_of(alive, "d4") < -(10**9)
    assert seconds(alive.latest) == 20


def test_nothing_was_heard() -> None:
    alive = heard()
    assert not lives(alive, 0, HOUR)
    assert last_of(alive, "d1") < -(10**9)
    assert alive.latest == 0
    assert all(len(column) == 0 for column in alive.remember(micros(0)).values())


def test_it_remembers_the_last_word_of_each_device() -> None:
    state = heard(said(0, 1.0), sign(5, "OFFLINE"), said(7, 1.0, device="d2")).remember(micros(10))
    assert sorted(
        (seconds(at), bool(ended)) for at, ended in zip(state["live_time"].tolist(), state["live_ended"], strict=True)
    ) == [
        (5, True),
        (7, False),
    ]
    again = heard(said(20, 1.0, device="d2"), state=state)
    assert [last_of(again, device) for device in ("d1", "d2")] == [5, 20]
    assert not lives(again, 30, HOUR)
    assert lives(again, 30, HOUR, "d2")
    # Before the last word of the state there is no telling; the period of it is known.
    assert lives(again, 4, 6)


def test_it_forgets_who_cannot_live_in_a_period_that_is_open() -> None:
    alive = heard(said(0, 1.0))
    assert len(alive.remember(micros(HOLD + 2 * DAY - 0.000001))["live_time"]) == 1
    assert len(alive.remember(micros(HOLD + 2 * DAY))["live_time"]) == 0


def test_whether_anyone_may_live_yet() -> None:
    state = heard(said(0, 1.0), said(5, 1.0, device="d2")).remember(micros(10))
    assert Liveness.any_may_live(state, micros(2 * DAY + 4.999999), HOLD * SECOND)
    assert not Liveness.any_may_live(state, micros(2 * DAY + 5), HOLD * SECOND)
    assert Liveness.any_may_live(state, micros(9 * DAY), 10 * DAY * SECOND)
    assert not Liveness.any_may_live(empty(DEVICE_STATE), 0, HOLD * SECOND)


@pytest.mark.parametrize("spread", [HOUR, 10**4 * DAY])
@pytest.mark.parametrize("seed", range(4))
def test_against_reading_on(seed: int, spread: int) -> None:
    rng = random.Random(seed)
    # The times far apart need more bits than a word shares with so many devices.
    span = 1 if spread == HOUR else 4096
    devices = [f"d{number}" for number in range(rng.choice([1, 3, 40]))]
    events = [
        sign(rng.randrange(spread) * span / 4096, rng.choice(["ONLINE", "OFFLINE"]), device=rng.choice(devices))
        for _ in range(60)
    ]
    alive = heard(*events)
    asked = [(rng.choice(devices), rng.choice(events), rng.choice([0, 1, HOUR, HOLD])) for _ in range(50)]
    for device, event, length in asked:
        start = seconds(event.event_time) + rng.choice([-HOLD, -0.000001, 0, 0.000001, HOLD])
        mine = sorted((e for e in events if e.device_id == device), key=lambda e: (e.event_time, e.event_id))
        times = [seconds(e.event_time) for e in mine]
        last = bisect_left(times, start + length) - 1
        expected = last >= 0 and (
            times[last] >= start or (not ends_hold(mine[last]) and round(start - times[last], 6) < HOLD)
        )
        assert lives(alive, start, start + length, device) == expected
