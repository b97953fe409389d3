from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam.utils.timestamp import Timestamp

from thingbeam.transforms.capabilities import CapabilityTable, Entry
from thingbeam.transforms.envelopes import Context, parse_payload
from thingbeam.transforms.rules.roles import Role

TABLE = CapabilityTable.default()
GLOBAL = {"AcceptedCommandList", "AttributeList", "ClusterRevision", "EventList", "FeatureMap", "GeneratedCommandList"}


def activity(start: str = "on", stop: str = "off") -> Role:
    return Role("activity", frozenset({start}), frozenset({stop}))


def test_every_attribute_of_the_real_devices_is_listed_with_a_reason(shared_data: Path) -> None:
    seen: set[tuple[str, str]] = set()
    for file in shared_data.glob("smartthings/device_status/*.json"):
        for capabilities in json.loads(file.read_bytes())["components"].values():
            seen |= {(name, attribute) for name, attributes in capabilities.items() for attribute in attributes}
    for file in shared_data.glob("matter/*.json"):
        for event in parse_payload(file.read_bytes(), Context(event_time=Timestamp(0))):
            seen.add((event.capability, event.attribute))
    assert len(seen) > 700
    unlisted = []
    for capability, attribute in sorted(seen):
        entry = TABLE.lookup(capability, attribute)
        general = attribute.startswith("supported") or attribute in GLOBAL
        if entry is None or not entry.reason or (entry.capability == "*" and not general):
            unlisted.append(f"{capability}.{attribute}")
    assert unlisted == []


def test_in_the_default_every_entry_has_a_reason_and_wildcards_only_ignore() -> None:
    assert len(TABLE.entries) > 500
    for entry in TABLE.entries:
        assert entry.reason, entry
        if "*" in entry.capability + entry.attribute:
            assert entry.role.role == "ignored", entry
        assert "*" not in entry.attribute[:-1]


@pytest.mark.parametrize(
    ("name", "start", "stop", "pause"),
    [
        ("switch.switch", "on", "off", ""),
        ("contactSensor.contact", "open", "closed", ""),
        ("motionSensor.motion", "active", "inactive", ""),
        ("washerOperatingState.machineState", "run", "stop", "pause"),
        ("dryerOperatingState.machineState", "run", "stop", "pause"),
        ("dishwasherOperatingState.machineState", "run", "stop", "pause"),
        ("ovenOperatingState.machineState", "running run", "ready stop", "paused pause"),
        ("mediaPlayback.playbackStatus", "playing", "stopped", "paused"),
        ("valve.valve", "open", "closed", ""),
        ("waterSensor.water", "wet", "dry", ""),
        ("OnOff.OnOff", "true", "false", ""),
        ("BooleanState.StateValue", "false", "true", ""),
        ("OccupancySensing.Occupancy", "1", "0", ""),
        ("OperationalState.OperationalState", "1", "0", "2"),
    ],
)
def test_activities(name: str, start: str, stop: str, pause: str) -> None:
    role = TABLE.role(*name.split("."), "string")
    assert role.role == "activity"
    assert set(start.split()) <= role.start
    assert set(stop.split()) <= role.stop
    assert set(pause.split()) <= role.pause


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("meter", "energyMeter.energy powerConsumptionReport.powerConsumption"),
        ("meter", "ElectricalEnergyMeasurement.CumulativeEnergyImported"),
        ("measurement", "powerMeter.power temperatureMeasurement.temperature relativeHumidityMeasurement.humidity"),
        ("measurement", "battery.battery switchLevel.level colorTemperature.colorTemperature dustSensor.dustLevel"),
        ("measurement", "thermostatCoolingSetpoint.coolingSetpoint audioVolume.volume"),
        ("measurement", "TemperatureMeasurement.MeasuredValue ElectricalPowerMeasurement.ActivePower"),
        ("measurement", "LevelControl.CurrentLevel"),
        ("state", "lock.lock windowShade.windowShade thermostatOperatingState.thermostatOperatingState"),
        ("state", "healthCheck.healthStatus deviceLifecycle.lifecycle DoorLock.LockState"),
        ("ignored", "tvChannel.tvChannel ocf.di execute.data switchLevel.levelRange battery.type"),
        ("ignored", "washerOperatingState.supportedMachineStates Descriptor.PartsList OnOff.FeatureMap"),
    ],
)
def test_other_roles(role: str, names: str) -> None:
    for name in names.split():
        assert TABLE.role(*name.split("."), "number").role == role, name


@pytest.mark.parametrize("appliance", ["washer", "dryer", "oven"])
def test_one_run_is_not_two_activities(appliance: str) -> None:
    assert TABLE.role(f"samsungce.{appliance}OperatingState", "operatingState", "string").role == "state"


def test_the_members_that_meters_read() -> None:
    assert TABLE.role("powerConsumptionReport", "powerConsumption", "json").field == "energy"
    assert TABLE.role("ElectricalEnergyMeasurement", "CumulativeEnergyImported", "json").field == "energy"
    assert TABLE.role("energyMeter", "energy", "number").field is None


@pytest.mark.parametrize(
    ("value_type", "role"),
    [("number", "measurement"), ("string", "state"), ("boolean", "state"), ("json", "ignored"), ("null", "ignored")],
)
def test_what_is_not_listed(value_type: str, role: str) -> None:
    assert TABLE.lookup("somebody.else", "thing") is None
    assert TABLE.role("somebody.else", "thing", value_type).role == role


