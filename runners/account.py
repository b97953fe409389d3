"""What a run counted: every event is accounted for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import MetricsFilter

from thingbeam.io.files.paths import join, write_file
from thingbeam.transforms.sharding import NAMESPACE

__all__ = ["ACCOUNT_NAME", "account_of", "balance", "write_account"]

ACCOUNT_NAME: Final = "account.json"
_COUNTS: Final = (
    "lines", "events", "counted", "duplicates", "late", "ignored", "dead_letters", "failed_lines",
    "stops_without_start",
)  # fmt: skip


def account_of(result: Any) -> dict[str, int]:
    """The counters of a finished run, by name; 0 for those that never counted.

    Args:
        result: what `pipeline.run()` gave.
    """
    found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    counts = dict.fromkeys(_COUNTS, 0)
    for counter in found:
        name = counter.key.metric.name
        if name in counts:
            counts[name] += int(counter.result)
    return counts


def balance(counts: Mapping[str, int]) -> str | None:
    """What is wrong with an account; None where every event is accounted for.

    Events = counted + duplicates + late + ignored. Where each line holds one event, this is the same as
    lines = counted + duplicates + late + ignored + dead letters.

    >>> balance({"events": 10, "counted": 7, "duplicates": 1, "late": 1, "ignored": 0})
    '10 events came, but 9 are accounted for (7 counted + 1 duplicates + 1 late + 0 ignored)'
    """
    parts = {name: counts[name] for name in ("counted", "duplicates", "late", "ignored")}
    total = sum(parts.values())
    if counts["events"] == total:
        return None
    shown = " + ".join(f"{count} {name}" for name, count in parts.items())
    return f"{counts['events']} events came, but {total} are accounted for ({shown})"


def write_account(directory: str, counts: Mapping[str, int], about: Mapping[str, Any], seconds: float) -> str:
    """Write the account beside the results; returns its path."""
    ended = datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    document = {**counts, **about, "ended": ended, "seconds": round(seconds, 3)}
    path = join(directory, ACCOUNT_NAME)
    if FileSystems.exists(path):
        FileSystems.delete([path])
    write_file(path, json.dumps(document, indent=2).encode() + b"\n")
    return path
