"""Matter, as python-matter-server writes it: messages of changes, and whole nodes in numbers or in names.

Source: https://github.com/matter-js/python-matter-server (docs/websockets_api.md and matter_server/common/models.py).
An attribute's path is endpoint/cluster/attribute, in decimal numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from thingbeam.schemas import codes
from thingbeam.schemas.records import Event
from thingbeam.transforms.envelopes.build import build_event
from thingbeam.transforms.envelopes.context import Reading
from thingbeam.transforms.envelopes.errors import Failure, ParseError
from thingbeam.transforms.envelopes.fields import (
    attempt,
    child,
    event_time,
    is_array,
    is_object,
    json_type,
    required_array,
    required_object,
)
from thingbeam.transforms.envelopes.matter_names import cluster_of, is_number
from thingbeam.transforms.envelopes.smartthings import HEALTH_CAPABILITY, LIFECYCLE_CAPABILITY

__all__ = ["read", "recognises"]

MATTER_ATTRIBUTE: Final = "MATTER_ATTRIBUTE"
MATTER_EVENT: Final = "MATTER_EVENT"

_EPOCH_TIMESTAMP: Final = 1
"""Of the two kinds of event timestamps this one counts milliseconds since 1970; the other, since the node's boot."""
_FAILED: Final = {"TLVValue", "Reason"}
"""The members of what the Matter SDK writes in the place of a value it could not decode."""


def recognises(document: dict[str, object]) -> bool:
    """Whether a document looks like a message or a node dump of a Matter server."""
    return (
        ("event" in document and "data" in document)
        or ("attributes" in document and ("node_id" in document or is_object(document["attributes"])))
        or ("message_id" in document and _nodes_of(document.get("result")) is not None)
    )


def read(document: dict[str, object], path: str, reading: Reading) -> Iterator[Event | Failure]:
    """The events of one document that `recognises` said yes to."""
    if "event" in document:
        yield from _message(document, path, reading)
    elif "attributes" in document:
        yield from _node(document, path, reading)
    else:
        # The answer to start_listening or get_nodes.
        result = document.get("result")
        place = child(path, "result")
        for index, node in enumerate(_nodes_of(result) or ()):
            yield from _node(node, f"{place}[{index}]" if is_array(result) else place, reading)


def _nodes_of(result: object) -> list[dict[str, object]] | None:
    """The nodes in an answer, or None where it holds anything else."""
    members = result if is_array(result) else [result]
    nodes = [member for member in members if is_object(member) and "node_id" in member and "attributes" in member]
    return nodes if len(nodes) == len(members) else None


def _message(document: dict[str, object], path: str, reading: Reading) -> Iterator[Event | Failure]:
    name = document.get("event")
    if name == "attribute_updated":
        yield from attempt(_attribute_updated, document, path, reading)
    elif name == "node_event":
        yield from attempt(_node_event, document, path, reading)
    elif name in ("node_added", "node_updated"):
        try:
            node = required_object(document, "data")
        except ParseError as error:
            yield Failure.of(error, path)
        else:
            yield from _node(node, child(path, "data"), reading)
    elif name == "node_removed":
        yield from attempt(_node_removed, document, path, reading)
    else:
        yield from attempt(_as_itself, document, path, reading)


