"""Which Beam runner a name stands for, and what it needs to be told."""

from __future__ import annotations

import difflib
import io
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Final

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner, create_runner

__all__ = ["RUNNERS", "check_beam_options", "runner_of"]

RUNNERS: Final = {
    "direct": "FnApiRunner, embedded in this process: bounded input",
    "prism": "PrismRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
    "portable": "PortableRunner",
}
"""The names that `--runner` takes, and what each stands for."""

_BEAM: Final = {
    "prism": "PrismRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
    "portable": "PortableRunner",
}


def runner_of(name: str) -> PipelineRunner:
    """The runner that a name stands for.

    `direct` is FnApiRunner by name: what Beam's own DirectRunner picks depends on the machine and on the pipeline.

    Raises:
        ValueError: no such runner; the message names those that there are.

    >>> type(runner_of("direct")).__name__
    'FnApiRunner'
    """
    if name == "direct":
        return FnApiRunner()
    if name not in _BEAM:
        raise ValueError(f"--runner {name}: no such runner; one of {', '.join(RUNNERS)}")
    return create_runner(_BEAM[name])


def check_beam_options(arguments: Sequence[str], ours: Sequence[str] = ()) -> PipelineOptions:
    """Options for Beam, every one of which Beam knows.

    Beam itself drops what it does not know with a warning, so that a slip of the pen runs another job than was meant.

    Args:
        arguments: what was left of the command line.
        ours: names of options to suggest beside Beam's.

    Raises:
        ValueError: an argument that is no option of Beam's; the message suggests a near one.

    >>> check_beam_options(["--job_name", "j"]).get_all_options(drop_default=True)["job_name"]
    'j'
    """
    parser = _OneLineParser(add_help=False, allow_abbrev=False)
    for options in _subclasses(PipelineOptions):
        add = getattr(options, "_add_argparse_args", None)
        if add is not None and options.__dict__.get("_add_argparse_args") is not None:
            add(_Tolerant(parser))
    with redirect_stderr(io.StringIO()):
        _, unknown = parser.parse_known_args(list(arguments))
    for argument in unknown:
        name = argument.split("=", 1)[0]
        known = [*ours, *(flag for action in parser._actions for flag in action.option_strings)]
        if name.startswith("-"):
            near = difflib.get_close_matches(name, known, 1)
            raise ValueError(f"{name}: no such option" + (f"; did you mean {near[0]}?" if near else "; see --help"))
        raise ValueError(f"{argument}: not expected here; options begin with --")
    return PipelineOptions(list(arguments))


class _OneLineParser(ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise ValueError(message)


class _Tolerant:
    """Adds options to a parser; one that two classes of Beam's define is added once."""

    def __init__(self, parser: ArgumentParser) -> None:
        self._parser = parser

    def add_argument(self, *names: str, **details: object) -> None:
        known = {flag for action in self._parser._actions for flag in action.option_strings}
        if not known & set(names):
            self._parser.add_argument(*names, **details)  # type: ignore[arg-type]

    def add_value_provider_argument(self, *names: str, **details: object) -> None:
        self.add_argument(*names, **details)

    def add_mutually_exclusive_group(self, **details: object) -> _Tolerant:
        return self

    def add_argument_group(self, *names: str, **details: object) -> _Tolerant:
        return self


def _subclasses(of: type) -> list[type]:
    return [found for child in of.__subclasses__() for found in (child, *_subclasses(child))]
