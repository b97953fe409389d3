"""Which Beam runner a name stands for, and what it needs to be told."""

from __future__ import annotations

import difflib
import importlib
import io
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Any, Final, NamedTuple, NoReturn
from urllib.error import HTTPError, URLError

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner, create_runner

__all__ = [
    "DIRECT",
    "RUNNERS",
    "EngineError",
    "Profile",
    "check_beam_options",
    "check_engine",
    "engine_error",
    "reason_of",
    "runner_of",
]

DIRECT: Final = "direct"


class Profile(NamedTuple):
    """A runner that `--runner` can name."""

    beam: str
    """What Beam calls it."""
    needs: str
    """What must be there for it to run, for a person."""


RUNNERS: Final = {
    DIRECT: Profile("FnApiRunner", "nothing: it runs embedded in this process, on input that ends"),
    "prism": Profile("PrismRunner", "Prism's binary: --prism_location FILE, or the Internet to fetch it once"),
    "flink": Profile(
        "FlinkRunner",
        "a Flink cluster: one of your own here (`thingbeam stack up flink`), or --flink_master HOST:PORT of one that"
        " runs, or --job_endpoint HOST:PORT of a job server for it",
    ),
    "spark": Profile(
        "SparkRunner",
        "a Spark master (--spark_master_url URL) and a job server for it: --job_endpoint HOST:PORT of one that runs, or"
        " Java and --spark_job_server_jar FILE",
    ),
    "dataflow": Profile(
        "DataflowRunner",
        "pip install 'apache-beam[gcp]', and --project, --region, --temp_location gs://BUCKET/PATH",
    ),
    "portable": Profile("PortableRunner", "--job_endpoint HOST:PORT of a job server that runs"),
}
"""The names that `--runner` takes. All but `direct` are passed to Beam as they are."""


class EngineError(ValueError):
    """An engine that is not there, or does not take the job. The message is one line that says what it needs."""


_STREAMS: Final = "--runner prism (embedded, for trying things) or --runner flink (state survives a crash)"


def check_engine(name: str, *, endless: bool, commits: bool = False, options: PipelineOptions | None = None) -> None:
    """See that an engine can do a job, before anything is started.

    Args:
        name: what `--runner` was given.
        endless: whether the job's input has no end.
        commits: whether a source has the engine say when a bundle is safe.
        options: Beam's.

    Raises:
        EngineError: it cannot; one line that says why, and which engine or option can.
        ValueError: no such runner.

    >>> check_engine("direct", endless=False)
    >>> check_engine("spark", endless=True)
    Traceback (most recent call last):
    ...
    thingbeam.runners.profiles.EngineError: --runner spark: it runs input that ends, through Beam; for a stream say \
--runner prism (embedded, for trying things) or --runner flink (state survives a crash)
    """
    if name not in RUNNERS:
        near = difflib.get_close_matches(name, RUNNERS, 1)
        raise ValueError(f"--runner {name}: no such runner; " + _suggest(near, f"it is one of {', '.join(RUNNERS)}"))
    if endless and name == DIRECT:
        raise EngineError(
            "--runner direct: it runs input that ends: of a stream its timers fire at once and sessions never close; "
            f"say {_STREAMS}"
        )
    if endless and name == "spark":
        raise EngineError(f"--runner spark: it runs input that ends, through Beam; for a stream say {_STREAMS}")
    if commits and name == "spark":
        raise EngineError(
            "--runner spark: it never says when what was read is safe, so that nothing could be committed; leave "
            "group= or checkpoints= out of the input"
        )


def runner_of(name: str) -> PipelineRunner:
    """The runner that a name stands for.

    `direct` is FnApiRunner by name: what Beam's own DirectRunner picks depends on the machine and on the pipeline.

    Raises:
        ValueError: no such runner; the message names those that there are.
        EngineError: what Beam needs for it is not installed.

    >>> type(runner_of("direct")).__name__
    'FnApiRunner'
    """
    check_engine(name, endless=False)
    if name == DIRECT:
        return FnApiRunner()
    try:
        runner: PipelineRunner = create_runner(RUNNERS[name].beam)
    except Exception as error:
        raise engine_error(name, error) from error
    return runner


def engine_error(name: str, error: BaseException) -> EngineError:
    """What to tell of an error that a runner ended in before it ran anything.

    >>> str(engine_error("portable", RuntimeError("no endpoint")))
    '--runner portable: no endpoint. It needs --job_endpoint HOST:PORT of a job server that runs'
    """
    return EngineError(f"--runner {name}: {reason_of(error).rstrip('.')}. It needs {RUNNERS[name].needs}")


def reason_of(error: BaseException) -> str:
    r"""The line of an error that says what is wrong: Beam's messages hold whole tracebacks, which end in it.

    >>> reason_of(RuntimeError("Traceback (most recent call last):\n  …\nOSError: disk full"))
    'OSError: disk full'
    """
    text = str(error)
    if isinstance(error, URLError) and not isinstance(error, HTTPError):
        within = error.reason
        text = within.strerror or str(within) if isinstance(within, OSError) else str(within)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = lines[-1] if lines and lines[0].startswith("Traceback") else " ".join(lines) or type(error).__name__
    return reason if len(reason) <= 400 else reason[:400] + "…"


def check_beam_options(arguments: Sequence[str], ours: Sequence[str] = ()) -> PipelineOptions:
    """Options for Beam, every one of which Beam knows.

    Beam itself drops what it does not know with a warning, so that a slip of the pen runs another job than was meant.

    Args:
        arguments: what was left of the command line.
        ours: names of options to suggest beside Beam's.

    Raises:
        ValueError: an argument that is no option of Beam's, or has a value that the option does not take; the message
            suggests a near one.

    >>> check_beam_options(["--job_name", "j"]).get_all_options(drop_default=True)["job_name"]
    'j'
    """
    # Options of Flink's job server, which Beam would learn of from the server.
    importlib.import_module("thingbeam.runners.engines.flink_options")
    parser = _OneLineParser(add_help=False, allow_abbrev=False)
    for options in _subclasses(PipelineOptions):
        add = getattr(options, "_add_argparse_args", None)
        if add is not None and options.__dict__.get("_add_argparse_args") is not None:
            add(_Tolerant(parser))
    with redirect_stderr(io.StringIO()):
        _, unknown = parser.parse_known_args(list(arguments))
    for argument in unknown:
        name = argument.split("=", 1)[0]
        if not name.startswith("-"):
            raise ValueError(f"{argument}: not expected here; options begin with --")
        known = [*ours, *(flag for action in parser._actions for flag in action.option_strings)]
        near = difflib.get_close_matches(name, known, 1)
        raise ValueError(f"{name}: no such option, of ours or of Beam's; " + _suggest(near, "see --help"))
    return PipelineOptions(list(arguments))


def _suggest(near: Sequence[str], otherwise: str) -> str:
    return f"did you mean {near[0]}?" if near else otherwise


class _OneLineParser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message.removeprefix("argument "))


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


def _subclasses(of: type[Any]) -> list[type[Any]]:
    return [found for child in of.__subclasses__() for found in (child, *_subclasses(child))]
