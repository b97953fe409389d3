"""The pipeline that a command line would run, built and not run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NoReturn
from unittest.mock import patch

import apache_beam as beam
from apache_beam.runners.portability.portable_runner import PortableRunner

__all__ = ["captured"]

# Of Beam's runners the one that is only given a pipeline: it asks nothing of the machine while one is built.
_UNRUN: Final = ("--runner", "portable", "--job_endpoint=none")


class _CapturedError(BaseException):
    """Ends a command where it would run its pipeline. No Exception, so that no command takes it for a failed run."""

    def __init__(self, pipeline: beam.Pipeline) -> None:
        super().__init__()
        self.pipeline = pipeline


def captured(arguments: Sequence[str]) -> beam.Pipeline:
    """The pipeline of `thingbeam run ARGUMENTS`.

    Whatever the command checks before it runs is checked: inputs, settings, that the output may be written.

    Args:
        arguments: an application and its options, without `--runner`: `["home", "--input", …]`.

    Raises:
        ValueError: what the command refuses, or it runs no pipeline; one line.
        click.ClickException: the command line is wrong.
    """
    from thingbeam.runners.cli import run

    if any(argument == "--runner" or argument.startswith("--runner=") for argument in arguments):
        raise ValueError("--runner: leave it out; what is made is for one engine")
    try:
        # Of the engine that is none nothing is asked.
        with patch.object(beam.Pipeline, "run", _stop), patch.object(PortableRunner, "create_job_service"):
            run.main([*arguments, *_UNRUN], prog_name="thingbeam run", standalone_mode=False)
    except _CapturedError as stopped:
        return stopped.pipeline
    raise ValueError(f"thingbeam run {' '.join(arguments)}: it runs no pipeline")


def _stop(pipeline: beam.Pipeline, *_: Any, **__: Any) -> NoReturn:
    raise _CapturedError(pipeline)
