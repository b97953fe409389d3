"""Makes an engine ready for one job: finds or starts what it needs, and gives the runner and the options."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions
from apache_beam.runners.runner import PipelineRunner, create_runner

from thingbeam.runners.engines.flink_options import (
    MAX_PARALLELISM,
    check_checkpoints,
    check_flink,
    flink_defaults,
    worker_processes,
)
from thingbeam.runners.loopback import loopback_workers
from thingbeam.runners.profiles import EngineError, check_engine, reason_of, runner_of
from thingbeam.runners.stack import Stack, StackError, rest, running
from thingbeam.runners.stack.components.flink_jobs import FlinkJobServer
from thingbeam.runners.stack.flink_cluster import boot_script

__all__ = ["Engine", "opened"]

_ANSWER_S = 5.0


class Engine(NamedTuple):
    """What a pipeline is made with."""

    runner: PipelineRunner
    options: PipelineOptions


@contextmanager
def opened(name: str, arguments: Sequence[str], *, endless: bool) -> Generator[Engine]:
    """An engine that is ready for a job; what was started for it ends with the block.

    For `flink`: the job server that `--job_endpoint` names; else one that is started for the cluster that
    `--flink_master HOST:PORT` names; else that of the user's stack (`thingbeam stack up flink`). Workers are processes
    that the TaskManagers of the user's stack start, or threads of this process, which then lives as long as the job;
    `--environment_type` says otherwise.

    Args:
        name: what `--runner` was given.
        arguments: Beam's options.
        endless: whether the job's input has no end.

    Raises:
        EngineError: it is not there, or does not take the job; one line that says how to mend it.
        ValueError: no such runner.
    """
    options = PipelineOptions(list(arguments))
    check_engine(name, endless=endless, options=options)
    if name != "flink":
        yield Engine(runner_of(name), options)
        return
    check_flink(options, endless=endless)
    with ExitStack() as until_the_end:
        more = _on_flink(options, endless, until_the_end)
        yield Engine(create_runner("PortableRunner"), PipelineOptions([*arguments, *more]))


def _on_flink(options: PipelineOptions, endless: bool, until_the_end: ExitStack) -> list[str]:
    master: Any = options.view_as(FlinkRunnerOptions).flink_master
    if options.view_as(PortableOptions).job_endpoint:
        return [*_workers(options, until_the_end), *flink_defaults(options, endless=endless)]
    if not master.startswith("["):
        address = master.partition("://")[2] or master
        slots = _check_cluster(address, options, endless)
        try:
            folder = until_the_end.enter_context(tempfile.TemporaryDirectory(prefix="flinkjobs-"))
            stack = until_the_end.enter_context(running(folder, FlinkJobServer(master=address)))
        except StackError as error:
            raise EngineError(f"--runner flink: no job server for {address}: {error}") from error
        more = flink_defaults(options, endless=endless, max_parallelism=MAX_PARALLELISM, mended=True)
        return [f"--job_endpoint={stack.uri('flinkjobs')}", *_workers(options, until_the_end, slots), *more]
    own = Stack()
    statuses = {status.name: status for status in own.status()} if own.has("flink") else {}
    server = statuses.get("flink/jobserver")
    if server is None or server.state != "ready":
        raise EngineError(
            "--runner flink: no cluster is named and none of yours runs here: `thingbeam stack up flink` starts one, "
            "or give --flink_master HOST:PORT of one that runs, or --job_endpoint HOST:PORT of a job server for it"
        )
    slots = _check_cluster(statuses["flink/jobmanager"].uri.partition("://")[2], options, endless)
    workers = _workers(options, until_the_end, slots, boot=boot_script(own.place("flink")))
    more = flink_defaults(options, endless=endless, max_parallelism=MAX_PARALLELISM, mended=True)
    return [f"--job_endpoint={server.uri}", *workers, *more]


def _workers(
    options: PipelineOptions, until_the_end: ExitStack, slots: int = 1, *, boot: Path | None = None
) -> list[str]:
    """Where Python runs: as was said; else in processes of a program that starts them; else in this process."""
    said = options.view_as(PortableOptions).environment_type
    if said and said != "LOOPBACK":
        return worker_processes(options, slots)
    if boot and not said:
        command = f"--environment_config={json.dumps({'command': str(boot)})}"
        return ["--environment_type=PROCESS", command, *worker_processes(options, slots)]
    # Threads of one process have one lock, however many workers they are.
    address = until_the_end.enter_context(loopback_workers(options))
    return ["--environment_type=EXTERNAL", f"--environment_config={address}"]


def _check_cluster(address: str, options: PipelineOptions, endless: bool) -> int:
    """See that there is a TaskManager, and that a stream's checkpoints are kept; gives how many slots one has."""
    try:
        overview = rest.call("GET", f"http://{address}/overview", seconds=_ANSWER_S)
        config = rest.call("GET", f"http://{address}/jobmanager/config", seconds=_ANSWER_S)
    except (OSError, HTTPException, rest.RestError) as error:
        raise EngineError(
            f"--runner flink: no Flink answers at {address} ({reason_of(error)}): --flink_master is HOST:PORT of its "
            "REST API and web page"
        ) from error
    if not overview["taskmanagers"]:
        raise EngineError(f"--runner flink: the cluster at {address} has no TaskManager: start one")
    if endless:
        check_checkpoints({entry["key"]: entry["value"] for entry in config}, options)
    slots: int = overview["slots-total"] // overview["taskmanagers"]
    return slots
