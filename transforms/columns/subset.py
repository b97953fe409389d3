"""Parts of a shard's state: that of some devices, that of all but some, and parts put together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from thingbeam.schemas.names import mix
from thingbeam.transforms.columns.closing import Columns

__all__ = ["join_rules", "take_devices", "without_devices"]

_SCALARS = ("until", "edge")
_LIVE = ("live_high", "live_low", "live_time", "live_ended")
_SECONDS = ("seconds_of", "seconds_state", "seconds")

Rules = dict[str, Columns]


def take_devices(rules: Rules, devices: Iterable[int]) -> Rules:
    """The state of the devices whose mixed words these are."""
    words = np.array(sorted(devices), np.uint64)
    return {name: _select(rule, words, inside=True) for name, rule in rules.items() if rule} if len(words) else {}


def without_devices(rules: Rules, devices: Iterable[int]) -> None:
    """Forget these devices."""
    words = np.array(sorted(devices), np.uint64)
    if len(words):
        for name, rule in rules.items():
            if rule:
                rules[name] = _select(rule, words, inside=False)


def join_rules(one: Rules, other: Rules) -> Rules:
    """The state of the devices of both; they have none in common."""
    joined: Rules = {}
    for name in {*one, *other}:
        parts = [part for part in (one.get(name), other.get(name)) if part]
        if not parts:
            joined[name] = {}
        elif len(parts) == 1:
            joined[name] = dict(parts[0])
        else:
            joined[name] = _concatenate(*parts)
    return joined


def _select(rule: Columns, words: Any, *, inside: bool) -> Columns:
    mask = np.isin(mix(rule["device_high"], rule["device_low"]), words) == inside
    selected: Columns = {}
    for name, column in rule.items():
        if name in _SCALARS:
            selected[name] = column
        elif name not in _LIVE and name not in _SECONDS:
            selected[name] = column[mask]
    if "live_high" in rule:
        live = np.isin(mix(rule["live_high"], rule["live_low"]), words) == inside
        selected |= {name: rule[name][live] for name in _LIVE}
    if "seconds_of" in rule:
        slot = np.cumsum(mask) - 1
        kept = mask[rule["seconds_of"]]
        selected |= {name: rule[name][kept] for name in _SECONDS}
        selected["seconds_of"] = slot[selected["seconds_of"]]
    return selected


def _concatenate(one: Columns, other: Columns) -> Columns:
    joined: Columns = {}
    for name in {*one, *other}:
        if name not in one or name not in other:
            joined[name] = one.get(name, other.get(name))
        elif name in _SCALARS:
            joined[name] = np.minimum(one[name], other[name])
        elif name == "seconds_of":
            joined[name] = np.concatenate((one[name], other[name] + len(one["time"])))
        else:
            joined[name] = np.concatenate((one[name], other[name]))
    return joined
