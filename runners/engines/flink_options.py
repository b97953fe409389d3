"""Options of Beam's job server for Flink: which there are, what is refused, and what a profile sets by itself."""

from __future__ import annotations

import contextlib
from argparse import ArgumentError, ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from apache_beam.options.pipeline_options import (
    DebugOptions,
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)

from thingbeam.runners.profiles import EngineError

__all__ = [
    "CHECKPOINT_MS",
    "MAX_PARALLELISM",
    "FlinkJobOptions",
    "at_once",
    "check_checkpoints",
    "check_flink",
    "flink_defaults",
    "worker_processes",
]

CHECKPOINT_MS: Final = 10_000
"""Between checkpoints of a stream, where nothing is said: what a crash repeats."""
MAX_PARALLELISM: Final = 720
"""Key groups: it has many divisors, so that tasks share keys evenly; state cannot be spread over more tasks."""
_BUFFER: Final = "data_buffer_size_limit="
_BUNDLE_MS: Final = 100
_IDLE: Final = "shutdown_sources_after_idle_ms"

# Beam's Python side learns of these from the job server, when the command line has long been checked.
_NUMBERS: Final[Mapping[str, str]] = {
    "checkpointing_interval": f"Milliseconds between checkpoints. [default: {CHECKPOINT_MS} for a stream]",
    "checkpoint_timeout_millis": "Milliseconds after which a checkpoint is given up.",
    "min_pause_between_checkpoints": "Milliseconds.",
    "max_bundle_size": "Elements of one bundle at most.",
    "max_bundle_time_mills": f"Milliseconds after which a bundle ends. [default: {_BUNDLE_MS} for a stream]",
    "auto_watermark_interval": "Milliseconds between watermarks.",
    "environment_cache_millis": "How long a worker is kept for a job that ended.",
    _IDLE: "Refused: records are lost.",
}
_TEXTS: Final[Mapping[str, str]] = {
    "savepoint_path": "A savepoint or retained checkpoint to resume from.",
    "state_backend": "rocksdb or filesystem, in place of the cluster's.",
    "state_backend_storage_path": "Where checkpoints go, in place of the cluster's.",
    "checkpointing_mode": "EXACTLY_ONCE or AT_LEAST_ONCE.",
    "execution_mode_for_batch": "PIPELINED or BATCH_FORCED.",
    "flink_conf_dir": "Folder of a Flink configuration, for a job server that is started.",
}
_FLAGS: Final[Mapping[str, str]] = {
    "finish_bundle_before_checkpointing": "Set by itself for a job with checkpoints.",
    "allow_non_restored_state": "Resume although the savepoint has state for which there is no step.",
    "operator_chaining": "Steps do not hand their elements on directly.",
    "object_reuse": "Steps share elements.",
    "unaligned_checkpoint_enabled": "Checkpoints hold what is under way.",
    "retain_externalized_checkpoints_on_cancellation": "Keep checkpoints of a cancelled job.",
    "externalized_checkpoints_enabled": "Keep checkpoints outside of the job.",
    "load_balance_bundles": "Refused for a stream.",
}


class FlinkJobOptions(PipelineOptions):
    """What the job server for Flink takes beside Beam's own options, so that a slip of the pen is told from it."""

    @classmethod
    def _add_argparse_args(cls, parser: ArgumentParser) -> None:
        details: dict[str, dict[str, Any]] = {name: {"type": int, "help": words} for name, words in _NUMBERS.items()}
        details |= {name: {"help": words} for name, words in _TEXTS.items()}
        details |= {name: {"action": "store_true", "default": None, "help": words} for name, words in _FLAGS.items()}
        for name, said in details.items():
            # Beam knows some by itself, and each release more.
            with contextlib.suppress(ArgumentError):
                parser.add_argument(f"--{name}", **said)


def check_flink(options: PipelineOptions, *, endless: bool) -> None:
    """See that a job will not lose anything on Flink by what it is told.

    Args:
        options: Beam's, ours among them.
        endless: whether the job's input has no end.

    Raises:
        EngineError: one line: what is wrong, and how to mend it.

    >>> check_flink(PipelineOptions(["--shutdown_sources_after_idle_ms=0"]), endless=True)
    Traceback (most recent call last):
    ...
    thingbeam.runners.profiles.EngineError: --runner flink: --shutdown_sources_after_idle_ms loses records of a stream \
with checkpoints: leave it out, and end the job by stop or cancel
    """
    asked: dict[str, Any] = options.view_as(FlinkJobOptions).get_all_options(drop_default=True)
    if not endless and not options.view_as(StandardOptions).streaming:
        return
    idle = asked.get(_IDLE)
    if idle is not None and idle >= 0:
        raise EngineError(
            f"--runner flink: --{_IDLE} loses records of a stream with checkpoints: leave it out, and end the job by "
            "stop or cancel"
        )
    interval = asked.get("checkpointing_interval")
    if interval is not None and interval <= 0:
        raise EngineError(
            f"--runner flink: --checkpointing_interval={interval}: a stream without checkpoints keeps nothing of a "
            f"crash, and its offsets are never committed; leave it out for {CHECKPOINT_MS}, or say milliseconds"
        )
    if asked.get("load_balance_bundles"):
        raise EngineError(
            "--runner flink: --load_balance_bundles lets a key's state change its worker between checkpoints: leave it "
            "out"
        )
    parallelism = options.view_as(FlinkRunnerOptions).parallelism
    most = options.view_as(FlinkRunnerOptions).max_parallelism
    if 0 < most < parallelism:
        raise EngineError(
            f"--runner flink: --parallelism {parallelism} is more than --max_parallelism {most}: say more key groups, "
            f"as {MAX_PARALLELISM}, before the first start; a job's state keeps its number"
        )


