from __future__ import annotations

import hashlib
import random
import uuid

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from streams import random_stream
from thingbeam.schemas.records import Event
from thingbeam.transforms.rules import id_key, payload_hash, rule_order
from thingbeam.transforms.rules.order import DeviceClocks


@given(st.uuids(), st.uuids())
def test_uuids_compare_as_their_bytes(one: uuid.UUID, other: uuid.UUID) -> None:
    assert (id_key(str(one)) < id_key(str(other))) == (one.bytes < other.bytes)
    assert id_key(str(one)).to_bytes(16, "big") == one.bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "e1",
        "évt-1",
        "6C5F8D2E-2A3B-4C4D-8E5F-0A1B2C3D4E5F",
        "6c5f8d2e2a3b4c4d8e5f0a1b2c3d4e5f",
        "{6c5f8d2e-2a3b-4c4d-8e5f-0a1b2c3d4e5f}",
        "6c5f8d2e-2a3b-4c4d-8e5f-0a1b2c3d4e5f\n",
        "6c5f8d2e-2a3b-4c4d-8e5f-0a1b2c3d4e5٣",
    ],
)
def test_other_texts_compare_as_their_digest(text: str) -> None:
    assert id_key(text).to_bytes(16, "big") == hashlib.blake2b(text.encode(), digest_size=16).digest()


def test_an_id_that_is_no_unicode_has_a_place_too() -> None:
    assert id_key("\ud800") != id_key("\ud801")


def test_rule_order_is_time_then_id_then_payload() -> None:
    low, high = "00000000-0000-0000-0000-000000000001", "f0000000-0000-0000-0000-000000000000"
    same = [Event.of(low, Timestamp(5), "d1", "switch", "switch", value) for value in ("on", "off", "unknown")]
    same.sort(key=payload_hash)
    other = Event.of(high, Timestamp(5), "d1", "switch", "switch", "on")
    sooner = Event.of(high, Timestamp(micros=4_999_999), "d1", "switch", "switch", "on")
    expected = [sooner, *same, other]
    for seed in range(20):
        shuffled = expected[:]
        random.Random(seed).shuffle(shuffled)
        assert rule_order(shuffled) == expected


@given(st.integers(0, 1000), st.randoms())
def test_rule_order_does_not_depend_on_arrival(seed: int, rng: random.Random) -> None:
    stream = random_stream(seed, events=40)
    shuffled = stream[:]
    rng.shuffle(shuffled)
    assert [_place(event) for event in rule_order(shuffled)] == [_place(event) for event in stream]


def _place(event: Event) -> tuple[Timestamp, str, int]:
    """What a copy of one event has in common with it: the platform may tell them apart by `state_change`."""
    return event.event_time, event.event_id, payload_hash(event)


def test_payload_hash_is_the_documented_digest() -> None:
    event = Event.of("e1", Timestamp(0), "d1", "powerMeter", "power", 1.5, unit="W")
    raw = (
        b"\x0c\x00\x00\x00DEVICE_EVENT\x04\x00\x00\x00main\x0a\x00\x00\x00powerMeter\x05\x00\x00\x00power"
        b"\x06\x00\x00\x00number\xff\xff\xff\xff\x08\x00\x00\x00\x00\x00\x00\xf8\x3f\x01\x00\x00\x00W"
    )
    assert payload_hash(event) == int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")


def test_payload_hash_tells_every_field_and_nothing_else() -> None:
    event = Event.of("e1", Timestamp(0), "d1", "ab", "c", "x", unit="W")
    others = [
        event._replace(kind="MATTER_EVENT"),
        event._replace(component="rack"),
        event._replace(capability="a", attribute="bc"),
        event._replace(value_type="json"),
        event._replace(text="y"),
        event._replace(text=""),
        event._replace(text=None),
        event._replace(unit=None),
        event._replace(unit=""),
        Event.of("e1", Timestamp(0), "d1", "ab", "c", 1.0, unit="W"),
        Event.of("e1", Timestamp(0), "d1", "ab", "c", 2.0, unit="W"),
        Event.of("e1", Timestamp(0), "d1", "ab", "c", True, unit="W"),
        Event.of("e1", Timestamp(0), "d1", "ab", "c", None, unit="W"),
    ]
    assert len({payload_hash(other) for other in [event, *others]}) == len(others) + 1
    same = event._replace(
        event_id="e2", event_time=Timestamp(1), device_id="d2", home_id="h", ingest_time=Timestamp(2), state_change=True
    )
    assert payload_hash(same) == payload_hash(event)
    # Only the column that the value type names counts.
    assert payload_hash(event._replace(number=1.0)) == payload_hash(event)
    big = Event.of("e1", Timestamp(0), "d1", "ab", "c", 2**53 + 1)
    assert big.text == "9007199254740993"
    assert payload_hash(big._replace(text=None)) == payload_hash(big)


def test_clocks_go_forward_only_each_by_itself() -> None:
    clocks = DeviceClocks()
    assert clocks.tick(Event("a", Timestamp(5), "d1")) == 5_000_000
    assert clocks.tick(Event("b", Timestamp(5), "d1")) == 5_000_000
    assert clocks.tick(Event("c", Timestamp(1), "d2")) == 1_000_000
    with pytest.raises(ValueError, match="event 'd' of device 'd1' is 1 µs older"):
        clocks.tick(Event("d", Timestamp(micros=4_999_999), "d1"))
