from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas import codes
from thingbeam.schemas.records import Event
from thingbeam.transforms.envelopes import Context, Failure, ParseError, parse_each, parse_payload

HOME = "88a3a314-f0c8-40b4-bb44-44ba06c9c42f"
CONTEXT = Context(
    device_id="known", event_time=Timestamp(1_700_000_000), home_id="home", ingest_time=Timestamp(1_700_000_001)
)


@pytest.fixture(scope="session")
def fixtures(checkout: Path) -> Path:
    return checkout / "tests" / "fixtures" / "envelopes"


def device_event(**fields: object) -> dict[str, Any]:
    body = {
        "eventId": "e1",
        "locationId": "l1",
        "deviceId": "d1",
        "componentId": "main",
        "capability": "switch",
        "attribute": "switch",
        "value": "on",
        "stateChange": True,
    }
    return {"eventTime": 1739480496560, "eventType": "DEVICE_EVENT", "deviceEvent": {**body, **fields}}


def parse(document: object, context: Context = Context()) -> list[Event]:  # noqa: B008 - frozen
    return parse_payload(json.dumps(document).encode(), context)


def code(document: object, context: Context = Context()) -> str:  # noqa: B008 - frozen
    with pytest.raises(ParseError) as caught:
        parse(document, context)
    return caught.value.code


def test_a_real_device_event(shared_data: Path) -> None:
    (event,) = parse_payload((shared_data / "smartthings" / "event.json").read_bytes(), CONTEXT)
    assert event == Event(
        event_id="b66aab69-ea4d-11ef-ad0f-bb2d43a06ec6",
        event_time=Timestamp(1_739_480_496.56),
        device_id="440063de-a200-40b5-8a6b-f3399eaa0370",
        kind="DEVICE_EVENT",
        component="main",
        capability="switch",
        attribute="switch",
        value_type="string",
        text="on",
        number=None,
        unit=None,
        state_change=True,
        home_id=HOME,
        ingest_time=Timestamp(1_700_000_001),
        last_reset=None,
    )


LIFECYCLE = ("DEVICE_LIFECYCLE_EVENT", "deviceLifecycle", "lifecycle")
HEALTH = ("DEVICE_HEALTH_EVENT", "healthCheck", "healthStatus")


@pytest.mark.parametrize(
    ("name", "names", "device", "value", "seconds"),
    [
        ("device_health_event", HEALTH, "7905bc7a-0633-4d80-a95b-45d59f1393a5", "ONLINE", 1745845246.219),
        ("new_device_event", LIFECYCLE, "46b0958e-4a92-40f3-b531-eb60c5d1aa7a", "CREATE", 1740761861.429),
        ("removed_device_event", LIFECYCLE, "46b0958e-4a92-40f3-b531-eb60c5d1aa7a", "DELETE", 1740762112.368),
        ("room_move_event", LIFECYCLE, "9aa42eba-7c98-6d33-6b9a-b3cd40276383", "ROOM_MOVE", 1740761861.429),
        ("update_device_event", LIFECYCLE, "2894dc93-0f11-49cc-8a81-3a684cebebf6", "UPDATE", 1740763557.197),
        ("health", HEALTH, "612ab3c2-3bb0-48f7-b2c0-15b169cb2fc3", "ONLINE", 1745840611.6),
    ],
)
def test_real_events(
    shared_data: Path, name: str, names: tuple[str, str, str], device: str, value: str, seconds: float
) -> None:
    (event,) = parse_payload((shared_data / "smartthings" / f"{name}.json").read_bytes())
    assert (event.kind, event.capability, event.attribute) == names
    assert (event.device_id, event.value, event.event_time) == (device, value, Timestamp(seconds))
    assert event.component == "main"


def test_a_real_location_event_has_no_device(shared_data: Path) -> None:
    (event,) = parse_payload((shared_data / "smartthings" / "location_update.json").read_bytes())
    assert (event.kind, event.device_id, event.home_id) == ("LOCATION_LIFECYCLE_EVENT", None, HOME)
    assert event.event_id == "75645c9b-f5fc-11ef-9e6f-29646dd608b9"
    assert isinstance(event.value, dict)
    assert event.value["lifecycle"] == "UPDATE"


