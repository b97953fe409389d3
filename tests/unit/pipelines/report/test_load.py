from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results_directory import METER, WASHER, account_of, activity, dead_letter, house, session, usage, write_results
from thingbeam.io.files.paths import Compression, Format
from thingbeam.pipelines.report.load import busiest, load, newest
from thingbeam.schemas import Activity, Session, from_record_batch, to_record_batch

KEY = ("device_id", "component", "capability", "start")

ACTIVITIES = st.builds(
    activity,
    st.sampled_from(["d1", "d2", "\u00e9"]),
    st.integers(0, 3),
    st.just(60),
    component=st.sampled_from(["main", "rear"]),
    revision=st.integers(0, 5),
    deleted=st.booleans(),
)


@given(st.lists(ACTIVITIES, max_size=40))
def test_newest_keeps_the_highest_revision_of_each_key(rows: list[Activity]) -> None:
    expected: dict[tuple[object, ...], Activity] = {}
    for row in rows:
        key = (row.device_id, row.component, row.capability, row.start)
        if key not in expected or row.revision >= expected[key].revision:
            expected[key] = row
    kept = [expected[key] for key in sorted(expected) if not expected[key].deleted]
    table = newest(pa.Table.from_batches([to_record_batch(rows, Activity)]), KEY)
    assert from_record_batch(table, Activity) == kept


@pytest.mark.parametrize(
    ("file_format", "compression"),
    [("jsonl", None), ("jsonl", "gzip"), ("jsonl", "zstd"), ("avro", None), ("parquet", None)],
)
def test_every_format_gives_the_same(tmp_path: Path, file_format: Format, compression: Compression | None) -> None:
    records = house()
    records["dead-letters"] = [dead_letter(b"\xff<")]
    read = load(write_results(tmp_path, records, account_of(records), file_format=file_format, compression=compression))
    assert read.rows == {kind: len(rows) for kind, rows in records.items()}
    assert from_record_batch(read.sessions, Session) == sorted(records["sessions"])
    assert read.usage.num_rows == len(records["usage"])
    assert read.dead_letters.column("payload").to_pylist() == [b"\xff<"]
    assert read.account is not None
    assert (read.account.timezone, read.account.seconds, read.finished) == ("Europe/Paris", 4.2, True)


def test_only_files_of_the_manifest_are_read(tmp_path: Path) -> None:
    directory = write_results(tmp_path, house(1))
    (tmp_path / "activities-left-by-another.jsonl").write_text("not JSON at all")
    assert load(directory).activities.num_rows == 1


def test_without_a_manifest_the_files_are_read_as_unfinished(tmp_path: Path) -> None:
    directory = write_results(tmp_path, house(2), manifest=False)
    (tmp_path / "notes.txt").write_text("nothing of ours")
    read = load(directory)
    assert (read.activities.num_rows, read.finished, read.account) == (2, False, None)


def test_a_directory_without_results_says_so(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match="holds no results"):
            load(str(directory))


def test_an_account_that_is_none_says_which_file(tmp_path: Path) -> None:
    directory = write_results(tmp_path, {})
    for wrong in ("[]", "{", '{"lines": "many"}'):
        (tmp_path / "account.json").write_text(wrong)
        with pytest.raises(ValueError, match=r"account\.json"):
            load(directory)


def test_an_account_may_say_more_than_is_known(tmp_path: Path) -> None:
    read = load(write_results(tmp_path, {}, {"lines": 7, "colour": "blue"}))
    assert read.account is not None
    assert read.account.lines == 7


def test_a_file_of_another_record_is_an_error(tmp_path: Path) -> None:
    directory = write_results(tmp_path, {"sessions": [session("d", 0, 5)]})
    (tmp_path / "sessions-00000.jsonl").write_text(json.dumps({"device_id": 5}))
    with pytest.raises(ValueError, match="sessions-00000"):
        load(directory)


def test_the_busiest_devices_come_first(tmp_path: Path) -> None:
    records = {
        "sessions": [session("few", 0, 5, 3), session("many", 0, 5, 50), session("many", 9000, 9005, 60)],
        "usage": [usage("measured", hour * 3600, "measurement", count=7) for hour in range(10)],
        "activities": [activity("switch", 0, 60), activity("switch", 100, 160), activity("few", 0, 60)],
    }
    read = load(write_results(tmp_path, records))
    assert busiest(read, 3) == (["many", "measured", "few"], 4)


def test_a_devices_events_are_not_added_up_twice(tmp_path: Path) -> None:
    # The same 60 events are in a session and in two series.
    records = {
        "sessions": [session(METER, 0, 3540, 60), session(WASHER, 0, 3540, 100)],
        "usage": [usage(METER, 0, role, count=60) for role in ("measurement", "meter")],
    }
    read = load(write_results(tmp_path, records))
    assert busiest(read, 2) == ([METER, WASHER], 2)  # 120 values of 60 events: no telling, so the larger counts


def test_the_order_of_files_and_rows_does_not_matter(tmp_path: Path) -> None:
    records = house(2)
    first = load(write_results(tmp_path / "a", records))
    for rows in records.values():
        random.Random(5).shuffle(rows)
    second = load(write_results(tmp_path / "b", records))
    assert first.usage.equals(second.usage)
    assert first.sessions.equals(second.sessions)
    assert first.activities.column("start").to_pylist() == sorted(first.activities.column("start").to_pylist())
