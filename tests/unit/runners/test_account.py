"""The account of a run: what adds up, and each way in which it may not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics import Metrics
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from thingbeam.runners.account import account_of, balance, with_rows, write_account

GOOD = {
    "lines": 10, "failed_lines": 2, "empty_lines": 1, "events": 9, "counted": 5, "duplicates": 2, "late": 1,
    "ignored": 1, "dead_letters": 3, "stops_without_start": 0, "tombstones": 0, "refused": 0,
    "suppressed": 0,
}  # fmt: skip


def test_an_account_that_adds_up() -> None:
    assert balance(GOOD) is None
    assert balance(dict.fromkeys(GOOD, 0)) is None


@pytest.mark.parametrize("name", ["events", "counted", "duplicates", "late", "ignored"])
@pytest.mark.parametrize("by", [-1, 1])
def test_an_event_more_or_less_is_seen(name: str, by: int) -> None:
    problem = balance(GOOD | {name: GOOD[name] + by})
    assert problem is not None
    assert "accounted for" in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"failed_lines": 4}, "4 lines failed, but there are only 3 dead letters"),
        ({"lines": 2}, "2 lines came, 2 failed and 1 were empty"),
        ({"lines": 13}, "9 events cannot be in the other 10"),
        ({"unread_lines": -1}, "4 dead letters were made, but 3 are written"),
    ],
)
def test_lines_that_do_not_add_up(changes: dict[str, int], words: str) -> None:
    problem = balance(GOOD | changes)
    assert problem is not None
    assert words in problem


def test_what_could_not_be_read_is_a_line_that_failed() -> None:
    found = with_rows(GOOD, {"dead-letters": 5, "late": 1, "activities": 7})
    assert found == GOOD | {"lines": 12, "failed_lines": 4, "dead_letters": 5, "unread_lines": 2, "activities": 7}
    assert balance(found) is None
    assert balance(with_rows(GOOD, {"dead-letters": 2})) is not None


class Count(beam.DoFn):
    def process(self, number: int) -> Any:
        Metrics.counter("thingbeam", "lines").inc(number)
        Metrics.counter("thingbeam", "of no account").inc()
        Metrics.counter("somebody.else", "lines").inc()


def test_counters_of_all_steps_are_added_up() -> None:
    pipeline = beam.Pipeline(FnApiRunner())
    numbers = pipeline | beam.Create([1, 2, 3])
    _ = numbers | "One" >> beam.ParDo(Count())
    _ = numbers | "Two" >> beam.ParDo(Count())
    result = pipeline.run()
    result.wait_until_finish()
    assert account_of(result.metrics()) == dict.fromkeys(GOOD, 0) | {"lines": 12}


def test_it_is_written_over_an_older_one(tmp_path: Path) -> None:
    for seconds in (1.0, 2.34567):
        path = write_account(str(tmp_path), GOOD, {"input": "é"}, seconds)
    document = json.loads(Path(path).read_text())
    assert Path(path) == tmp_path / "account.json"
    assert document.pop("ended").endswith("Z")
    assert document == GOOD | {"input": "é", "seconds": 2.346}
    assert [file.name for file in tmp_path.iterdir()] == ["account.json"]
