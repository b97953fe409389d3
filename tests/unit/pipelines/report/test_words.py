from __future__ import annotations

import unicodedata
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.pipelines.report.words import (
    HomeClock,
    day_text,
    duration_text,
    labels,
    number_text,
    plot_text,
    short_capability,
    span_text,
    visible,
)

ZONES = ("Europe/Paris", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns", "UTC")


@given(st.text())
def test_visible_text_holds_nothing_that_acts(text: str) -> None:
    shown = visible(text)
    shown.encode()
    acting = [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert set(acting) <= {"\u200c", "\u200d"}


@given(st.text())
def test_no_tag_reaches_plotly(text: str) -> None:
    shown = plot_text(text)
    assert "<" not in shown
    assert ">" not in shown


@given(st.sampled_from(ZONES), st.integers(0, 4_000_000_000), st.integers(0, 800 * 86400))
def test_offsets_are_the_zones_at_every_time(zone: str, first: int, length: int) -> None:
    clock = HomeClock(zone)
    offsets = clock.offsets(first * 1000.0, (first + length) * 1000.0)
    changes = [at for at, _ in offsets]
    assert changes == sorted(changes)
    assert changes[0] == first * 1000.0
    for at in range(first, first + length + 1, max(length // 97, 1)):
        truth = datetime.fromtimestamp(at, ZoneInfo(zone)).utcoffset()
        assert truth is not None
        assert [shift for since, shift in offsets if since <= at * 1000][-1] == truth.total_seconds() * 1000


def test_offsets_change_at_the_very_instant() -> None:
    # Directive 2000/84/EC: summer time begins and ends at 01:00 UTC on the last Sundays of March and October.
    offsets = HomeClock("Europe/Paris").offsets(1167609600000.0, 1199145600000.0)
    spring = datetime(2007, 3, 25, 1, tzinfo=ZoneInfo("UTC")).timestamp() * 1000
    autumn = datetime(2007, 10, 28, 1, tzinfo=ZoneInfo("UTC")).timestamp() * 1000
    assert [at for at, _ in offsets[1:]] == [spring, autumn]


@pytest.mark.parametrize("zone", ["Nowhere/Else", "", "../../etc/passwd", "\0", "Europe"])
def test_a_zone_that_is_none_shows_utc(zone: str) -> None:
    clock = HomeClock(zone)
    assert (clock.known, clock.name) == (False, "UTC")
    assert clock.at(0).isoformat() == "1970-01-01T00:00:00+00:00"


def test_another_homes_record_keeps_its_own_offset() -> None:
    clock = HomeClock("Europe/Paris")
    start = datetime.fromisoformat("2007-04-02T08:00:00+05:45")
    assert clock.beside(start.timestamp() * 1000 + 60_000, start.isoformat()).isoformat() == "2007-04-02T08:01:00+05:45"


def test_an_own_record_follows_the_zone_through_a_change() -> None:
    start = datetime.fromisoformat("2007-10-28T02:30:00+02:00")
    later = HomeClock("Europe/Paris").beside(start.timestamp() * 1000 + 3_600_000, start.isoformat())
    assert later.isoformat() == "2007-10-28T02:30:00+01:00"


@given(st.dictionaries(st.text(min_size=1), st.text(), min_size=1, max_size=8))
def test_labels_tell_devices_apart(names: dict[str, str]) -> None:
    ids = [*names, *(f"{device}0" for device in names)]
    chosen = labels(ids, names)
    assert set(chosen) == set(ids)
    assert len(set(chosen.values())) == len(set(ids))


def test_labels_of_uuids_that_begin_alike() -> None:
    one, two = "00000000-0000-0000-0000-00000000aaaa", "00000000-0000-0000-0000-00000000bbbb"
    assert labels([one, two], {}) == {one: "00000000 …aaaa", two: "00000000 …bbbb"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9996, "60 s"),
        (60, "1 min"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (86399.7, "1 d"),
        (2e6, "23 d 3 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.5, "-0.5"), (999.96, "1,000"), (1234567.8, "1,234,568"), (1e-9, "1e-09"), (120.0, "120")],
)
def test_numbers(value: float, text: str) -> None:
    assert number_text(value) == text


def test_days_are_english_whatever_the_locale() -> None:
    assert day_text(date(2024, 2, 29)) == "Thu 29 Feb 2024"
    assert span_text(date(2007, 4, 1), date(2007, 4, 1)) == "1 Apr 2007"
    assert span_text(date(2007, 4, 28), date(2007, 5, 2)) == "28 Apr – 2 May 2007"


def test_what_a_series_is_of() -> None:
    assert short_capability("samsungce.washerOperatingState", "main", "machineState") == "machineState"
    assert short_capability("switch", "outlet2") == "switch (outlet2)"
    assert short_capability("") == "(none)"
