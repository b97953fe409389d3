"""Throttle on a clock of its own."""

from __future__ import annotations

import random

import pytest

from thingbeam.io.writing import Throttle


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def run(throttle: Throttle, clock: Clock, seconds: float, offered: float, capacity: float) -> tuple[float, float]:
    """Calls of 10 rows at an offered rate to a store of a capacity: rows a second taken, and the share throttled."""
    taken = refused = room = 0.0
    until = clock.now + seconds
    while clock.now < until:
        before = clock.now
        clock.now += max(10 / offered, throttle.ask(10))
        room = min(capacity / 5, room + (clock.now - before) * capacity)
        accepted = int(min(10, room))
        room -= accepted
        throttle.answered(accepted, 10 - accepted)
        taken += accepted
        refused += 10 - accepted
    return taken / seconds, refused / (taken + refused)


@pytest.mark.parametrize("capacity", [100.0, 1000.0])
def test_it_settles_at_what_the_store_takes(capacity: float) -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)
    run(throttle, clock, 30, 50 * capacity, capacity)
    taken, refused = run(throttle, clock, 60, 50 * capacity, capacity)
    assert taken > 0.95 * capacity
    assert refused < 0.75, "50 times as much as it takes was offered"


def test_it_is_gone_when_the_store_has_room_again() -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)
    run(throttle, clock, 20, 5000, 100)
    assert throttle.limit() is not None
    run(throttle, clock, 30, 1000, 1e9)
    assert throttle.limit() is None


def test_a_share_that_has_nothing_to_do_with_the_rate_stops_nobody() -> None:
    clock, chance = Clock(), random.Random(3)
    throttle = Throttle(clock=clock)
    waited = 0.0
    for _ in range(5000):
        clock.now += 0.01
        wait = throttle.ask(25)
        waited += wait
        clock.now += wait
        throttle.answered(*((0, 25) if chance.random() < 1 / 3 else (25, 0)))
    assert waited < 0.05 * clock.now


def test_an_outage_is_no_throttling() -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)
    run(throttle, clock, 10, 1000, 1e9)
    clock.now += 60
    throttle.answered(0, 10)
    assert throttle.limit() is None


def test_nobody_waits_long() -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)
    for _ in range(30):
        throttle.answered(0, 25)
    assert throttle.limit() == 10
    assert max(throttle.ask(25) for _ in range(20)) <= 2.0
