"""The month of the real house: the lines as they are stored or might arrive, and the table that they were made from.

Nothing here imports our own code: what it says of the house is the truth that results are compared with.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

SECOND: Final = 1_000_000
ZONE: Final = "Europe/Paris"
EVENTS: Final = 117_254

_HOME: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "uci-235.home")
COLUMNS: Final = {
    "meter": "Global_active_power",
    "kitchen": "Sub_metering_1",
    "laundry": "Sub_metering_2",
    "water-heater": "Sub_metering_3",
}
"""The column that each device's events were made from."""
DEVICES: Final = {name: str(uuid.uuid5(_HOME, name)) for name in COLUMNS}
"""The id of each device, as make_home.py gives it."""


class Line(NamedTuple):
    """A line of the file."""

    time: int
    """Event time, microseconds since 1970."""
    data: bytes
    """With its end."""


class Minute(NamedTuple):
    """A row of the table."""

    at: int
    """Seconds since 1970."""
    watts: dict[str, float]
    """By device."""


def read_lines(folder: Path) -> list[Line]:
    """All lines, in order of time."""
    with gzip.open(folder / "home-2007-04.jsonl.gz", "rb") as file:
        return [Line(json.loads(line)["eventTime"] * 1000, line) for line in file]


def read_table(folder: Path) -> list[Minute]:
    """All rows of the measurements; a sub-meter's watt-hours of one minute as watts."""
    minutes = []
    with gzip.open(folder / "householdpower_2007-04.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            wall = datetime.fromisoformat(row["date_time"]).replace(tzinfo=ZoneInfo(ZONE))
            watts = {name: float(row[of]) * (1000 if name == "meter" else 60) for name, of in COLUMNS.items()}
            minutes.append(Minute(int(wall.timestamp()), watts))
    return minutes


def shuffled(lines: Sequence[Line], rng: random.Random, slack_s: float = 600, repeat: float = 0.05) -> list[Line]:
    """The lines as they might arrive: each up to `slack_s` after its time, some of them twice.

    No line comes after one that is more than `slack_s` newer.
    """
    twice = set(rng.sample(range(len(lines)), round(len(lines) * repeat)))
    arrivals = [
        (line.time + rng.uniform(0, slack_s * SECOND), line)
        for number, line in enumerate(lines)
        for _ in range(2 if number in twice else 1)
    ]
    return [line for _, line in sorted(arrivals, key=lambda arrival: arrival[0])]


def pieces(lines: Sequence[Line], rng: random.Random, largest: int) -> list[list[Line]]:
    """The lines cut into pieces of 1 to `largest`, most of them small."""
    found, at = [], 0
    while at < len(lines):
        size = max(1, int(largest ** rng.random()))
        found.append(list(lines[at : at + size]))
        at += size
    return found
