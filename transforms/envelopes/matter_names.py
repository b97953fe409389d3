"""Names and units of Matter's clusters, attributes and events, from numbers or from names as tools write them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final

__all__ = ["Attribute", "Cluster", "cluster_of", "hex_name"]

_GLOBAL: Final = {
    0xFFF8: "GeneratedCommandList",
    0xFFF9: "AcceptedCommandList",
    0xFFFA: "EventList",
    0xFFFB: "AttributeList",
    0xFFFC: "FeatureMap",
    0xFFFD: "ClusterRevision",
}
"""The attributes that every cluster has (Matter Core Specification 7.13)."""


@dataclass(frozen=True)
class Attribute:
    """An attribute's name, the unit the standard gives it, and the names of its struct's members."""

    name: str
    unit: str | None = None
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cluster:
    """A cluster's name and what is known of its attributes and events."""

    name: str
    attributes: dict[int, Attribute] = field(default_factory=dict)
    events: dict[int, str] = field(default_factory=dict)
    by_name: dict[str, Attribute] = field(default_factory=dict)

    def attribute(self, key: str) -> Attribute:
        """The attribute of a number in decimal digits, or of a name in any case: `0`, `onOff`, `OnOff`.

        >>> cluster_of("6").attribute("onOff").name, cluster_of("6").attribute("16384").name
        ('OnOff', 'GlobalSceneControl')
        >>> cluster_of("6").attribute("9999").name, cluster_of("Fancy").attribute("newThing").name
        ('0x270F', 'NewThing')
        """
        if is_number(key):
            number = int(key)
            return self.attributes.get(number) or Attribute(_GLOBAL.get(number) or hex_name(number))
        return self.by_name.get(key.lower()) or Attribute(key[:1].upper() + key[1:])

    def event(self, number: int) -> str:
        """The name of an event, or its number in hexadecimal."""
        return self.events.get(number) or hex_name(number)


def is_number(key: str) -> bool:
    """Whether a key is a cluster's, attribute's or endpoint's number."""
    return key.isascii() and key.isdigit() and len(key) <= 10


def hex_name(number: int) -> str:
    """The name of what has none.

    >>> hex_name(6), hex_name(0x130AFC01)
    ('0x0006', '0x130AFC01')
    """
    return f"0x{number:04X}"


def cluster_of(key: str) -> Cluster:
    """The cluster of a number in decimal digits, or of a name; one that is not known has no attributes.

    >>> cluster_of("1026").name, cluster_of("Basic").name, cluster_of("64512").name, cluster_of("onOff").name
    ('TemperatureMeasurement', 'BasicInformation', '0xFC00', 'OnOff')
    """
    numbers, names = _clusters()
    if is_number(key):
        return numbers.get(int(key)) or Cluster(hex_name(int(key)))
    return names.get(key.lower()) or Cluster(key[:1].upper() + key[1:])


@cache
def _clusters() -> tuple[dict[int, Cluster], dict[str, Cluster]]:
    text = (files("thingbeam.transforms.envelopes") / "matter_clusters.toml").read_text(encoding="utf-8")
    numbers: dict[int, Cluster] = {}
    names: dict[str, Cluster] = {}
    for name, entry in tomllib.loads(text).items():
        cluster = _cluster(name, entry)
        numbers[entry["id"]] = cluster
        for spelling in (name, *entry.get("aliases", ())):
            names[spelling.lower()] = cluster
    return numbers, names


def _cluster(name: str, entry: dict[str, Any]) -> Cluster:
    structs: dict[str, list[str]] = entry.get("structs", {})
    attributes: dict[int, Attribute] = {}
    for number, attribute, *unit in entry.get("attributes", ()):
        attributes[number] = Attribute(attribute, unit[0] if unit else None, tuple(structs.get(attribute, ())))
    by_name = {attribute.name.lower(): attribute for attribute in attributes.values()}
    return Cluster(name, attributes, dict(entry.get("events", ())), by_name)
