"""Rows cut by window and shard."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from thingbeam.io.s3.rows import Cut, Cutter, batch_of, packed, shard_field, start_of, time_field
from thingbeam.schemas import Activity, DeadLetter, Event, Session, Usage
from thingbeam.schemas.arrow import from_record_batch, to_record_batch

HOUR = 3_600_000_000


class Timeless(NamedTuple):
    """A record without a time."""

    name: str


class Textless(NamedTuple):
    """A record without a text."""

    time: Timestamp


def cutter(shards: int = 3, **options: object) -> Cutter:
    """For events, by the hour."""
    given = {"time": None, "shard_by": None, "redact": None} | options
    return Cutter(Event, given["time"], HOUR, shards, given["shard_by"], "Write", "s3://b/p", given["redact"])  # type: ignore[arg-type]


def event(number: int, micros: int, device: str | None = "d") -> Event:
    """One event."""
    return Event.of(f"e{number}", Timestamp(micros=micros), device, "switch", "switch", "on")


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(-(10**13), 10**13), st.sampled_from(["a", "b", "c", None, "ü"])), min_size=1, max_size=60
    ),
    st.integers(1, 5),
)
def test_each_row_is_in_one_cut_in_its_order(rows: list[tuple[int, str | None]], shards: int) -> None:
    events = [event(number, *row) for number, row in enumerate(rows)]
    cuts = list(cutter(shards).cut(to_record_batch(events, Event)))
    assert all(isinstance(cut, Cut) for cut in cuts)
    keys = [(cut.start, cut.shard) for cut in cuts if isinstance(cut, Cut)]
    assert len(set(keys)) == len(keys)
    shard_of: dict[str | None, int] = {}
    found: list[Event] = []
    for cut in cuts:
        assert isinstance(cut, Cut)
        assert 0 <= cut.shard < shards
        some = from_record_batch(cut.batch, Event)
        assert [one.event_id for one in some] == sorted((one.event_id for one in some), key=lambda text: int(text[1:]))
        for one in some:
            assert cut.start <= one.event_time.micros < cut.start + HOUR
            assert shard_of.setdefault(one.device_id, cut.shard) == cut.shard
        found += some
        again = packed(cut)
        assert (start_of(again), from_record_batch(batch_of(again), Event)) == (cut.start, some)
    assert sorted(found, key=str) == sorted(events, key=str)


def test_records_and_batches_are_cut_alike() -> None:
    events = [event(n, n * 10**9, f"d{n % 5}") for n in range(20)]
    one, other = cutter().cut(events), cutter().cut(to_record_batch(events, Event))
    assert [(cut.start, cut.shard, cut.batch) for cut in one] == [(cut.start, cut.shard, cut.batch) for cut in other]  # type: ignore[union-attr]


def test_a_bad_row_is_found_and_the_others_are_kept() -> None:
    events = [event(n, n) for n in range(100)]
    bad = [
        events[0]._replace(number=math.inf, text="token"),
        events[1]._replace(event_time=None),  # type: ignore[arg-type]
        events[2]._replace(text=b"\xff"),  # type: ignore[arg-type]
    ]
    mixed = [*events[:30], bad[0], *events[30:31], bad[1], *events[31:], bad[2]]
    done = list(cutter(redact=lambda data: data.replace(b"token", b"***")).cut(mixed))
    letters = [one for one in done if isinstance(one, DeadLetter)]
    assert [letter.code for letter in letters] == ["not_finite", "missing_field", "wrong_type"]
    assert json.loads(letters[0].payload)["text"] == "***"
    assert {(letter.step, letter.source) for letter in letters} == {("Write", "s3://b/p")}
    kept = [one for cut in done if isinstance(cut, Cut) for one in from_record_batch(cut.batch, Event)]
    assert sorted(kept) == sorted(events)


def test_a_batch_of_another_record_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="not a batch of Event: its columns are name"):
        list(cutter().cut(to_record_batch([Timeless("x")], Timeless)))


def test_each_record_has_a_time_and_a_text_of_its_own() -> None:
    fields = {record: (time_field(record, None), shard_field(record, None)) for record in
              (Event, Activity, Session, Usage, DeadLetter)}  # fmt: skip
    assert fields == {
        Event: ("event_time", "device_id"),
        Activity: ("start", "device_id"),
        Session: ("start", "device_id"),
        Usage: ("start", "device_id"),
        DeadLetter: ("time", "source"),
    }
    assert time_field(Session, "last") == "last"
    with pytest.raises(ValueError, match=r"time='end': Activity has start to go by"):
        time_field(Activity, "end")
    with pytest.raises(ValueError, match="Timeless has no time to go by"):
        time_field(Timeless, None)
    with pytest.raises(ValueError, match="Textless has the texts"):
        shard_field(Textless, None)
    with pytest.raises(ValueError, match="shard_by='number'"):
        shard_field(Event, "number")
