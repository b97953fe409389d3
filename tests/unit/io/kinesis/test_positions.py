"""Places in a shard, and how people say them."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.kinesis.positions import ENDED, HORIZON, Position, Start, parse_sequences, start_of, stop_of

NUMBERS = st.integers(0, 10**57).map(str)
AFTER = st.builds(lambda sequence, sub: Position("after", sequence, sub), NUMBERS, st.integers(-1, 10_000))
ANY = st.one_of(
    st.just(HORIZON),
    st.just(ENDED),
    AFTER,
    NUMBERS.map(lambda sequence: Position("at", sequence)),
    st.integers(0, 1 << 45).map(lambda millis: Position("time", millis=millis)),
)


@given(ANY)
def test_kept_as_json(position: Position) -> None:
    assert Position.decode(json.loads(json.dumps(position.encode()))) == position


@pytest.mark.parametrize("encoded", [["x"], ["after", 5, 1], ["after", "5"], ["time", "5"], "horizon", [], None])
def test_no_position(encoded: Any) -> None:
    with pytest.raises(ValueError, match="no position"):
        Position.decode(encoded)


@given(AFTER, AFTER)
def test_further_on_has_the_greater_rank(one: Position, other: Position) -> None:
    def place(position: Position) -> tuple[int, float]:
        return int(position.sequence), float("inf") if position.sub < 0 else position.sub

    assert (one.rank < other.rank) == (place(one) < place(other))
    assert HORIZON.rank == Position("time", millis=7).rank < one.rank < ENDED.rank


def test_where_a_read_begins() -> None:
    noon = 1_769_860_800_000
    for given_time in (
        "2026-01-31T12:00:00Z",
        datetime.datetime(2026, 1, 31, 13, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
        Timestamp(noon / 1000),
    ):
        assert start_of(given_time) == Start("time", noon)
    # What arrived in the millisecond before is not after that time.
    assert start_of(Timestamp(micros=noon * 1000 + 1)) == Start("time", noon + 1)
    assert [start_of(word).kind for word in ("horizon", "latest", "checkpoint")] == ["horizon", "latest", "checkpoint"]
    assert start_of({"shardId-0": "5"}).sequences == start_of("shardId-0:5").sequences == {"shardId-0": "5"}


@pytest.mark.parametrize("text", ["earlier", "2026-01-31T12:00:00", "shardId-0:x", "shardId-0:05", "a:1,a:2", ":5"])
def test_no_start(text: str) -> None:
    with pytest.raises(ValueError, match="start"):
        start_of(text)
    with pytest.raises(ValueError, match="no shard is given"):
        start_of({})
    with pytest.raises(ValueError, match="SHARD:SEQUENCE"):
        parse_sequences("a")


def test_where_a_read_ends() -> None:
    now = Timestamp(1_769_860_800)
    assert stop_of(None, now) is None
    assert stop_of("latest", now) == Start("latest")
    assert stop_of("2026-01-31T12:00:00Z", now) == Start("time", 1_769_860_800_000)
    for text in ("2026-01-31T12:00:01Z", "horizon", "a:5"):
        with pytest.raises(ValueError, match="stop"):
            stop_of(text, now)
