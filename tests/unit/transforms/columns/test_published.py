"""Published: what went out, its keys, and its encodings."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from apache_beam.utils.timestamp import Timestamp

from comparison import SECOND, history
from golden_state import FOLDER
from streams import random_stream, role_of, zone_name
from thingbeam.schemas import EventBatch, Session, Usage, from_record_batch, to_record_batch
from thingbeam.schemas.encoding import EncodingError, pack
from thingbeam.schemas.keys import key_of
from thingbeam.transforms.columns.closing import Closing
from thingbeam.transforms.columns.history import HistoryState
from thingbeam.transforms.columns.published import KINDS, Published, begun_words, key_words
from thingbeam.transforms.columns.rows import sort_rows
from thingbeam.transforms.rules import is_ignored

NOTHING = np.zeros(0, np.uint64)


def session(device: str, start: int, count: int = 1) -> Session:
    at = Timestamp(start)
    return Session(
        device_id=device, start=at, start_local="1970-01-01T00:00:00", last=at, end=Timestamp(start + 600),
        count=count, revision=7, home_id=None, final=False, deleted=False,
    )  # fmt: skip


def sessions(*rows: Session) -> pa.RecordBatch:
    return to_record_batch(rows, Session)


def results(seed: int) -> tuple[HistoryState, dict[str, pa.RecordBatch | None], int]:
    """The state of a shard in the middle of a stream, and all that is open in it."""
    stream = random_stream(seed, devices=5, events=150)
    events = [event for event in stream if not is_ignored(event, role_of)]
    state, rules = HistoryState(), history("1h")
    until = events[-1].event_time.micros + SECOND
    rules.advance(state, [EventBatch.from_events(events, zone_name)], until, 1)
    nothing, closing = sort_rows(EventBatch.concatenate(())), Closing(until, 1, ended=True, so_far=True)
    found: dict[str, Any] = {}
    for kind in KINDS:
        _, found[kind], *_ = getattr(rules, kind).advance(state.rules[kind], nothing, closing, state.lexicon)
    return state, found, until


def test_keys_are_words_that_differ_as_they_do() -> None:
    keys = {
        (kind, *key_of(row)): word
        for seed in range(20)
        for kind, batch in results(seed)[1].items()
        if batch is not None
        for row, word in zip(from_record_batch(batch, KINDS[kind]), key_words(kind, batch).tolist(), strict=True)
    }
    assert len(keys) > 100
    assert len(set(keys.values())) == len(keys)


def test_what_is_begun_is_what_a_look_at_the_state_shows() -> None:
    count = 0
    for seed in range(30):
        state, found, _ = results(seed)
        if found["usage"] is not None:
            found["usage"] = found["usage"].filter(pa.array(found["usage"].column("count").to_numpy() > 0))
        shown = [key_words(kind, batch).tolist() for kind, batch in found.items() if batch is not None]
        begun = begun_words(state, 3600 * SECOND)
        assert begun.tolist() == sorted({word for words in shown for word in words})
        count += len(begun)
    assert count > 50
    assert begun_words(HistoryState(), 3600 * SECOND).tolist() == []


def test_a_key_is_remembered_once_and_not_where_the_exact_pass_will_come_to_it() -> None:
    published = Published()
    published.add("sessions", sessions(session("a", 0), session("b", 0)), NOTHING)
    published.add("sessions", sessions(session("a", 0, 2)), NOTHING)
    certain = np.sort(key_words("sessions", sessions(session("c", 0), session("e", 0))))
    published.add("sessions", sessions(session("c", 0), session("d", 0)), certain)
    assert len(published) == 3
    assert published.newest == 7
    assert published.nbytes > 0
    taken_back = published.settle({}, NOTHING, 10 * SECOND, 9)
    rows = from_record_batch(taken_back["sessions"], Session)
    assert [row.device_id for row in rows] == ["a", "b", "d"]
    assert rows[0] == session("a", 0)._replace(revision=9, final=True, deleted=True)
    assert (len(published), published.newest) == (0, 0)


def test_what_the_exact_pass_came_to_or_cannot_know_yet_is_not_taken_back() -> None:
    published = Published()
    published.add("sessions", sessions(*(session(name, 10 * at) for at, name in enumerate("abcd"))), NOTHING)
    begun = key_words("sessions", sessions(session("b", 10)))
    done = {"sessions": sessions(session("a", 0)), "usage": None}
    taken_back = published.settle(done, begun, 20 * SECOND + 1, 9)
    assert [row.device_id for row in from_record_batch(taken_back["sessions"], Session)] == ["c"]
    assert len(published) == 1
    assert not published.settle({}, begun, 30 * SECOND, 10)
    [last] = from_record_batch(published.settle({}, begun, 30 * SECOND + 1, 11)["sessions"], Session)
    assert last.device_id == "d"


def test_what_the_exact_pass_has_ended_or_never_comes_to_does_not_go_out() -> None:
    """It would replace the final row, and be taken back."""
    published = Published()
    shown = sessions(*(session(name, 10 * at) for at, name in enumerate("abc")))
    begun = key_words("sessions", sessions(session("a", 0)))
    rows = published.add("sessions", shown, begun, 20 * SECOND)
    assert [row.device_id for row in from_record_batch(rows, Session)] == ["a", "c"]
    assert len(published) == 1
    assert published.add("sessions", shown, begun, 20 * SECOND + 1).num_rows == 1
    assert not published.settle({}, begun, 20 * SECOND, 9)


def test_a_period_is_known_when_it_is_over() -> None:
    _, found, _ = results(3)
    batch = found["usage"]
    published = Published()
    published.add("usage", batch, NOTHING)
    ends = sorted(row.end.micros for row in from_record_batch(batch, Usage))
    assert not published.settle({}, NOTHING, ends[0] - 1, 9)
    taken_back = published.settle({}, NOTHING, ends[0], 9)["usage"]
    assert {row.end.micros for row in from_record_batch(taken_back, Usage)} == {ends[0]}


@pytest.mark.parametrize("seed", range(5))
def test_what_was_added_is_all_there_is_in_any_order(seed: int) -> None:
    rng = random.Random(seed)
    _, found, _ = results(seed)
    published, encoded = Published(), []
    assert published.encode_added() is None
    for kind, batch in found.items():
        if batch is None:
            continue
        for start in range(0, batch.num_rows, 4):
            published.add(kind, batch.slice(start, 7), NOTHING)
            if rng.random() < 0.6:
                encoded += filter(None, [published.encode_added()])
    encoded += filter(None, [published.encode_added()])
    rng.shuffle(encoded)
    far = 1 << 60
    for same in (Published.decode(encoded), Published.decode(published.encode())):
        assert same.encode_added() is None
        assert (len(same), same.newest) == (len(published), published.newest)
        ours = same.settle({}, NOTHING, far, 9)
        assert ours.keys() == {kind for kind, batch in found.items() if batch is not None}
        for kind, batch in found.items():
            if batch is None:
                continue
            assert sorted(from_record_batch(ours[kind], KINDS[kind]), key=key_of) == sorted(
                (row._replace(revision=9, final=True, deleted=True) for row in from_record_batch(batch, KINDS[kind])),
                key=key_of,
            )
        assert len(same) == 0


def test_many_rows_are_several_pieces() -> None:
    published = Published()
    published.add("sessions", sessions(*(session(f"d{number}", number) for number in range(5000))), NOTHING)
    first, second = published.encode()
    assert len(Published.decode([second])) == 5000 - 4096
    same = Published.decode([second, first])
    assert same.settle({}, NOTHING, 1 << 60, 9)["sessions"].num_rows == 5000
    assert published.encode_added() is None


def test_what_version_1_wrote_is_read() -> None:
    published = Published.decode([(FOLDER / "provisional.v1.bin").read_bytes()])
    assert (len(published), published.newest) == (33, 1_000_050)
    taken_back = published.settle({}, NOTHING, 1 << 60, 2_000_000)
    assert {kind: batch.num_rows for kind, batch in taken_back.items()} == {
        "sessions": 13,
        "usage": 18,
        "activities": 2,
    }
    for kind, batch in taken_back.items():
        for row in from_record_batch(batch, KINDS[kind]):
            assert (row.final, row.deleted, row.revision) == (True, True, 2_000_000)


def test_what_version_2_wrote_is_read() -> None:
    earlier = Published.decode([(FOLDER / "provisional.v1.bin").read_bytes()])
    published = Published.decode([(FOLDER / "provisional.v2.bin").read_bytes()])
    one, other = (each.settle({}, NOTHING, 1 << 60, 9) for each in (published, earlier))
    assert one.keys() == other.keys()
    assert all(one[kind].equals(other[kind]) for kind in one)


@pytest.mark.parametrize(
    "columns",
    [{"doors": np.zeros(3, np.uint8)}, {"usage": np.zeros(3, np.uint8)}, {"usage": {}}, {"usage": np.zeros(2)}],
)
def test_bytes_of_another_program_say_so(columns: dict[str, Any]) -> None:
    with pytest.raises(EncodingError, match="TBPV"):
        Published.decode([pack(b"TBPV", 2, columns)])
    with pytest.raises(EncodingError, match="published"):
        Published.decode([pack(b"TBPV", 1, {})])


def test_a_later_version_is_refused() -> None:
    with pytest.raises(EncodingError, match="upgrade"):
        Published.decode([pack(b"TBPV", 3, {})])


def test_a_field_that_an_earlier_release_did_not_have_is_null() -> None:
    batch = sessions(session("a", 0)._replace(home_id="h"))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.drop_columns(["home_id"]).schema) as writer:
        writer.write_batch(batch.drop_columns(["home_id"]))
    published = Published.decode([pack(b"TBPV", 2, {"sessions": np.frombuffer(sink.getvalue(), np.uint8)})])
    [row] = from_record_batch(published.settle({}, NOTHING, 1 << 60, 9)["sessions"], Session)
    assert row == session("a", 0)._replace(revision=9, final=True, deleted=True)
