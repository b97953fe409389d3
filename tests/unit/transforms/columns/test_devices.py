"""Devices: parts upon parts are as one state that is replaced device by device."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from comparison import SECOND, history
from streams import random_stream, role_of, zone_name
from thingbeam.schemas import EventBatch
from thingbeam.schemas.names import mix
from thingbeam.transforms.columns.devices import Devices, Part, Rules, bytes_of, join_rules
from thingbeam.transforms.columns.history import HistoryState
from thingbeam.transforms.rules import is_ignored

Device = dict[str, list[tuple[Any, ...]]]
"""Of one device: the rows of each rule, with the seconds in each state of a row of usage."""


def rules_of(seed: int, devices: int = 6) -> Rules:
    """The state of a shard in the middle of a stream."""
    events = [event for event in random_stream(seed, devices=devices, events=150) if not is_ignored(event, role_of)]
    state = HistoryState()
    until = events[-1].event_time.micros + SECOND
    history("1h").advance(state, [EventBatch.from_events(events, zone_name)], until, 1)
    return state.rules


def by_device(rules: Rules) -> dict[int, Device]:
    """The plain form of state, row by row."""
    found: dict[int, Device] = {}
    for name, rule in rules.items():
        if not rule:
            continue
        plain = [
            field for field in sorted(rule) if field not in ("until", "edge") and not field.startswith(("live", "sec"))
        ]
        spent: dict[int, list[Any]] = {}
        if "seconds_of" in rule:
            for of, *rest in zip(
                *(rule[field].tolist() for field in ("seconds_of", "seconds_state", "seconds")), strict=True
            ):
                spent.setdefault(of, []).append(tuple(rest))
        words = mix(rule["device_high"], rule["device_low"]).tolist()
        for at, (word, *row) in enumerate(zip(words, *(rule[field].tolist() for field in plain), strict=True)):
            found.setdefault(word, {}).setdefault(name, []).append((*row, tuple(spent.get(at, ()))))
        if "live_high" in rule:
            live = [rule[field].tolist() for field in ("live_time", "live_ended")]
            for word, *row in zip(mix(rule["live_high"], rule["live_low"]).tolist(), *live, strict=True):
                found.setdefault(word, {}).setdefault("live", []).append(tuple(row))
    return found


def words_of(rules: Rules) -> list[int]:
    return sorted(by_device(rules))


def array(words: Any) -> Any:
    return np.array(sorted(words), np.uint64)


@pytest.mark.parametrize("seed", range(5))
def test_a_part_gives_the_devices_that_are_asked_and_no_others(seed: int) -> None:
    rules = rules_of(seed)
    assert (np.diff(rules["usage"]["seconds_of"]) >= 0).all()
    everything, rng = by_device(rules), random.Random(seed)
    part = Part(rules, array(everything))
    for size in range(len(everything) + 1):
        wanted = rng.sample(sorted(everything), size)
        found = part.take(array([*wanted, 5]))
        assert by_device(found) == {word: everything[word] for word in wanted}
        if size:
            assert found["usage"]["edge"] == rules["usage"]["edge"]
    assert part.take(array([])) == {}


@pytest.mark.parametrize("seed", range(20))
def test_parts_upon_parts_are_as_one_state(seed: int) -> None:
    rng = random.Random(seed)
    versions = [rules_of(100 * seed + number) for number in range(4)]
    known = [Part(rules, array(words_of(rules))) for rules in versions]
    everyone = sorted({word for rules in versions for word in by_device(rules)})
    ground = known[0]
    expected = by_device(ground.rules)
    over: dict[int, Device] = {}
    devices = Devices()
    for _ in range(40):
        wanted = rng.sample(everyone, rng.randint(1, len(everyone)))
        # Of some, what was put is not right any more.
        right = {word for word in wanted if word in over and rng.random() < 0.8}
        now = {word: over[word] if word in right else expected.get(word, {}) for word in wanted}
        put = np.array([word in right for word in sorted(wanted)])
        assert by_device(devices.take(array(wanted), put, ground)) == {word: of for word, of in now.items() if of}
        source = rng.choice(known)
        part = source.take(array(wanted))
        devices.put(part, array(wanted))
        over |= {key: {} for key in wanted} | by_device(part)
        if rng.random() < 0.2:
            kept = rng.sample(everyone, rng.randint(0, len(everyone)))
            devices.keep(array(kept))
            over = {word: of for word, of in over.items() if word in kept}
    assert by_device(devices.merged()) == {word: of for word, of in over.items() if of}


def test_what_is_put_often_is_not_copied_as_often() -> None:
    rules = rules_of(1)
    words = array(range(1 << 12))
    devices = Devices()
    for word in words:
        devices.put(Part(rules, words).take(array([word])), array([word]))
    assert len(devices._parts) <= 13
    assert devices.nbytes >= words.nbytes


def test_joined_state_knows_the_earlier_of_two_edges() -> None:
    one, other = rules_of(1), rules_of(2)
    joined = join_rules([one, other])
    for field in ("until", "edge"):
        assert joined["usage"][field] == np.minimum(one["usage"][field], other["usage"][field])
    assert bytes_of(joined) == bytes_of(one) + bytes_of(other) - 16
    assert join_rules([]) == {}
    assert join_rules([one, {}]) == one
