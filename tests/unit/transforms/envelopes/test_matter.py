from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas import codes
from thingbeam.schemas.records import Event
from thingbeam.transforms.envelopes import Context, Failure, ParseError, parse_each, parse_payload

NOW = Timestamp(1_700_000_000)
CONTEXT = Context(event_time=NOW, home_id="fabric-1", ingest_time=Timestamp(1_700_000_001))


def parse(document: object, context: Context = CONTEXT) -> list[Event]:
    return parse_payload(json.dumps(document).encode(), context)


def code(document: object, context: Context = CONTEXT) -> str:
    with pytest.raises(ParseError) as caught:
        parse(document, context)
    return caught.value.code


def node_event(**fields: object) -> dict[str, object]:
    return {"event": "node_event", "data": {"node_id": 1, "endpoint_id": 1, "cluster_id": 6, "event_id": 1, **fields}}


def named(event: Event) -> tuple[str, str, str, Any, str | None]:
    return event.component, event.capability, event.attribute, event.value, event.unit


@pytest.fixture(scope="session")
def messages(checkout: Path) -> list[Event]:
    payload = (checkout / "tests" / "fixtures" / "envelopes" / "matter_messages.json").read_bytes()
    return parse_payload(payload, CONTEXT)


def test_attribute_updates(messages: list[Event]) -> None:
    updates = messages[:5]
    assert {(event.kind, event.device_id, event.event_time, event.home_id) for event in updates} == {
        ("MATTER_ATTRIBUTE", "matter-7", NOW, "fabric-1")
    }
    assert [named(event) for event in updates] == [
        ("1", "OnOff", "OnOff", True, None),
        ("2", "TemperatureMeasurement", "MeasuredValue", 2131.0, "0.01 °C"),
        ("1", "ElectricalPowerMeasurement", "ActivePower", 1500250.0, "mW"),
        (
            "1",
            "ElectricalEnergyMeasurement",
            "CumulativeEnergyImported",
            {"energy": 12345678, "startTimestamp": None, "endTimestamp": 790000000},
            "mWh",
        ),
        ("1", "0x130AFC01", "0x130A000A", 0.5, None),
    ]
    assert len({event.event_id for event in messages}) == len(messages)


def test_node_events(messages: list[Event]) -> None:
    press, boot = messages[5:7]
    assert (press.kind, press.device_id) == ("MATTER_EVENT", "matter-7")
    assert named(press) == ("3", "Switch", "InitialPress", {"newPosition": 1}, None)
    assert press.event_time == Timestamp(1_739_480_496.56)
    assert named(boot) == ("0", "GeneralDiagnostics", "BootReason", None, None)
    assert boot.event_time == NOW, "milliseconds since the node's boot are no time"


def test_a_node_in_numbers(messages: list[Event]) -> None:
    health, label, switch, level, attributes = messages[7:12]
    assert (health.kind, health.value, health.device_id) == ("DEVICE_HEALTH_EVENT", "OFFLINE", "matter-8")
    assert (health.capability, health.attribute) == ("healthCheck", "healthStatus")
    assert named(label) == ("0", "BasicInformation", "NodeLabel", "Lamp", None)
    assert named(switch) == ("1", "OnOff", "OnOff", False, None)
    assert named(level) == ("1", "LevelControl", "CurrentLevel", 254.0, None)
    assert named(attributes) == ("1", "OnOff", "AttributeList", [0, 65531], None)


def test_removed_and_other_messages(messages: list[Event]) -> None:
    removed, endpoint, shutdown = messages[12:]
    assert (removed.kind, removed.device_id, removed.value) == ("DEVICE_LIFECYCLE_EVENT", "matter-8", "DELETE")
    assert (removed.capability, removed.attribute) == ("deviceLifecycle", "lifecycle")
    assert (endpoint.kind, endpoint.device_id) == ("MATTER_ENDPOINT_REMOVED", "matter-7")
    assert (shutdown.kind, shutdown.device_id, shutdown.value) == ("MATTER_SERVER_SHUTDOWN", None, None)


