"""What a run counted: every line and every event is accounted for.

`events` = `counted` + `duplicates` + `late` + `ignored`, in every run. A line may hold many events, or be wrong in
parts, so lines add up by themselves: `lines` = those with events + `failed_lines` (of which nothing came but dead
letters) + `empty_lines` (understood, but without an event). What could not even be read as a line (one that is too
long, the end of a file that was cut, a damaged block, a file of another schema) counts as one line that failed, has
one dead letter, and is in `unread_lines` too. So where each line is one event or one mistake,
`lines` = `counted` + `duplicates` + `late` + `ignored` + `dead_letters`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import MetricsFilter

from thingbeam.io.files.paths import join, write_file
from thingbeam.transforms.sharding import NAMESPACE

__all__ = ["ACCOUNT_NAME", "account_of", "balance", "lag_of", "with_rows", "write_account", "write_to", "written_of"]

ACCOUNT_NAME: Final = "account.json"
_COUNTS: Final[tuple[str, ...]] = (
    "lines", "failed_lines", "empty_lines", "events", "counted", "duplicates", "late", "ignored", "dead_letters",
    "stops_without_start", "tombstones", "refused", "suppressed",
)  # fmt: skip
_WRITTEN: Final = "written/"
_FATES: Final = ("counted", "duplicates", "late", "ignored")


def account_of(metrics: Any) -> dict[str, int]:
    """The counters of a run, by name; 0 for those that never counted.

    Args:
        metrics: what `result.metrics()` of a pipeline's result gave.
    """
    counts: dict[str, int] = dict.fromkeys(_COUNTS, 0)
    for name, count in _counters(metrics):
        if name in counts:
            counts[name] += count
    return counts


def written_of(metrics: Any, outputs: int, kinds: Sequence[str]) -> list[dict[str, int]]:
    """For each output the rows of each kind that it said it has."""
    found = [dict.fromkeys(kinds, 0) for _ in range(outputs)]
    for name, count in _counters(metrics):
        if name.startswith(_WRITTEN):
            _, number, kind = name.split("/")
            found[int(number)][kind] += count
    return found


def lag_of(metrics: Any) -> tuple[int, float] | None:
    """How far the streams that are read are behind: records of all, seconds of the slowest; None where none is read."""
    gauges = metrics.query(MetricsFilter())["gauges"]
    records: list[int] = []
    seconds = [0.0]
    for gauge in gauges:
        name, value = gauge.key.metric.name, gauge.result.value
        if value is None:
            continue
        if name.startswith("lag_records/"):
            records.append(int(value))
        elif name.startswith("lag_ms/"):
            seconds.append(value / 1000)
    return (sum(records), max(seconds)) if records else None


def _counters(metrics: Any) -> Iterator[tuple[str, int]]:
    for counter in metrics.query(MetricsFilter().with_namespace(NAMESPACE))["counters"]:
        yield counter.key.metric.name, int(counter.result or 0)


def with_rows(counts: Mapping[str, int], rows: Mapping[str, int]) -> dict[str, int]:
    """An account with what the output of a run holds.

    Dead letters that neither a parser nor a sink counted are of what could not be read: each is a line that failed.

    Args:
        counts: of the parsers and rules, as `account_of` gives them.
        rows: rows that were written, by kind; those of `dead-letters` at least.

    >>> counts: dict[str, int] = dict.fromkeys(_COUNTS, 0) | {"lines": 9, "events": 9, "counted": 9}
    >>> found = with_rows(counts, {"dead-letters": 1, "usage": 4})
    >>> found["lines"], found["failed_lines"], found["unread_lines"], found["usage"], balance(found)
    (10, 1, 1, 4, None)
    """
    unread = rows["dead-letters"] - counts["dead_letters"] - counts.get("refused", 0)
    return {
        **counts,
        "lines": counts["lines"] + unread,
        "failed_lines": counts["failed_lines"] + unread,
        "dead_letters": rows["dead-letters"],
        "unread_lines": unread,
        **{kind: count for kind, count in rows.items() if kind not in ("dead-letters", "late")},
    }


def balance(counts: Mapping[str, int]) -> str | None:
    """What is wrong with an account; None where every line and event is accounted for.

    >>> balance(dict.fromkeys(_COUNTS, 0) | {"lines": 9, "events": 10, "counted": 7, "duplicates": 1, "late": 1})
    '10 events came, but 9 are accounted for: 7 counted + 1 duplicates + 1 late + 0 ignored'
    """
    total = sum(counts[name] for name in _FATES)
    if counts["events"] != total:
        shown = " + ".join(f"{counts[name]} {name}" for name in _FATES)
        return f"{counts['events']} events came, but {total} are accounted for: {shown}"
    missing = -counts.get("unread_lines", 0)
    if missing > 0:
        return f"{counts['dead_letters'] + missing} dead letters were made, but {counts['dead_letters']} are written"
    if counts["failed_lines"] > counts["dead_letters"]:
        return f"{counts['failed_lines']} lines failed, but there are only {counts['dead_letters']} dead letters"
    whole = counts["lines"] - counts["failed_lines"] - counts["empty_lines"]
    if not 0 <= whole <= counts["events"]:
        return (
            f"{counts['lines']} lines came, {counts['failed_lines']} failed and {counts['empty_lines']} were empty; "
            f"{counts['events']} events cannot be in the other {whole}"
        )
    return None


def write_account(directory: str, counts: Mapping[str, int], about: Mapping[str, Any], seconds: float) -> str:
    """Write the account beside the results; returns its path."""
    return write_to(join(directory, ACCOUNT_NAME), counts, about, seconds)


def write_to(path: str, counts: Mapping[str, int], about: Mapping[str, Any], seconds: float) -> str:
    """Write the account to a file, in the place of an older one; returns its path."""
    ended = datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    document = {**counts, **about, "ended": ended, "seconds": round(seconds, 3)}
    if FileSystems.exists(path):
        FileSystems.delete([path])
    write_file(path, json.dumps(document, indent=2).encode() + b"\n")
    return path