def test_a_real_subscription_is_no_event(shared_data: Path) -> None:
    (failure,) = parse_each((shared_data / "smartthings" / "sse_subscription.json").read_bytes())
    assert isinstance(failure, Failure)
    assert failure.code == codes.UNKNOWN_ENVELOPE


def test_a_webhook_of_every_type(fixtures: Path) -> None:
    events = parse_payload((fixtures / "webhook_event.json").read_bytes())
    assert [event.kind for event in events] == [
        "DEVICE_EVENT",
        "DEVICE_EVENT",
        "DEVICE_HEALTH_EVENT",
        "DEVICE_LIFECYCLE_EVENT",
        "MODE_EVENT",
        "TIMER_EVENT",
        "SECURITY_ARM_STATE_EVENT",
        "HUB_HEALTH_EVENT",
        "DEVICE_COMMANDS_EVENT",
        "SCENE_LIFECYCLE_EVENT",
        "INSTALLED_APP_LIFECYCLE_EVENT",
        "SOMETHING_NEW_EVENT",
    ]
    assert [event.event_id[-2:] for event in events] == [f"{n:02d}" for n in range(1, 13)]
    assert {event.home_id for event in events} == {"10000000-0000-4000-8000-000000000001"}
    assert [event.device_id and event.device_id[-1] for event in events] == [
        "1", "2", "2", "2", None, None, None, None, "3", None, None, "3",
    ]  # fmt: skip
    contact, temperature, health, removed = events[:4]
    assert (contact.value, contact.state_change, contact.event_time) == ("open", True, Timestamp(1_739_480_496))
    assert (temperature.value, temperature.unit, temperature.state_change) == (21.5, "C", False)
    assert temperature.event_time == Timestamp(1_739_480_496.5)
    assert (health.capability, health.value) == ("healthCheck", "OFFLINE")
    assert (removed.capability, removed.value) == ("deviceLifecycle", "DELETE")
    assert all((event.capability, event.attribute, event.value_type) == ("", "", "json") for event in events[4:])
    armed, new = events[6].value, events[11].value
    assert isinstance(armed, dict)
    assert armed["armState"] == "ARMED_AWAY"
    assert isinstance(new, dict)
    assert new["novelty"] == [1, 2, 3]


def test_a_webhook_without_times(fixtures: Path) -> None:
    payload = (fixtures / "webhook_message.json").read_bytes()
    (event,) = parse_payload(payload, CONTEXT)
    assert (event.event_time, event.value) == (CONTEXT.event_time, "off")
    assert event.home_id == "10000000-0000-4000-8000-000000000002"
    (failure,) = parse_each(payload)
    assert isinstance(failure, Failure)
    assert (failure.code, failure.path) == (codes.MISSING_FIELD, "eventData.events[0]")


def test_lifecycles_are_events_without_device_and_without_secrets(fixtures: Path) -> None:
    payload = (fixtures / "webhook_lifecycles.json").read_bytes()
    assert payload.count(b"made-up-secret") == 7
    events = parse_payload(payload, CONTEXT)
    names = ["PING", "CONFIRMATION", "CONFIGURATION", "INSTALL", "UPDATE", "OAUTH_CALLBACK", "UNINSTALL"]
    assert [event.kind for event in events] == [f"LIFECYCLE_{name}" for name in names]
    assert [event.event_id[-1] for event in events] == list("1234567")
    assert {(event.device_id, event.event_time) for event in events} == {(None, CONTEXT.event_time)}
    assert events[0].value == {"challenge": "90000000-0000-4000-8000-000000000001"}
    assert events[3].home_id == "10000000-0000-4000-8000-000000000003"
    assert "made-up-secret" not in repr(events)
    assert code(json.loads(payload)[0]) == codes.MISSING_FIELD


def test_enterprise(fixtures: Path) -> None:
    temperature, health = parse_payload((fixtures / "enterprise_v2.json").read_bytes())
    assert temperature.event_id == "20000000-0000-4000-8000-000000000031"
    assert (temperature.component, temperature.attribute) == ("cooler", "temperature")
    assert (temperature.value, temperature.unit) == (3, "C")
    assert temperature.event_time == Timestamp.from_rfc3339("2025-01-15T10:30:00Z")
    assert temperature.home_id == "10000000-0000-4000-8000-000000000004"
    assert (health.kind, health.value) == ("DEVICE_HEALTH_EVENT", "ONLINE")
    assert health.event_time == Timestamp.from_rfc3339("2025-01-15T09:31:00Z")


