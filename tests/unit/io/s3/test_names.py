"""Names of objects and windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.s3.names import (
    ALL,
    COMMITTED,
    LONGEST,
    Window,
    check_name,
    manifest_name,
    part_name,
    time_of_name,
    time_text,
    window_length,
    window_of_manifest,
    window_of_name,
    window_of_time,
)
from thingbeam.transforms.exact import name_of_time

HOUR = 3_600_000_000
TIMES = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
LENGTHS = st.sampled_from(["1m", "5m", "15m", "1h", "6h", "1d", "100ms"])


@given(TIMES)
def test_times_are_read_as_they_are_written(micros: int) -> None:
    assert time_of_name(time_text(micros)) == micros
    assert time_of_name(f"{time_text(micros)}-s00003") == micros
    assert time_text(micros) == name_of_time(micros) or micros < -30_610_224_000_000_000


@given(TIMES, TIMES)
def test_whole_seconds_sort_as_their_names_do(one: int, other: int) -> None:
    one, other = one // 1_000_000 * 1_000_000, other // 1_000_000 * 1_000_000
    assert (one < other) == (time_text(one) < time_text(other))


@given(st.integers(-(10**15), 10**15), LENGTHS)
def test_a_time_is_in_its_window_and_in_no_other(micros: int, text: str) -> None:
    length = window_length(text)
    window = window_of_time(micros, length)
    assert window.start <= micros < window.stop == window.start + length
    assert window.start % length == 0
    assert window_of_manifest(manifest_name(window).removeprefix(COMMITTED)) == window


@pytest.mark.parametrize("text", ["7m", "25h", "2d", "0s", "1h1s"])
def test_a_window_divides_a_day(text: str) -> None:
    with pytest.raises(ValueError, match="it has to divide a day"):
        window_length(text)


def test_a_slice_is_in_the_window_that_it_ends_in() -> None:
    assert window_of_name("19700101T010000Z-s00000", HOUR) == Window(0, HOUR)
    assert window_of_name("19700101T010000.000001Z-s00000", HOUR) == Window(HOUR, 2 * HOUR)
    assert window_of_name("19700101T010100Z", HOUR) == Window(HOUR, 2 * HOUR)
    for name in ("s00000", "19701301T000000Z", "19700101T000000", "19700101T000000Zx"):
        assert window_of_name(name, HOUR) == ALL


def test_what_is_no_manifest_has_no_window() -> None:
    assert window_of_manifest("all.json") == ALL
    assert manifest_name(ALL) == "_committed/all.json"
    for name in (".trial", "a.json", "19700101T000000Z.json", "19700101T000000Z-19700101T010000Z.json.tmp"):
        assert window_of_manifest(name) is None


def test_names_of_parts() -> None:
    assert part_name(Window(0, HOUR), 12, 345) == "19700101T000000Z-s00012-p00345"
    assert LONGEST == 24 * HOUR
    assert check_name("20070401T000100Z-s00003") == "20070401T000100Z-s00003"
    for name in ("", "a/b", "../a", "_committed", "a b"):
        with pytest.raises(ValueError, match="cannot be part of an object's name"):
            check_name(name)
