"""Provisional results on a real streaming engine: seen soon, replaced by final ones, and gone in the end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.utils.timestamp import Timestamp

from thingbeam.runners.prism import prism
from thingbeam.schemas import Event
from thingbeam.transforms import DeviceHistory

SECONDS = 10


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    try:
        with prism() as address:
            yield address
    except FileNotFoundError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no Prism: {error}")


class ToEvent(beam.DoFn):
    """The n-th impulse turns a lamp on, or off."""

    def __init__(self, start: float) -> None:
        self._start = start

    def process(self, _: Any, at: Any = beam.DoFn.TimestampParam) -> Iterator[Event]:
        number = round(float(at) - self._start)
        yield Event.of(f"e{number}", at, "lamp", "switch", "switch", "on" if number % 4 == 0 else "off")


class Append(beam.DoFn):
    """Rows to a file, with the time at which they came out."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, row: Any) -> None:
        line = {
            "kind": type(row).__name__, "seen": time.time(), "final": row.final, "deleted": row.deleted,
            "revision": row.revision, "start": float(row.start), "count": row.count if hasattr(row, "changes") else 0,
        }  # fmt: skip
        with Path(self._path).open("a") as file:
            file.write(json.dumps(line) + "\n")


def test_results_are_seen_before_they_are_final(endpoint: str, tmp_path: Path) -> None:
    start = float(int(time.time()) + 3)
    options = PipelineOptions(
        ["--runner=PortableRunner", f"--job_endpoint={endpoint}", "--environment_type=LOOPBACK", "--streaming"]
    )
    seen = tmp_path / "rows.jsonl"
    with beam.Pipeline(options=options) as pipeline:
        impulses = pipeline | PeriodicImpulse(Timestamp(start), Timestamp(start + SECONDS), 1.0, apply_windowing=False)
        events = impulses | beam.ParDo(ToEvent(start)).with_output_types(Event)
        history = events | DeviceHistory(
            session_gap="3s", allowed_lateness="5s", slice_length="1s", provisional="500ms", shards=2
        )
        for kind in ("activities", "sessions", "usage"):
            _ = getattr(history, kind) | f"See{kind}" >> beam.ParDo(Append(str(seen)))
    rows = [json.loads(line) for line in seen.read_text().splitlines()]
    previews = [row for row in rows if row["kind"] == "Usage" and not row["final"]]
    finals = [row for row in rows if row["kind"] == "Usage" and row["final"] and not row["deleted"]]
    assert len(previews) >= 3, "the hour so far was shown as it grew"
    assert [row["count"] for row in previews] == sorted(row["count"] for row in previews)
    assert finals
    by_key: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in rows:
        by_key.setdefault((row["kind"], row["start"]), []).append(row)
    for key, versions in by_key.items():
        newest = max(versions, key=lambda row: row["revision"])
        assert newest["final"], f"{key} stays provisional"
        assert newest is versions[-1], f"{key}: an older revision came last"
        assert len({row["revision"] for row in versions}) == len(versions)
    lamp = [row for row in rows if row["kind"] == "Activity" and not row["final"]]
    assert lamp, "the lamp was shown while it was on"
    assert min(row["seen"] - row["start"] for row in lamp) < 5, "before the exact pass could have known"
