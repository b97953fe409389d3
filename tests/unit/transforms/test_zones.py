"""Time zones of homes, and the hours that come of them in a pipeline, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from apache_beam.utils.timestamp import Timestamp

from pipelines_under_test import Given, run
from thingbeam.schemas import Event, EventBatch, Usage
from thingbeam.transforms import HomeZones, UsageByHour

PARIS_HOME: Final = "6c5f8d2e-2a3b-4c4d-8e5f-0a1b2c3d4e5f"
MINUTE: Final = 60
HOUR: Final = 3600


def utc(text: str) -> int:
    """Seconds since 1970 of a UTC time like 2007-03-24T23:00."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def switch(at: str, value: str, device: str = "lamp", home: str | None = "home") -> Event:
    return Event.of(f"{device} {at}", Timestamp(utc(at)), device, "switch", "switch", value, home_id=home)


def hours_of(
    events: Sequence[Event], zones: HomeZones, period: str = "1h", batches: bool = False
) -> dict[str, list[tuple[str, int, float]]]:
    """Of each device its periods: start by the home's clock, length in seconds, seconds on."""
    given: Any = Given([EventBatch.from_events(events)], EventBatch) if batches else Given(events, Event)
    # A day of 25 hours is silent for longer than a device that says nothing is taken to live.
    usage = UsageByHour(zones=zones, period=period, batches=batches, shards=1, hold="2d")
    found = run(lambda pipeline: {"usage": (pipeline | given | usage).results})
    rows: dict[str, list[tuple[str, int, float]]] = {}
    for row in sorted(found.records("usage"), key=lambda row: row.start.micros):
        assert isinstance(row, Usage)
        length = (row.end.micros - row.start.micros) // 1_000_000
        assert sum(row.seconds_in_state.values()) <= length
        assert utc_of(row.start_local) == row.start.micros // 1_000_000
        rows.setdefault(row.device_id, []).append((row.start_local, length, row.seconds_in_state.get("on", 0)))
    return rows


def utc_of(local: str) -> int:
    return int(datetime.fromisoformat(local).timestamp())


def clock(start: str, offset: str, count: int) -> list[str]:
    """So many hours by a clock that keeps its offset."""
    first = datetime.fromisoformat(start)
    return [f"{(first + timedelta(hours=number)).isoformat()}{offset}" for number in range(count)]


@pytest.mark.parametrize("batches", [False, True])
def test_the_spring_night_in_paris(batches: bool) -> None:
    """25 March 2007: at 2 the clock goes to 3. On from midnight to midnight is 23 hours on."""
    events = [switch("2007-03-24T23:00", "on"), switch("2007-03-25T22:00", "off")]
    expected = clock("2007-03-25T00:00:00", "+01:00", 2) + clock("2007-03-25T03:00:00", "+02:00", 21)
    found = hours_of(events, HomeZones("Europe/Paris"), batches=batches)["lamp"]
    assert found == [(start, HOUR, HOUR) for start in expected] + [("2007-03-26T00:00:00+02:00", HOUR, 0)]
    assert len(expected) == 23


def test_the_autumn_night_in_paris() -> None:
    """28 October 2007: at 3 the clock goes to 2, and the hour from 2 to 3 comes twice."""
    events = [switch("2007-10-27T22:00", "on"), switch("2007-10-28T23:00", "off")]
    expected = clock("2007-10-28T00:00:00", "+02:00", 3) + clock("2007-10-28T02:00:00", "+01:00", 22)
    found = hours_of(events, HomeZones("Europe/Paris"))["lamp"]
    assert found == [(start, HOUR, HOUR) for start in expected] + [("2007-10-29T00:00:00+01:00", HOUR, 0)]
    assert len(expected) == 25