def test_a_real_node_in_names(shared_data: Path) -> None:
    events = parse_payload((shared_data / "matter" / "contact-sensor-example-app.json").read_bytes(), CONTEXT)
    assert {event.device_id for event in events} == {"matter-4337"}
    assert {event.kind for event in events} == {"MATTER_ATTRIBUTE"}
    seen = {(event.component, event.capability, event.attribute): event.value for event in events}
    assert len(seen) == len(events), "an attribute is there once"
    assert seen["1", "BooleanState", "StateValue"] is False
    assert seen["0", "BasicInformation", "VendorName"] == "Nabu Casa"
    assert seen["0", "OtaSoftwareUpdateRequestor", "DefaultOTAProviders"] == []
    assert seen["0", "WiFiNetworkDiagnostics", "Rssi"] == -38
    assert not any("_type" in attribute or "TLV" in attribute for _, _, attribute in seen)
    # The cluster that did not decode as a whole: ten of its attributes did.
    threads = {attribute: value for (_, capability, attribute), value in seen.items() if "Thread" in capability}
    assert set(threads) == {
        "0x0007", "0x0008", "0x003B", "0x003D", "0x003E",
        "GeneratedCommandList", "AcceptedCommandList", "AttributeList", "FeatureMap", "ClusterRevision",
    }  # fmt: skip
    assert threads["FeatureMap"] == 15


def test_a_real_switch(shared_data: Path) -> None:
    events = parse_payload((shared_data / "matter" / "onoff-switch-example-app.json").read_bytes(), CONTEXT)
    on_off = {event.attribute: (event.value, event.unit) for event in events if event.capability == "OnOff"}
    assert on_off["OnOff"] == (False, None)
    assert on_off["OnTime"] == (0, "0.1 s")
    assert "StartUpOnOff" not in on_off, "null is no value"


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [("fake-temperature-sensor", 2100, "0.01 °C"), ("fake_humidity_sensor", 3000, "0.01 %")],
)
def test_real_sensors(shared_data: Path, name: str, value: int, unit: str) -> None:
    events = parse_payload((shared_data / "matter" / f"{name}.json").read_bytes(), CONTEXT)
    (measured,) = (event for event in events if event.attribute == "MeasuredValue")
    assert (measured.component, measured.value, measured.unit) == ("9", value, unit)


def test_the_same_reading_has_the_same_names_however_it_is_written() -> None:
    nested = {"node_id": 7, "attributes": {"1": {"OnOff": {"onOff": True, "_type": "chip.clusters.Objects.OnOff"}}}}
    ways = [
        nested,
        {"node_id": 7, "attributes": {"1/6/0": True}},
        {"event": "attribute_updated", "data": [7, "1/6/0", True]},
    ]
    assert {named(parse(way)[0]) for way in ways} == {("1", "OnOff", "OnOff", True, None)}


def test_energy_by_number_and_by_name() -> None:
    by_number = parse({"event": "attribute_updated", "data": [1, "1/145/1", {"0": 5, "9": 1}]})[0]
    by_name = parse(
        {
            "node_id": 1,
            "attributes": {"1": {"ElectricalEnergyMeasurement": {"cumulativeEnergyImported": {"energy": 5}}}},
        }
    )[0]
    assert (by_number.value, by_name.value) == ({"energy": 5, "9": 1}, {"energy": 5})
    assert by_number.attribute == by_name.attribute


@pytest.mark.parametrize("event", ["node_added", "node_updated"])
@pytest.mark.parametrize(("available", "status"), [(True, "ONLINE"), (False, "OFFLINE")])
def test_whether_a_node_can_be_reached(event: str, available: bool, status: str) -> None:
    (health,) = parse({"event": event, "data": {"node_id": 1, "available": available, "attributes": {}}})
    assert (health.kind, health.value) == ("DEVICE_HEALTH_EVENT", status)


