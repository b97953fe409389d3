"""What happens to it: reusable PTransforms."""

from __future__ import annotations

from thingbeam.transforms.capabilities import CapabilityTable
from thingbeam.transforms.history import (
    Activities,
    Deduplicate,
    DeviceHistory,
    HistoryResults,
    Sessions,
    UsageByHour,
    WindowedResults,
)
from thingbeam.transforms.parse import ParsedEvents, ParseEvents
from thingbeam.transforms.zones import HomeZones

__all__ = [
    "Activities",
    "CapabilityTable",
    "Deduplicate",
    "DeviceHistory",
    "HistoryResults",
    "HomeZones",
    "ParseEvents",
    "ParsedEvents",
    "Sessions",
    "UsageByHour",
    "WindowedResults",
]
