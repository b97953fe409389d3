from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.transforms.columns.meters import meter_totals
from thingbeam.transforms.rules.usage import increasing_sum, total_sum


def sums(
    readings: list[float],
    *,
    total: bool = False,
    resets: list[int] | None = None,
    carried: float | None = None,
    linked: list[bool] | None = None,
) -> list[float]:
    """The sums of one meter's readings; the first is carried with a sum where `carried` gives one."""
    count = len(readings)
    points = {
        "number": np.array(readings, np.float64),
        "reset": np.array(resets or [0] * count, np.int64),
        "is_meter": np.ones(count, np.bool_),
        "is_total": np.full(count, total),
        "event": np.array([carried is None] + [True] * (count - 1)),
        "total": np.array([carried or 0.0] + [0.0] * (count - 1)),
    }
    found: list[float] = meter_totals(points, np.array(linked or [False] + [True] * (count - 1))).tolist()
    return found


def test_golden_sums_of_home_assistants_statistics() -> None:
    """As in the tables of https://developers.home-assistant.io/docs/core/entity/sensor/#long-term-statistics."""
    assert sums([1000, 1010, 0, 5]) == [0, 10, 10, 15]
    assert sums([1000, 1010, 5, 10]) == [0, 10, 15, 20]
    assert sums([1000, 1010, 0, 5], total=True) == [0, 10, -1000, -995]
    assert sums([1000, 1010, 1005, 0, 5], total=True, resets=[1, 1, 1, 2, 2]) == [0, 10, 5, 5, 10]


def test_below_nine_tenths_is_a_reset_and_at_them_none() -> None:
    assert sums([100, 90]) == [0, -10]
    assert sums([100, math.nextafter(90, 0)]) == [0, math.nextafter(90, 0)]
    assert sums([100, 91]) == [0, -9]


@pytest.mark.parametrize("before", [0.1, 1.0, 3.3, 7.7, 1234.5, 1e15])
def test_nine_tenths_as_doubles_have_them(before: float) -> None:
    edge = 0.9 * before
    assert sums([before, edge]) == [0, edge - before]
    assert sums([before, math.nextafter(edge, 0)])[1] > 0


def test_a_reset_adds_what_is_new() -> None:
    assert sums([100, 40, 50, 3, 3, 4]) == [0, 40, 50, 53, 53, 54]


def test_a_total_has_no_resets_of_its_own_and_an_increasing_meter_no_cycles() -> None:
    assert sums([100, 0], total=True) == [0, -100]
    assert sums([100, 101], resets=[1, 2]) == [0, 1]


def test_it_goes_on_from_the_sum_carried_in() -> None:
    assert sums([1010, 1012, 0, 5], carried=10.0) == [10, 12, 12, 17]
    assert sums([1010, 3], carried=10.0) == [10, 13]


def test_where_nothing_is_carried_the_sum_begins_at_0() -> None:
    assert sums([100, 110, 120, 125], linked=[False, True, False, True]) == [0, 10, 0, 5]
    assert sums([100, 50, 40, 5], carried=7.0, linked=[False, False, True, True]) == [7, 0, -10 + 50, 45]


def test_other_series_have_no_sum() -> None:
    points = {
        "number": np.array([1.0, 5.0, 100.0, 103.0]),
        "reset": np.zeros(4, np.int64),
        "is_meter": np.array([False, False, True, True]),
        "is_total": np.zeros(4, np.bool_),
        "event": np.ones(4, np.bool_),
        "total": np.zeros(4),
    }
    assert meter_totals(points, np.array([False, True, False, True])).tolist() == [0, 0, 0, 3]


readings = st.one_of(st.integers(0, 50), st.floats(0, 1e6)).map(float)


@given(st.lists(readings, min_size=1, max_size=30))
def test_increasing_against_the_rule(values: list[float]) -> None:
    assert sums(values) == pytest.approx(increasing_sum(values), rel=1e-9, abs=1e-6)


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(1, 2)), min_size=1, max_size=30))
def test_total_against_the_rule(pairs: list[tuple[float, int]]) -> None:
    found = sums([value for value, _ in pairs], total=True, resets=[reset for _, reset in pairs])
    assert found == pytest.approx(total_sum(pairs), rel=1e-9, abs=1e-6)


def test_rounding_does_not_add_up() -> None:
    """Ten thousand small differences: the sum is that of the ends, to the last digit."""
    values = [0.1 * step for step in range(10_001)]
    assert sums(values)[-1] == values[-1] - values[0]
