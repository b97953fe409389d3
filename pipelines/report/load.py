"""What a run left in its results directory, as tables that hold each key once, at its newest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thingbeam.io import read_table
from thingbeam.schemas.arrow import arrow_schema
from thingbeam.schemas.records import Activity, DeadLetter, Event, Session, Usage

__all__ = ["Account", "Results", "busiest", "load", "milliseconds", "newest"]

_KEYS: dict[str, tuple[str, ...]] = {
    "activities": ("device_id", "component", "capability", "start"),
    "sessions": ("device_id", "start"),
    "usage": ("device_id", "component", "capability", "attribute", "role", "period", "start"),
}
_RECORDS: dict[str, type] = {
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
        activities, sessions, usage: Arrow tables in the order of the record's fields, one row a key, no tombstones.
        late, dead_letters: Arrow tables of every row.
        rows: how many rows the files held, by kind, before older revisions and tombstones were left out.
    """

    directory: Path
    account: Account | None
    activities: pa.Table
    sessions: pa.Table
    usage: pa.Table
    late: pa.Table
    dead_letters: pa.Table
    rows: dict[str, int]


def load(directory: str | Path) -> Results:
    """Read a results directory.

    Where manifest.json is there, only the files that it lists are read; else all whose names fit.

    Args:
        directory: what `thingbeam run home --output` was given.

    Raises:
        FileNotFoundError: the directory is none, or a file that the manifest lists is missing.
        ValueError: account.json or manifest.json is not what a run writes.
    """
    where = Path(directory)
    if not where.is_dir():
        raise FileNotFoundError(f"{where}: no such directory of results")
    files = _files(where)
    tables = {kind: _read(files, kind, record) for kind, record in _RECORDS.items()}
    return Results(
        directory=where,
        account=_account(where / "account.json"),
        activities=newest(tables["activities"], _KEYS["activities"]),
        sessions=newest(tables["sessions"], _KEYS["sessions"]),
        usage=newest(tables["usage"], _KEYS["usage"]),
        late=tables["late"],
        dead_letters=tables["dead-letters"],
        rows={kind: table.num_rows for kind, table in tables.items()},
    )


def _account(path: Path) -> Account | None:
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Account)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: not the account of a run: {error}") from error


def _files(where: Path) -> list[Path]:
    manifest = where / "manifest.json"
    if not manifest.is_file():
        return sorted(p for p in where.iterdir() if p.is_file())
    try:
        listed = msgspec.json.decode(manifest.read_bytes())
        names = listed["files"] if isinstance(listed, dict) else listed
        names = msgspec.convert(names, list[str])
    except (msgspec.DecodeError, KeyError) as error:
        raise ValueError(f"{manifest}: not a list of files: {error}") from error
    files = []
    for name in names:
        if Path(name).name != name:
            raise ValueError(f"{manifest}: {name!r} is not the name of a file beside it")
        if not (where / name).is_file():
            raise FileNotFoundError(f"{where / name}: listed in manifest.json, but missing")
        files.append(where / name)
    return files


def _read(files: list[Path], kind: str, record: type) -> pa.Table:
    parts = [read_table(str(path), record) for path in files if path.name.startswith(f"{kind}-")]
    return pa.concat_tables([arrow_schema(record).empty_table(), *parts], promote_options="default")


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
    return kept.filter(pc.invert(kept.column("deleted"))).combine_chunks()


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
        grouped = pa.table({"device": table.column("device_id"), "n": ones}).group_by("device").aggregate([("n", "sum")])
        for device, n in zip(grouped["device"].to_pylist(), grouped["n_sum"].to_pylist(), strict=True):
            events[device] = max(events.get(device, 0), n or 0)
    ranked = sorted(events, key=lambda device: (-events[device], device))
    return ranked[:most], len(ranked)
