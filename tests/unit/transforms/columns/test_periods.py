from __future__ import annotations

import numpy as np

from columnar import DAY, HOUR, SECOND, T0, micros, rows_of, said, seconds, words
from thingbeam.transforms.columns.closing import END_OF_TIME, Closing, Columns, Lexicon, empty
from thingbeam.transforms.columns.liveness import DEVICE_STATE, Liveness
from thingbeam.transforms.columns.periods import Periods

HOURS = 3600 * SECOND
NOBODY = Liveness.of(empty(DEVICE_STATE), rows_of([]), DAY * SECOND)


def points(lexicon: Lexicon, *of: tuple[str, float]) -> Columns:
    """One point of a series in each of the zones, at the time beside it, all of one device."""
    series = [
        lexicon.learn_series("usage", "main", "power", "power", "measurement", zone, "measurement") for zone, _ in of
    ]
    time = np.array([micros(at) for _, at in of])
    device = words(*[1] * len(of))
    return {"series": words(*series), "from": time, "time": time, "device_high": device, "device_low": device}


def of(closing: Closing, *pairs: tuple[str, float], alive: Liveness = NOBODY) -> Periods:
    lexicon = Lexicon()
    return Periods.of(points(lexicon, *pairs), lexicon, HOURS, closing, alive)


def cuts(periods: Periods) -> list[float]:
    return [seconds(int(cut)) / HOUR for cut in periods.cut]


def test_in_a_stream_what_ends_at_its_time_is_over() -> None:
    assert cuts(of(Closing(micros(2 * HOUR), 0), ("UTC", 60))) == [2]
    assert cuts(of(Closing(micros(2 * HOUR) - 1, 0), ("UTC", 60))) == [1]
    assert of(Closing(micros(2 * HOUR), 0), ("UTC", 60)).next_edge == micros(3 * HOUR)
    assert of(Closing(micros(2 * HOUR) - 1, 0), ("UTC", 60)).next_edge == micros(2 * HOUR)


def test_each_zone_has_its_own_edges() -> None:
    found = of(Closing(micros(2 * HOUR), 0), ("Asia/Kathmandu", 60), ("UTC", 120), ("Asia/Kolkata", 60))
    assert cuts(found) == [1.25, 2, 1.5]
    assert found.next_edge == micros(2.25 * HOUR)
    for at, edge in ((0.0, (-0.75, 0, -0.5)), (0.25, (0.25, 0, -0.5)), (0.5, (0.25, 0, 0.5)), (1.0, (0.25, 1, 0.5))):
        index = found.locate(np.full(3, micros(at * HOUR)))
        assert [seconds(int(start)) / HOUR for start in found.edges[index]] == list(edge)
        last = found.locate(np.full(3, micros(at * HOUR) - 1))
        moved = [start != before for start, before in zip(index, last, strict=True)]
        assert moved == [start == at for start in edge]


def test_days_of_one_zone_are_not_all_of_one_length() -> None:
    # 28 October 2007 had 25 hours in Paris; it began at 22:00 UTC.
    begin = 1_193_522_400 * SECOND
    lexicon = Lexicon()
    given = points(lexicon, ("Europe/Paris", begin // SECOND - T0 - 30 * HOUR))
    days = Periods.of(given, lexicon, DAY * SECOND, Closing(begin + 80 * HOURS, 0), NOBODY)
    for hours, start in ((-24, -24), (-1, -24), (0, 0), (24, 0), (24.9, 0), (25, 25), (48.9, 25), (49, 49), (72.9, 49)):
        [at] = days.locate(np.array([begin + int(hours * HOURS)])).tolist()
        assert (int(days.edges[at]) - begin) / HOURS == start


def test_a_later_time_is_in_the_last_period() -> None:
    one = of(Closing(micros(2 * HOUR), 0), ("UTC", 60))
    assert one.locate(np.array([micros(99 * DAY)])).tolist() == [len(one.edges) - 2]
    two = of(Closing(micros(2 * HOUR), 0), ("UTC", 60), ("Asia/Kathmandu", 60))
    for code, (begin, end) in enumerate(two.bounds):
        at = two.zone.tolist().index(code)
        assert two.locate(np.full(2, micros(99 * DAY)))[at] == end - 2 >= begin


def test_at_the_end_the_period_of_the_devices_last_event_is_the_last() -> None:
    ended = Closing(END_OF_TIME, 0, ended=True)
    assert cuts(of(ended, ("UTC", 60))) == [1]
    assert cuts(of(ended, ("UTC", HOUR))) == [2]
    assert cuts(of(ended, ("UTC", HOUR - 0.000001))) == [1]
    heard = rows_of([said(3.5 * HOUR, 1.0, device="00000000-0000-0001-0000-000000000001"), said(9 * HOUR, 1.0)])
    alive = Liveness.of(empty(DEVICE_STATE), heard, DAY * SECOND)
    assert cuts(of(ended, ("UTC", 60), ("Asia/Kathmandu", 60), alive=alive)) == [4, 4.25]
    assert of(ended, ("UTC", 60)).next_edge == END_OF_TIME


def test_held_until_a_time_in_periods_that_start_before_it() -> None:
    def held(until: float) -> list[float]:
        return cuts(of(Closing(END_OF_TIME, 0, ended=True, hold_until=micros(until)), ("UTC", 60)))

    assert held(2 * HOUR) == [2]
    assert held(2 * HOUR + 0.000001) == [3]
    assert held(0) == [1]
