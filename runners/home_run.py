"""Running the home application as the command line asks: checked first, then run, stopped or launched again."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import apache_beam as beam
import click
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from rich.console import Console

from thingbeam.io.endpoints import RestartableSource, Sink, Source
from thingbeam.io.errors import ConnectorError
from thingbeam.io.files.endpoint import DirectorySink, FileOptions, FileSource
from thingbeam.io.files.manifest import read_manifest
from thingbeam.io.uris import is_service, scheme_of, sink_of, source_of
from thingbeam.pipelines.home import KINDS, HomeJob, HomeSettings
from thingbeam.runners.account import account_of, balance, lag_of, with_rows, write_account, write_to, written_of
from thingbeam.runners.engines import opened
from thingbeam.runners.failures import FAILED, KAFKA_LOGGER, TRACEBACK, RunFailedError, quiet
from thingbeam.runners.launching import EndedError, connect, follow, has_endpoint, metrics_of, on_prism, told
from thingbeam.runners.prism import prism
from thingbeam.runners.profiles import DIRECT, check_beam_options, check_engine
from thingbeam.runners.progress import StreamLine, watching
from thingbeam.runners.relaunch import AGAIN, Launch, Relaunches, Report, end_with_parent, stopping, supervise
from thingbeam.transforms import CapabilityTable, HomeZones
from thingbeam.transforms.durations import micros_of_duration
from thingbeam.transforms.envelopes import Context, micros_of
from thingbeam.transforms.rules import Period

__all__ = ["run"]

_LENGTHS: Final = (
    "session_gap",
    "allowed_lateness",
    "dedupe_horizon",
    "hold",
    "provisional_every",
    "provisional_within",
)
_ABOVE_0: Final = frozenset({"session_gap", "provisional_every", "provisional_within"})
_PRISM: Final = "prism"

Given = Mapping[str, Any]


class _Run(NamedTuple):
    """What is asked, checked."""

    given: Given
    job: HomeJob
    options: PipelineOptions
    beam_arguments: list[str]

    @property
    def runner(self) -> str:
        """What `--runner` was given."""
        return str(self.given["runner"])


def run(given: Given, beam_arguments: Sequence[str], ours: Sequence[str], arguments: Sequence[str]) -> None:
    """Run it.

    Args:
        given: the options, by name.
        beam_arguments: Beam's.
        ours: the names of our options, to suggest.
        arguments: the whole command line, for a job that is launched again.

    Raises:
        ValueError: a mistake, found before anything ran.
        click.ClickException: a service that is not there, likewise.
        RunFailedError: it ran, and failed.
    """
    # All that can be wrong with what was given is found here, before anything is written or run.
    options = check_beam_options(list(beam_arguments), ours)
    check_engine(given["runner"], endless=False, options=options)
    with _mistakes():
        job = _job(given)
        check_engine(given["runner"], endless=job.endless, commits=job.commits, options=options)
        asked = _Run(given, job, options, list(beam_arguments))
        own = asked.runner == _PRISM and not has_endpoint(options)
        if own and job.endless:
            asked = asked._replace(job=job.restartable())
        # Last, since a service may take half a minute to be given up.
        for source, uri in zip(job.sources, given["source"], strict=True):
            _checked("source", uri, functools.partial(_ask, source))
    if given["launch"]:
        _work(asked, given["launch"])
    elif own and job.endless:
        _run_again_and_again(asked, arguments)
    elif own:
        with prism() as endpoint:
            _run_once(asked, *on_prism(endpoint, beam_arguments, endless=False))
    else:
        with opened(asked.runner, beam_arguments, endless=job.endless) as engine:
            _run_once(asked, engine.runner, engine.options)


@contextlib.contextmanager
def _mistakes() -> Generator[None]:
    """What a service says before the start is a mistake in what was asked."""
    try:
        with quiet(KAFKA_LOGGER):
            yield
    except ConnectorError as error:
        raise click.ClickException(str(error)) from error


def _run_once(asked: _Run, runner: Any, options: PipelineOptions) -> None:
    """Run it from this process: to its end, or a stream until it is stopped."""
    job, name = asked.job, asked.runner
    if job.endless:
        options.view_as(StandardOptions).streaming = True
    with told(name, started=False):
        pipeline = beam.Pipeline(runner, options=options)
        job.build(pipeline)
        # Before old results are removed for it.
        connect(runner, options)
    with _made_ready(asked):
        started, clock = datetime.now(UTC), time.monotonic()
        direct = name == DIRECT
        files = [file for source in job.sources if isinstance(source, FileSource) for file in source.files]
        with watching(files if direct else None, Console(stderr=True)):
            with told(name, started=direct):
                result = pipeline.run()
            with told(name, started=True):
                if job.endless:
                    with stopping() as stop, StreamLine(Console(stderr=True)) as line:
                        follow(result, stop, lambda metrics: line.show(_report(asked, metrics)))
                else:
                    result.wait_until_finish()
    _account(asked, _report(asked, metrics_of(result)), started, time.monotonic() - clock)


def _run_again_and_again(asked: _Run, arguments: Sequence[str]) -> None:
    """Hold a Prism, and have children run the job on it."""
    with _mistakes():
        pinned = asked.job.pinned()
    # That it can be built is seen here, once.
    asked.job.build(beam.Pipeline())
    with _made_ready(asked):
        started, clock = datetime.now(UTC), time.monotonic()
        with StreamLine(Console(stderr=True)) as line:
            # Of a stream that cannot be gone on with, what is open would be lost without a word.
            whole = all(isinstance(each, RestartableSource) for each in asked.job.sources if each.endless)
            relaunches = Relaunches(asked.given["relaunch"] if whole else 0)
            report = supervise(arguments, pinned, prism, relaunches, line.show, line.say)
    _account(asked, report, started, time.monotonic() - clock)


def _work(asked: _Run, path: str) -> None:
    """Be the child: submit the job, work for it, say what is counted; never returns."""
    import msgspec

    end_with_parent()
    # What it fails with is told by the parent, in one line.
    logging.getLogger().setLevel(logging.ERROR if os.environ.get(TRACEBACK) else logging.CRITICAL)
    with open(path, "rb") as file:
        launch = msgspec.json.decode(file.read(), type=Launch)
    newest = Report()

    def look(metrics: Any) -> None:
        nonlocal newest
        newest = _report(asked, metrics)
        newest.write(launch.report)

    status = 0
    try:
        with stopping() as stop, told(_PRISM, started=True):
            job = asked.job.restart(launch.pinned)
            runner, options = on_prism(launch.endpoint, asked.beam_arguments, endless=True)
            pipeline = beam.Pipeline(runner, options=options)
            with told(_PRISM, started=False):
                job.build(pipeline)
            follow(pipeline.run(), stop, look)
    except EndedError as error:
        newest.problem = str(error)
        newest.write(launch.report)
        status = FAILED if error.lasting else AGAIN
    # Beam's own threads might wait for an engine that is not there any more.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _report(asked: _Run, metrics: Any) -> Report:
    return Report(account_of(metrics), written_of(metrics, len(asked.job.sinks), KINDS), lag_of(metrics))


@contextlib.contextmanager
def _made_ready(asked: _Run) -> Generator[None]:
    """Outputs that are ready; directories that were made and have nothing in them go again."""
    made = [sink.directory for sink in _directories(asked.job.sinks) if not os.path.isdir(sink.directory)]
    with _mistakes():
        try:
            asked.job.prepare()
        except ValueError as error:
            raise _named("output", "", error) from error
    try:
        yield
    finally:
        for directory in made:
            # Nothing is in it if the engine was not there.
            with contextlib.suppress(OSError):
                os.rmdir(directory)


def _directories(sinks: Sequence[Sink]) -> list[DirectorySink]:
    return [sink for sink in sinks if isinstance(sink, DirectorySink)]


def _job(given: Given) -> HomeJob:
    """The application, of settings that are all checked; errors name the option that they are about."""
    for name in _LENGTHS:
        if given[name] is not None:
            length = micros_of_duration(given[name], _flag(name))
            if name in _ABOVE_0 and not length:
                raise ValueError(f"{_flag(name)}: it must be above 0")
    place = _same_place if given["runner"] == DIRECT else _absolute
    sources = [_checked("source", uri, lambda uri: source_of(place(uri))) for uri in given["source"]]
    compression = None if given["compression"] == "none" else given["compression"]
    files = FileOptions(given["file_format"], compression, given["overwrite"])
    sinks = [_checked("output", uri, lambda uri: sink_of(place(uri), files)) for uri in given["output"]]
    _checked("period", given["period"], Period.parse)
    zones = _checked("timezone", given["timezone"], HomeZones)
    if given["timezones"] is not None:
        zones = _checked("timezones", given["timezones"], lambda path: HomeZones.read(path, given["timezone"]))
    table = CapabilityTable.default()
    if given["capabilities"] is not None:
        table = _checked("capabilities", given["capabilities"], table.extended)
    _checked("account", given["account"], _check_folder)
    settings = HomeSettings(
        input=given["source"],
        output=given["output"],
        zones=zones,
        session_gap=given["session_gap"],
        period=given["period"],
        table=table,
        allowed_lateness=given["allowed_lateness"],
        horizon=given["dedupe_horizon"],
        hold=given["hold"],
        hold_until=_checked("until", given["until"], micros_of, "; write it like 2007-05-01T00:00:00Z"),
        provisional=given["provisional_every"] if given["revisions"] == "all" else None,
        provisional_within=given["provisional_within"],
        shards=given["shards"],
        context=Context(home_id=given["home_id"]),
    )
    return HomeJob(settings, sources, sinks)


def _same_place(uri: str) -> str:
    return uri


def _absolute(uri: str) -> str:
    """A path as workers of an engine find it, which are in another folder."""
    return uri if is_service(uri) or FileSystems.get_scheme(uri) is not None else os.path.abspath(uri)


def _ask(source: Source, _: str) -> None:
    source.check()


def _check_folder(path: str) -> None:
    folder = os.path.dirname(path) or "."
    if FileSystems.get_scheme(path) is None and not os.path.isdir(folder):
        raise ValueError(f"there is no directory {folder!r}")


def _flag(name: str) -> str:
    return "--input" if name == "source" else f"--{name.replace('_', '-')}"


def _checked(name: str, value: Any, check: Callable[[Any], Any], mend: str = "") -> Any:
    """What a check makes of an option's value; its error names the option."""
    if value is None:
        return None
    if value == "":
        raise ValueError(f"{_flag(name)}: it is empty")
    try:
        return check(value)
    except ValueError as error:
        raise _named(name, value, error, mend) from error


