"""HistoryState: what a shard remembers survives its encoding, and releases."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from columnar import HOUR, Shard, said, seconds, usage
from comparison import GAP_S, SECOND, assert_same, by_rule, history
from golden_state import CUT, FOLDER, PERIOD, events, state_of
from streams import random_stream, role_of, zone_name
from thingbeam.schemas import Activity, Event, EventBatch, Session, Usage, from_record_batch
from thingbeam.schemas.encoding import EncodingError, pack, unpack
from thingbeam.transforms.columns.closing import END_OF_TIME
from thingbeam.transforms.columns.history import HistoryState
from thingbeam.transforms.rules import is_ignored

RECORDS = {"activities": Activity, "sessions": Session, "usage": Usage}
MAGIC = b"TBHS"


def assert_equal_states(one: HistoryState, other: HistoryState) -> None:
    assert one.rules.keys() == other.rules.keys()
    for name, columns in one.rules.items():
        assert columns.keys() == other.rules[name].keys()
        for field, column in columns.items():
            assert column.dtype == other.rules[name][field].dtype
            assert column.tobytes() == other.rules[name][field].tobytes(), (name, field)
    assert one.lexicon.ids == other.lexicon.ids
    assert one.lexicon.texts == other.lexicon.texts
    assert one.lexicon.series == other.lexicon.series
    assert (one.revision, one.pruned) == (other.revision, other.pruned)


def gone_on(state: HistoryState, rest: list[Event], cuts: list[int], until: int) -> tuple[dict[str, list[Any]], int]:
    """The results, and the number of duplicates, of going on from a state to the end, values held until a time."""
    rules, begin, duplicates = history(PERIOD), CUT, 0
    results: dict[str, list[Any]] = {name: [] for name in RECORDS}
    for cut in [*cuts, END_OF_TIME]:
        mine = [event for event in rest if begin <= event.event_time.micros < cut]
        batch = EventBatch.from_events(mine, zone_name)
        done = rules.advance(state, [batch], cut, 0, ended=cut == END_OF_TIME, hold_until=until)
        for name, record in RECORDS.items():
            found = getattr(done, name)
            results[name] += [] if found is None else from_record_batch(found, record)
        duplicates += done.duplicates
        state, begin = HistoryState.decode(state.encode()), cut
    assert state.is_empty
    return results, duplicates


def over_after(row: Any) -> bool:
    """Whether the row goes out after CUT: periods and sessions are over at their end, activities beyond it."""
    if isinstance(row, Activity):
        return row.end is None or bool(row.end.micros >= CUT)
    return bool(row.end.micros > CUT)


def test_what_version_1_wrote_is_read_and_gone_on_from() -> None:
    stream = events()
    state = HistoryState.decode((FOLDER / "history.v1.bin").read_bytes())
    until = stream[-1].event_time.micros + 3 * HOUR * SECOND
    expected, counts = by_rule(stream, PERIOD, until)
    rest = [event for event in stream if event.event_time.micros >= CUT]
    known = by_rule([event for event in stream if event.event_time.micros < CUT], PERIOD)[1]
    assert counts["duplicates"] > known["duplicates"] > 0
    for cuts in ([], [CUT + 1, CUT + 60 * SECOND, CUT + HOUR * SECOND, rest[-1].event_time.micros]):
        found, duplicates = gone_on(HistoryState.decode(state.encode()), rest, cuts, until)
        assert duplicates == counts["duplicates"] - known["duplicates"]
        for name, rows in expected.items():
            later = [row for row in rows if over_after(row)]
            assert len(later) >= 5
            assert_same(found[name], later)


def test_what_version_1_wrote_is_rich_enough() -> None:
    state = HistoryState.decode((FOLDER / "history.v1.bin").read_bytes())
    rules = state.rules
    assert all(len(rules[name]["device_high"]) >= 2 for name in ("deduplicate", "activities", "sessions", "usage"))
    assert len(rules["usage"]["seconds"]) > 0
    assert (rules["usage"]["period"] > -(1 << 61)).sum() >= 5
    assert len({parts[5] for parts in state.lexicon.series.values() if parts[0] == "usage"}) >= 2
    assert state.lexicon.ids
    assert state.revision >= 1_000_000


def test_what_version_1_wrote_is_what_is_written_today() -> None:
    """Until there is a version 2: then this goes, and the others stay."""
    before = HistoryState.decode((FOLDER / "history.v1.bin").read_bytes())
    assert_equal_states(before, state_of(events()))


def test_batches_that_version_1_wrote_are_read() -> None:
    batch = EventBatch.decode((FOLDER / "event_batch.v1.bin").read_bytes())
    # By their text: NaN is not equal to itself.
    assert list(map(repr, batch.to_events())) == list(map(repr, events()))
    assert [batch.names.descriptions[word].zone for word in batch.rows["description"].tolist()] == [
        zone_name(event.home_id) for event in events()
    ]


@pytest.mark.parametrize("seed", range(10))
def test_round_trip(seed: int) -> None:
    rng = random.Random(seed)
    stream = [event for event in random_stream(seed, events=120) if not is_ignored(event, role_of)]
    rules, state, begin = history("1h"), HistoryState(), -END_OF_TIME
    for cut in sorted(rng.choice(stream).event_time.micros + rng.choice([0, 1, GAP_S * SECOND]) for _ in range(6)):
        mine = [event for event in stream if begin <= event.event_time.micros < cut]
        rules.advance(state, [EventBatch.from_events(mine, zone_name)], cut, rng.randrange(10**15))
        encoded = state.encode()
        state, before, begin = HistoryState.decode(encoded), state, cut
        assert_equal_states(state, before)
        assert state.encode() == encoded


def test_an_empty_state() -> None:
    state = HistoryState.decode(HistoryState().encode())
    assert state.is_empty
    assert_equal_states(state, HistoryState())


def test_revisions_only_grow() -> None:
    rules, state = history("1h"), HistoryState()
    found = []
    for now in (5, 3, 0, 100, 100):
        rules.advance(state, [], 0, now)
        state = HistoryState.decode(state.encode())
        found.append(state.revision)
    assert found == [5, 6, 7, 100, 101]


def test_texts_that_nothing_refers_to_are_forgotten() -> None:
    shard = Shard(usage())
    for day in range(40):
        events_of_day = [said(day * 86_400 + at, 1.0, device=f"device {day} {at}") for at in range(30)]
        shard.until((day + 1) * 86_400, *events_of_day)
    held = len(shard.state.rules["usage"]["time"])
    # Of the 35 days the first value of the first is past its retention by now.
    assert held == 35 * 30 - 1
    # Ids of events are among them until they are pruned: at most as many again.
    assert held + 1 <= len(shard.state.lexicon.ids) < 3 * held
    assert {row.device_id for row in shard.end().usage} <= {
        f"device {day} {at}" for day in range(40) for at in range(30)
    }


def test_ids_that_are_still_referred_to_are_kept() -> None:
    shard = Shard(usage())
    shard.until(1, said(0, "on", "mode", device="the first", home_id="the home", unit="lux"))
    for hour in range(1, 30):
        more = [said(hour * HOUR + at, f"state {hour} {at}", "mode", device="busy") for at in range(40)]
        shard.until((hour + 1) * HOUR, *more)
    assert len(shard.state.lexicon.texts) < 600
    rows = [
        row
        for row in shard.until(31 * HOUR, said(30 * HOUR, "off", "mode", device="the first")).usage
        if row.device_id != "busy"
    ]
    assert [(row.device_id, row.home_id, row.last_state, seconds(row.start) / HOUR) for row in rows] == [
        ("the first", "the home", "off", 30)
    ]
    assert rows[0].seconds_in_state == {"off": 3600}


def test_later_versions_and_other_bytes_are_refused() -> None:
    _, columns = unpack(MAGIC, 1, HistoryState().encode())
    with pytest.raises(EncodingError, match="version 2; this release reads up to 1"):
        HistoryState.decode(pack(MAGIC, 2, columns))
    with pytest.raises(EncodingError, match="expected"):
        HistoryState.decode(EventBatch.from_events([]).encode())
    for missing in ("ids", "texts", "series", "numbers"):
        with pytest.raises(EncodingError, match="do not have the columns"):
            HistoryState.decode(pack(MAGIC, 1, {name: column for name, column in columns.items() if name != missing}))
    for odd in ({"numbers": np.zeros(3)}, {"numbers": 5}, {"series": [1]}, {"series": {1: 2}}):
        with pytest.raises(EncodingError, match="do not have the columns"):
            HistoryState.decode(pack(MAGIC, 1, columns | odd))


def test_cut_or_damaged() -> None:
    encoded, rng = (FOLDER / "history.v1.bin").read_bytes(), random.Random(1)
    for size in range(0, len(encoded), 7):
        with pytest.raises(EncodingError):
            HistoryState.decode(encoded[:size])
    good = HistoryState.decode(encoded)
    for at in rng.sample(range(len(encoded)), 1500):
        try:
            found = HistoryState.decode(encoded[:at] + bytes([encoded[at] ^ rng.randrange(1, 256)]) + encoded[at + 1 :])
        except EncodingError:
            continue
        sizes = [{name: len(column) for name, column in state.rules["usage"].items()} for state in (good, found)]
        assert sizes[0] == sizes[1]
        assert found.lexicon.texts == good.lexicon.texts
