"""The rules of docs/semantics.md, one event at a time: the simplest way to read them, and what columnar code must give.

Plain Python without pipelines or columns. `sift` a bounded input first; then feed what it counted to the other rules.
"""

from __future__ import annotations

from thingbeam.transforms.rules.activities import ActivityTracker
from thingbeam.transforms.rules.deduplicate import Deduplicator, Sifted, sift
from thingbeam.transforms.rules.order import id_key, payload_hash, rule_order
from thingbeam.transforms.rules.periods import Period, ZoneOf, bounds, local_text, utc_zone
from thingbeam.transforms.rules.roles import Role, RoleOf, has_attribute, is_ignored, number_of, number_text, state_text
from thingbeam.transforms.rules.sessions import Sessionizer
from thingbeam.transforms.rules.usage import UsageStatistics

__all__ = [
    "ActivityTracker",
    "Deduplicator",
    "Period",
    "Role",
    "RoleOf",
    "Sessionizer",
    "Sifted",
    "UsageStatistics",
    "ZoneOf",
    "bounds",
    "has_attribute",
    "id_key",
    "is_ignored",
    "local_text",
    "number_of",
    "number_text",
    "payload_hash",
    "rule_order",
    "sift",
    "state_text",
    "utc_zone",
]
