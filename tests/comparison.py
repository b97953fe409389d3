"""Running the columnar rules and the plain ones over the same events, and comparing what they give."""

from __future__ import annotations

import math
import random
from typing import Any

from streams import role_of, zone_name, zone_of
from thingbeam.schemas import Activity, Event, EventBatch, Session, Usage, from_record_batch
from thingbeam.schemas.batch import Description
from thingbeam.transforms.columns.activities import ActivityColumns
from thingbeam.transforms.columns.closing import END_OF_TIME
from thingbeam.transforms.columns.deduplicate import DeduplicateColumns
from thingbeam.transforms.columns.history import History, HistoryState
from thingbeam.transforms.columns.sessions import SessionColumns
from thingbeam.transforms.columns.usage import UsageColumns
from thingbeam.transforms.rules import ActivityTracker, Period, Sessionizer, UsageStatistics, is_ignored, sift
from thingbeam.transforms.rules.roles import Role

SECOND = 1_000_000
GAP_S = 600
PERIODS = ["1h", "15m", "1d", "6h"]


def description_role(d: Description) -> Role:
    event = Event("", None, "d", d.kind, d.component, d.capability, d.attribute)  # type: ignore[arg-type]
    return role_of(event)


def history(period: str) -> History:
    return History(
        DeduplicateColumns(60 * SECOND),
        SessionColumns(GAP_S * SECOND),
        ActivityColumns(description_role),
        UsageColumns(description_role, Period.parse(period).seconds * SECOND),
    )


def in_columns(
    events: list[Event],
    cuts: list[int],
    rng: random.Random,
    period: str,
    *,
    ended: bool = True,
    until: int | None = None,
) -> tuple[dict[str, list[Any]], dict[str, int], HistoryState]:
    """Give each slice's events in batches of any size, the state through its encoding."""
    rules, state = history(period), HistoryState()
    results: dict[str, list[Any]] = {"activities": [], "sessions": [], "usage": []}
    counts = {"counted": 0, "duplicates": 0, "stops_without_start": 0}
    kept = [event for event in events if not is_ignored(event, role_of)]
    begin = -END_OF_TIME
    for number, cut in enumerate([*cuts, END_OF_TIME] if ended else cuts):
        last = ended and number == len(cuts)
        mine = [event for event in kept if begin <= event.event_time.micros < cut]
        batches = []
        while mine:
            size = rng.randint(1, 40)
            batches.append(EventBatch.decode(EventBatch.from_events(mine[:size], zone_name).encode()))
            mine = mine[size:]
        done = rules.advance(state, batches, cut, number, ended=last, hold_until=until if last else None)
        for name, record in (("activities", Activity), ("sessions", Session), ("usage", Usage)):
            batch = getattr(done, name)
            if batch is not None:
                results[name].extend(from_record_batch(batch, record))
        for name in counts:
            counts[name] += getattr(done, name)
        state = HistoryState.decode(state.encode())
        begin = cut
    return results, counts, state


def by_rule(events: list[Event], period: str, until: int | None = None) -> tuple[dict[str, list[Any]], dict[str, int]]:
    sifted = sift(events, role_of)
    sessionizer, tracker = Sessionizer(GAP_S, zone_of), ActivityTracker(role_of, zone_of)
    sessions: list[Session] = []
    activities: list[Activity] = []
    for event in sifted.counted:
        sessions += sessionizer.feed(event)
        activities += tracker.feed(event)
    sessions += sessionizer.finish()
    if until is not None:
        activities += tracker.advance(until)
    activities += tracker.finish()
    usage = UsageStatistics(role_of, zone_of, Period.parse(period)).compute(sifted.counted, until)
    counts = {
        "counted": len(sifted.counted),
        "duplicates": len(sifted.duplicates),
        "stops_without_start": tracker.stops_without_start,
    }
    return {"activities": activities, "sessions": sessions, "usage": usage}, counts


def keyed(rows: list[Any]) -> dict[tuple[Any, ...], Any]:
    """The last row of each key, without what may differ."""
    table: dict[tuple[Any, ...], Any] = {}
    for row in rows:
        key = (row.device_id, row.start.micros)
        if not isinstance(row, Session):
            key += (row.component, row.capability)
        if isinstance(row, Usage):
            key += (row.attribute, row.role)
        table[key] = row._replace(revision=0)
    return table


def assert_same(found: list[Any], expected: list[Any]) -> None:
    ours, theirs = keyed(found), keyed(expected)
    assert len(ours) == len(found), "one key came twice"
    assert ours.keys() == theirs.keys()
    for key, row in theirs.items():
        for name, value in row._asdict().items():
            other = getattr(ours[key], name)
            if isinstance(value, float) and other is not None:
                assert math.isclose(other, value, rel_tol=1e-9, abs_tol=1e-6), (key, name, other, value)
            elif name == "seconds_in_state":
                assert other.keys() == {state for state, seconds in value.items() if seconds}, (key, other, value)
                assert all(math.isclose(other[state], value[state], abs_tol=1e-6) for state in other), (
                    key,
                    other,
                    value,
                )
            else:
                assert other == value, (key, name, other, value)
