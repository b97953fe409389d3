"""Results directories for the tests of the report: made of records, without a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from apache_beam.utils.timestamp import Timestamp

from thingbeam.io import WrittenFile, write_manifest
from thingbeam.io.files import encode_batch
from thingbeam.io.files.paths import Compression, Format, ending
from thingbeam.schemas import Activity, DeadLetter, Event, Session, Usage, to_record_batch

RECORDS: dict[str, type[tuple[Any, ...]]] = {
    "activities": Activity,
    "sessions": Session,
    "usage": Usage,
    "late": Event,
    "dead-letters": DeadLetter,
}
HOUR = 3600
METER = "a35021ab-b7b1-5bee-9a0a-2edef36b0fbd"
WASHER = "3b4f351c-b1c8-5240-a4e3-b106dc75399f"
HOME = "f2f79c17-cd35-59d1-8d30-225399fa1261"


def seconds_of(text: str) -> int:
    """Seconds since 1970 of an RFC 3339 time."""
    return round(datetime.fromisoformat(text).timestamp())


def local_of(seconds: float, zone: str) -> str:
    """What a zone's clock shows then, RFC 3339 with the offset."""
    return datetime.fromtimestamp(seconds, ZoneInfo(zone)).isoformat()


def activity(device: str, start: float, end: float | None, zone: str = "Europe/Paris", **more: Any) -> Activity:
    """An activity of a switch."""
    record = Activity(
        device_id=device,
        component="main",
        capability="switch",
        start=Timestamp(start),
        start_local=local_of(start, zone),
        end=None if end is None else Timestamp(end),
        duration_s=None if end is None else float(end - start),
        state="running" if end is None else "done",
        closed_by=None if end is None else "stop",
        revision=1,
        home_id=HOME,
    )
    return record._replace(**more)


def session(device: str, start: float, last: float, count: int = 1, zone: str = "Europe/Paris", **more: Any) -> Session:
    """A session with a gap of ten minutes."""
    record = Session(
        device_id=device,
        start=Timestamp(start),
        start_local=local_of(start, zone),
        last=Timestamp(last),
        end=Timestamp(last + 600),
        count=count,
        revision=1,
        home_id=HOME,
    )
    return record._replace(**more)


def usage(device: str, start: float, role: str, zone: str = "Europe/Paris", length: int = HOUR, **more: Any) -> Usage:
    """One period of a series."""
    capability, attribute, unit = {
        "measurement": ("powerMeter", "power", "W"),
        "meter": ("energyMeter", "energy", "kWh"),
        "state": ("switch", "switch", None),
    }[role]
    record = Usage(
        device_id=device,
        component="main",
        capability=capability,
        attribute=attribute,
        role=role,
        period="PT1H",
        start=Timestamp(start),
        start_local=local_of(start, zone),
        end=Timestamp(start + length),
        count=1,
        changes=0,
        min=None,
        max=None,
        mean=None,
        sum=None,
        change=None,
        last=None,
        last_state=None,
        seconds_in_state={},
        revision=1,
        unit=unit,
        home_id=HOME,
    )
    return record._replace(**more)


def dead_letter(payload: bytes, code: str = "invalid_json", **more: Any) -> DeadLetter:
    """A dead letter of a file."""
    record = DeadLetter(
        payload=payload,
        source="home.jsonl.gz",
        position="offset=17",
        step="ParseEvents",
        code=code,
        error="the text is not JSON",
        time=Timestamp(seconds_of("2024-05-01T09:00:00Z")),
    )
    return record._replace(**more)


def late_event(device: str | None, at: float) -> Event:
    """An event that came too late."""
    return Event.of(f"late-{at}", Timestamp(at), device, "powerMeter", "power", 5.0, unit="W", home_id=HOME)


def write_results(
    directory: Path,
    records: Mapping[str, Sequence[Any]],
    account: Mapping[str, Any] | None = None,
    *,
    file_format: Format = "jsonl",
    compression: Compression | None = None,
    manifest: bool = True,
) -> str:
    """A directory as a run leaves it, one file of each kind that has records; returns its path."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for kind, rows in records.items():
        record = RECORDS[kind]
        path = directory / f"{kind}-00000{ending(file_format, compression)}"
        data = encode_batch(to_record_batch(rows, record), record, file_format, compression)
        path.write_bytes(data)
        files.append(WrittenFile(str(path), len(rows), len(data)))
    if account is not None:
        (directory / "account.json").write_text(json.dumps(account), encoding="utf-8")
    if manifest:
        write_manifest(str(directory), files)
    return str(directory)


def account_of(records: Mapping[str, Sequence[Any]], **more: Any) -> dict[str, Any]:
    """An account that balances and agrees with the records."""
    late, dead = len(records.get("late", ())), len(records.get("dead-letters", ()))
    return {
        "lines": 1000 + late + dead,
        "events": 1000 + late,
        "counted": 990,
        "duplicates": 10,
        "late": late,
        "ignored": 0,
        "dead_letters": dead,
        "stops_without_start": 0,
        "activities": len(records.get("activities", ())),
        "sessions": len(records.get("sessions", ())),
        "usage": len(records.get("usage", ())),
        "input": "home.jsonl.gz",
        "timezone": "Europe/Paris",
        "started": "2024-05-01T09:00:00Z",
        "seconds": 4.2,
    } | more


def house(days: int = 3, first: str = "2007-04-01T00:00:00+02:00") -> dict[str, list[Any]]:
    """A meter and a washer for some days: the washer runs from 07:30 to 09:00 each day, and is on for 1.5 h of it."""
    begin = seconds_of(first)
    records: dict[str, list[Any]] = {kind: [] for kind in RECORDS}
    for hour in range(24 * days):
        at = begin + hour * HOUR
        wave = 300 + 200 * math.sin(hour / 4)
        records["usage"] += [
            usage(METER, at, "measurement", min=wave / 2, mean=wave, max=2 * wave, last=wave, count=60),
            usage(METER, at, "meter", change=wave / 1000, sum=hour * 0.3, last=hour * 0.3, count=60),
            usage(WASHER, at, "state", seconds_in_state=_washer_hour(hour % 24), last_state="off"),
        ]
    for day in range(days):
        morning = begin + day * 24 * HOUR + 7 * HOUR + 1800
        records["activities"].append(activity(WASHER, morning, morning + 5400))
        records["sessions"].append(session(WASHER, morning, morning + 5400, 12))
    records["sessions"].append(session(METER, begin, begin + days * 24 * HOUR - 60, days * 1440))
    return records


def _washer_hour(hour: int) -> dict[str, float]:
    on = {7: 1800.0, 8: 3600.0}.get(hour, 0.0)
    return {state: held for state, held in (("on", on), ("off", 3600.0 - on)) if held}
