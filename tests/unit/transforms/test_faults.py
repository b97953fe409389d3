"""What keeps a record from being worked on; what passes can be made a batch and worked on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.schemas import codes
from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.records import Event
from thingbeam.transforms.envelopes import Limits
from thingbeam.transforms.faults import as_payload, fault_of

GOOD = Event.of("e1", Timestamp(1_175_378_400), "d1", "powerMeter", "power", 1.5)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"device_id": None}, None),
        ({"device_id": ""}, None),
        ({"number": 3}, None),
        ({"number": -0.0}, None),
        ({"value_type": "null", "number": None}, None),
        ({"value_type": "string", "text": "", "number": None}, None),
        ({"value_type": "json", "text": "[]", "number": None}, None),
        ({"event_time": Timestamp(31_536_000)}, None),
        ({"event_time": Timestamp(micros=31_536_000_000_000 - 1)}, codes.IMPOSSIBLE_TIME),
        ({"event_time": Timestamp(micros=7_258_118_400_000_001)}, codes.IMPOSSIBLE_TIME),
        ({"event_time": 1_175_378_400}, codes.WRONG_TYPE),
        ({"event_time": None}, codes.WRONG_TYPE),
        ({"ingest_time": 3.5}, codes.WRONG_TYPE),
        ({"last_reset": "2026-01-01T00:00:00Z"}, codes.WRONG_TYPE),
        ({"event_id": ""}, codes.MISSING_FIELD),
        ({"event_id": None}, codes.WRONG_TYPE),
        ({"device_id": 7}, codes.WRONG_TYPE),
        ({"capability": b"switch"}, codes.WRONG_TYPE),
        ({"unit": ["W"]}, codes.WRONG_TYPE),
        ({"state_change": "yes"}, codes.WRONG_TYPE),
        ({"value_type": "words"}, codes.WRONG_TYPE),
        ({"number": "1.5"}, codes.WRONG_TYPE),
        ({"number": None}, codes.MISSING_FIELD),
        ({"value_type": "boolean", "number": None}, codes.MISSING_FIELD),
        ({"value_type": "string"}, codes.MISSING_FIELD),
        ({"number": float("nan")}, codes.NOT_FINITE),
        ({"number": float("inf")}, codes.NOT_FINITE),
        ({"number": 10**400}, codes.NOT_FINITE),
        ({"value_type": "json", "text": "{"}, codes.INVALID_JSON),
        ({"value_type": "json", "text": "NaN"}, codes.INVALID_JSON),
        ({"value_type": "string", "text": "x" * ((1 << 20) + 1)}, codes.TOO_LARGE),
        ({"unit": "\ud800"}, codes.INVALID_UTF8),
    ],
)
def test_each_fault(changes: dict[str, Any], code: str | None) -> None:
    event = GOOD._replace(**changes)
    fault = fault_of(event)
    assert (fault and fault[0]) == code
    if code is None:
        batch = EventBatch.from_events([event])
        assert EventBatch.decode(batch.encode()).to_events()[0].event_id == "e1"


@pytest.mark.parametrize("element", [None, "a line", 7, ("e1",), {"event_id": "e1"}])
def test_what_is_no_event(element: object) -> None:
    fault = fault_of(element)
    assert fault is not None
    assert fault[0] == codes.NOT_AN_EVENT
    assert as_payload(element)


def test_limits() -> None:
    assert fault_of(GOOD, Limits(latest=Timestamp(1_175_378_399))) is not None
    assert fault_of(GOOD, Limits(latest=Timestamp(1_175_378_400))) is None


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
    st.sampled_from(["string", "number", "json", "boolean", "null", Timestamp(1_175_378_400)]),
    st.text(st.characters(categories=("Cs", "L"))),
)  # fmt: skip


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(Event._fields, anything)))
def test_what_has_no_fault_can_be_a_batch_and_what_has_one_a_payload(changes: dict[str, Any]) -> None:
    event = GOOD._replace(**changes)
    if fault_of(event) is None:
        batch = EventBatch.decode(EventBatch.from_events([event]).encode())
        assert batch.to_events()[0].value == event.value
    else:
        assert isinstance(as_payload(event), bytes)


def test_a_payload_is_json_with_readable_times_and_no_secrets() -> None:
    event = GOOD._replace(value_type="json", text='{"token": "T0P"}', number=None, ingest_time=Timestamp(1.5))
    shown = json.loads(as_payload(event))
    assert shown["event_time"] == "2007-03-31T22:00:00Z"
    assert shown["ingest_time"] == "1970-01-01T00:00:01.500000Z"
    assert shown["text"] == '{"token": "[redacted]"}'


def test_a_payload_of_a_time_beyond_all_calendars() -> None:
    assert b"Timestamp" in as_payload(GOOD._replace(event_time=Timestamp(micros=(1 << 63) - 1)))
