"""What a run left in its results directory, as tables that hold each key once, at its newest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from thingbeam.io import read_manifest, read_table
from thingbeam.io.files.manifest import MANIFEST_NAME
from thingbeam.io.files.paths import join, match_files, open_file, parent
from thingbeam.schemas.records import Activity, DeadLetter, Event, Session, Usage

__all__ = ["Account", "Results", "busiest", "load", "milliseconds", "newest"]

_RESULT: Final = re.compile(r".+\.(?:jsonl(?:\.gz|\.zst)?|avro|parquet)")
_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "activities": ("device_id", "component", "capability", "start"),
    "sessions": ("device_id", "start"),
    "usage": ("device_id", "component", "capability", "attribute", "role", "period", "start"),
}
_RECORDS: Final[dict[str, type[tuple[object, ...]]]] = {
    "activities": Activity,
    "sessions": Session,
    "usage": Usage,
    "late": Event,
    "dead-letters": DeadLetter,
}


class Account(msgspec.Struct, frozen=True):
    """What a run counted, as it wrote it to account.json. Every number is of the whole run."""

    lines: int = 0
    events: int = 0
    counted: int = 0
    duplicates: int = 0
    late: int = 0
    ignored: int = 0
    dead_letters: int = 0
    stops_without_start: int = 0
    activities: int = 0
    sessions: int = 0
    usage: int = 0
    input: str = ""
    timezone: str = "UTC"
    started: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Results:
    """One results directory.

    Attributes:
        directory: where it is.
        account: the run's own counts; None where it left none.
        finished: whether there is a manifest, which a run writes last.
        activities, sessions, usage: Arrow tables in the order of the record's fields, one row a key, no tombstones.
        late, dead_letters: Arrow tables of every row.
        rows: how many rows the files held, by kind, before older revisions and tombstones were left out.
    """

    directory: str
    account: Account | None
    finished: bool
    activities: pa.Table
    sessions: pa.Table
    usage: pa.Table
    late: pa.Table
    dead_letters: pa.Table
    rows: dict[str, int]


def load(directory: str) -> Results:
    """Read a results directory.

    Where manifest.json is there, only the files that it lists are read; else all whose names fit, since a run that is
    not finished has results too.

    Args:
        directory: what `thingbeam run home --output` was given, on any filesystem that Beam knows.

    Raises:
        ValueError: one line: the directory holds no results, or a file in it cannot be read.
    """
    found = _paths(directory)
    account = _account(join(directory, "account.json"))
    if found.finished is False and account is None and not any(found.paths.values()):
        raise ValueError(f"{directory!r} holds no results: give the directory that a run wrote to")
    tables = {kind: read_table(found.paths[kind], record) for kind, record in _RECORDS.items()}
    return Results(
        directory=directory,
        account=account,
        finished=found.finished,
        activities=newest(tables["activities"], _KEYS["activities"]),
        sessions=newest(tables["sessions"], _KEYS["sessions"]),
        usage=newest(tables["usage"], _KEYS["usage"]),
        late=tables["late"],
        dead_letters=tables["dead-letters"],
        rows={kind: table.num_rows for kind, table in tables.items()},
    )


class _Found(NamedTuple):
    paths: dict[str, list[str]]
    finished: bool


def _paths(directory: str) -> _Found:
    if FileSystems.exists(join(directory, MANIFEST_NAME)):
        manifest = read_manifest(directory)
        return _Found({kind: manifest.paths(kind) for kind in _RECORDS}, True)
    try:
        names = [file.path for file in match_files(join(directory, "*"))]
    except ValueError:
        names = []
    ours = [path for path in names if _RESULT.fullmatch(parent(path)[1])]
    return _Found({kind: [p for p in ours if parent(p)[1].startswith(f"{kind}-")] for kind in _RECORDS}, False)


def _account(path: str) -> Account | None:
    if not FileSystems.exists(path):
        return None
    with open_file(path) as file:
        data = file.read()
    try:
        return msgspec.json.decode(data, type=Account)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path!r} is not the account of a run: {error}") from error


def newest(table: pa.Table, keys: tuple[str, ...]) -> pa.Table:
    """The rows with the highest revision of their key, less those that are tombstones, in the order of the keys.

    Args:
        table: with the key columns, `revision` and `deleted`.
        keys: the columns whose values name a row.
    """
    if not table.num_rows:
        return table
    columns = [_ranks(table.column(key)) for key in keys]
    order = np.lexsort((table.column("revision").to_numpy(), *reversed(columns)))
    last = np.ones(len(order), dtype=bool)
    last[:-1] = np.logical_or.reduce([column[order][1:] != column[order][:-1] for column in columns])
    kept = table.take(pa.array(order[last]))
    return kept.filter(pa.array(~kept.column("deleted").to_numpy())).combine_chunks()


def _ranks(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    if pa.types.is_timestamp(column.type):
        return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
    coded = column.combine_chunks().dictionary_encode()
    order = np.argsort(np.asarray(coded.dictionary.to_pylist(), dtype=object), kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[np.asarray(coded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)]


def milliseconds(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """A column of times as milliseconds since 1970 UTC; NaN where there is none."""
    whole = column.cast(pa.int64()).cast(pa.float64()).to_numpy()
    return np.asarray(whole, dtype=np.float64) / 1000


def busiest(results: Results, most: int) -> tuple[list[str], int]:
    """The devices with the most events, the busiest first.

    A device's events are those of its sessions or of its usage rows, whichever are more, and its activities count
    where it has neither.

    Returns:
        At most `most` ids, and how many devices there are in all.
    """
    events: dict[str, float] = {}
    for table, weight in ((results.sessions, "count"), (results.usage, "count"), (results.activities, None)):
        ones = pa.array(np.ones(table.num_rows)) if weight is None else table.column(weight)
        grouped = (
            pa.table({"device": table.column("device_id"), "n": ones}).group_by("device").aggregate([("n", "sum")])
        )
        for device, n in zip(grouped["device"].to_pylist(), grouped["n_sum"].to_pylist(), strict=True):
            events[device] = max(events.get(device, 0), n or 0)
    ranked = sorted(events, key=lambda device: (-events[device], device))
    return ranked[:most], len(ranked)