@pytest.mark.parametrize(
    ("on", "off", "day", "hours"),
    [
        ("2007-03-24T23:00", "2007-03-25T22:00", "2007-03-25T00:00:00+01:00", 23),
        ("2007-10-27T22:00", "2007-10-28T23:00", "2007-10-28T00:00:00+02:00", 25),
        ("2007-04-01T22:00", "2007-04-02T22:00", "2007-04-02T00:00:00+02:00", 24),
    ],
)
def test_days_in_paris(on: str, off: str, day: str, hours: int) -> None:
    found = hours_of([switch(on, "on"), switch(off, "off")], HomeZones("Europe/Paris"), "1d")["lamp"]
    assert found[0] == (day, hours * HOUR, hours * HOUR)
    assert [seconds for _, _, seconds in found[1:]] == [0]


@pytest.mark.parametrize(
    ("zone", "offset", "starts"),
    [
        ("Asia/Kolkata", "+05:30", ("18:00", "19:00", "20:00")),
        ("Asia/Kathmandu", "+05:45", ("18:00", "19:00", "20:00")),
    ],
)
def test_hours_that_begin_at_half_past_and_a_quarter_past(zone: str, offset: str, starts: tuple[str, ...]) -> None:
    """On from 13:00 UTC (18:30 in Kolkata, 18:45 in Kathmandu) for two hours less five minutes."""
    found = hours_of([switch("2007-04-02T13:00", "on"), switch("2007-04-02T14:55", "off")], HomeZones(zone))["lamp"]
    first = 30 if zone == "Asia/Kolkata" else 15
    seconds = [first * MINUTE, HOUR, (115 - 60 - first) * MINUTE]
    assert found == [(f"2007-04-02T{start}:00{offset}", HOUR, on) for start, on in zip(starts, seconds, strict=True)]


