from __future__ import annotations

import hashlib
import math
import random
from itertools import pairwise

import numpy as np
import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from columnar import splitmix
from records import events, ids
from streams import disorder, random_stream, zone_name
from thingbeam.schemas import Event, EventBatch
from thingbeam.schemas.batch import ROW, Description, Names, hash_description
from thingbeam.schemas.encoding import EncodingError, unpack

NIL = "00000000-0000-0000-0000-000000000000"


def carried(event: Event) -> Event:
    """What a batch carries of an event made of a plain value of at most 53 bits."""
    return event._replace(ingest_time=None)


def same(ours: list[Event], theirs: list[Event]) -> bool:
    # By their text, for NaN is not equal to itself; the sign of a zero shows there, too.
    return [repr(event) for event in ours] == [repr(event) for event in theirs]


def on(device: str | None, event_id: str = "e") -> Event:
    return Event.of(event_id, Timestamp(0), device, "switch", "switch", "on")


@given(st.lists(events, max_size=8))
def test_round_trip(before: list[Event]) -> None:
    batch = EventBatch.from_events(before)
    expected = [carried(event) for event in before]
    assert same(batch.to_events(), expected)
    decoded = EventBatch.decode(batch.encode())
    assert len(decoded) == len(before)
    assert same(decoded.to_events(), expected)
    assert decoded.encode() == batch.encode()


@pytest.mark.parametrize("seed", range(4))
def test_round_trip_of_streams(seed: int) -> None:
    before = disorder(random_stream(seed, events=300), random.Random(seed), 600)
    assert same(EventBatch.decode(EventBatch.from_events(before).encode()).to_events(), before)


def test_values_of_every_type() -> None:
    values = ["on", "", "😀", 1.5, -0.0, math.nan, math.inf, True, False, None, {"a": [1]}, []]
    before = [Event.of("e", Timestamp(0), "d", "c", "a", value) for value in values]
    assert same(EventBatch.decode(EventBatch.from_events(before).encode()).to_events(), before)


def test_what_it_does_not_carry() -> None:
    [after] = EventBatch.from_events(
        [Event.of("e", Timestamp(0), "d", "c", "a", 2**53 + 1, ingest_time=Timestamp(1))]
    ).to_events()
    assert (after.number, after.text, after.ingest_time) == (2.0**53, None, None)


def test_the_nil_uuid_is_an_id_and_none_is_none() -> None:
    before = [on(NIL, NIL), on(None), on("", ""), on(NIL.replace("0", "f"))]
    assert EventBatch.decode(EventBatch.from_events(before).encode()).to_events() == before


def test_no_events() -> None:
    for empty in (EventBatch.from_events([]), EventBatch.concatenate([])):
        decoded = EventBatch.decode(empty.encode())
        assert len(decoded) == 0
        assert decoded.to_events() == []
        assert decoded.rows.dtype == ROW
        assert list(decoded.shards(16)) == []
        assert len(decoded.take(decoded.rows)) == 0


def test_half_a_surrogate_pair_is_refused() -> None:
    """It is no character: Avro, Arrow and Beam's own coders do not carry it either."""
    with pytest.raises(UnicodeEncodeError):
        EventBatch.from_events([on("\ud800")]).encode()


def test_the_zone_of_a_home_is_kept() -> None:
    before = random_stream(3, events=40)
    batch = EventBatch.decode(EventBatch.from_events(before, zone_name).encode())
    zones = [batch.names.descriptions[word].zone for word in batch.rows["description"].tolist()]
    assert zones == [zone_name(event.home_id) for event in before]
    assert same(batch.to_events(), before)


def test_rows_are_72_bytes_and_read_only_once_decoded() -> None:
    batch = EventBatch.decode(EventBatch.from_events([on("d")] * 3).encode())
    assert batch.rows.nbytes == 3 * 72
    with pytest.raises(ValueError, match="read-only"):
        batch.rows["time"] = 0


def test_descriptions_have_one_hash_in_every_process() -> None:
    """The 64-bit BLAKE2b of the fields as a msgpack array."""
    one = Description("K", "m", "c", "a", "number", "W", True, 5, None)
    packed = bytes.fromhex("99 a14b a16d a163 a161 a66e756d626572 a157 c3 05 c0")
    assert hash_description(one) == int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little")
    assert hash_description(one._replace(unit=None)) != hash_description(one)


def test_a_later_version_is_refused() -> None:
    encoded = bytearray(EventBatch.from_events([on("d")]).encode())
    encoded[4:6] = b"\2\0"
    with pytest.raises(EncodingError, match="version 2; this release reads up to 1"):
        EventBatch.decode(bytes(encoded))


