"""Untold: what is taken of parts upon parts is what a plain list would give."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from streams import random_stream
from thingbeam.schemas import Event, EventBatch
from thingbeam.schemas.names import Words, mix
from thingbeam.transforms.columns.untold import Untold


def word_of(event: Event) -> int:
    rows = EventBatch.from_events([event]).rows
    return int(mix(rows["device_high"], rows["device_low"])[0])


def ascending(words: set[int]) -> Words:
    return np.array(sorted(words), np.uint64)


def said(events: list[Event]) -> Counter[str]:
    return Counter(map(repr, events))


@pytest.mark.parametrize("seed", range(30))
def test_any_sequence_of_calls_is_as_with_a_list(seed: int) -> None:
    chance = random.Random(seed)
    # What a batch does not carry is left out of the comparison.
    stream = [event for event in random_stream(seed, devices=12, events=400) if event.device_id is not None]
    events = EventBatch.from_events(stream).to_events()
    untold, plain = Untold(), list[Event]()
    words = {event.device_id: word_of(event) for event in events if event.device_id is not None}
    while events:
        size = chance.choice([1, 3, 40])
        some, events = events[:size], events[size:]
        untold.add(EventBatch.from_events(some))
        plain += some
        if chance.random() < 0.4:
            spoke = set(chance.sample(sorted(words), chance.randrange(len(words))))
            taken = untold.take(ascending({words[device] for device in spoke} | {5}))
            assert said(taken.to_events()) == said([event for event in plain if event.device_id in spoke])
            plain = [event for event in plain if event.device_id not in spoke]
        if chance.random() < 0.2:
            time = chance.choice(some).event_time
            untold.drop(lambda rows, time=time: rows["time"] < time.micros)
            plain = [event for event in plain if event.event_time >= time]
        assert len(untold) == len(plain)
    assert said(untold.take(ascending(set(words.values()))).to_events()) == said(plain)
    assert len(untold) == 0


def test_what_is_gone_is_let_go() -> None:
    untold = Untold()
    batches = [EventBatch.from_events(random_stream(seed, devices=4, events=100)) for seed in range(20)]
    for batch in batches:
        untold.add(batch)
        untold.take(ascending(set()))
    full = untold.nbytes
    assert full >= sum(batch.rows.nbytes for batch in batches)
    untold.drop(lambda rows: rows["time"] < 1 << 62)
    assert untold.nbytes == 0
    untold.add(batches[0])
    assert 0 < untold.nbytes < full / 10


def test_nothing_waits_at_first() -> None:
    untold = Untold()
    assert len(untold.take(ascending({1}))) == 0
    untold.add(EventBatch.from_events([]))
    assert len(untold) == 0