def test_half_an_hour_comes_twice_on_lord_howe() -> None:
    """25 March 2007: at 2 (+11:00) the clock goes to half past 1 (+10:30). An hour ends where the offset changes."""
    events = [switch("2007-03-24T14:00", "on"), switch("2007-03-24T16:30", "off")]
    assert hours_of(events, HomeZones("Australia/Lord_Howe"))["lamp"] == [
        ("2007-03-25T01:00:00+11:00", HOUR, HOUR),
        ("2007-03-25T01:30:00+10:30", HOUR // 2, HOUR // 2),
        ("2007-03-25T02:00:00+10:30", HOUR, HOUR),
        ("2007-03-25T03:00:00+10:30", HOUR, 0),
    ]


def test_half_an_hour_is_missing_on_lord_howe() -> None:
    """28 October 2007: at 2 (+10:30) the clock goes to half past 2 (+11:00)."""
    events = [switch("2007-10-27T14:30", "on"), switch("2007-10-27T17:00", "off")]
    assert hours_of(events, HomeZones("Australia/Lord_Howe"))["lamp"] == [
        ("2007-10-28T01:00:00+10:30", HOUR, HOUR),
        ("2007-10-28T02:30:00+11:00", HOUR // 2, HOUR // 2),
        ("2007-10-28T03:00:00+11:00", HOUR, HOUR),
        ("2007-10-28T04:00:00+11:00", HOUR, 0),
    ]


@pytest.mark.parametrize("batches", [False, True])
def test_two_homes_of_different_zones_in_one_shard(batches: bool) -> None:
    """The same minutes, each by its own clock; a home that is not in the table has the default."""
    zones = HomeZones("UTC", {PARIS_HOME: "Europe/Paris", "home-lord-howe": "Australia/Lord_Howe"})
    homes = {"a": PARIS_HOME, "b": "home-lord-howe", "c": "another", "d": None}
    events = [
        event
        for device, home in homes.items()
        for event in (
            switch("2007-03-25T00:30", "on", device, home), switch("2007-03-25T01:40", "off", device, home),
        )
    ]  # fmt: skip
    found = hours_of(events, zones, batches=batches)
    utc_hours = [("2007-03-25T00:00:00+00:00", HOUR, 30 * MINUTE), ("2007-03-25T01:00:00+00:00", HOUR, 40 * MINUTE)]
    assert found == {
        "a": [("2007-03-25T01:00:00+01:00", HOUR, 30 * MINUTE), ("2007-03-25T03:00:00+02:00", HOUR, 40 * MINUTE)],
        "b": [("2007-03-25T11:00:00+10:30", HOUR, HOUR), ("2007-03-25T12:00:00+10:30", HOUR, 10 * MINUTE)],
        "c": utc_hours,
        "d": utc_hours,
    }


def test_a_home_has_its_zone_and_all_others_the_default() -> None:
    zones = HomeZones("Europe/Paris", {PARIS_HOME: "Asia/Kolkata", "h2": "Asia/Kathmandu"})
    assert [zones(home) for home in (PARIS_HOME, "h2", "h3", None)] == [
        "Asia/Kolkata", "Asia/Kathmandu", "Europe/Paris", "Europe/Paris",
    ]  # fmt: skip
    assert HomeZones()("h1") == "UTC"


def test_a_batch_learns_the_zone_of_each_home() -> None:
    zones = HomeZones("Europe/Paris", {PARIS_HOME: "Asia/Kolkata", "h2": "Asia/Kathmandu"})
    homes = [PARIS_HOME, "h2", "h3", None, PARIS_HOME.upper(), "h2"]
    events = [switch("2007-04-02T13:00", "on", f"d{at}", home) for at, home in enumerate(homes)]
    resolved = zones.resolve(EventBatch.from_events(events))
    found = [resolved.names.descriptions[word].zone for word in resolved.rows["description"].tolist()]
    # An id in capitals is no UUID in its canonical text, and another id.
    assert found == [zones(home) for home in homes]
    assert found[4] == "Europe/Paris"
    assert resolved.to_events() == events


def test_a_zone_that_is_known_stays() -> None:
    batch = EventBatch.from_events([switch("2007-04-02T13:00", "on", home="h1")], lambda home: "Asia/Kolkata")
    resolved = HomeZones("Europe/Paris", {"h1": "UTC"}).resolve(batch)
    assert {description.zone for description in resolved.names.descriptions.values()} == {"Asia/Kolkata"}


def test_no_table() -> None:
    resolved = HomeZones("Asia/Kolkata").resolve(EventBatch.from_events([switch("2007-04-02T13:00", "on")]))
    assert {description.zone for description in resolved.names.descriptions.values()} == {"Asia/Kolkata"}


def test_reading_a_table(tmp_path: Path) -> None:
    path = tmp_path / "zones.csv"
    path.write_text("timezone,home_id\nAsia/Kolkata,h1\nEurope/Paris,hü\n", encoding="utf-8")
    zones = HomeZones.read(str(path), "UTC")
    assert [zones(home) for home in ("h1", "hü", "h2")] == ["Asia/Kolkata", "Europe/Paris", "UTC"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"home,timezone\nh1,UTC\n", "has no column 'home_id'"),
        (b"home_id,zone\nh1,UTC\n", "has no column 'timezone'"),
        (b"home_id,timezone\nh1,Paris\n", "the time zone of home h1, 'Paris', is no IANA time zone"),
        (b"home_id,timezone\nh1\n", "the time zone of home h1"),
        (b"home_id,timezone\nh\xff,UTC\n", "cannot read the time zones"),
    ],
)
def test_a_table_that_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "zones.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        HomeZones.read(str(path))


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot read the time zones in"):
        HomeZones.read(str(tmp_path / "none.csv"))


@pytest.mark.parametrize("zone", ["", "Paris", "CEST+2", "../etc/passwd", "Europe", "Europe/Paris\0"])
def test_what_is_no_zone(zone: str) -> None:
    with pytest.raises(ValueError, match="is no IANA time zone such as Europe/Paris"):
        HomeZones(zone)
    with pytest.raises(ValueError, match="the time zone of home h1"):
        HomeZones("UTC", {"h1": zone})