def _named(name: str, value: str, error: ValueError, mend: str = "") -> ValueError:
    """An error that names the option. A URI is not repeated: somebody may have put a secret in it."""
    shown = "" if value in str(error) or scheme_of(value) else f" {value}"
    return ValueError(f"{_flag(name)}{shown}: {error}{mend}")


def _account(asked: _Run, report: Report, started: datetime, seconds: float) -> None:
    """Write what the run counted, see that it adds up, and say it."""
    job, given = asked.job, asked.given
    rows = _rows(job, report)
    counts = report.counts if job.endless else with_rows(report.counts, rows[0])
    about = {
        "input": given["source"][0] if len(given["source"]) == 1 else list(given["source"]),
        "timezone": given["timezone"],
        "started": started.replace(microsecond=0).isoformat().replace("+00:00", "Z"),
    }
    whole = {**about, "written": {sink.shown: found for sink, found in zip(job.sinks, rows, strict=True)}}
    for directory in _directories(job.sinks):
        write_account(directory.directory, counts, about, seconds)
    if given["account"] is not None:
        write_to(given["account"], counts, whole, seconds)
    problem = None if job.endless else balance(counts)
    if problem:
        raise RunFailedError(f"the account does not balance: {problem}. This is a bug: please report it")
    _say(counts, seconds, endless=job.endless)
    for sink, found in zip(job.sinks, rows, strict=True):
        made = f"{found['activities']:,} activities, {found['sessions']:,} sessions, {found['usage']:,} usage rows"
        click.echo(f"{sink.shown}: {made}")


