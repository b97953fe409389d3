"""Engines that are not there are told in one line; test_flink_engine.py has those that are."""

from __future__ import annotations

from pathlib import Path

import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from thingbeam.runners.engines import opened
from thingbeam.runners.profiles import EngineError


def told(name: str, arguments: list[str], *, endless: bool = False) -> str:
    with pytest.raises(EngineError) as error, opened(name, arguments, endless=endless):
        pytest.fail("it is ready")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_bounded_work_runs_here() -> None:
    with opened("direct", [], endless=False) as engine:
        assert type(engine.runner) is FnApiRunner


@pytest.mark.parametrize("name", ["direct", "spark"])
def test_a_stream_is_sent_elsewhere(name: str) -> None:
    assert "--runner prism" in told(name, [], endless=True)


def test_no_cluster_is_named_and_none_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINGBEAM_STACK", str(tmp_path))
    assert "`thingbeam stack up flink` starts one" in told("flink", [])


def test_nobody_answers_where_the_cluster_was_said_to_be() -> None:
    assert "no Flink answers at 127.0.0.1:1 (Connection refused): " in told("flink", ["--flink_master=127.0.0.1:1"])


def test_what_is_refused_is_refused_before_anything_is_looked_for(tmp_path: Path) -> None:
    given = ["--flink_master=127.0.0.1:1", "--shutdown_sources_after_idle_ms=1"]
    assert "loses records" in told("flink", given, endless=True)


def test_a_job_server_that_is_named_is_taken() -> None:
    with opened("flink", ["--job_endpoint=127.0.0.1:1"], endless=True) as engine:
        given = engine.options.get_all_options(drop_default=True)
    assert given["finish_bundle_before_checkpointing"] is True
    assert given["checkpointing_interval"] == 10_000
    assert given["environment_type"] == "EXTERNAL"
    assert given["environment_config"].startswith("127.0.0.1:")
    assert "max_parallelism" not in given


def test_workers_are_where_they_were_said_to_be() -> None:
    said = ["--job_endpoint=127.0.0.1:1", "--environment_type=EXTERNAL", "--environment_config=127.0.0.1:2"]
    with opened("flink", said, endless=False) as engine:
        given = engine.options.get_all_options(drop_default=True)
    assert (given["environment_type"], given["environment_config"]) == ("EXTERNAL", "127.0.0.1:2")


def test_threads_of_this_process_are_those_that_any_number_of_hosts_can_share() -> None:
    with opened("flink", ["--job_endpoint=127.0.0.1:1", "--environment_type=LOOPBACK"], endless=False) as engine:
        given = engine.options.get_all_options(drop_default=True)
    assert given["environment_type"] == "EXTERNAL"
    assert given["environment_config"].startswith("127.0.0.1:")