def flink_defaults(
    options: PipelineOptions,
    *,
    endless: bool,
    max_parallelism: int = 0,
    mended: bool = False,
) -> list[str]:
    """The options that a profile adds, where nothing is said of them.

    Args:
        options: what was said.
        endless: whether the job's input has no end.
        max_parallelism: for a stream; 0 leaves it to Flink. With runners that keep a state for each return of a source
            (https://github.com/apache/beam/issues/27648) each of these states costs a table for each key group.
        mended: whether it is Beam's runner as the stack builds it (docs/stack.md).

    >>> flink_defaults(PipelineOptions([]), endless=False)
    []
    >>> flink_defaults(PipelineOptions(["--checkpointing_interval=1000"]), endless=True)
    ['--streaming', '--finish_bundle_before_checkpointing', '--max_bundle_time_mills=100']
    """
    asked: dict[str, Any] = options.view_as(FlinkJobOptions).get_all_options(drop_default=True)
    added: list[str] = []
    if endless and not options.view_as(StandardOptions).streaming:
        added.append("--streaming")
    if endless or asked.get("checkpointing_interval"):
        # Without it what follows Impulse keeps its output at the first checkpoint, and says nothing.
        if not asked.get("finish_bundle_before_checkpointing"):
            added.append("--finish_bundle_before_checkpointing")
        if not asked.get("checkpointing_interval"):
            added.append(f"--checkpointing_interval={CHECKPOINT_MS}")
        if not asked.get("max_bundle_time_mills"):
            # Timers that a bundle sets fire after it ends.
            added.append(f"--max_bundle_time_mills={_BUNDLE_MS}")
        if max_parallelism and options.view_as(FlinkRunnerOptions).max_parallelism < 1:
            added.append(f"--max_parallelism={max_parallelism}")
    if endless and mended:
        added += [f"--experiments={experiment}" for experiment in at_once(options)]
    return added


def at_once(options: PipelineOptions) -> list[str]:
    """The experiment by which elements go to their worker as they come, where nothing is said of it.

    The worker works while its bundle is open, and not only when that has ended. It is for streams, whose elements are
    batches, and for Beam's runner as the stack builds it: with any other a worker and the runner may come to wait for
    each other (docs/stack.md).

    Args:
        options: what was said.

    >>> at_once(PipelineOptions([]))
    ['data_buffer_size_limit=0']
    >>> at_once(PipelineOptions(["--experiments=data_buffer_size_limit=1000000"]))
    []
    """
    said: list[str] = options.view_as(DebugOptions).experiments or []
    return [] if any(experiment.startswith(_BUFFER) for experiment in said) else [f"{_BUFFER}0"]


def worker_processes(options: PipelineOptions, slots: int) -> list[str]:
    """The option that says how many Python workers a TaskManager has, where nothing is said of it.

    Beam's own default is one, in which all tasks of a TaskManager wait for the same interpreter lock.

    Args:
        options: what was said.
        slots: of a TaskManager.

    >>> worker_processes(PipelineOptions(["--parallelism=8"]), 2)
    ['--sdk_worker_parallelism=2']
    >>> worker_processes(PipelineOptions(["--parallelism=8", "--sdk_worker_parallelism=1"]), 2)
    []
    """
    said = options.view_as(PortableOptions).get_all_options(drop_default=True)
    tasks = min(slots, options.view_as(FlinkRunnerOptions).parallelism)
    return [f"--sdk_worker_parallelism={tasks}"] if tasks > 1 and "sdk_worker_parallelism" not in said else []


def check_checkpoints(config: Mapping[str, str], options: PipelineOptions) -> None:
    """See that a cluster keeps checkpoints of any size.

    Args:
        config: of the cluster, as its REST API says it.
        options: Beam's.

    Raises:
        EngineError: checkpoints would be kept in the JobManager's memory, which holds 5 MB.

    >>> check_checkpoints({"state.checkpoints.dir": "s3://bucket/checkpoints"}, PipelineOptions([]))
    >>> check_checkpoints({}, PipelineOptions([]))
    Traceback (most recent call last):
    ...
    thingbeam.runners.profiles.EngineError: --runner flink: the cluster keeps checkpoints in the JobManager's memory, \
where a job of more than 5 MB of state restarts for ever: set its state.checkpoints.dir to a folder that all its parts \
reach, or give --state_backend_storage_path
    """
    if options.view_as(FlinkJobOptions).get_all_options(drop_default=True).get("state_backend_storage_path"):
        return
    storage = config.get("execution.checkpointing.storage") or config.get("state.checkpoint-storage", "")
    folder = config.get("execution.checkpointing.dir") or config.get("state.checkpoints.dir", "")
    if storage == "jobmanager" or not folder:
        raise EngineError(
            "--runner flink: the cluster keeps checkpoints in the JobManager's memory, where a job of more than 5 MB "
            "of state restarts for ever: set its state.checkpoints.dir to a folder that all its parts reach, or give "
            "--state_backend_storage_path"
        )
