"""Bad input through the whole job: each fault is a dead letter that says all about it, and the rest goes on."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import pytest
import zstandard

import lines
from thingbeam.runners.cli import main
from thingbeam.schemas import codes
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.schemas.avro import avro_schema
from thingbeam.schemas.records import Event
from thingbeam.transforms.envelopes import parse_payload

SECRET = "T0P-SECRET-0f6c"


class Results(NamedTuple):
    """What a run wrote and said."""

    rows: dict[str, list[dict[str, Any]]]
    """By kind, without revisions, in the order of their JSON."""
    account: dict[str, Any]
    out: str
    err: str

    @property
    def dead(self) -> list[dict[str, Any]]:
        """Dead letters, payloads decoded, in the order of source and position."""
        letters = [row | {"payload": base64.b64decode(row["payload"])} for row in self.rows["dead-letters"]]
        return sorted(letters, key=lambda row: (row["source"], _number(row["position"]), row["position"]))

    def without_dead(self) -> dict[str, list[dict[str, Any]]]:
        """The other rows."""
        return {kind: rows for kind, rows in self.rows.items() if kind != "dead-letters"}


def _number(position: str) -> int:
    return int(position.partition("=")[2].partition(" ")[0] or 0)


Job = Callable[..., Results]


@pytest.fixture
def job(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Job:
    """Runs `thingbeam run home` on files, by name, and reads back what it wrote. The account is checked each time."""
    monkeypatch.chdir(tmp_path)
    runs = 0

    def run(files: Mapping[str, bytes], *more: str, one_event_a_line: bool = True) -> Results:
        nonlocal runs
        runs += 1
        folder, output = Path(f"in{runs}"), Path(f"out{runs}")
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["run", "home", "--input", f"{folder}/*", "--output", str(output), "--timezone", "UTC", *more])
        out, err = capfd.readouterr()
        assert ended.value.code == 0, err
        manifest = json.loads((output / "manifest.json").read_text())
        rows: dict[str, list[dict[str, Any]]] = {
            kind: [] for kind in ("activities", "sessions", "usage", "late", "dead-letters")
        }
        for file in manifest["files"]:
            kind = next(kind for kind in rows if file["name"].startswith(f"{kind}-"))
            for line in (output / file["name"]).read_text().splitlines():
                row = json.loads(line)
                row.pop("revision", None)
                rows[kind].append(row)
        for kind in rows:
            rows[kind].sort(key=lambda row: json.dumps(row, sort_keys=True))
        account = json.loads((output / "account.json").read_text())
        fates = sum(account[name] for name in ("counted", "duplicates", "late", "ignored"))
        assert account["events"] == fates
        assert account["dead_letters"] == len(rows["dead-letters"])
        if one_event_a_line:
            assert account["lines"] == fates + account["dead_letters"]
        assert SECRET not in out + err
        for path in output.iterdir():
            assert SECRET.encode() not in path.read_bytes()
        for row in rows["dead-letters"]:
            assert SECRET.encode() not in base64.b64decode(row["payload"])
        return Results(rows, account, out, err)

    return run


GOOD = [
    *(lines.event(n, eventTime=1_175_378_400_000 + n * 60_000, value=1000.0 + n) for n in range(90)),
    *(
        lines.event(
            1000 + n,
            deviceId=lines.DEVICES[1],
            capability="switch",
            attribute="switch",
            value="on" if n % 2 == 0 else "off",
            unit=None,
            eventTime=f"2007-04-01T0{n}:30:00.250Z",
        )
        for n in range(6)
    ),
    lines.event(5, eventTime=1_175_378_400_000 + 5 * 60_000, value=1005.0),
]
"""96 events and one of them again."""

DEEP = b'{"eventTime":1,"eventType":"DEVICE_EVENT","deviceEvent":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001
HUGE = lines.event(700, value="x" * 5_000_000)
TOKEN = {"authToken": SECRET}
NOT_FINITE = "a number is NaN, infinite, or too large for a double"

BAD: dict[str, tuple[bytes, str, str]] = {
    "not JSON": (b"not JSON at all", codes.INVALID_JSON, "JSON is malformed: invalid character (byte 4)"),
    "cut": (lines.event(701)[:100], codes.INVALID_JSON, "Input data was truncated"),
    "an array": (b"[1,", codes.INVALID_JSON, "Input data was truncated"),
    "a number": (b"17", codes.UNKNOWN_ENVELOPE, "not a JSON object with an event in it"),
    "another object": (b'{"a":1}', codes.UNKNOWN_ENVELOPE, "a JSON object of no envelope that is known"),
    "device id of another type": (lines.event(702, deviceId=7), codes.WRONG_TYPE, "deviceId is a number, not a string"),
    "no device id": (lines.event(703, deviceId=None), codes.MISSING_FIELD, "deviceId is missing"),
    "empty device id": (lines.event(704, deviceId=""), codes.MISSING_FIELD, "deviceId is empty"),
    "no attribute": (lines.event(705, attribute=None), codes.MISSING_FIELD, "attribute is missing"),
    "stateChange of another type": (lines.event(706, stateChange="yes"), codes.WRONG_TYPE,
                                    "stateChange is a string, not a boolean"),
    "no body": (b'{"eventTime":1175378400000,"eventType":"DEVICE_EVENT"}', codes.MISSING_FIELD,
                "deviceEvent is missing"),
    "no time": (lines.event(707, eventTime=lines.Token("null")), codes.MISSING_FIELD,
                "eventTime is missing, and the caller gave no event_time"),
    "a time that is none": (lines.event(708, eventTime="2007-02-30T00:00:00Z"), codes.IMPOSSIBLE_TIME,
                            "eventTime is day is out of range for month"),
    "the time of a clock that was never set": (lines.event(709, eventTime=0), codes.IMPOSSIBLE_TIME,
                                               "eventTime is outside the years that devices can mean"),
    "a time beyond 64 bits": (lines.event(710, eventTime=10**30), codes.IMPOSSIBLE_TIME,
                              "eventTime is outside the years that devices can mean"),
    "NaN": (lines.event(711, value=lines.Token("NaN")), codes.NOT_FINITE, NOT_FINITE),
    "Infinity": (lines.event(712, value=lines.Token("-Infinity")), codes.NOT_FINITE, NOT_FINITE),
    "a number beyond doubles": (lines.event(713, value=lines.Token("1e999")), codes.NOT_FINITE, NOT_FINITE),
    "an integer beyond doubles": (lines.event(714, value=10**400), codes.NOT_FINITE, NOT_FINITE),
    "5 MB": (HUGE, codes.TOO_LARGE, f"the payload has {len(HUGE)} bytes, over 1048576"),
    "no UTF-8": (lines.event(715, value="ä").replace("ä".encode(), b"\xe4"), codes.INVALID_UTF8,
                 "not UTF-8 from byte 296 on"),
    "half a surrogate pair": (lines.event(716, value=lines.Token('"\\ud800"')), codes.INVALID_JSON,
                              "JSON is malformed: unexpected end of escaped utf-16 surrogate pair (byte 302)"),
    "10,000 deep": (DEEP, codes.TOO_DEEP, "nested more than 64 deep"),
    "NUL": (b"\0\0\0", codes.INVALID_JSON, "JSON is malformed: invalid character (byte 0)"),
    "a token in cut JSON": (
        b'{"lifecycle":"EVENT","eventData":{"authToken":"' + SECRET.encode() + b'","events":[{', codes.INVALID_JSON,
        "Input data was truncated"),
    "a token in what is no event": (json.dumps({"a": 1} | TOKEN).encode(), codes.UNKNOWN_ENVELOPE,
                                    "a JSON object of no envelope that is known"),
    "a token that is itself cut": (b'{"authToken":"' + SECRET.encode(), codes.INVALID_JSON, "Input data was truncated"),
    "a token and no UTF-8": (b'\xff{"authToken":"' + SECRET.encode() + b'"}', codes.INVALID_UTF8,
                             "not UTF-8 from byte 0 on"),
}  # fmt: skip


FIELDS = ("payload", "code", "error", "step")
"""What must be the same in a dead letter that is fed again."""


def kept(line: bytes) -> bytes:
    return line.replace(SECRET.encode(), b"[redacted]")


def mixed() -> tuple[bytes, list[tuple[int, bytes, str, str]]]:
    """The good lines with the bad ones between them, and where each bad one is."""
    data, expected = b"", []
    bad = list(BAD.values())
    for at, line in enumerate(GOOD):
        if at % 3 == 1 and bad:
            wrong, code, message = bad.pop(0)
            expected.append((len(data), kept(wrong), code, message))
            data += wrong + (b"\r\n" if at % 2 else b"\n")
        data += line + b"\n"
    assert not bad
    return data, expected


def test_each_fault_is_a_dead_letter_and_the_rest_goes_on(job: Job) -> None:
    data, expected = mixed()
    clean = job({"a.jsonl": b"\n".join(GOOD)})
    assert (clean.dead, clean.account["events"], clean.account["duplicates"]) == ([], 97, 1)
    assert len(clean.rows["usage"]) > 5
    assert len(clean.rows["activities"]) == 3
    found = job({"a.jsonl": data})
    assert found.without_dead() == clean.without_dead()
    assert found.account["lines"] == 97 + len(BAD)
    assert found.err == ""
    assert len(found.dead) == len(expected)
    for letter, (offset, payload, code, message) in zip(found.dead, expected, strict=True):
        assert letter["position"] == f"offset={offset}", code
        assert (letter["source"], letter["step"], letter["code"]) == ("in2/a.jsonl", "ParseEvents", code)
        assert letter["payload"] == payload
        assert letter["error"] == message
        assert letter["time"].endswith("Z")
        assert letter["trace"] == ""


def test_dead_letters_fed_again_are_the_same_dead_letters(job: Job) -> None:
    data, _ = mixed()
    first = job({"a.jsonl": data}).dead
    again = job({"a.jsonl": b"\n".join(letter["payload"] for letter in first)}).dead
    for one, other in zip(first, again, strict=True):
        assert [one[name] for name in FIELDS] == [other[name] for name in FIELDS]


@pytest.mark.parametrize("file_format", ["avro", "parquet"])
def test_dead_letters_are_written_in_every_format(job: Job, file_format: str, tmp_path: Path) -> None:
    from thingbeam.io import read_table
    from thingbeam.schemas import DeadLetter

    data, expected = mixed()
    (tmp_path / "a.jsonl").write_bytes(data)
    with pytest.raises(SystemExit) as ended:
        main(["run", "home", "--input", "a.jsonl", "--output", "o", "--timezone", "UTC", "--format", file_format])
    assert ended.value.code == 0
    table = read_table(f"o/dead-letters-*.{file_format}", DeadLetter).to_pylist()
    assert sorted(row["payload"] for row in table) == sorted(payload for _, payload, _, _ in expected)


def test_a_webhook_that_is_wrong_in_part_gives_its_good_events(job: Job) -> None:
    good = [lines.event(1), lines.event(2, value=5.0)]
    webhook = lines.webhook(good[0], lines.event(3, deviceId=None), good[1], lines.event(4, value=[1]), token=SECRET)
    broken = webhook.replace(b'"events":[', b'"events":[3,')
    found = job({"a.jsonl": webhook + b"\n" + broken}, one_event_a_line=False)
    assert [(letter["position"], letter["code"], letter["payload"]) for letter in found.dead] == [
        ("offset=0 eventData.events[1]", codes.MISSING_FIELD, kept(webhook)),
        (f"offset={len(webhook) + 1} eventData.events[0]", codes.WRONG_TYPE, kept(broken)),
        (f"offset={len(webhook) + 1} eventData.events[2]", codes.MISSING_FIELD, kept(broken)),
    ]
    account = found.account
    assert (account["lines"], account["failed_lines"], account["events"]) == (2, 0, 6)
    assert (account["counted"], account["duplicates"]) == (3, 3)


def test_documents_without_events_are_counted(job: Job) -> None:
    found = job({"a.jsonl": b'{"components":{},"deviceId":"d1"}\n' + GOOD[0]}, one_event_a_line=False)
    assert (found.account["lines"], found.account["empty_lines"], found.account["events"]) == (2, 1, 1)


def test_compressed_files_that_end_in_the_middle(job: Job) -> None:
    text = b"\n".join(lines.event(n, deviceId=None if n == 7 else lines.DEVICES[0]) for n in range(2000))
    packed, squeezed = gzip.compress(text), zstandard.compress(text)
    found = job({"a.jsonl.gz": packed[: len(packed) // 2], "b.jsonl.zst": squeezed[:-20], "c.jsonl": b"\n".join(GOOD)})
    by_source: dict[str, list[dict[str, Any]]] = {}
    for letter in found.dead:
        by_source.setdefault(letter["source"], []).append(letter)
    assert sorted(by_source) == ["in1/a.jsonl.gz", "in1/b.jsonl.zst"]
    wrong, last = by_source["in1/a.jsonl.gz"]
    assert wrong["code"] == codes.MISSING_FIELD
    assert (last["code"], last["step"]) == (codes.TRUNCATED_FILE, "ReadBlobs")
    # It stands where the line begins that was cut, and holds what there was of it.
    offset = _number(last["position"])
    assert text[offset : offset + len(last["payload"])] == last["payload"]
    assert text[offset - 1 : offset] == b"\n"
    assert found.account["unread_lines"] == 2
    assert found.account["events"] > 97


def test_a_secret_in_a_line_that_was_cut_by_the_end_of_a_file(job: Job) -> None:
    text = lines.event(1) + b'\n{"lifecycle":"EVENT","eventData":{"authToken":"' + SECRET.encode() + b'","pad":"'
    packed = gzip.compress(text + bytes(range(256)) * 400)
    found = job({"a.jsonl.gz": packed[:-100]})
    assert found.dead[-1]["code"] == codes.TRUNCATED_FILE


def test_a_line_that_is_too_long_to_be_kept(job: Job) -> None:
    long = b'{"authToken":"' + SECRET.encode() + b'","pad":"' + b"x" * (17 << 20) + b'"}'
    found = job({"a.jsonl": GOOD[0] + b"\n" + long + b"\n" + GOOD[1] + b"\n"})
    [letter] = found.dead
    assert (letter["code"], letter["position"]) == (codes.TOO_LARGE, f"offset={len(GOOD[0]) + 1}")
    assert letter["error"] == f"a line of {len(long)} bytes, over the limit of {16 << 20}"
    assert letter["payload"] == kept(long)[: len(letter["payload"])]
    assert (found.account["lines"], found.account["unread_lines"], found.account["events"]) == (3, 1, 2)


def avro(path: Path, schema: Any, records: list[dict[str, Any]]) -> bytes:
    with path.open("wb") as file:
        fastavro.writer(file, schema, records)
    return path.read_bytes()


def test_avro_files_of_events_of_which_some_are_not_possible(job: Job, tmp_path: Path) -> None:
    events = [parse_payload(line)[0] for line in GOOD]
    spoiled = dict(enumerate(events))
    spoiled[3] = events[3]._replace(number=float("nan"))
    spoiled[40] = events[40]._replace(number=float("inf"))
    spoiled[95] = events[95]._replace(event_id="")
    rows = to_record_batch(list(spoiled.values()), Event).to_pylist()
    good = [event for n, event in enumerate(events) if spoiled[n] is event]
    clean = job({"a.avro": avro(tmp_path / "x", avro_schema(Event), to_record_batch(good, Event).to_pylist())})
    assert clean.dead == []
    other = {"type": "record", "name": "Weather", "fields": [{"name": "rain", "type": "double"}]}
    found = job(
        {
            "a.avro": avro(tmp_path / "x", avro_schema(Event), rows),
            "b.avro": avro(tmp_path / "x", other, [{"rain": 1.5}]),
            "c.avro": b"no Avro",
        }
    )
    assert found.without_dead() == clean.without_dead()
    shown = [(letter["source"], letter["position"], letter["step"], letter["code"]) for letter in found.dead]
    assert shown == [
        ("in2/a.avro", "record=3", "ParseAvro", codes.NOT_FINITE),
        ("in2/a.avro", "record=40", "ParseAvro", codes.NOT_FINITE),
        ("in2/a.avro", "record=95", "ParseAvro", codes.MISSING_FIELD),
        ("in2/b.avro", "offset=0", "ReadFromFiles", codes.SCHEMA_MISMATCH),
        ("in2/c.avro", "offset=0", "ReadFromFiles", codes.CORRUPT_FILE),
    ]
    assert b'"number": NaN' in found.dead[0]["payload"]
    assert found.dead[3]["error"] == "the file holds Weather records, where Event was asked for"
    assert (found.account["lines"], found.account["unread_lines"]) == (len(GOOD) + 2, 2)


def test_nothing_but_bad_input(job: Job) -> None:
    found = job({"a.jsonl": b"\n".join(line for line, _, _ in BAD.values())})
    assert (found.account["lines"], found.account["events"], found.account["dead_letters"]) == (len(BAD), 0, len(BAD))
    assert not any(found.without_dead().values())
