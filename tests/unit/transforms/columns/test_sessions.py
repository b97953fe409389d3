from __future__ import annotations

import random
from itertools import pairwise

import pytest
from apache_beam.utils.timestamp import Timestamp

from columnar import SECOND, T0, Shard, said, seconds, sessions, sign
from comparison import assert_same
from streams import random_stream, role_of, zone_name, zone_of
from thingbeam.schemas import EventBatch, Session, from_record_batch
from thingbeam.transforms.columns.history import HistoryState
from thingbeam.transforms.rules import Sessionizer, sift

GAP = 600


def spans(found: list[Session]) -> list[tuple[float, float, float, int]]:
    return [(seconds(one.start), seconds(one.last), seconds(one.end), one.count) for one in found]


def test_a_session_in_full() -> None:
    shard = Shard(sessions(GAP), "Asia/Kathmandu")
    [found] = shard.end(said(0, 1.0), said(0.25, 1.0, home_id="h2")).sessions
    assert found == Session(
        device_id="d1",
        start=Timestamp(T0),
        start_local="2007-03-28T05:45:00+05:45",
        last=Timestamp(T0 + 0.25),
        end=Timestamp(T0 + 600.25),
        count=2,
        revision=1,
        home_id="h1",
        final=True,
        deleted=False,
    )
    assert shard.state.is_empty


def test_exactly_the_gap_begins_a_new_one() -> None:
    def found(*times: float) -> list[tuple[float, float, float, int]]:
        return spans(Shard(sessions(GAP)).end(*(said(at, 1.0) for at in times)).sessions)

    assert found(0, 599.999999) == [(0, 599.999999, 1199.999999, 2)]
    assert found(0, 600) == [(0, 0, 600, 1), (600, 600, 1200, 1)]
    assert found(0, 300, 899.999999, 1500) == [(0, 899.999999, 1499.999999, 3), (1500, 1500, 2100, 1)]


@pytest.mark.parametrize("cut", [0.000001, 300, 599.999999])
def test_the_gap_across_slices(cut: float) -> None:
    joined = Shard(sessions(GAP))
    joined.until(cut, said(0, 1.0))
    joined.end(said(599.999999, 1.0))
    assert spans(joined.all.sessions) == [(0, 599.999999, 1199.999999, 2)]
    apart = Shard(sessions(GAP))
    apart.until(cut, said(0, 1.0))
    apart.end(said(600, 1.0))
    assert spans(apart.all.sessions) == [(0, 0, 600, 1), (600, 600, 1200, 1)]


def test_it_is_over_when_time_comes_to_its_end() -> None:
    shard = Shard(sessions(GAP))
    assert shard.due is None
    assert shard.until(1, said(0, 1.0)).sessions == []
    assert shard.due == 600
    assert shard.until(599.999999).sessions == []
    assert spans(shard.until(600).sessions) == [(0, 0, 600, 1)]
    assert shard.state.is_empty


def test_each_device_by_itself() -> None:
    shard = Shard(sessions(GAP))
    shard.until(650, said(0, 1.0), said(100, 1.0, device="d2"), said(599, 1.0, device="d2"))
    assert [(one.device_id, one.count) for one in shard.all.sessions] == [("d1", 1)]
    assert shard.due == 1199
    shard.end(said(700, 1.0), said(1198, 1.0, device="d2"))
    assert sorted((one.device_id, one.count) for one in shard.all.sessions) == [("d1", 1), ("d1", 1), ("d2", 3)]


def test_counts_add_up_over_slices() -> None:
    shard = Shard(sessions(GAP))
    for minute in range(0, 100, 2):
        shard.until((minute + 2) * 60, *(said(minute * 60 + second, 1.0) for second in (0, 1, 2)))
    assert spans(shard.end().sessions) == [(0, 98 * 60 + 2, 98 * 60 + 602, 150)]


def test_signs_of_life_are_in_no_session() -> None:
    given = Shard(sessions(GAP)).end(
        said(0, 1.0), sign(300), sign(500, device="d2"), said(700, 1.0, kind="MATTER_EVENT")
    )
    assert spans(given.sessions) == [(0, 0, 600, 1), (700, 700, 1300, 1)]


def test_sessions_of_homes_in_several_zones() -> None:
    batch = EventBatch.from_events(
        [said(0, 1.0, device=f"d{home}", home_id=home) for home in ("a", "b", "c")],
        lambda home: {"a": "Europe/Paris", "b": "Asia/Kolkata"}.get(home or ""),
    )
    done = sessions(GAP).advance(HistoryState(), [batch], 1 << 60, 0, ended=True)
    found = {one.home_id: one.start_local for one in from_record_batch(done.sessions, Session)}
    assert found == {
        "a": "2007-03-28T02:00:00+02:00",
        "b": "2007-03-28T05:30:00+05:30",
        "c": "2007-03-28T00:00:00+00:00",
    }


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("gap", [0.000001, 60, 3600])
def test_against_the_rule(seed: int, gap: float) -> None:
    rng = random.Random(seed)
    events = sift(random_stream(seed, events=80), role_of).counted
    sessionizer = Sessionizer(gap, zone_of)
    expected = [one for event in events for one in sessionizer.feed(event)] + sessionizer.finish()
    times = sorted({rng.choice(events).event_time.micros + rng.choice([0, 1, round(gap * SECOND)]) for _ in range(15)})
    rules, state = sessions(gap), HistoryState()
    found: list[Session] = []
    for begin, cut in pairwise([-(1 << 60), *times, 1 << 60]):
        batch = EventBatch.from_events([e for e in events if begin <= e.event_time.micros < cut], zone_name)
        done = rules.advance(state, [batch], cut, 0, ended=cut == 1 << 60)
        found += from_record_batch(done.sessions, Session) if done.sessions is not None else []
    assert_same(found, expected)