@pytest.mark.parametrize("value", ["off", 1, 1.5, True, False, None, {"x": 1}, [1, "2"], "", 2**60 + 1])
def test_values_are_of_any_type(value: object) -> None:
    (event,) = parse(device_event(value=value))
    assert event.value == (float(value) if isinstance(value, int) else value)
    assert event.value_type == {str: "string", bool: "boolean", type(None): "null", dict: "json", list: "json"}.get(
        type(value), "number"
    )


def test_what_may_be_absent() -> None:
    document = device_event()
    for name in ("eventId", "locationId", "componentId", "value", "stateChange"):
        del document["deviceEvent"][name]
    (event,) = parse(document, CONTEXT)
    assert (event.component, event.value_type, event.state_change) == ("main", "null", None)
    assert event.home_id == "home"
    assert len(event.event_id) == 36
    assert parse(document, CONTEXT)[0].event_id == event.event_id


@pytest.mark.parametrize("name", ["deviceId", "capability", "attribute"])
@pytest.mark.parametrize("absent", [None, "", "gone"])
def test_what_must_be_there(name: str, absent: str | None) -> None:
    document = device_event(**{name: absent})
    if absent == "gone":
        del document["deviceEvent"][name]
    # A device that the caller knows is of device states, not of events that must name theirs.
    assert code(document, CONTEXT) == codes.MISSING_FIELD


@pytest.mark.parametrize(
    "name", ["eventId", "locationId", "deviceId", "componentId", "capability", "attribute", "unit"]
)
@pytest.mark.parametrize("wrong", [1, True, {}, [], 1.5])
def test_texts_of_another_type(name: str, wrong: object) -> None:
    assert code(device_event(**{name: wrong})) == codes.WRONG_TYPE


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"eventType": 1}, codes.WRONG_TYPE),
        ({"eventType": ""}, codes.MISSING_FIELD),
        ({"eventType": None}, codes.MISSING_FIELD),
        ({"eventTime": {}}, codes.WRONG_TYPE),
        ({"eventTime": True}, codes.WRONG_TYPE),
        ({"eventTime": "yesterday"}, codes.IMPOSSIBLE_TIME),
        ({"eventTime": 5}, codes.IMPOSSIBLE_TIME),
        ({"eventTime": None}, codes.MISSING_FIELD),
        ({"deviceEvent": None}, codes.MISSING_FIELD),
        ({"deviceEvent": []}, codes.WRONG_TYPE),
        ({"deviceEvent": "on"}, codes.WRONG_TYPE),
        ({"deviceEvent": {}}, codes.MISSING_FIELD),
    ],
)
def test_envelopes_that_are_wrong(change: dict[str, object], expected: str) -> None:
    assert code({**device_event(), **change}) == expected


@pytest.mark.parametrize("change", [{"stateChange": "true"}, {"stateChange": 1}, {"data": {"lastReset": {}}}])
def test_other_fields_of_another_type(change: dict[str, object]) -> None:
    assert code(device_event(**change)) == codes.WRONG_TYPE


def test_an_event_without_its_type() -> None:
    document = device_event()
    del document["eventType"]
    assert code(document) == codes.MISSING_FIELD


@pytest.mark.parametrize("kind", ["DEVICE_HEALTH_EVENT", "DEVICE_LIFECYCLE_EVENT"])
def test_health_and_lifecycle_need_a_device_and_a_status(kind: str) -> None:
    name = "deviceHealthEvent" if "HEALTH" in kind else "deviceLifecycleEvent"
    field = "status" if "HEALTH" in kind else "lifecycle"

    def document(**body: object) -> dict[str, object]:
        return {"eventTime": 1739480496560, "eventType": kind, name: body}

    assert parse(document(deviceId="d1", **{field: "X"}))[0].value == "X"
    assert code(document(**{field: "X"})) == codes.MISSING_FIELD
    assert code(document(deviceId="d1")) == codes.MISSING_FIELD
    assert code(document(deviceId=1, **{field: "X"})) == codes.WRONG_TYPE
    assert code(document(deviceId="d1", **{field: 1})) == codes.WRONG_TYPE


