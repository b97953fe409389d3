"""What the profile of Flink refuses and adds."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions

from thingbeam.runners.engines.flink_options import check_checkpoints, check_flink, flink_defaults, worker_processes
from thingbeam.runners.profiles import EngineError, check_beam_options


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--shutdown_sources_after_idle_ms=0"], "loses records"),
        (["--shutdown_sources_after_idle_ms", "5000"], "leave it out"),
        (["--checkpointing_interval=0"], "without checkpoints"),
        (["--checkpointing_interval=-1"], "without checkpoints"),
        (["--load_balance_bundles"], "leave it out"),
        (["--parallelism=8", "--max_parallelism=4"], "more key groups"),
    ],
)
def test_what_a_stream_is_refused(arguments: list[str], words: str) -> None:
    options = PipelineOptions(arguments)
    with pytest.raises(EngineError, match=words) as refused:
        check_flink(options, endless=True)
    assert "\n" not in str(refused.value)
    with pytest.raises(EngineError, match=words):
        check_flink(PipelineOptions([*arguments, "--streaming"]), endless=False)
    check_flink(options, endless=False)


@pytest.mark.parametrize(
    "arguments",
    [[], ["--checkpointing_interval=500"], ["--shutdown_sources_after_idle_ms=-1"], ["--parallelism=4"]],
)
def test_what_a_stream_may_be_told(arguments: list[str]) -> None:
    check_flink(PipelineOptions(arguments), endless=True)


def test_a_stream_has_checkpoints_and_bundles_that_end_before_them() -> None:
    added = flink_defaults(PipelineOptions([]), endless=True, max_parallelism=720, mended=True)
    assert added == [
        "--streaming", "--finish_bundle_before_checkpointing", "--checkpointing_interval=10000",
        "--max_bundle_time_mills=100", "--max_parallelism=720", "--experiments=data_buffer_size_limit=0",
    ]  # fmt: skip
    # What it adds is what it would not refuse, and nothing is added twice.
    settled = PipelineOptions(added)
    check_flink(settled, endless=True)
    assert flink_defaults(settled, endless=True, max_parallelism=12, mended=True) == []


def test_elements_go_at_once_only_where_that_is_safe_and_not_of_what_ends() -> None:
    for endless, mended in ((True, False), (False, True)):
        added = flink_defaults(PipelineOptions(["--experiments=a"]), endless=endless, mended=mended)
        assert not any("experiments" in each for each in added)
    both = ["--experiments=a", *flink_defaults(PipelineOptions(["--experiments=a"]), endless=True, mended=True)]
    assert PipelineOptions(both).view_as(DebugOptions).experiments == ["a", "data_buffer_size_limit=0"]


def test_checkpoints_of_bounded_work_end_bundles_too() -> None:
    given = PipelineOptions(["--checkpointing_interval=1000", "--environment_type=EXTERNAL"])
    added = flink_defaults(given, endless=False)
    assert added == ["--finish_bundle_before_checkpointing", "--max_bundle_time_mills=100"]


@pytest.mark.parametrize(
    ("arguments", "slots", "added"),
    [
        (["--parallelism=2"], 2, ["--sdk_worker_parallelism=2"]),
        (["--parallelism=2"], 8, ["--sdk_worker_parallelism=2"]),
        (["--parallelism=8"], 4, ["--sdk_worker_parallelism=4"]),
        (["--parallelism=8"], 1, []),
        (["--parallelism=1"], 4, []),
        ([], 4, []),
        (["--parallelism=4", "--sdk_worker_parallelism=1"], 4, ["--sdk_worker_parallelism=1"]),
    ],
)
def test_a_taskmanager_has_a_worker_for_each_task(arguments: list[str], slots: int, added: list[str]) -> None:
    """None is added where one was said, the default too."""
    ours = worker_processes(PipelineOptions(arguments), slots)
    assert [each for each in (*arguments, *ours) if "worker" in each] == added


@pytest.mark.parametrize(
    "config",
    [
        {"state.checkpoints.dir": "file:///x"},
        {"execution.checkpointing.dir": "s3://b/x", "execution.checkpointing.storage": "filesystem"},
    ],
)
def test_checkpoints_in_files_are_taken(config: dict[str, str]) -> None:
    check_checkpoints(config, PipelineOptions([]))


@pytest.mark.parametrize(
    "config", [{}, {"state.checkpoint-storage": "jobmanager", "state.checkpoints.dir": "file:///x"}]
)
def test_checkpoints_in_memory_are_refused(config: dict[str, str]) -> None:
    with pytest.raises(EngineError, match="memory"):
        check_checkpoints(config, PipelineOptions([]))
    check_checkpoints(config, PipelineOptions(["--state_backend_storage_path=file:///x"]))


def test_options_of_the_job_server_are_known_before_it_is_asked() -> None:
    given = check_beam_options(["--checkpointing_interval", "1000", "--savepoint_path=/x", "--object_reuse"])
    assert given.get_all_options(drop_default=True)["checkpointing_interval"] == 1000
    with pytest.raises(ValueError, match="did you mean --checkpointing_interval"):
        check_beam_options(["--checkpoint_interval=1000"])
