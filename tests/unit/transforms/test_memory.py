"""Memory: a token brings its value once, and the oldest is forgotten first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from thingbeam.transforms.columns.rows import Floats, Ints
from thingbeam.transforms.memory import Memory


def test_a_value_is_taken_once_and_by_its_token_only() -> None:
    memory = Memory[Ints](1000)
    value = np.zeros(4, np.int64)
    token = memory.leave(value)
    assert memory.take(b"another") is None
    assert memory.take(token) is value
    assert memory.take(token) is None
    assert memory.leave(value) != token


def test_beyond_its_size_the_oldest_go_but_never_the_newest() -> None:
    memory = Memory[Floats](8 * 10)
    first, second, third = (memory.leave(np.zeros(4)) for _ in range(3))
    assert memory.take(first) is None
    assert memory.take(second) is not None
    huge = memory.leave(np.zeros(100))
    assert memory.take(third) is None
    assert memory.take(huge) is not None
    # What was taken does not count any more.
    again = [memory.leave(np.zeros(5)) for _ in range(2)]
    assert all(memory.take(token) is not None for token in again)


def test_threads_do_not_mix_up_values() -> None:
    memory = Memory[Ints](1 << 20)

    def work(number: int) -> bool:
        good = True
        for turn in range(200):
            token = memory.leave(np.array([number, turn]))
            found = memory.take(token)
            good &= found is not None and found.tolist() == [number, turn]
        return good

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
