"""Event times found in payloads."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.event_times import JsonTime, Longs, event_times
from thingbeam.io.watermark import UNKNOWN_TIME

RECORDS = np.array([1, 2, 3])


def test_without_a_function_the_records_times_count() -> None:
    times, latest = event_times(None, [b"", b"", b""], RECORDS)
    assert (times.tolist(), latest) == ([1, 2, 3], 3)


def test_one_payload_that_cannot_be_read_costs_itself_only() -> None:
    times, latest = event_times(JsonTime("t"), [b'{"t": 5}', b"not JSON", b'{"t": 7}'], RECORDS)
    assert (times.tolist(), latest) == ([5000, 2, 7000], 7000)


def test_the_watermark_does_not_go_by_what_cannot_be_read() -> None:
    """Old data written today: the record's own time is far ahead of the events'."""
    today = np.array([10**15, 10**15])
    times, latest = event_times(JsonTime("t"), [b'{"t": 5}', b"not JSON"], today)
    assert (times.tolist(), latest) == ([5000, 10**15], 5000)
    assert event_times(JsonTime("t"), [b"{", b"not JSON"], today)[1] == UNKNOWN_TIME


@pytest.mark.parametrize(
    ("payload", "micros"),
    [
        (b'{"t": 1500}', 1_500_000),
        (b'{"t": 1.5}', 1_500),
        (b'{"t": "1970-01-01T00:00:01.5Z", "u": {"t": 9}}', 1_500_000),
        (b'{"t": "1970-01-01T00:00:01"}', 1_000_000),
        (b'{"t": null}', UNKNOWN_TIME),
        (b'{"u": 1}', UNKNOWN_TIME),
        (b'{"t": "soon"}', UNKNOWN_TIME),
        (b'{"t":\n 1500}', 1_500_000),
        (None, UNKNOWN_TIME),
        (b"", UNKNOWN_TIME),
    ],
)
def test_json_times(payload: bytes | None, micros: int) -> None:
    assert JsonTime("t")([payload]).tolist() == [micros]


@given(st.lists(st.integers(0, 4_000_000_000_000), max_size=50), st.booleans())
def test_many_at_once_are_as_one_by_one(times: list[int], breaks: bool) -> None:
    payloads = [json.dumps({"t": time}, indent=1 if breaks else None).encode() for time in times]
    found = JsonTime("t")(payloads)
    assert found.tolist() == [time * 1000 for time in times]


def test_a_time_that_beam_cannot_hold_is_none() -> None:
    def absurd(payloads: Sequence[bytes | None]) -> Longs:
        return np.array([1 << 62, -(1 << 62), 4])

    times, latest = event_times(absurd, [b"", b"", b""], RECORDS)
    assert (times.tolist(), latest) == ([1, 2, 4], 4)


def test_a_function_of_another_length_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="for 3 payloads"):
        event_times(lambda payloads: np.zeros(2, np.int64), [b"", b"", b""], RECORDS)


def test_it_travels() -> None:
    there = pickle.loads(pickle.dumps(JsonTime("at")))
    assert there([b'{"at": 2}']).tolist() == [2000]
