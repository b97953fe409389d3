#!/usr/bin/env python3
"""Count the attributes with a value in device states and Matter node dumps, apart from thingbeam's own parser.

usage: count_snapshot_events.py FILE... > counts.json

Prints a JSON object of file names and counts. Needs only Python; imports nothing of thingbeam, for the tests hold its
parser to these counts. An attribute has a value unless that is null, or is what the Matter SDK writes where it could
not decode one: {"TLVValue": null, "Reason": "…"}. A whole cluster that did not decode has its attributes, by number,
under TLVValue. `_type` is a remark of the tool that wrote the dump, not an attribute.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def undecoded(value: Any) -> bool:
    return isinstance(value, dict) and sorted(value) == ["Reason", "TLVValue"]


def smartthings_values(document: dict[str, Any]) -> Iterator[Any]:
    for capabilities in document["components"].values():
        for attributes in capabilities.values():
            for attribute in attributes.values():
                yield attribute.get("value")


def matter_values(document: dict[str, Any]) -> Iterator[Any]:
    for key, member in document["attributes"].items():
        if key.count("/") == 2:
            yield member
            continue
        for cluster in member.values():
            attributes = cluster["TLVValue"] if undecoded(cluster) else cluster
            for name in attributes.keys() - {"_type"}:
                value = attributes[name]
                yield value["TLVValue"] if undecoded(value) else value


def count(document: dict[str, Any]) -> int:
    values = smartthings_values(document) if "components" in document else matter_values(document)
    return sum(value is not None for value in values)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    counts = {Path(name).name: count(json.loads(Path(name).read_bytes())) for name in sys.argv[1:]}
    print(json.dumps(counts, indent=2))
