"""What the page draws, as arrays: lanes of activities, and per device the series of usage and sessions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thingbeam.pipelines.report.load import Results, milliseconds

__all__ = [
    "Doing",
    "Lane",
    "Measurement",
    "MeterDays",
    "SeriesKey",
    "SessionDays",
    "StateDays",
    "lanes",
    "measurements",
    "meter_days",
    "session_days",
    "span",
    "state_days",
]

Floats = npt.NDArray[np.float64]


class SeriesKey(NamedTuple):
    """What a series of usage is of."""

    device_id: str
    component: str
    capability: str
    attribute: str
    period: str


class Doing(NamedTuple):
    """One activity. Times in milliseconds since 1970 UTC; end is NaN while it runs."""

    start: float
    end: float
    start_local: str
    closed_by: str | None
    final: bool


@dataclass(frozen=True)
class Lane:
    """What one capability of one device did, in order of time."""

    device_id: str
    component: str
    capability: str
    done: list[Doing]


@dataclass(frozen=True)
class Measurement:
    """A measured series.

    Attributes:
        start, end: of each period, in milliseconds since 1970 UTC, ascending.
        start_local: the start on the home's clock.
        low, mean, high: over each period; NaN where there is none.
        by_day: whether the periods were joined to local days.
    """

    key: SeriesKey
    unit: str
    start: Floats
    end: Floats
    start_local: list[str]
    low: Floats
    mean: Floats
    high: Floats
    by_day: bool = False


@dataclass(frozen=True)
class MeterDays:
    """A meter's growth in each local day that has one."""

    key: SeriesKey
    unit: str
    days: list[date]
    growth: Floats


@dataclass(frozen=True)
class StateDays:
    """Seconds in each state in each local day, the states that held longest first, and in all others together."""

    key: SeriesKey
    days: list[date]
    seconds: dict[str, Floats]
    other: Floats | None
    changes: int


@dataclass(frozen=True)
class SessionDays:
    """One device's sessions by the local day in which they began."""

    device_id: str
    days: list[date]
    sessions: npt.NDArray[np.int64]
    events: npt.NDArray[np.int64]


def span(results: Results) -> tuple[float, float] | None:
    """The first and last instant of the results in milliseconds since 1970 UTC; None where there are none."""
    columns = [
        (results.activities, ("start", "end")),
        (results.sessions, ("start", "last")),
        (results.usage, ("start", "end")),
    ]
    found = [milliseconds(table.column(name)) for table, names in columns if table.num_rows for name in names]
    values = np.concatenate(found) if found else np.empty(0)
    values = values[~np.isnan(values)]
    return (float(values.min()), float(values.max())) if len(values) else None


def _of(table: pa.Table, devices: Sequence[str]) -> pa.Table:
    return table.filter(pc.field("device_id").isin(list(devices)))


def lanes(results: Results, devices: Sequence[str], most: int) -> tuple[list[Lane], int]:
    """The activities of some devices, a lane for each capability.

    Args:
        results: what was loaded.
        devices: the ids, in the order that the lanes shall have.
        most: how many activities at most; the latest are taken.

    Returns:
        The lanes, and how many activities were left out.
    """
    table = _of(results.activities, devices)
    left_out = max(table.num_rows - most, 0)
    if left_out:
        table = table.sort_by([("start", "descending")]).slice(0, most)
    found: dict[tuple[str, str, str], list[Doing]] = {}
    rows = zip(
        zip(*(table.column(c).to_pylist() for c in ("device_id", "component", "capability")), strict=True),
        milliseconds(table.column("start")).tolist(),
        milliseconds(table.column("end")).tolist(),
        table.column("start_local").to_pylist(),
        table.column("closed_by").to_pylist(),
        table.column("final").to_pylist(),
        strict=True,
    )
    for name, *values in rows:
        found.setdefault(name, []).append(Doing(*values))
    rank = {device: at for at, device in enumerate(devices)}
    ordered = sorted(found.items(), key=lambda item: (rank[item[0][0]], item[0]))
    return [Lane(*name, done=sorted(done)) for name, done in ordered], left_out


def _series(results: Results, devices: Sequence[str], role: str, most: int) -> Iterator[tuple[SeriesKey, pa.Table]]:
    table = _of(results.usage, devices).filter(pc.field("role") == role)
    names = [table.column(c).to_pylist() for c in SeriesKey._fields]
    places: dict[SeriesKey, list[int]] = {}
    for at, name in enumerate(zip(*names, strict=True)):
        places.setdefault(SeriesKey(*name), []).append(at)
    counts = np.asarray(table.column("count").to_numpy(), dtype=np.int64)
    rank = {device: at for at, device in enumerate(devices)}
    taken = dict.fromkeys(devices, 0)
    for key in sorted(places, key=lambda k: (rank[k.device_id], -int(counts[places[k]].sum()), k)):
        if taken[key.device_id] < most:
            taken[key.device_id] += 1
            rows = table.take(pa.array(places[key]))
            yield key, rows.sort_by("start")


