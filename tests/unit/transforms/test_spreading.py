"""Shards whose numbers Flink spreads evenly. What Flink itself says is in tests/integration/test_flink_groups.py."""

from __future__ import annotations

import pytest

from thingbeam.transforms.spreading import GROUPS, key_group, shard_numbers


@pytest.mark.parametrize("shards", [*range(1, 26), 48, 192, 1 << 15])
def test_numbers_are_different_and_fit_into_names(shards: int) -> None:
    numbers = shard_numbers(shards)
    assert len(set(numbers)) == len(numbers) == shards
    assert min(numbers) >= 0
    assert max(numbers) < 1 << 15


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("shards", range(1, 25))
def test_tasks_have_as_many_each(shards: int, groups: int) -> None:
    """A task has the groups from its number on, of all tasks': KeyGroupRangeAssignment's operator index."""
    for tasks in range(1, shards + 1):
        held = [0] * tasks
        for number in shard_numbers(shards):
            held[key_group(number, groups) * tasks // groups] += 1
        assert all(abs(count - shards / tasks) < 2 for count in held), (tasks, held)
        assert shards % tasks or len(set(held)) == 1, (tasks, held)


def test_the_numbers_of_the_default_stay() -> None:
    """State is kept under them."""
    assert shard_numbers(12) == (17, 11, 9, 42, 71, 59, 25, 31, 430, 77, 28, 79)
    assert shard_numbers(4) == (9, 24, 7, 28)
    assert shard_numbers(48) == tuple(range(48))
