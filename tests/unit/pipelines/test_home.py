"""The home application as a library: from files of any format to files of any format, and nothing lost between."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io import WriteToFiles, read_manifest, read_table
from thingbeam.io.files.paths import Format
from thingbeam.pipelines.home import KINDS, HomeJob, HomeSettings
from thingbeam.runners.account import account_of, balance
from thingbeam.schemas import Activity, DeadLetter, Event, Session, Usage
from thingbeam.transforms import CapabilityTable, HomeZones
from thingbeam.transforms.capabilities import Entry
from thingbeam.transforms.envelopes import Context
from thingbeam.transforms.rules.roles import Role

START: Final = 1_175_378_400
"""Midnight of 1 April 2007 in Paris, which is 2 hours ahead."""
RECORDS: Final[dict[str, type[Any]]] = {
    "activities": Activity,
    "sessions": Session,
    "usage": Usage,
    "late": Event,
    "dead-letters": DeadLetter,
}


def line(at: float, value: Any, capability: str = "switch", attribute: str = "switch", device: str = "lamp") -> str:
    """A SmartThings device event; its id follows from what it says."""
    device_event = {
        "eventId": f"{device} {attribute} {at}", "deviceId": device, "locationId": "home", "componentId": "main",
        "capability": capability, "attribute": attribute, "value": value,
    }  # fmt: skip
    event = {"eventTime": round((START + at) * 1000), "eventType": "DEVICE_EVENT", "deviceEvent": device_event}
    return json.dumps(event)


LINES: Final = [
    line(600, "on"),
    line(1500, "off"),
    line(0, 100.0, "powerMeter", "power"),
    line(1800, 200.0, "powerMeter", "power"),
    line(5400, "on"),
    line(600, "on"),
]
"""A lamp on from 0:10 to 0:25, and again from 1:30; 100 W for half an hour, then 200 W; a line twice."""


def settings(source: Path | str, output: Path, **named: Any) -> HomeSettings:
    return HomeSettings(str(source), str(output), HomeZones("Europe/Paris"), **named)


def ran(asked: HomeSettings) -> tuple[dict[str, list[dict[str, Any]]], dict[str, int]]:
    """What the job wrote, by kind, and what it counted."""
    pipeline = beam.Pipeline(FnApiRunner())
    HomeJob(asked).build(pipeline)
    result = pipeline.run()
    result.wait_until_finish()
    manifest = read_manifest(asked.output)
    written = {kind: read_table(manifest.paths(kind), RECORDS[kind], asked.format).to_pylist() for kind in KINDS}
    for kind, rows in written.items():
        assert manifest.rows(kind) == len(rows)
    counts = account_of(result.metrics())
    assert balance(counts) is None
    # What could not be read was no line, and is not counted as one.
    assert counts["dead_letters"] == sum(letter["step"] != "ReadBlobs" for letter in written["dead-letters"])
    return written, counts


def seconds(time: Any) -> float:
    return float(time.timestamp()) - START


def jsonl(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("file_format", "compression"),
    [("jsonl", None), ("jsonl", "gzip"), ("jsonl", "zstd"), ("avro", None), ("parquet", None)],
)
def test_what_a_lamp_did(tmp_path: Path, file_format: Format, compression: Any) -> None:
    source = jsonl(tmp_path / "lamp.jsonl", LINES)
    written, counts = ran(settings(source, tmp_path / "out", format=file_format, compression=compression))
    shown = [(seconds(row["start"]), row["end"] and seconds(row["end"]), row["state"]) for row in written["activities"]]
    assert sorted(shown) == [(600, 1500, "done"), (5400, None, "running")]
    assert [row["start_local"] for row in written["activities"] if row["end"]] == ["2007-04-01T00:10:00+02:00"]
    sessions = [(seconds(row["start"]), seconds(row["last"]), row["count"]) for row in written["sessions"]]
    # Ten minutes of silence, to the second, begin a new one.
    assert sorted(sessions) == [(0, 0, 1), (600, 600, 1), (1500, 1800, 2), (5400, 5400, 1)]
    usage = {(row["attribute"], seconds(row["start"])): row for row in written["usage"]}
    assert usage.keys() == {(attribute, start) for attribute in ("switch", "power") for start in (0, 3600)}
    assert [usage["power", start]["mean"] for start in (0, 3600)] == [150.0, 200.0]
    assert dict(usage["switch", 0]["seconds_in_state"]) == {"on": 900.0, "off": 2100.0}
    assert dict(usage["switch", 3600]["seconds_in_state"]) == {"on": 1800.0, "off": 1800.0}
    assert written["late"] == written["dead-letters"] == []
    assert (counts["lines"], counts["counted"], counts["duplicates"]) == (6, 5, 1)


def without_revisions(written: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    return {kind: sorted(str({**row, "revision": 0}) for row in rows) for kind, rows in written.items()}


def test_files_of_all_formats_at_once(tmp_path: Path) -> None:
    """The events of one half in JSON Lines, of the other in Avro and Parquet, give what one file of all gives."""
    expected, _ = ran(settings(jsonl(tmp_path / "all.jsonl", LINES), tmp_path / "expected"))
    folder = tmp_path / "events"
    folder.mkdir()
    with gzip.open(folder / "first.jsonl.gz", "wt") as file:
        file.write("".join(f"{each}\n" for each in LINES[:3]))
    events = [
        Event.of("lamp power 1800", Timestamp(START + 1800), "lamp", "powerMeter", "power", 200.0, home_id="home"),
        Event.of("lamp switch 5400", Timestamp(START + 5400), "lamp", "switch", "switch", "on", home_id="home"),
    ]
    with beam.Pipeline(FnApiRunner()) as pipeline:
        given = pipeline | beam.Create(events).with_output_types(Event)
        for file_format in ("avro", "parquet"):
            _ = given | file_format >> WriteToFiles(str(folder / f"second-{file_format}"), Event, file_format)
    written, counts = ran(settings(folder / "*", tmp_path / "out"))
    assert without_revisions(written) == without_revisions(expected)
    # Each of the two is in Avro and in Parquet.
    assert (counts["counted"], counts["duplicates"]) == (5, 2)


def test_files_have_the_same_names_in_a_second_run(tmp_path: Path) -> None:
    lines = [line(at, "on", device=f"d{at % 40}") for at in range(200)]
    source = jsonl(tmp_path / "lamp.jsonl", [*lines, "no JSON"])
    reverse = jsonl(tmp_path / "reverse.jsonl", [*lines[::-1], "no JSON"])
    first, _ = ran(settings(source, tmp_path / "first"))
    second, _ = ran(settings(reverse, tmp_path / "second"))
    names = [{path.name for path in (tmp_path / name).iterdir()} for name in ("first", "second")]
    del first["dead-letters"], second["dead-letters"]
    assert without_revisions(first) == without_revisions(second)
    assert {name for name in names[0] if "dead" not in name} == {name for name in names[1] if "dead" not in name}
    assert len(names[0]) > 12


def test_what_cannot_be_understood_is_kept_and_the_rest_goes_on(tmp_path: Path) -> None:
    source = tmp_path / "lamp.jsonl"
    bad = [b"no JSON", b'{"deviceId": "lamp"', b"\xff\xfe", b'{"authToken": "s3cr3t", "what": "is this"}']
    source.write_bytes(b"\n".join([*(each.encode() for each in LINES), *bad]))
    written, counts = ran(settings(source, tmp_path / "out"))
    letters = written["dead-letters"]
    assert counts["lines"] == len(LINES) + len(bad) == counts["counted"] + counts["duplicates"] + len(letters)
    at = len("\n".join(LINES)) + 1
    found = {letter["position"]: letter for letter in letters}
    for payload in bad:
        letter = found[f"offset={at}"]
        assert letter["source"] == str(source)
        if b"s3cr3t" not in payload:
            assert letter["payload"] == payload
        at += len(payload) + 1
    assert not any(b"s3cr3t" in letter["payload"] for letter in letters)
    assert len(written["activities"]) == 2


def test_a_file_that_ends_in_the_middle(tmp_path: Path) -> None:
    source = tmp_path / "lamp.jsonl.gz"
    many = [line(at, "on") for at in range(3000)]
    source.write_bytes(gzip.compress("".join(f"{each}\n" for each in many).encode())[:-2000])
    written, counts = ran(settings(source, tmp_path / "out"))
    assert "truncated_file" in {letter["code"] for letter in written["dead-letters"]}
    assert 0 < counts["counted"] < 3000


def test_nothing_at_all(tmp_path: Path) -> None:
    written, counts = ran(settings(jsonl(tmp_path / "none.jsonl", []), tmp_path / "out"))
    assert written == {kind: [] for kind in KINDS}
    assert counts["lines"] == 0


def test_settings_reach_the_rules(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "lamp.jsonl", LINES)
    table = CapabilityTable.default().extended([Entry("powerMeter", "power", Role("ignored"), "too many")])
    until = (START + 3 * 3600) * 1_000_000
    written, counts = ran(
        settings(source, tmp_path / "out", session_gap="2h", period="30m", table=table, hold_until=until, shards=1)
    )
    assert counts["ignored"] == 2
    assert [(row["count"], seconds(row["end"])) for row in written["sessions"]] == [(3, 5400 + 7200)]
    assert {row["period"] for row in written["usage"]} == {"PT30M"}
    assert sorted(seconds(row["start"]) for row in written["usage"]) == [1800 * half for half in range(6)]


def test_a_shorter_horizon_counts_a_repeat_again(tmp_path: Path) -> None:
    repeat = json.loads(LINES[0])
    repeat["eventTime"] += 120_000
    source = jsonl(tmp_path / "lamp.jsonl", [LINES[0], json.dumps(repeat)])
    for name, horizon, counted in (("short", "119s", 2), ("long", "2m", 1), ("as the lateness", None, 2)):
        _, counts = ran(settings(source, tmp_path / name, horizon=horizon))
        assert counts["counted"] == counted


def test_messages_that_do_not_name_their_home(tmp_path: Path) -> None:
    event = json.loads(LINES[0])
    del event["deviceEvent"]["locationId"]
    source = jsonl(tmp_path / "lamp.jsonl", [json.dumps(event)])
    zones = HomeZones("UTC", {"ours": "Asia/Kolkata"})
    asked = HomeSettings(str(source), str(tmp_path / "out"), zones, context=Context(home_id="ours"))
    [activity] = ran(asked)[0]["activities"]
    assert (activity["home_id"], activity["start_local"]) == ("ours", "2007-04-01T03:40:00+05:30")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"session_gap": "soon"}, "session_gap: 'soon' is no length of time"),
        ({"period": "7m"}, "a period of 420 s"),
        ({"allowed_lateness": "-1s"}, "allowed_lateness"),
        ({"retention": "10m"}, "retention: '10m' is shorter than a period"),
    ],
)
def test_settings_that_cannot_be_are_found_before_anything_runs(
    tmp_path: Path, named: dict[str, Any], message: str
) -> None:
    source = jsonl(tmp_path / "lamp.jsonl", LINES)
    with pytest.raises(ValueError, match=message):
        HomeJob(settings(source, tmp_path / "out", **named))
    assert not (tmp_path / "out").exists()


def test_no_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none-\*\.jsonl"):
        HomeJob(settings(tmp_path / "none-*.jsonl", tmp_path / "out"))