def _unit(rows: pa.Table) -> str:
    units = [unit for unit in rows.column("unit").to_pylist() if unit]
    return units[-1] if units else ""


def _floats(rows: pa.Table, column: str) -> Floats:
    return np.asarray(rows.column(column).cast(pa.float64()).to_numpy(), dtype=np.float64)


def _days(local: list[str]) -> tuple[list[date], npt.NDArray[np.intp]]:
    names, places = np.unique(np.asarray([text[:10] for text in local]), return_inverse=True)
    return [date.fromisoformat(str(name)) for name in names], np.asarray(places, dtype=np.intp)


def measurements(results: Results, devices: Sequence[str], most: int, points: int) -> list[Measurement]:
    """The measured series of some devices.

    Args:
        results: what was loaded.
        devices: the ids, the first first.
        most: how many series a device may have; those with the most events are taken.
        points: where all of them together have more periods than this, each is joined to local days.
    """
    found = []
    for key, rows in _series(results, devices, "measurement", most):
        start, end = milliseconds(rows.column("start")), milliseconds(rows.column("end"))
        low, mean, high = (_floats(rows, c) for c in ("min", "mean", "max"))
        found.append(Measurement(key, _unit(rows), start, end, rows.column("start_local").to_pylist(), low, mean, high))
    if sum(len(m.start) for m in found) <= points:
        return found
    return [_by_day(m) for m in found]


def _by_day(hours: Measurement) -> Measurement:
    days = np.asarray([text[:10] for text in hours.start_local])
    firsts = np.flatnonzero(np.append(True, days[1:] != days[:-1]))
    weight = np.where(np.isnan(hours.mean), 0.0, hours.end - hours.start)
    held = np.add.reduceat(weight, firsts)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.add.reduceat(weight * np.nan_to_num(hours.mean), firsts) / held
    return Measurement(
        key=hours.key,
        unit=hours.unit,
        start=hours.start[firsts],
        end=hours.end[np.append(firsts[1:] - 1, len(hours.end) - 1)],
        start_local=[hours.start_local[at] for at in firsts],
        low=np.fmin.reduceat(hours.low, firsts),
        mean=mean,
        high=np.fmax.reduceat(hours.high, firsts),
        by_day=True,
    )


def meter_days(results: Results, devices: Sequence[str], most: int) -> list[MeterDays]:
    """The meters of some devices, at most `most` of each, by local day."""
    found = []
    for key, rows in _series(results, devices, "meter", most):
        days, places = _days(rows.column("start_local").to_pylist())
        growth = np.zeros(len(days))
        np.add.at(growth, places, np.nan_to_num(_floats(rows, "change")))
        found.append(MeterDays(key, _unit(rows), days, growth))
    return found


def state_days(results: Results, devices: Sequence[str], most: int, states: int) -> list[StateDays]:
    """The states of some devices, at most `most` series of each, by local day.

    Args:
        results: what was loaded.
        devices: the ids, the first first.
        most: how many series a device may have.
        states: how many states a series may show; the shortest beyond them are joined.
    """
    found = []
    for key, rows in _series(results, devices, "state", most):
        days, places = _days(rows.column("start_local").to_pylist())
        seconds: dict[str, Floats] = {}
        for place, held in zip(places.tolist(), rows.column("seconds_in_state").to_pylist(), strict=True):
            for state, length in dict(held or ()).items():
                seconds.setdefault(state, np.zeros(len(days)))[place] += length
        if not seconds:
            continue
        ranked = sorted(seconds, key=lambda s: (-float(seconds[s].sum()), s))
        shown = {state: seconds[state] for state in ranked[: states - 1 if len(ranked) > states else states]}
        rest = [seconds[state] for state in ranked[len(shown) :]]
        other = np.sum(rest, axis=0) if rest else None
        found.append(StateDays(key, days, shown, other, int(_floats(rows, "changes").sum())))
    return found


def session_days(results: Results, devices: Sequence[str]) -> list[SessionDays]:
    """The sessions of some devices by local day."""
    table = _of(results.sessions, devices)
    owners = np.asarray(table.column("device_id").to_pylist(), dtype=object)
    local = np.asarray(table.column("start_local").to_pylist(), dtype=object)
    counts = np.asarray(table.column("count").to_numpy(), dtype=np.int64)
    found = []
    for device in devices:
        mine = owners == device
        if mine.any():
            days, places = _days(local[mine].tolist())
            events = np.bincount(places, weights=counts[mine], minlength=len(days)).astype(np.int64)
            found.append(SessionDays(device, days, np.bincount(places, minlength=len(days)), events))
    return found