def _number(value: object, name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if value is None:
        raise ParseError(codes.MISSING_FIELD, f"{name} is missing")
    raise ParseError(codes.WRONG_TYPE, f"{name} is {json_type(value)}, not a whole number from 0")


def _device(value: object) -> str:
    return f"matter-{_number(value, 'node_id')}"


def _attribute_event(
    device_id: str, endpoint: str, cluster_key: str, key: str, value: object, path: str, reading: Reading
) -> Event:
    """An attribute's value; every way to write the same attribute gives the same names and id."""
    cluster = cluster_of(cluster_key)
    attribute = cluster.attribute(key)
    if attribute.members and is_object(value):
        value = {_member(attribute.members, member): inner for member, inner in value.items()}
    time = event_time(None, "event_time", reading)
    return build_event(
        reading,
        path,
        value,
        time,
        MATTER_ATTRIBUTE,
        device_id,
        value,
        component=endpoint,
        capability=cluster.name,
        attribute=attribute.name,
        unit=attribute.unit,
    )


def _member(members: tuple[str, ...], key: str) -> str:
    return members[int(key)] if is_number(key) and int(key) < len(members) else key


def _path_parts(path: object) -> tuple[str, str, str]:
    parts = path.split("/") if isinstance(path, str) else []
    if len(parts) != 3 or not all(is_number(part) for part in parts):
        raise ParseError(codes.WRONG_TYPE, "an attribute's path is not endpoint/cluster/attribute in numbers")
    endpoint, cluster, attribute = (str(int(part)) for part in parts)
    return endpoint, cluster, attribute


def _attribute_updated(document: dict[str, object], path: str, reading: Reading) -> Iterator[Event]:
    data = required_array(document, "data")
    if len(data) != 3:
        raise ParseError(codes.WRONG_TYPE, f"data has {len(data)} members, not node_id, path and value")
    endpoint, cluster, attribute = _path_parts(data[1])
    yield _attribute_event(_device(data[0]), endpoint, cluster, attribute, data[2], path, reading)


def _node_event(document: dict[str, object], path: str, reading: Reading) -> Iterator[Event]:
    data = required_object(document, "data")
    device_id = _device(data.get("node_id"))
    endpoint = _number(data.get("endpoint_id"), "endpoint_id")
    cluster = cluster_of(str(_number(data.get("cluster_id"), "cluster_id")))
    name = cluster.event(_number(data.get("event_id"), "event_id"))
    said = data.get("timestamp") if data.get("timestamp_type") == _EPOCH_TIMESTAMP else None
    yield build_event(
        reading,
        path,
        data,
        event_time(said, "timestamp", reading),
        MATTER_EVENT,
        device_id,
        data.get("data"),
        component=str(endpoint),
        capability=cluster.name,
        attribute=name,
    )


def _node_removed(document: dict[str, object], path: str, reading: Reading) -> Iterator[Event]:
    device_id = _device(document.get("data"))
    time = event_time(None, "event_time", reading)
    capability, attribute = LIFECYCLE_CAPABILITY
    yield build_event(
        reading,
        path,
        document,
        time,
        "DEVICE_LIFECYCLE_EVENT",
        device_id,
        "DELETE",
        capability=capability,
        attribute=attribute,
    )


def _as_itself(document: dict[str, object], path: str, reading: Reading) -> Iterator[Event]:
    """A message of which nothing is demanded: endpoint_added, server_shutdown, and what is not known yet."""
    name = document.get("event")
    if not isinstance(name, str) or not name:
        raise ParseError(codes.WRONG_TYPE, f"event is {json_type(name)}, not the name of a message")
    data = document.get("data")
    node_id = data.get("node_id") if is_object(data) else None
    device_id = f"matter-{node_id}" if isinstance(node_id, int) and not isinstance(node_id, bool) else None
    time = event_time(None, "event_time", reading)
    yield build_event(reading, path, document, time, f"MATTER_{name.upper()}", device_id, data)


def _node(node: dict[str, object], path: str, reading: Reading) -> Iterator[Event | Failure]:
    """A whole node: whether it can be reached, where that is said, and each attribute that has a value."""
    try:
        device_id = _device(node.get("node_id"))
        attributes = required_object(node, "attributes")
    except ParseError as error:
        yield Failure.of(error, path)
        return
    if node.get("available") is not None:
        yield from attempt(partial(_availability, device_id), node, path, reading)
    place = child(path, "attributes")
    for key, member in attributes.items():
        here = child(place, key)
        if "/" in key:
            yield from _one(device_id, None, key, member, here, reading)
        elif not is_object(member):
            yield Failure(codes.WRONG_TYPE, "an endpoint is no object", here)
        else:
            for cluster_key, cluster in member.items():
                yield from _cluster(device_id, key, cluster_key, cluster, child(here, cluster_key), reading)


def _availability(device_id: str, node: dict[str, object], path: str, reading: Reading) -> Iterator[Event]:
    available = node.get("available")
    if not isinstance(available, bool):
        raise ParseError(codes.WRONG_TYPE, f"available is {json_type(available)}, not a boolean")
    time = event_time(None, "event_time", reading)
    capability, attribute = HEALTH_CAPABILITY
    value = "ONLINE" if available else "OFFLINE"
    yield build_event(
        reading,
        path,
        {"available": available},
        time,
        "DEVICE_HEALTH_EVENT",
        device_id,
        value,
        capability=capability,
        attribute=attribute,
    )


def _cluster(
    device_id: str, endpoint: str, cluster_key: str, cluster: object, path: str, reading: Reading
) -> Iterator[Event | Failure]:
    if is_object(cluster) and set(cluster) == _FAILED and is_object(cluster["TLVValue"]):
        # A cluster that did not decode as a whole: its attributes are there by number, some of them decoded.
        path = child(path, "TLVValue")
        cluster = cluster["TLVValue"]
    if not is_object(cluster):
        yield Failure(codes.WRONG_TYPE, "a cluster is no object", path)
        return
    for key, value in cluster.items():
        if key != "_type":
            yield from _one(device_id, (endpoint, cluster_key), key, value, child(path, key), reading)


def _one(
    device_id: str, inside: tuple[str, str] | None, key: str, value: object, path: str, reading: Reading
) -> Iterator[Event | Failure]:
    """One attribute, inside an endpoint and a cluster or by its whole path; nothing where it has no value."""
    if value is None or (is_object(value) and set(value) == _FAILED and value["TLVValue"] is None):
        return

    def make(holder: dict[str, object], path: str, reading: Reading) -> Iterator[Event]:
        endpoint, cluster, attribute = _path_parts(key) if inside is None else (*inside, key)
        yield _attribute_event(device_id, endpoint, cluster, attribute, holder["value"], path, reading)

    yield from attempt(make, {"value": value}, path, reading)
