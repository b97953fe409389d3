from __future__ import annotations

import pytest

from thingbeam.transforms.envelopes.matter_names import _clusters, cluster_of


# Matter Application Cluster Specification 1.4: clusters by number, and the attributes that this library stands on.
@pytest.mark.parametrize(
    ("path", "cluster", "attribute", "unit"),
    [
        ("6/0", "OnOff", "OnOff", None),
        ("8/0", "LevelControl", "CurrentLevel", None),
        ("40/5", "BasicInformation", "NodeLabel", None),
        ("47/12", "PowerSource", "BatPercentRemaining", "0.5 %"),
        ("69/0", "BooleanState", "StateValue", None),
        ("96/4", "OperationalState", "OperationalState", None),
        ("97/4", "RvcOperationalState", "OperationalState", None),
        ("144/8", "ElectricalPowerMeasurement", "ActivePower", "mW"),
        ("144/4", "ElectricalPowerMeasurement", "Voltage", "mV"),
        ("145/1", "ElectricalEnergyMeasurement", "CumulativeEnergyImported", "mWh"),
        ("257/0", "DoorLock", "LockState", None),
        ("258/14", "WindowCovering", "CurrentPositionLiftPercent100ths", "0.01 %"),
        ("513/0", "Thermostat", "LocalTemperature", "0.01 °C"),
        ("513/28", "Thermostat", "SystemMode", None),
        ("514/3", "FanControl", "PercentCurrent", "%"),
        ("768/7", "ColorControl", "ColorTemperatureMireds", "mired"),
        ("1026/0", "TemperatureMeasurement", "MeasuredValue", "0.01 °C"),
        ("1029/0", "RelativeHumidityMeasurement", "MeasuredValue", "0.01 %"),
        ("1030/0", "OccupancySensing", "Occupancy", None),
        ("29/65533", "Descriptor", "ClusterRevision", None),
        ("64513/65532", "0xFC01", "FeatureMap", None),
        ("6/7", "OnOff", "0x0007", None),
    ],
)
def test_numbers(path: str, cluster: str, attribute: str, unit: str | None) -> None:
    cluster_key, attribute_key = path.split("/")
    found = cluster_of(cluster_key)
    assert (found.name, found.attribute(attribute_key).name) == (cluster, attribute)
    assert found.attribute(attribute_key).unit == unit


@pytest.mark.parametrize("spelling", ["OnOff", "onOff", "onoff", "6"])
def test_spellings(spelling: str) -> None:
    assert cluster_of(spelling).name == "OnOff"
    assert cluster_of("6").attribute(spelling if spelling != "6" else "0").name == "OnOff"


def test_a_cluster_by_its_old_name() -> None:
    assert cluster_of("Basic") is cluster_of("BasicInformation") is cluster_of("40")


def test_events() -> None:
    assert [cluster_of("59").event(number) for number in (1, 6, 99)] == ["InitialPress", "MultiPressComplete", "0x0063"]


def test_every_cluster_has_one_number_and_every_attribute_one_name() -> None:
    numbers, names = _clusters()
    assert len({cluster.name for cluster in numbers.values()}) == len(numbers)
    assert {cluster.name for cluster in numbers.values()} == {cluster.name for cluster in names.values()}
    for cluster in numbers.values():
        assert len(cluster.by_name) == len(cluster.attributes)
        assert all(name[:1].isupper() for name in (cluster.name, *(a.name for a in cluster.attributes.values())))