def test_which_entry_counts() -> None:
    table = CapabilityTable(
        [
            Entry("*", "x", Role("ignored")),
            Entry("*", "sup*", Role("ignored")),
            Entry("a", "*", Role("state")),
            Entry("a", "sup*", Role("measurement")),
            Entry("a", "supper", Role("meter")),
        ]
    )
    found = {
        name: table.lookup(*name.split(".")) for name in ("a.supper", "a.support", "a.x", "b.x", "b.support", "b.y")
    }
    assert {name: entry and entry.attribute for name, entry in found.items()} == {
        "a.supper": "supper", "a.support": "sup*", "a.x": "*", "b.x": "x", "b.support": "sup*", "b.y": None,
    }  # fmt: skip


def test_a_user_lays_a_file_over_the_table(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        """
        [BooleanState]
        StateValue = { role = "activity", start = ["true"], stop = ["false"], max_length_s = 3600, reason = "a leak" }
        ["acme.pump"]
        flow = { role = "total", field = "litres" }
        """
    )
    table = TABLE.extended(file)
    leak = table.role("BooleanState", "StateValue", "boolean")
    assert (leak.start, leak.stop, leak.max_length_s) == ({"true"}, {"false"}, 3600)
    assert table.role("acme.pump", "flow", "json") == Role("total", field="litres")
    assert table.role("switch", "switch", "string") == TABLE.role("switch", "switch", "string")
    assert TABLE.role("BooleanState", "StateValue", "boolean").start == {"false"}
    assert table == TABLE.extended(str(file))
    assert table != TABLE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[switch", "not TOML"),
        ("[a]\nb = { role = 'state' }\nb = { role = 'meter' }", "twice"),
        ("[a]\nb = { role = 'state' }\n[a]\nc = { role = 'meter' }", "twice"),
        ("[a]\nb = { role = 'activty', start = ['x'], stop = ['y'] }", "did you mean 'activity'?"),
        ("[a]\nb = { start = ['x'] }", "give one of activity, ignored"),
        ("[a]\nb = { role = 5 }", "give one of activity, ignored"),
        ("[a]\nb = 'state'", "[a] b"),
        ("a = 'state'", "put it under"),
        ("[a]\nb = { role = 'state', reasn = 'x' }", "did you mean 'reason'?"),
        ("[a]\nb = { role = 'state', start = ['x'] }", "leave start out"),
        ("[a]\nb = { role = 'activity', start = ['x'] }", "never stops"),
        ("[a]\nb = { role = 'activity', stop = ['x'] }", "never starts"),
        ("[a]\nb = { role = 'activity', start = ['x'], stop = ['x'] }", "'x' under two"),
        ("[a]\nb = { role = 'activity', start = ['x'], stop = ['y'], pause = ['y'] }", "'y' under two"),
        ("[a]\nb = { role = 'activity', start = [true], stop = ['y'] }", 'booleans are "true"'),
        ("[a]\nb = { role = 'activity', start = 'x', stop = ['y'] }", "list of texts"),
        ("[a]\nb = { role = 'activity', start = ['x'], stop = ['y'], max_length_s = 0 }", "above 0"),
        ("[a]\nb = { role = 'activity', start = ['x'], stop = ['y'], max_length_s = inf }", "above 0"),
        ("[a]\nb = { role = 'activity', start = ['x'], stop = ['y'], max_length_s = true }", "above 0"),
        ("[a]\n'*' = { role = 'activity', start = ['x'], stop = ['y'] }", "wildcard"),
        ("[switch]\nother = { role = 'activity', start = ['x'], stop = ['y'] }", 'role = "state"'),
        ("[a]\nb = { role = 'meter', field = 5 }", "quotes"),
        ("[a]\nb = { role = 'meter', reason = ['x'] }", "quotes"),
    ],
)
def test_a_wrong_file_is_one_line_that_says_what_to_do(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"mine\.toml") as caught:
        TABLE.extended(file)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.toml.*No such file"):
        TABLE.extended(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    with pytest.raises(ValueError, match=r"latin\.toml.*not UTF-8"):
        TABLE.extended(tmp_path / "latin.toml")


def test_entries_given_twice() -> None:
    with pytest.raises(ValueError, match=r"a\.b is listed twice"):
        TABLE.extended([Entry("a", "b", Role("state")), Entry("a", "b", Role("meter"))])


def test_equality_and_hash() -> None:
    one = CapabilityTable([Entry("a", "b", activity()), Entry("c", "d", Role("state"))])
    two = CapabilityTable([Entry("c", "d", Role("state")), Entry("a", "b", activity())])
    assert one == two
    assert hash(one) == hash(two)
    assert one != CapabilityTable([Entry("a", "b", activity(stop="done")), Entry("c", "d", Role("state"))])
    assert CapabilityTable.default() is TABLE
    assert TABLE.extended([]) == TABLE
    assert one != "table"


def test_pickle() -> None:
    own = TABLE.extended([Entry("a", "b", activity(), "ours")])
    assert pickle.loads(pickle.dumps(own)) == own
    assert pickle.loads(pickle.dumps(TABLE)) is TABLE
    assert len(pickle.dumps(TABLE)) < 200, "every worker has the default already"


def test_pickle_into_a_process_with_other_string_hashes() -> None:
    own = CapabilityTable([Entry("a", "b", activity())])
    code = (
        "import pickle, sys\n"
        "from thingbeam.transforms.capabilities import CapabilityTable, Entry\n"
        "from thingbeam.transforms.rules.roles import Role\n"
        "table = pickle.loads(sys.stdin.buffer.read())\n"
        "same = CapabilityTable([Entry('a', 'b', Role('activity', frozenset({'on'}), frozenset({'off'})))])\n"
        "assert table == same and hash(table) == hash(same)\n"
    )
    source = Path(__file__).resolve().parents[3] / "src"
    subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(own),
        env={"PYTHONPATH": str(source), "PYTHONHASHSEED": "12345", "PATH": ""},
        check=True,
    )
