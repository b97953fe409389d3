from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.schemas import codes
from thingbeam.schemas.records import Event
from thingbeam.transforms.envelopes import Context, Failure, Limits, ParseError, parse_each, parse_payload

CONTEXT = Context(device_id="d1", event_time=Timestamp(1_700_000_000), home_id="h1")
EVENT = {
    "eventTime": 1739480496560,
    "eventType": "DEVICE_EVENT",
    "deviceEvent": {"eventId": "e1", "deviceId": "d1", "capability": "switch", "attribute": "switch", "value": "on"},
}


def failure_of(payload: bytes, limits: Limits | None = None) -> Failure:
    (item,) = parse_each(payload, CONTEXT, limits or Limits())
    assert isinstance(item, Failure)
    return item


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"hello", codes.INVALID_JSON),
        (json.dumps(EVENT).encode()[:-5], codes.INVALID_JSON),
        (b"", codes.INVALID_JSON),
        (b"\xff\xfe", codes.INVALID_UTF8),
        (b'{"eventType": "\xff"}', codes.INVALID_UTF8),
        (b"[" * 10_000 + b"]" * 10_000, codes.TOO_DEEP),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, codes.TOO_DEEP),
        (json.dumps({**EVENT, "pad": "x" * 5_000_000}).encode(), codes.TOO_LARGE),
        (json.dumps(EVENT).replace('"on"', "NaN").encode(), codes.NOT_FINITE),
        (json.dumps(EVENT).replace('"on"', "-Infinity").encode(), codes.NOT_FINITE),
        (json.dumps(EVENT).replace('"on"', "1e999").encode(), codes.NOT_FINITE),
        (json.dumps(EVENT).replace('"on"', "9" * 400).encode(), codes.NOT_FINITE),
        (json.dumps(EVENT).replace('"on"', '{"a": [1e999]}').encode(), codes.NOT_FINITE),
        (json.dumps(EVENT).replace("1739480496560", "1e999").encode(), codes.NOT_FINITE),
        (b"NaN", codes.NOT_FINITE),
        (b'{"a": NaN}', codes.NOT_FINITE),
        (b"{}", codes.UNKNOWN_ENVELOPE),
        (b"[]", codes.UNKNOWN_ENVELOPE),
        (b"null", codes.UNKNOWN_ENVELOPE),
        (b"true", codes.UNKNOWN_ENVELOPE),
        (b'"text"', codes.UNKNOWN_ENVELOPE),
        (b"12", codes.UNKNOWN_ENVELOPE),
        (b'{"deviceId": "d1"}', codes.UNKNOWN_ENVELOPE),
        (b'{"event": "attribute_updated"}', codes.UNKNOWN_ENVELOPE),
        (b"[[]]", codes.UNKNOWN_ENVELOPE),
    ],
)
def test_bad_payloads(payload: bytes, expected: str) -> None:
    assert failure_of(payload).code == expected
    with pytest.raises(ParseError) as caught:
        parse_payload(payload, CONTEXT)
    assert caught.value.code == expected


def test_an_array_of_payloads() -> None:
    webhook = {"lifecycle": "EVENT", "eventData": {"events": [EVENT, {"eventType": 1}]}}
    items = list(parse_each(json.dumps([EVENT, 5, webhook, {}]).encode(), CONTEXT))
    assert [item.event_id if isinstance(item, Event) else (item.code, item.path) for item in items] == [
        "e1",
        (codes.UNKNOWN_ENVELOPE, "[1]"),
        "e1",
        (codes.WRONG_TYPE, "[2].eventData.events[1]"),
        (codes.UNKNOWN_ENVELOPE, "[3]"),
    ]


def test_the_same_content_at_two_places_is_two_events() -> None:
    body = {key: value for key, value in EVENT["deviceEvent"].items() if key != "eventId"}  # type: ignore[attr-defined]
    one, two = parse_payload(json.dumps([{**EVENT, "deviceEvent": body}] * 2).encode())
    assert one.event_id != two.event_id
    assert one._replace(event_id="") == two._replace(event_id="")


def test_limits_are_the_callers() -> None:
    payload = json.dumps(EVENT).encode()
    assert len(parse_payload(payload, limits=Limits(max_value_bytes=len(payload), max_depth=2))) == 1
    assert failure_of(payload, Limits(max_value_bytes=len(payload) - 1)).code == codes.TOO_LARGE
    assert failure_of(payload, Limits(max_depth=1, max_value_bytes=10_000)).code == codes.TOO_DEEP


WORDS = [
    "eventType",
    "eventTime",
    "deviceEvent",
    "DEVICE_EVENT",
    "deviceId",
    "lifecycle",
    "EVENT",
    "eventData",
    "events",
]
WORDS += ["components", "value", "state", "event", "data", "attribute_updated", "node_event", "node_added", "node_id"]
WORDS += ["attributes", "available", "1/6/0", "main", "installedApp", "locationId", "timestamp", "message_id", "result"]
NEAR = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2 * 10**12) | st.floats() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=25,
)


@given(NEAR)
def test_what_looks_like_an_envelope_gives_events_or_codes(document: object) -> None:
    for item in parse_each(json.dumps(document).encode(), CONTEXT):
        if isinstance(item, Failure):
            assert item.code in codes.CODES
            assert item.message
        else:
            assert item.kind
            assert item.event_id
            assert item.value_type in {"string", "number", "boolean", "json", "null"}


@given(st.binary(max_size=100))
def test_any_bytes_give_events_or_codes(payload: bytes) -> None:
    for item in parse_each(payload, CONTEXT):
        assert isinstance(item, Event) or item.code in codes.CODES


@given(
    st.text("abcdefghijklmnop", min_size=12),
    st.sampled_from(["eventId", "deviceId", "unit", "capability", "componentId"]),
)
def test_messages_hold_nothing_of_the_payload(secret: str, field: str) -> None:
    event = {**EVENT, "deviceEvent": {**EVENT["deviceEvent"], field: [secret]}}  # type: ignore[dict-item]
    webhook = {"lifecycle": "EVENT", "eventData": {"authToken": secret, "events": [event, secret, {secret: secret}]}}
    failures = list(parse_each(json.dumps(webhook).encode()))
    assert len(failures) == 3
    assert secret not in repr(failures)


def test_every_real_snapshot_gives_the_events_that_an_independent_script_counts(
    shared_data: Path, checkout: Path
) -> None:
    script = checkout / "scripts" / "count_snapshot_events.py"
    files = sorted([*shared_data.glob("smartthings/device_status/*.json"), *shared_data.glob("matter/*.json")])
    assert len(files) == 44
    done = subprocess.run(  # isolated (-I): it must do without our packages
        [sys.executable, "-I", str(script), *map(str, files)], capture_output=True, check=True
    )
    ours = {file.name: len(parse_payload(file.read_bytes(), CONTEXT)) for file in files}
    assert ours == json.loads(done.stdout)
    assert sum(ours.values()) > 1000


def test_the_independent_script_imports_nothing_of_ours(checkout: Path) -> None:
    tree = ast.parse((checkout / "scripts" / "count_snapshot_events.py").read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names)


def test_every_real_event_file_parses(shared_data: Path) -> None:
    files = sorted((shared_data / "smartthings").glob("*.json"))
    counts = {file.stem: sum(isinstance(item, Event) for item in parse_each(file.read_bytes())) for file in files}
    assert counts.pop("sse_subscription") == 0
    assert len(counts) == 8
    assert set(counts.values()) == {1}
