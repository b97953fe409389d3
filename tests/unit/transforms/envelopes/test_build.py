"""Events of what an envelope says and what the caller knows."""

from __future__ import annotations

from typing import Any

import pytest
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.records import Event
from thingbeam.transforms.envelopes.build import build_event
from thingbeam.transforms.envelopes.context import Context, Limits, Reading
from thingbeam.transforms.envelopes.errors import ParseError
from thingbeam.transforms.envelopes.fields import content_id

AT = Timestamp(1_175_378_400)
READING = Reading(Context(home_id="caller", ingest_time=Timestamp(7)), Limits())


def build(value: object, **more: Any) -> Event:
    return build_event(READING, "place", {"v": value}, AT, "DEVICE_EVENT", "d1", value, **more)


def test_what_the_envelope_says_stands() -> None:
    event = build("on", event_id="e1", home_id="h1", capability="switch", attribute="switch", state_change=True)
    assert event == Event.of(
        "e1", AT, "d1", "switch", "switch", "on", state_change=True, home_id="h1", ingest_time=Timestamp(7)
    )


@pytest.mark.parametrize("nothing", [None, ""])
def test_what_it_does_not_say_is_the_callers_or_follows_from_the_content(nothing: str | None) -> None:
    event = build(5, event_id=nothing, home_id=nothing)
    assert event.home_id == "caller"
    assert event.event_id == content_id("place", "DEVICE_EVENT", "d1", AT, {"v": 5})
    assert (event.component, event.value) == ("main", 5)


def test_a_value_that_no_column_holds() -> None:
    with pytest.raises(ParseError):
        build(10**400)
