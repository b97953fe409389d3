from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import random_stream, role_of, zone_of
from thingbeam.schemas.records import Event, Session
from thingbeam.transforms.rules import Sessionizer, sift

GAP = 600


def said(seconds: float, device_id: str | None = "d1", kind: str = "DEVICE_EVENT") -> Event:
    time = Timestamp(micros=round(seconds * 1e6))
    return Event.of(f"e{seconds}", time, device_id, "switch", "switch", "on", kind=kind, home_id="h1")


def sessions(events: list[Event]) -> list[Session]:
    sessionizer = Sessionizer(GAP)
    return [session for event in events for session in sessionizer.feed(event)] + sessionizer.finish()


def spans(found: list[Session]) -> list[tuple[float, float, float, int]]:
    return [(float(one.start), float(one.last), float(one.end), one.count) for one in found]


def test_a_session_in_full() -> None:
    sessionizer = Sessionizer(GAP, lambda event: ZoneInfo("Asia/Kathmandu"))
    sessionizer.feed(said(0))
    sessionizer.feed(said(0.25))
    assert sessionizer.finish() == [
        Session(
            device_id="d1",
            start=Timestamp(0),
            start_local="1970-01-01T05:30:00+05:30",
            last=Timestamp(micros=250_000),
            end=Timestamp(micros=600_250_000),
            count=2,
            revision=0,
            home_id="h1",
            final=True,
            deleted=False,
        )
    ]


def test_exactly_the_gap_begins_a_new_one() -> None:
    assert spans(sessions([said(0), said(599.999999)])) == [(0, 599.999999, 1199.999999, 2)]
    assert spans(sessions([said(0), said(600)])) == [(0, 0, 600, 1), (600, 600, 1200, 1)]


def test_devices_do_not_join() -> None:
    found = sessions([said(0), said(1, "d2"), said(599), said(700, "d2")])
    assert sorted((one.device_id, one.count) for one in found) == [("d1", 2), ("d2", 1), ("d2", 1)]


@pytest.mark.parametrize("kind", ["DEVICE_HEALTH_EVENT", "DEVICE_LIFECYCLE_EVENT", "DEVICE_COMMANDS_EVENT"])
def test_signs_of_life_are_no_part(kind: str) -> None:
    assert sessions([said(0, kind=kind)]) == []
    assert spans(sessions([said(0), said(500, kind=kind), said(1000)])) == [(0, 0, 600, 1), (1000, 1000, 1600, 1)]


def test_without_a_device_there_is_none() -> None:
    assert sessions([said(0, device_id=None)]) == []


def test_feed_gives_what_is_over() -> None:
    sessionizer = Sessionizer(GAP)
    assert sessionizer.feed(said(0)) == []
    assert spans(sessionizer.feed(said(600))) == [(0, 0, 600, 1)]
    assert spans(sessionizer.finish()) == [(600, 600, 1200, 1)]
    assert sessionizer.finish() == []


def test_advance_gives_what_no_event_can_join() -> None:
    sessionizer = Sessionizer(GAP)
    sessionizer.feed(said(0))
    sessionizer.feed(said(1, "d2"))
    assert sessionizer.advance(599_999_999) == []
    assert spans(sessionizer.advance(600_000_000)) == [(0, 0, 600, 1)]
    assert spans(sessionizer.finish()) == [(1, 1, 601, 1)]


def test_refuses_a_gap_that_is_none() -> None:
    with pytest.raises(ValueError, match="gap_s must be above 0"):
        Sessionizer(0)


def test_refuses_events_that_go_back() -> None:
    with pytest.raises(ValueError, match="in rule order"):
        sessions([said(1), said(0)])


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000))
def test_sessions_are_the_pieces_between_silences(seed: int) -> None:
    counted = sift(random_stream(seed), role_of).counted
    times: dict[str, list[int]] = {}
    for event in counted:
        if event.kind in ("DEVICE_EVENT", "MATTER_ATTRIBUTE", "MATTER_EVENT"):
            times.setdefault(str(event.device_id), []).append(event.event_time.micros)
    expected = set()
    for device_id, of_device in times.items():
        cuts = [at for at in range(1, len(of_device)) if of_device[at] - of_device[at - 1] >= GAP * 1_000_000]
        for begin, end in zip([0, *cuts], [*cuts, len(of_device)], strict=True):
            expected.add((device_id, of_device[begin], of_device[end - 1], end - begin))
    found = sessions(counted)
    assert len(found) == len(expected)
    assert {(one.device_id, one.start.micros, one.last.micros, one.count) for one in found} == expected


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.data())
def test_advancing_between_events_changes_nothing(seed: int, data: st.DataObject) -> None:
    counted = sift(random_stream(seed, events=60), role_of).counted
    stops = set(data.draw(st.lists(st.integers(0, max(len(counted) - 1, 0)), max_size=8)))
    sessionizer = Sessionizer(GAP, zone_of)
    found: list[Session] = []
    for at, event in enumerate(counted):
        if at in stops:
            found += sessionizer.advance(event.event_time.micros)
        found += sessionizer.feed(event)
    found += sessionizer.finish()

    plain = Sessionizer(GAP, zone_of)
    expected = [session for event in counted for session in plain.feed(event)] + plain.finish()
    assert sorted(found) == sorted(expected)