def _rows(job: HomeJob, report: Report) -> list[dict[str, int]]:
    """For each output what it holds: by its manifest, or as it said while it was written."""
    written = report.written or [dict.fromkeys(KINDS, 0) for _ in job.sinks]
    rows: list[dict[str, int]] = []
    for sink, counted in zip(job.sinks, written, strict=True):
        if isinstance(sink, DirectorySink):
            manifest = read_manifest(sink.directory)
            rows.append({kind: manifest.rows(kind) for kind in KINDS})
        else:
            rows.append(counted)
    return rows


def _say(counts: Mapping[str, int], seconds: float, *, endless: bool) -> None:
    found = {**dict.fromkeys(("events", "counted", "duplicates", "late", "ignored", "dead_letters"), 0), **counts}
    rate = found["events"] / seconds if seconds else 0.0
    fates = f"{found['counted']:,} counted, {found['duplicates']:,} duplicates, {found['late']:,} late, "
    fates += f"{found['ignored']:,} ignored, {found['dead_letters']:,} dead letters"
    if not endless:
        click.echo(f"{found['events']:,} events in {seconds:.1f} s ({rate:,.0f}/s): {fates}")
        return
    open_ones = found["events"] - sum(found[name] for name in ("counted", "duplicates", "late", "ignored"))
    left_out = f", {found['suppressed']:,} rows left out" if found.get("suppressed") else ""
    click.echo(f"stopped after {seconds:.1f} s; since its last launch {found['events']:,} events: {fates}, "
               f"{max(0, open_ones):,} not yet worked out{left_out}")  # fmt: skip
