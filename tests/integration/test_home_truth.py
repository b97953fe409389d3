"""The main job on a month of a real house, against the measurements that its events were made from.

Then the same month in any order, with lines repeated, in pieces of any size: the results may not differ.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from house import DEVICES, EVENTS, SECOND, ZONE, Line, Minute, pieces, read_lines, read_table, shuffled
from pipelines_under_test import Given, Ran, assert_accounted, run, without_revisions
from thingbeam.schemas import Blob
from thingbeam.transforms import DeviceHistory, HomeZones, ParseEvents

HOUR = 3600
SWITCHES = ("kitchen", "laundry", "water-heater")
RESULTS = ("activities", "sessions", "usage")

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def lines(shared_data: Path) -> list[Line]:
    return read_lines(shared_data)


@pytest.fixture(scope="module")
def minutes(shared_data: Path) -> list[Minute]:
    return read_table(shared_data)


@pytest.fixture(scope="module")
def job(shared_data: Path, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `thingbeam run home` has written the month."""
    output = tmp_path_factory.mktemp("month") / "out"
    command = [
        sys.executable, "-m", "thingbeam.runners.cli", "run", "home", "--runner", "direct", "--timezone", ZONE,
        "--input", str(shared_data / "home-2007-04.jsonl.gz"), "--output", str(output),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    subprocess.run(command, check=True, capture_output=True, timeout=300, env=environment)
    return output


def written(folder: Path, kind: str) -> Rows:
    return [json.loads(line) for path in folder.glob(f"{kind}-*.jsonl") for line in path.read_text().splitlines()]


def seconds(time: str) -> int:
    moment = datetime.fromisoformat(time).timestamp()
    assert moment == int(moment)
    return int(moment)


def usage_of(rows: Rows, device: str, attribute: str) -> dict[int, dict[str, Any]]:
    """The hours of one attribute, by their start."""
    mine = [row for row in rows if row["device_id"] == DEVICES[device] and row["attribute"] == attribute]
    hours = {seconds(row["start"]): row for row in mine}
    assert len(hours) == len(mine)
    return hours


def by_hour(minutes: Sequence[Minute], device: str) -> dict[int, list[float]]:
    """The watts of each hour's minutes. All month Paris is two hours ahead, so its hours are UTC's."""
    hours: dict[int, list[float]] = defaultdict(list)
    for minute in minutes:
        hours[minute.at // HOUR * HOUR].append(minute.watts[device])
    return hours


def spans(minutes: Sequence[Minute], device: str) -> Iterator[tuple[int, int | None]]:
    """When a sub-meter was above 120 W: start and stop, None while it still is."""
    start = None
    for at, watts in minutes:
        if watts[device] > 120 and start is None:
            start = at
        elif watts[device] <= 120 and start is not None:
            yield start, at
            start = None
    if start is not None:
        yield start, None


def test_mean_power_of_each_hour(job: Path, minutes: list[Minute]) -> None:
    hours = usage_of(written(job, "usage"), "meter", "power")
    expected = by_hour(minutes, "meter")
    assert len(expected) == 720
    assert {len(watts) for watts in expected.values()} == {60}
    assert hours.keys() == expected.keys()
    before: list[float] = []
    for start, watts in sorted(expected.items()):
        row = hours[start]
        assert row["mean"] == pytest.approx(sum(watts) / 60, rel=1e-6, abs=0)
        # Home Assistant's minimum and maximum are over the value carried into the hour, too.
        held = watts + before[-1:]
        assert (row["min"], row["max"]) == pytest.approx((min(held), max(held)), abs=0.05)
        before = watts
        assert row["count"] == 60
        assert seconds(row["end"]) == start + HOUR
        assert seconds(row["start_local"]) == start
        assert row["start_local"].endswith("+02:00")


def test_energy_of_each_hour_and_of_the_month(job: Path, minutes: list[Minute]) -> None:
    hours = usage_of(written(job, "usage"), "meter", "energy")
    expected = by_hour(minutes, "meter")
    first = min(expected)
    # A minute's reading includes that minute; before the first there was none.
    expected[first] = expected[first][1:]
    assert hours.keys() == expected.keys()
    for start, watts in expected.items():
        assert hours[start]["change"] == pytest.approx(sum(watts) / 60_000, abs=1e-4)
    total = sum(minute.watts["meter"] for minute in minutes[1:]) / 60_000
    assert sum(row["change"] for row in hours.values()) == pytest.approx(total, abs=1e-4)
    assert hours[max(hours)]["sum"] == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize("device", SWITCHES)
def test_activities(job: Path, minutes: list[Minute], device: str) -> None:
    rows = [row for row in written(job, "activities") if row["device_id"] == DEVICES[device]]
    found = {(seconds(row["start"]), row["end"] and seconds(row["end"])) for row in rows}
    expected = set(spans(minutes, device))
    assert len(expected) > 100
    assert found == expected
    assert len(rows) == len(found)
    for row in rows:
        ended = row["end"] is not None
        assert row["capability"] == "switch"
        assert (row["state"], row["closed_by"]) == (("done", "stop") if ended else ("running", None))
        assert row["duration_s"] == (seconds(row["end"]) - seconds(row["start"]) if ended else None)


@pytest.mark.parametrize("device", SWITCHES)
def test_seconds_on_of_each_hour(job: Path, minutes: list[Minute], device: str) -> None:
    """From the activities' own minutes: an hour has as many seconds on as its minutes above 120 W last."""
    expected = {start: 60 * sum(each > 120 for each in watts) for start, watts in by_hour(minutes, device).items()}
    hours = usage_of(written(job, "usage"), device, "switch")
    assert {start: row["seconds_in_state"].get("on", 0) for start, row in hours.items()} == expected
    assert all(sum(row["seconds_in_state"].values()) == HOUR for row in hours.values())


def test_sessions(job: Path, lines: list[Line]) -> None:
    """Runs of a device's events with less than ten minutes between them."""
    times = defaultdict(list)
    for line in lines:
        times[json.loads(line.data)["deviceEvent"]["deviceId"]].append(line.time // SECOND)
    expected = []
    for device, mine in times.items():
        edges = [0, *(at for at in range(1, len(mine)) if mine[at] - mine[at - 1] >= 600), len(mine)]
        runs = [mine[begin:end] for begin, end in pairwise(edges)]
        expected += [(device, of[0], of[-1], of[-1] + 600, len(of)) for of in runs]
    rows = written(job, "sessions")
    found = [
        (row["device_id"], *(seconds(row[name]) for name in ("start", "last", "end")), row["count"]) for row in rows
    ]
    assert sorted(found) == sorted(expected)


def test_nothing_is_lost(job: Path, minutes: list[Minute]) -> None:
    account = json.loads((job / "account.json").read_text())
    assert_accounted(account)
    assert account["lines"] == account["counted"] == EVENTS
    assert written(job, "dead-letters") == written(job, "late") == []
    # Each switch that was off at first says so.
    assert account["stops_without_start"] == sum(minutes[0].watts[device] <= 120 for device in SWITCHES)
    manifest = json.loads((job / "manifest.json").read_text())
    assert {path.name for path in job.glob("*-*")} == {file["name"] for file in manifest["files"]}


def history(batches: bool) -> DeviceHistory:
    return DeviceHistory(zones=HomeZones(ZONE), batches=batches)


def in_blobs(groups: Sequence[Sequence[Line]], workers: int = 1) -> Ran:
    """Whole lines, in batches all the way."""

    def build(pipeline: beam.Pipeline) -> dict[str, Any]:
        blobs = [Blob("month", number, b"".join(line.data for line in group)) for number, group in enumerate(groups)]
        parsed = pipeline | Given(blobs, Blob) | ParseEvents(batches=True)
        found = parsed.events | history(batches=True)
        return found._asdict() | {"unparsed": parsed.dead_letters}

    return run(build, workers)


def in_elements(lines: Sequence[Line], workers: int) -> Ran:
    """One payload an element, one event an element, one result an element."""

    def build(pipeline: beam.Pipeline) -> dict[str, Any]:
        parsed = pipeline | Given([line.data for line in lines], bytes) | ParseEvents()
        found = parsed.events | history(batches=False)
        return found._asdict() | {"unparsed": parsed.dead_letters}

    return run(build, workers)


def assert_same_results(found: Ran, expected: Ran) -> None:
    for name in RESULTS:
        assert without_revisions(found.records(name)) == without_revisions(expected.records(name))
    assert found.counts["counted"] == expected.counts["counted"]
    assert found.counts["stops_without_start"] == expected.counts["stops_without_start"]
    for ran in (found, expected):
        assert_accounted(ran.counts)
        assert not ran.elements["late"] + ran.elements["dead_letters"] + ran.elements["unparsed"]
        assert not ran.cells


@pytest.fixture(scope="module")
def in_order(lines: list[Line]) -> Ran:
    """The month in order, in one piece for each day or so."""
    return in_blobs([lines[at : at + 4000] for at in range(0, len(lines), 4000)])


def test_the_library_gives_what_the_command_wrote(job: Path, in_order: Ran) -> None:
    for name in RESULTS:
        starts = Counter(seconds(row["start"]) for row in written(job, name))
        assert starts == Counter(row.start.micros // SECOND for row in in_order.records(name))


@pytest.mark.parametrize(("seed", "largest", "workers"), [(1, 20_000, 1), (2, 2_000, 3), (3, 200, 2)])
def test_shuffled_and_repeated_in_pieces_of_any_size(
    lines: list[Line], in_order: Ran, seed: int, largest: int, workers: int
) -> None:
    rng = random.Random(seed)
    arrivals = shuffled(lines, rng)
    assert arrivals != lines
    found = in_blobs(pieces(arrivals, rng, largest), workers)
    assert_same_results(found, in_order)
    assert found.counts["duplicates"] == len(arrivals) - len(lines) == round(0.05 * EVENTS)


@pytest.fixture(scope="module")
def three_days(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line.time < lines[0].time + 3 * 24 * HOUR * SECOND]


@pytest.mark.parametrize(("seed", "workers"), [(4, 1), (5, 3)])
def test_shuffled_and_repeated_one_element_a_line(three_days: list[Line], seed: int, workers: int) -> None:
    arrivals = shuffled(three_days, random.Random(seed))
    found = in_elements(arrivals, workers)
    assert_same_results(found, in_blobs([three_days]))
    assert found.counts["duplicates"] == len(arrivals) - len(three_days)


def test_one_line_a_piece(three_days: list[Line]) -> None:
    day = three_days[:4000]
    assert_same_results(in_blobs([[line] for line in shuffled(day, random.Random(6))]), in_blobs([day]))
