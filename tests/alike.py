"""Lines that are alike, and how to see that reading them by their form loses and changes nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import strategies as st

import lines
from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.records import Event
from thingbeam.transforms.columns.forms import Forms
from thingbeam.transforms.columns.native import NativeForms
from thingbeam.transforms.envelopes import Context, Limits, parse_each

LIMITS = Limits()


def plain(data: bytes, limits: Limits = LIMITS) -> list[Event]:
    """What the plain parser makes of each line, as rows hold it."""
    items = [item for line in data.split(b"\n") for item in parse_each(line, Context(), limits)]
    events = [item for item in items if isinstance(item, Event)]
    return EventBatch.from_events(events).to_events()


def check(data: bytes, forms: Forms | NativeForms | None = None, limits: Limits = LIMITS) -> int:
    """See that nothing is lost or changed; returns how many lines were read by a form."""
    alike = (Forms(limits) if forms is None else forms).take(data)
    found = alike.batch.to_events()
    assert Counter(map(repr, found + plain(alike.rest, limits))) == Counter(map(repr, plain(data, limits)))
    at = 0
    for line in alike.rest.split(b"\n"):
        if line:
            origin = alike.origin(at)
            assert data[origin : origin + len(line)] == line
            assert origin == 0 or data[origin - 1 : origin] == b"\n"
        at += len(line) + 1
    return len(found)


def some(count: int, *, first: int = 0, **fields: Any) -> bytes:
    return b"".join(lines.event(first + number, **fields) + b"\n" for number in range(count))


VALUES = [
    *("on", "", "a value", "1.5", "é", True, False, None),
    *(0, 1, -1, 10, 900719925474099, 0.5, -0.0, 1.25, -12.5, 100.0, 1e-7, 1e22, 123456789012345.6),
    *map(lines.Token, ("-0", "-0.00", "1.10", "0.1", "5.0", "999999999999999", "1e3", "-1.5E2")),
]
TIMES = [
    *(1_175_378_400_000, "2026-03-01T00:00:00Z", "2026-03-01T00:00:00.123Z", "2026-03-01T00:00:00.123456Z"),
    *("2026-03-01T01:00:00+01:00", "2026-02-29T00:00:00Z", 1_175_378_400, "noon"),
]


fields = st.fixed_dictionaries(
    {"value": st.sampled_from(VALUES), "eventTime": st.sampled_from(TIMES)},
    optional={
        "deviceId": st.sampled_from([*lines.DEVICES, "d1", "00000000-0000-0000-0000-000000000000"]),
        "ownerId": st.sampled_from([lines.HOME, lines.DEVICES[1], "o1"]),
        "locationId": st.sampled_from([lines.HOME, lines.DEVICES[1], None]),
        "unit": st.sampled_from(["W", "", None]),
    },
)