def test_its_columns() -> None:
    """What version 1 is: another release reads it."""
    version, columns = unpack(b"TBEB", 1, EventBatch.from_events([on("d")]).encode())
    assert version == 1
    assert sorted(columns) == ["descriptions", "ids", "rows", "texts"]


@given(st.lists(st.lists(events, max_size=4), max_size=4))
def test_concatenated(parts: list[list[Event]]) -> None:
    whole = EventBatch.concatenate(EventBatch.from_events(part) for part in parts)
    assert same(whole.to_events(), [carried(event) for part in parts for event in part])


@given(st.lists(events, max_size=8), st.data())
def test_some_rows_take_along_only_their_names(before: list[Event], data: st.DataObject) -> None:
    batch = EventBatch.from_events(before)
    at = data.draw(st.lists(st.integers(0, len(before) - 1), max_size=8) if before else st.just([]))
    taken = batch.take(batch.rows[np.array(at, np.int64)])
    chosen = [before[index] for index in at]
    assert same(taken.to_events(), [carried(event) for event in chosen])
    alone = EventBatch.from_events(chosen).names
    assert taken.names.descriptions == alone.descriptions
    assert taken.names.ids == alone.ids
    assert taken.names.texts.items() >= alone.texts.items()
    # A number's bits that look like a text's hash bring it along.
    numbers = set(taken.rows["value"].tolist())
    assert taken.names.texts.keys() <= alone.texts.keys() | numbers


@given(st.lists(st.builds(on, st.none() | ids, ids), max_size=30), st.sampled_from([1, 2, 16, 60, 1 << 17]))
def test_shards_conserve_rows_and_keep_a_device_together(before: list[Event], count: int) -> None:
    found: list[Event] = []
    shard_of: dict[str | None, int] = {}
    numbers = []
    for shard, part in EventBatch.from_events(before).shards(count):
        assert len(part)
        numbers.append(shard)
        decoded = EventBatch.decode(part.encode()).to_events()
        for event in decoded:
            assert shard_of.setdefault(event.device_id, shard) == shard
        # In the order in which they came.
        here = [event for event in before if event.device_id in {other.device_id for other in decoded}]
        assert decoded == here
        found += decoded
    assert sorted(found, key=repr) == sorted(before, key=repr)
    assert numbers == sorted(set(numbers))
    assert all(0 <= shard < count for shard in numbers)


def test_the_shard_of_a_device_is_the_same_everywhere() -> None:
    """In whatever batch it comes; and in every release, for state is kept by shard."""
    devices = [f"d{number}" for number in range(50)] + [NIL, NIL.replace("0", "7")]
    together = {
        e.device_id: shard
        for shard, part in EventBatch.from_events(list(map(on, devices))).shards(60)
        for e in part.to_events()
    }
    for device in devices:
        [(shard, _)] = EventBatch.from_events([on(device)] * 2).shards(60)
        assert shard == together[device]
    assert together[NIL.replace("0", "7")] == splitmix(0x7777777777777777, 0x7777777777777777) % 60


@pytest.mark.parametrize("count", [2, 16, 60])
@pytest.mark.parametrize(
    "device_of", ["00000000-0000-0000-0000-{:012x}", "{:08x}-0000-4000-8000-000000000000", "device-{}"]
)
def test_ids_that_someone_chose_spread_evenly(device_of: str, count: int) -> None:
    """Counted up, by steps of the number of shards: a plain modulo would put all in one."""
    devices = [device_of.format(count * number) for number in range(1, 3001)]
    sizes = [len(part) for _, part in EventBatch.from_events([on(device) for device in devices]).shards(count)]
    expected = len(devices) / count
    assert len(sizes) == count
    assert max(abs(size - expected) for size in sizes) < 5 * expected**0.5


def test_its_size_follows_its_rows() -> None:
    sizes = [EventBatch.from_events([on(f"d{number}") for number in range(count)]).nbytes for count in (0, 1, 10, 1000)]
    assert sizes[0] == 0
    assert all(after > before for before, after in pairwise(sizes))
    assert 72 * 1000 < sizes[-1] < 200 * 1000


def test_names_learn_from_others() -> None:
    one, other = Names({b"a": "1"}, {1: "a"}), Names({b"b": "2"}, {2: "b"})
    one.update(other)
    assert (one.ids, one.texts, one.descriptions) == ({b"a": "1", b"b": "2"}, {1: "a", 2: "b"}, {})