def test_answers_of_the_server() -> None:
    node = {"node_id": 1, "available": True, "attributes": {"1/6/0": True}}
    assert [event.kind for event in parse({"message_id": "1", "result": [node, {**node, "node_id": 2}]})] == [
        "DEVICE_HEALTH_EVENT", "MATTER_ATTRIBUTE", "DEVICE_HEALTH_EVENT", "MATTER_ATTRIBUTE",
    ]  # fmt: skip
    assert [event.device_id for event in parse({"message_id": "1", "result": node})] == ["matter-1"] * 2
    assert code({"message_id": "1", "result": {"1/6/0": True}}) == codes.UNKNOWN_ENVELOPE
    assert code({"message_id": "1", "error_code": 5}) == codes.UNKNOWN_ENVELOPE
    assert parse({"message_id": "1", "result": []}) == []


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"event": "attribute_updated", "data": None}, codes.MISSING_FIELD),
        ({"event": "attribute_updated", "data": {}}, codes.WRONG_TYPE),
        ({"event": "attribute_updated", "data": [1, "1/6/0"]}, codes.WRONG_TYPE),
        ({"event": "attribute_updated", "data": [None, "1/6/0", True]}, codes.MISSING_FIELD),
        ({"event": "attribute_updated", "data": ["1", "1/6/0", True]}, codes.WRONG_TYPE),
        ({"event": "attribute_updated", "data": [True, "1/6/0", True]}, codes.WRONG_TYPE),
        ({"event": "attribute_updated", "data": [-1, "1/6/0", True]}, codes.WRONG_TYPE),
        ({"event": "attribute_updated", "data": [1, "1/6", True]}, codes.WRONG_TYPE),
        ({"event": "attribute_updated", "data": [1, "1/6/x", True]}, codes.WRONG_TYPE),
        ({"event": "attribute_updated", "data": [1, "1/6/99999999999", True]}, codes.WRONG_TYPE),
        ({"event": "attribute_updated", "data": [1, 6, True]}, codes.WRONG_TYPE),
        (node_event(node_id=None), codes.MISSING_FIELD),
        (node_event(cluster_id="6"), codes.WRONG_TYPE),
        (node_event(endpoint_id=None), codes.MISSING_FIELD),
        (node_event(event_id=1.5), codes.WRONG_TYPE),
        (node_event(timestamp=5, timestamp_type=1), codes.IMPOSSIBLE_TIME),
        (node_event(timestamp="5", timestamp_type=1), codes.IMPOSSIBLE_TIME),
        (node_event(timestamp={}, timestamp_type=1), codes.WRONG_TYPE),
        ({"event": "node_added", "data": []}, codes.WRONG_TYPE),
        ({"event": "node_added", "data": {"attributes": {}}}, codes.MISSING_FIELD),
        ({"event": "node_added", "data": {"node_id": 1, "attributes": [], "available": True}}, codes.WRONG_TYPE),
        ({"event": "node_added", "data": {"node_id": 1, "attributes": {}, "available": 1}}, codes.WRONG_TYPE),
        ({"event": "node_removed", "data": "8"}, codes.WRONG_TYPE),
        ({"event": "node_removed", "data": None}, codes.MISSING_FIELD),
        ({"event": 5, "data": {}}, codes.WRONG_TYPE),
        ({"attributes": {"1": {"OnOff": {"onOff": True}}}}, codes.MISSING_FIELD),
    ],
)  # fmt: skip
def test_messages_that_are_wrong(document: dict[str, object], expected: str) -> None:
    assert code(document) == expected


def test_without_a_time_from_the_caller() -> None:
    assert code({"event": "attribute_updated", "data": [1, "1/6/0", True]}, Context()) == codes.MISSING_FIELD


def test_the_good_attributes_of_a_node_survive_the_bad() -> None:
    payload = b"""{"node_id": 1, "attributes": {
        "1/6/0": NaN, "1/8/0": 5, "x/y/z": 1, "2": 5, "3": {"OnOff": 5, "LevelControl": {"currentLevel": 1e999}},
        "4": {"OnOff": {"onOff": {"TLVValue": null, "Reason": "failed"}, "onTime": 3}}}}"""
    items = list(parse_each(payload, CONTEXT))
    assert [(item.code, item.path) for item in items if isinstance(item, Failure)] == [
        (codes.NOT_FINITE, 'attributes["1/6/0"]'),
        (codes.WRONG_TYPE, 'attributes["x/y/z"]'),
        (codes.WRONG_TYPE, 'attributes["2"]'),
        (codes.WRONG_TYPE, 'attributes["3"].OnOff'),
        (codes.NOT_FINITE, 'attributes["3"].LevelControl.currentLevel'),
    ]
    assert [(item.attribute, item.value) for item in items if isinstance(item, Event)] == [
        ("CurrentLevel", 5),
        ("OnTime", 3),
    ]
