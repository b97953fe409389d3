"""The main job on a real Flink cluster at parallelism 2: DirectRunner's answers; and the profile's way there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from fleet import payloads
from stack_fixtures import Cluster
from structure import CHECKOUT
from thingbeam.runners.engines import opened
from thingbeam.runners.profiles import EngineError

KINDS = ("activities", "sessions", "usage", "late", "dead-letters")


def run_home(output: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "thingbeam.runners.cli", "run", "home", "--timezone", "Europe/Paris"]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT / "src")}
    done = subprocess.run(
        [*command, "--output", str(output), *arguments], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]


def rows(output: Path, kind: str) -> Counter[str]:
    """What was written, but for what each run has of its own."""
    found: Counter[str] = Counter()
    for file in output.glob(f"{kind}-*.jsonl"):
        for line in file.read_text().splitlines():
            row = {name: value for name, value in json.loads(line).items() if name not in ("revision", "time")}
            found[json.dumps(row, sort_keys=True)] += 1
    return found


def assert_same(flink: Cluster, folder: Path, source: Path) -> None:
    direct, there = folder / "direct", folder / "flink"
    run_home(direct, "--input", str(source))
    endpoint = flink.stack.uri("flink/jobserver")
    run_home(
        there, "--input", str(source), "--runner", "flink", "--job_endpoint", endpoint, "--parallelism", "2"
    )  # fmt: skip
    for kind in KINDS:
        assert rows(there, kind) == rows(direct, kind), kind
    accounts = [json.loads((output / "account.json").read_text()) for output in (direct, there)]
    for account in accounts:
        for name in ("started", "ended", "seconds"):
            del account[name]
    assert accounts[0] == accounts[1]


@pytest.mark.slow
def test_the_month_is_the_same_as_on_direct(flink: Cluster, shared_data: Path, tmp_path: Path) -> None:
    assert_same(flink, tmp_path, shared_data / "home-2007-04.jsonl.gz")


@pytest.mark.slow
def test_a_fleet_is_the_same_as_on_direct(flink: Cluster, tmp_path: Path) -> None:
    """Out of order, with repeats and lines that cannot be read."""
    source = tmp_path / "events.jsonl"
    source.write_bytes(b"".join(payload + b"\n" for payload in payloads(20_000)))
    assert_same(flink, tmp_path, source)


def given(arguments: Sequence[str], *, endless: bool) -> dict[str, object]:
    with opened("flink", arguments, endless=endless) as engine:
        found: dict[str, object] = engine.options.get_all_options(drop_default=True)
    return found


def test_the_cluster_of_the_stack_is_found(flink: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINGBEAM_STACK", str(flink.stack.directory))
    found = given([], endless=True)
    assert found["job_endpoint"] == flink.stack.uri("flink/jobserver")
    assert found["environment_type"] == "PROCESS"
    assert found["max_parallelism"] == 720


def test_a_job_server_is_started_for_a_cluster_that_is_named(flink: Cluster) -> None:
    master = flink.stack.uri("flink/jobmanager").partition("://")[2]
    found = given([f"--flink_master={master}"], endless=True)
    assert found["job_endpoint"] != flink.stack.uri("flink/jobserver")
    assert found["finish_bundle_before_checkpointing"] is True


def test_the_cluster_s_own_word_is_asked(flink: Cluster) -> None:
    with pytest.raises(EngineError, match="no Flink answers"):
        given([f"--flink_master={flink.stack.uri('flink/jobserver')}"], endless=False)
