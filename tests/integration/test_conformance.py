"""The same pipelines on every engine, compared with the plain rules; docs/engines.md has the table that this run makes.

THINGBEAM_CONFORMANCE=docs/engines.md pytest tests/integration/test_conformance.py
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from conformance import TICKS, bounded_events, files, noted, stream, tick_event, topic, transform, write_lines
from fleet import Sink, assert_exact, key_of, plain
from kafka_running import produce, wait_for
from stack_fixtures import Broker, Cluster, Server, stack_of, unavailable
from thingbeam.runners.prism import prism
from thingbeam.runners.profiles import EngineError, check_engine
from thingbeam.runners.stack.components.spark import Spark
from thingbeam.runners.stack.flink_cluster import boot_script
from thingbeam.schemas import Event
from thingbeam.transforms import CapabilityTable
from thingbeam.transforms.columns.parse import BlobParser
from thingbeam.transforms.envelopes import Context, Limits
from thingbeam.transforms.rules import ActivityTracker, Period, Sessionizer, UsageStatistics, is_ignored, sift
from thingbeam.transforms.rules.order import rule_order
from thingbeam.transforms.rules.roles import Role

# A worker in this process says so when its engine hangs up.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

ENGINES: Final = ("direct", "prism", "flink", "spark")
COLUMNS: Final = (*ENGINES, "dataflow")
"""Nothing was run on the last."""
FEATURES: Final = {
    "files": "files, parsing, dead letters",
    "kafka": "Kafka between two ends, in batches",
    "sessions": "sessions that merge",
    "activities": "activities",
    "usage": "usage by the hour",
    "deduplicate": "repeats",
    "stream": "streams: state, timers, late events",
    "provisional": "streams: early results, taken back or replaced",
}
_TABLE: Final = re.compile(r"(<!-- conformance -->\n).*?(<!-- end -->)", re.DOTALL)
_outcomes: dict[tuple[str, str], str] = {}


@pytest.fixture(scope="module")
def prism_endpoint() -> Iterator[str]:
    try:
        with prism() as address:
            yield address
    except FileNotFoundError as error:
        unavailable(f"no Prism: {error}")


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with stack_of(tmp_path_factory, Spark()) as stack:
        yield Server(stack, "spark")


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """The outcomes, into the page that THINGBEAM_CONFORMANCE names."""
    yield
    page = os.environ.get("THINGBEAM_CONFORMANCE")
    if page:
        rows = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
        for feature, words in FEATURES.items():
            rows.append(f"| {words} | " + " | ".join(_outcomes.get((e, feature), "unknown") for e in COLUMNS) + " |")
        text = Path(page).read_text()
        Path(page).write_text(_TABLE.sub(lambda found: found[1] + "\n".join(rows) + "\n" + found[2], text))


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> tuple[str, Callable[[bool], beam.Pipeline]]:
    """The name of an engine, and what makes a pipeline for it, endless or not."""
    name: str = request.param
    if name == "direct":
        return name, lambda endless: beam.Pipeline(FnApiRunner())
    if name == "prism":
        options = [
            "--runner=PortableRunner", f"--job_endpoint={request.getfixturevalue('prism_endpoint')}",
            "--environment_type=LOOPBACK",
        ]  # fmt: skip
    elif name == "spark":
        spark: Server = request.getfixturevalue("spark")
        boot = boot_script(spark.stack.place("spark"))
        options = [
            "--runner=PortableRunner", f"--job_endpoint={spark.uri}", "--environment_type=PROCESS",
            f"--environment_config={json.dumps({'command': str(boot)})}",
        ]  # fmt: skip
    else:
        cluster: Cluster = request.getfixturevalue("flink")
        options = cluster.options(parallelism=2)
    return name, lambda endless: beam.Pipeline(
        options=PipelineOptions([*options, *(["--streaming"] if endless else [])])
    )  # fmt: skip


def role_of(event: Event) -> Role:
    return CapabilityTable.default().role(event.capability, event.attribute, event.value_type)


def by_rule(events: Sequence[Event], kinds: Sequence[str], gap_s: float, until: int | None = None) -> dict[str, Any]:
    """By key, what the plain rules give."""

    def zone_of(_: Event) -> ZoneInfo:
        return ZoneInfo("UTC")

    counted = sift(rule_order(events), role_of).counted
    sessionizer, tracker = Sessionizer(gap_s, zone_of), ActivityTracker(role_of, zone_of)
    found: dict[str, list[Any]] = {"sessions": [], "activities": []}
    for event in counted:
        found["sessions"] += sessionizer.feed(event)
        found["activities"] += tracker.feed(event)
    found["sessions"] += sessionizer.finish()
    if until is not None:
        found["activities"] += tracker.advance(until)
    found["activities"] += tracker.finish()
    found["usage"] = UsageStatistics(role_of, zone_of, Period.parse("1h")).compute(counted, until)
    return {key_of(kind, plain(row)): plain(row) for kind in kinds for row in found[kind]}


def latest(rows: dict[str, list[dict[str, Any]]], kinds: Sequence[str]) -> dict[str, Any]:
    """By key, what a sink has in the end."""
    sink = Sink()
    for kind in kinds:
        for row in rows.get(kind, []):
            sink.take(key_of(kind, row), row)
    return sink.final


def test_files(engine: tuple[str, Callable[[bool], beam.Pipeline]], tmp_path: Path) -> None:
    source, out = tmp_path / "events.jsonl", tmp_path / "out"
    write_lines(source)
    with engine[1](False) as pipeline:
        files(pipeline, str(source), str(out))
    assert_as_by_rule(source.read_bytes().splitlines(), out)
    _outcomes[engine[0], "files"] = "passed"


def test_kafka(engine: tuple[str, Callable[[bool], beam.Pipeline]], kafka: Broker, tmp_path: Path) -> None:
    source, out, name = tmp_path / "events.jsonl", tmp_path / "out", kafka.topic(partitions=3)
    write_lines(source)
    lines = source.read_bytes().splitlines()
    produce(kafka.address, ((name, number % 3, line, 0) for number, line in enumerate(lines)))
    with engine[1](False) as pipeline:
        topic(pipeline, kafka.address, name, str(out))
    assert_as_by_rule(lines, out)
    _outcomes[engine[0], "kafka"] = "passed"


def assert_as_by_rule(lines: Sequence[bytes], out: Path) -> None:
    """What came of messages, of which one is none, is what the plain rules give."""
    parser = BlobParser(Context(), Limits(), "")
    events = [event for line in lines for event in parser.parse_line(line, "", "")[0]]
    found, kinds = noted(out), ("activities", "sessions", "usage")
    assert_exact(latest(found, kinds), by_rule(events, kinds, 600))
    assert found["dead"] == [{"value": "invalid_json"}]


@pytest.mark.parametrize("name", ["sessions", "activities", "usage", "deduplicate"])
def test_transforms(engine: tuple[str, Callable[[bool], beam.Pipeline]], name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with engine[1](False) as pipeline:
        transform(pipeline, name, str(out))
    events = bounded_events()
    if name == "deduplicate":
        assert not any(is_ignored(event, role_of) for event in events), "every event here has a role"
        counted = sift(rule_order(events), role_of, 120).counted
        expected = sorted((event.device_id or "", event.event_id) for event in counted)
        assert sorted((row["device_id"], row["event_id"]) for row in noted(out)["deduplicate"]) == expected
    else:
        assert_exact(latest(noted(out), [name]), by_rule(events, [name], 600))
    _outcomes[engine[0], name] = "passed"


@pytest.mark.slow
@pytest.mark.parametrize("feature", ["stream", "provisional"])
def test_streams(
    engine: tuple[str, Callable[[bool], beam.Pipeline]], feature: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name, make = engine
    if name in ("direct", "spark"):
        with pytest.raises(EngineError) as refused:
            check_engine(name, endless=True)
        _outcomes[name, feature] = "refused: " + re.split("[:,]", str(refused.value).partition(": ")[2])[0]
        return
    out, start = tmp_path / "out", float(int(time.time()) + 8)
    if (name, feature) == ("flink", "provisional"):
        until_done(request.getfixturevalue("flink"), out, start)
    else:
        with make(True) as pipeline:
            stream(pipeline, start, "500ms" if feature == "provisional" else None, str(out))
    found, kinds = noted(out), ("activities", "sessions", "usage")
    # How soon a watermark moves on is the engine's affair: which row is late may differ, the others may not.
    missed = {row["event_id"] for row in found.get("late", [])}
    assert missed <= {"late"}
    made = [tick_event(number, start) for number in range(TICKS)]
    events = [event for event in made if event is not None and event.event_id not in missed]
    held, expected = latest(found, kinds), by_rule(events, ("activities", "sessions"), 2)
    assert_exact({key: row for key, row in held.items() if not key.startswith('["usage"')}, expected)
    usage = [row for key, row in held.items() if key.startswith('["usage"')]
    assert sum(row["count"] for row in usage) == len({event.event_id for event in events})
    early = [row for kind in kinds for row in found.get(kind, []) if not row["final"]]
    assert bool(early) == (feature == "provisional")
    _outcomes[name, feature] = "passed"


def until_done(flink: Cluster, out: Path, start: float) -> None:
    """Early results on Flink: with timers of the clock a job does not end by itself. It is over when all is final."""
    name = f"early-{start:.0f}"
    pipeline = beam.Pipeline(
        options=PipelineOptions(flink.options(parallelism=2, checkpoint_ms=1000, more=[f"--job_name={name}"]))
    )
    stream(pipeline, start, "500ms", str(out))
    pipeline.run()
    job = flink.rest.job(name).id
    made = [tick_event(number, start) for number in range(TICKS)]
    sessions = by_rule([each for each in made if each is not None and each.event_id != "late"], ("sessions",), 2)

    def final() -> bool:
        held = latest(noted(out), ("sessions", "usage"))
        rows = [key for key, row in held.items() if row["final"] and key.startswith('["sessions"')]
        usage = [row["count"] for key, row in held.items() if row["final"] and key.startswith('["usage"')]
        return set(sessions) <= set(rows) and sum(usage) >= sum(row["count"] for row in sessions.values())

    try:
        wait_for(final, 120, "all final rows")
        # What else would come.
        time.sleep(3)
    finally:
        flink.rest.cancel(job)
