"""Running a pipeline on an engine: what goes wrong as one line, input without an end until it is stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineState, create_runner

from thingbeam.io.errors import ConnectorError, UnreachableError, WriteError
from thingbeam.runners.failures import TRACEBACK, RunFailedError
from thingbeam.runners.profiles import EngineError, engine_error, reason_of

__all__ = ["EndedError", "connect", "follow", "has_endpoint", "is_lasting", "metrics_of", "on_prism", "told"]

_LOOK_S: Final = 1.0
_NAMED: Final = re.compile(r"(?:^|[\s.'\"])(?:[\w.]+\.)?(\w+Error)\b: ")
_TRACEBACK: Final = "Traceback (most recent call last)"
# What passes by itself, though it may take a while.
_PASSING: Final = (UnreachableError, WriteError)


class EndedError(RunFailedError):
    """A run that failed while it ran.

    Attributes:
        lasting: whether another try would fail alike.
    """

    def __init__(self, message: str, *, lasting: bool) -> None:
        super().__init__(message)
        self.lasting = lasting


@contextlib.contextmanager
def told(runner: str, *, started: bool) -> Generator[None]:
    """Errors of Beam as one line: those of a run that had begun, or of an engine that is not there.

    What a job server says of them, the whole trace of Java and Python, is only for who asks for tracebacks. All others
    are heard: a worker in this process says what it passes over or waits for.
    """
    try:
        with contextlib.nullcontext() if os.environ.get(TRACEBACK) else _unrepeated():
            yield
    except (RunFailedError, EngineError):
        raise
    except Exception as error:
        if not started:
            raise engine_error(runner, error) from error
        reason = _reason(error)
        kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
        raise EndedError(f"the run failed: {kind}{reason}", lasting=is_lasting(reason)) from error


@contextlib.contextmanager
def _unrepeated() -> Generator[None]:
    """Drops the errors that Beam's portable runner hands on of a job server; it logs them by no name of its own."""

    def others(record: logging.LogRecord) -> bool:
        return record.module != "portable_runner" or record.levelno < logging.ERROR

    # Of a logger a filter is for what is logged by that one alone.
    root = logging.getLogger()
    root.addFilter(others)
    try:
        yield
    finally:
        root.removeFilter(others)


def _reason(error: Exception) -> str:
    """What is wrong: the line of a worker's traceback that names the error, where an engine's words hold one."""
    text = str(error)
    if _TRACEBACK not in text:
        return reason_of(error)
    lines = [line.strip() for line in text.rpartition(_TRACEBACK)[2].splitlines()]
    named = [line for line in lines if _NAMED.match(line)]
    return reason_of(RuntimeError(named[-1])) if named else reason_of(RuntimeError(lines[-1] or text))


def is_lasting(reason: str) -> bool:
    """Whether a failure, as Beam tells it, is one of a connector that another try will not mend.

    >>> is_lasting("thingbeam.io.kafka.errors.GapError: events[3]: offset 7 is outside 9 to 12 [while running 'Read']")
    True
    >>> is_lasting("thingbeam.io.errors.UnreachableError: no answer"), is_lasting("KeyError: 'x'")
    (False, False)
    """
    found = set(_NAMED.findall(f" {reason}"))
    lasting = {kind.__name__ for kind in _kinds(ConnectorError) if not issubclass(kind, _PASSING)}
    return bool(found & lasting)


def _kinds(of: type[Any]) -> list[type[Any]]:
    return [of, *(found for child in of.__subclasses__() for found in _kinds(child))]


def has_endpoint(options: PipelineOptions) -> bool:
    """Whether the command line names an engine that runs, or a binary, so that none of ours is started."""
    return bool(
        options.view_as(PortableOptions).job_endpoint
        or options.get_all_options(drop_default=True).get("prism_location")
    )


def on_prism(endpoint: str, arguments: Sequence[str], *, endless: bool) -> tuple[Any, PipelineOptions]:
    """A runner and options for a Prism of one's own, with the worker in this process.

    Args:
        endpoint: of its job service.
        arguments: Beam's options, as they were given.
        endless: whether any input is a stream.
    """
    options = PipelineOptions(list(arguments))
    portable = options.view_as(PortableOptions)
    portable.job_endpoint, portable.environment_type = endpoint, "LOOPBACK"
    options.view_as(StandardOptions).streaming = endless
    return create_runner("PortableRunner"), options


def connect(runner: Any, options: PipelineOptions) -> None:
    """Find, or start, the job service of a runner that has one, which otherwise would be as a pipeline is run.

    Args:
        runner: any; the pipelines that it runs later go to that service.
        options: of the pipeline.

    Raises:
        Exception: what Beam says where it is not there.
    """
    if not isinstance(runner, PortableRunner):
        return
    service = runner.create_job_service(options).job_service

    def found(given: PipelineOptions) -> Any:
        return runner.create_job_service_handle(service, given)

    vars(runner)["create_job_service"] = found


def metrics_of(result: Any) -> Any:
    """The metrics of a pipeline as they are now; Beam's portable result keeps the first that it was asked for."""
    if "_metrics" in vars(result):
        vars(result)["_metrics"] = None
    return result.metrics()


def follow(result: Any, stop: threading.Event, look: Callable[[Any], None]) -> bool:
    """Wait for the end of a run, or end it when that is asked; gives whether it was.

    Args:
        result: of the pipeline.
        stop: ends the run.
        look: is given the metrics about once a second, and in the end.

    Raises:
        Exception: what the run failed with.
    """
    while not PipelineState.is_terminal(result.state):
        if stop.wait(_LOOK_S):
            look(metrics_of(result))
            result.cancel()
            return True
        look(metrics_of(result))
    look(metrics_of(result))
    result.wait_until_finish()
    return False