@pytest.mark.parametrize("key", ["lastReset", "last_reset"])
@pytest.mark.parametrize("said", ["2025-01-01T00:00:00+01:00", 1735686000000])
def test_last_reset(key: str, said: object) -> None:
    (event,) = parse(device_event(data={key: said}))
    assert event.last_reset == Timestamp.from_rfc3339("2024-12-31T23:00:00Z")
    assert parse(device_event(data={key: "1970-01-01T00:00:00Z"}))[0].last_reset == Timestamp(0)
    assert parse(device_event(data={key: None}))[0].last_reset is None
    assert code(device_event(data={key: "long ago"})) == codes.IMPOSSIBLE_TIME


@pytest.mark.parametrize("data", [None, {}, [], "x", {"other": 1}])
def test_data_is_the_devices_own(data: object) -> None:
    assert parse(device_event(data=data))[0].last_reset is None


@pytest.mark.parametrize("body", [{"deviceId": 5, "eventId": []}, None, "text", [1]])
def test_an_unknown_type_passes_whatever_its_body(body: object) -> None:
    (event,) = parse({"eventTime": 1739480496560, "eventType": "NEW_EVENT", "newEvent": body})
    assert (event.kind, event.device_id, event.value_type) == ("NEW_EVENT", None, "json")
    assert event.value == (body if isinstance(body, dict) else {"newEvent": body})


def test_secrets_do_not_get_into_events() -> None:
    (event,) = parse({"eventTime": 1739480496560, "eventType": "NEW_EVENT", "newEvent": {"accessToken": "abc", "n": 1}})
    assert event.value == {"accessToken": "[redacted]", "n": 1}
    (event,) = parse(device_event(value={"stream": "https://x/?token=abc", "password": ["abc"]}))
    assert event.value == {"stream": "https://x/?token=[redacted]", "password": "[redacted]"}


def test_the_good_events_of_a_webhook_survive_the_bad(fixtures: Path) -> None:
    document = json.loads((fixtures / "webhook_event.json").read_bytes())
    events = document["eventData"]["events"]
    del events[0]["deviceEvent"]["deviceId"]
    events[2]["eventTime"] = {}
    events[3] = "no event"
    events[5] = {"eventTime": "2025-02-13T21:05:00Z"}
    events[7]["hubHealthEvent"]["status"] = float("inf")
    items = list(parse_each(json.dumps(document).encode()))
    assert [(item.code, item.path) for item in items if isinstance(item, Failure)] == [
        (codes.MISSING_FIELD, "eventData.events[0]"),
        (codes.WRONG_TYPE, "eventData.events[2]"),
        (codes.WRONG_TYPE, "eventData.events[3]"),
        (codes.MISSING_FIELD, "eventData.events[5]"),
        (codes.NOT_FINITE, "eventData.events[7]"),
    ]
    assert [int(item.event_id[-2:]) for item in items if isinstance(item, Event)] == [2, 5, 7, 9, 10, 11, 12]
    with pytest.raises(ParseError) as caught:
        parse_payload(json.dumps(document).encode())
    assert (caught.value.code, caught.value.path) == (codes.MISSING_FIELD, "eventData.events[0]")


@pytest.mark.parametrize(
    ("document", "expected", "path"),
    [
        ({"lifecycle": "EVENT"}, codes.MISSING_FIELD, ""),
        ({"lifecycle": "EVENT", "eventData": []}, codes.WRONG_TYPE, "eventData"),
        ({"messageType": "EVENT", "eventData": {}}, codes.MISSING_FIELD, "eventData"),
        ({"lifecycle": "EVENT", "eventData": {"events": {}}}, codes.WRONG_TYPE, "eventData"),
        ({"lifecycle": 1}, codes.WRONG_TYPE, ""),
        ({"lifecycle": None}, codes.MISSING_FIELD, ""),
    ],
)
def test_webhooks_that_are_wrong(document: dict[str, object], expected: str, path: str) -> None:
    (failure,) = parse_each(json.dumps(document).encode(), CONTEXT)
    assert isinstance(failure, Failure)
    assert (failure.code, failure.path) == (expected, path)


def test_a_webhook_may_be_empty() -> None:
    assert parse({"lifecycle": "EVENT", "eventData": {"events": []}}) == []


def test_a_device_state() -> None:
    document = {
        "components": {
            "main": {
                "powerMeter": {"power": {"value": 5.5, "unit": "W", "timestamp": "2025-02-09T15:45:29.156Z"}},
                "energyMeter": {"energy": {"value": 7, "unit": "kWh", "data": {"lastReset": "2025-01-01T00:00:00Z"}}},
                "switch": {"switch": {"value": None}},
                "refresh": {},
            },
            "hca.main": {"switch": {"switch": {"value": "on"}}, "button": {"button": {}}},
        }
    }
    power, energy, switch = parse(document, CONTEXT)
    assert (power.kind, power.device_id, power.home_id) == ("DEVICE_EVENT", "known", "home")
    assert (power.value, power.unit) == (5.5, "W")
    assert power.event_time == Timestamp.from_rfc3339("2025-02-09T15:45:29.156Z")
    assert (energy.event_time, energy.value) == (CONTEXT.event_time, 7)
    assert energy.last_reset == Timestamp.from_rfc3339("2025-01-01T00:00:00Z")
    assert (switch.component, switch.value) == ("hca.main", "on")
    assert len({power.event_id, energy.event_id, switch.event_id}) == 3
    again = parse(document, Context(device_id="known", event_time=Timestamp(1_700_000_060)))
    assert again[0].event_id == power.event_id
    assert again[1].event_id != energy.event_id
    assert parse({**document, "deviceId": "own"}, CONTEXT)[0].device_id == "own"


def test_a_device_state_of_a_device_nobody_named() -> None:
    document = {"components": {"main": {"switch": {"switch": {"value": "on"}}}}}
    assert code(document, Context(event_time=Timestamp(1))) == codes.MISSING_FIELD
    assert code(document, Context(device_id="d1")) == codes.MISSING_FIELD
    assert parse({"components": {}}) == []
    assert parse({"components": {"main": {"switch": {"switch": {"value": None}}}}}) == []


def test_the_good_attributes_of_a_device_state_survive_the_bad() -> None:
    payload = b"""{"components": {"main": {
        "a": {"x": {"value": NaN}, "y": {"value": 1}}, "b": {"x": 5}, "c": [], "d": {"x": {"value": 1, "unit": 2}},
        "e": {"x": {"value": 2, "timestamp": "soon"}}}, "other": null}}"""
    items = list(parse_each(payload, CONTEXT))
    assert [(item.code, item.path) for item in items if isinstance(item, Failure)] == [
        (codes.NOT_FINITE, "components.main.a.x"),
        (codes.WRONG_TYPE, "components.main.b.x"),
        (codes.WRONG_TYPE, "components.main.c"),
        (codes.WRONG_TYPE, "components.main.d.x"),
        (codes.IMPOSSIBLE_TIME, "components.main.e.x"),
        (codes.WRONG_TYPE, "components.other"),
    ]
    assert [item.value for item in items if isinstance(item, Event)] == [1]


def test_a_list_of_components_is_a_description_not_a_state() -> None:
    assert code({"components": [{"id": "main", "capabilities": []}]}) == codes.UNKNOWN_ENVELOPE


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"state": "ONLINE", "lastUpdatedDate": "2025-04-28T11:43:31.600Z"}, codes.MISSING_FIELD),
        ({"deviceId": 1, "state": "ONLINE", "lastUpdatedDate": "2025-04-28T11:43:31.600Z"}, codes.WRONG_TYPE),
        ({"deviceId": "d1", "state": 1, "lastUpdatedDate": "2025-04-28T11:43:31.600Z"}, codes.WRONG_TYPE),
        ({"deviceId": "d1", "state": "ONLINE", "lastUpdatedDate": "then"}, codes.IMPOSSIBLE_TIME),
        ({"deviceId": "d1", "state": "ONLINE"}, codes.MISSING_FIELD),
    ],
)
def test_health_documents_that_are_wrong(document: dict[str, object], expected: str) -> None:
    assert code(document) == expected
