"""The command line of the home application: thingbeam run home."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

import click

from thingbeam.runners.failures import RunFailedError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from thingbeam.pipelines.home import HomeJob

__all__ = ["home"]

_LENGTHS: Final = ("session_gap", "allowed_lateness", "dedupe_horizon", "hold")
_EPILOG: Final = (
    "A LENGTH is written 90s, 10m, 1h30m or 1d. BEAM OPTIONS are any of Apache Beam's, as --job_name NAME or "
    "--job_name=NAME; one that Beam does not know is refused.",
    "Exit status: 0, done; 1, the run failed; 2, a mistake in the command line or the files it names, and nothing was "
    "run; 130, interrupted. docs/command-line.md says more.",
)


class _Option(click.Option):
    """An option with the heading that it stands under in the help."""

    def __init__(self, *names: Any, section: str, **details: Any) -> None:
        super().__init__(*names, **details)
        self.section = section


class _Application(click.Command):
    """A command whose help has sections, and says where Beam's options go."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show that Beam's options follow."""
        formatter.write_usage(ctx.command_path, "--input GLOB --output DIR --timezone ZONE [OPTIONS] [BEAM OPTIONS]")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings, in the order in which those first come."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record is not None:
                sections.setdefault(option.section if isinstance(option, _Option) else "Help", []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=26)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what holds for all options."""
        for paragraph in _EPILOG:
            formatter.write_paragraph()
            formatter.write_text(paragraph)


def _option(section: str, *names: str, **details: Any) -> Callable[[Any], Any]:
    return click.option(*names, cls=_Option, section=section, **details)


@click.command(
    cls=_Application,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": True},
)
@_option("Input and output", "--input", "source", required=True, metavar="GLOB", help=(
    "Files to read: JSON Lines (.jsonl, .jsonl.gz, .jsonl.zst) of SmartThings or Matter messages, or .avro or .parquet "
    "files of Event records. A path or a quoted pattern, on any filesystem that Beam knows."
))  # fmt: skip
@_option("Input and output", "--output", required=True, metavar="DIR", help=(
    "Directory for the results: activities-*, sessions-*, usage-*, late-*, dead-letters-*, manifest.json and "
    "account.json. Made if it is not there."
))  # fmt: skip
@_option("Input and output", "--overwrite", is_flag=True, help="Replace results that are in DIR already.")
@_option("Input and output", "--format", "file_format", type=click.Choice(["jsonl", "avro", "parquet"]),
         default="jsonl", show_default=True, metavar="NAME", help="Write jsonl, avro or parquet.")  # fmt: skip
@_option("Input and output", "--compression", type=click.Choice(["none", "gzip", "zstd"]), default="none",
         show_default=True, metavar="NAME", help=(
    "Compress jsonl with none, gzip or zstd; avro and parquet compress inside."
))  # fmt: skip
@_option("Homes", "--timezone", required=True, metavar="ZONE", help=(
    "Time zone of the homes, by its IANA name, as Europe/Paris: whose hours usage is counted by."
))  # fmt: skip
@_option("Homes", "--timezones", metavar="FILE", help=(
    "CSV file with a line home_id,timezone and then one for each home that is in another zone."
))  # fmt: skip
@_option("Homes", "--home-id", metavar="ID", help="Home of messages that name none, as Matter's do.")
@_option("Results", "--session-gap", default="10m", show_default=True, metavar="LENGTH", help=(
    "Silence that ends a session."
))  # fmt: skip
@_option("Results", "--period", default="1h", show_default=True, metavar="LENGTH", help=(
    "Period of usage: 1m, 3m, 5m, 15m, 30m, 1h, 2h, 3h, 4h, 6h, 8h, 12h or 1d."
))  # fmt: skip
@_option("Results", "--capabilities", metavar="FILE", help=(
    "TOML file that adds to, or changes, what each attribute is for: activity, measurement, meter, state or ignored."
))  # fmt: skip
@_option("Results", "--hold", default="24h", show_default=True, metavar="LENGTH", help=(
    "How long a device that is silent still has usage, by its last values."
))  # fmt: skip
@_option("Results", "--until", metavar="TIME", help=(
    "Hold last values up to this time (RFC 3339, as 2007-05-01T00:00:00Z). [default: each device's last event]"
))  # fmt: skip
@_option("Results", "--allowed-lateness", default="60s", show_default=True, metavar="LENGTH", help=(
    "How much later than newer ones an event of a stream may come before it goes to late-*."
))  # fmt: skip
@_option("Results", "--dedupe-horizon", metavar="LENGTH", help=(
    "How far apart in event time an id may come again and be a duplicate. [default: the allowed lateness]"
))  # fmt: skip
@_option("Results", "--revisions", type=click.Choice(["final", "all"]), default="final", show_default=True,
         metavar="NAME", help=(
    "Write final rows only, or all: provisional ones too, which input that ends has none of."
))  # fmt: skip
@_option("Running", "--runner", default="direct", show_default=True, metavar="NAME", help=(
    "Engine: direct (embedded, for input that ends), or prism, flink, spark, dataflow, portable, which for now are "
    "passed to Beam as they are and need Beam's own options."
))  # fmt: skip
@_option("Running", "--shards", default=12, show_default=True, type=click.IntRange(1, 1 << 15), metavar="N", help=(
    "Units of parallel work."
))  # fmt: skip
@click.pass_context
def home(ctx: click.Context, /, **given: Any) -> None:
    """What the devices of homes did, and how much they were used.

    Reads events, drops repeats, and writes activities (a wash, a light being on), sessions (runs of events without a
    long silence) and usage by the hour (Home Assistant's long-term statistics); beside them what came too late and what
    could not be understood. Times are in UTC, with the home's local time beside.
    """
    import apache_beam as beam
    from rich.console import Console

    from thingbeam.runners.profiles import DIRECT, runner_of
    from thingbeam.runners.progress import watching

    # All that can be wrong with what was given is found here, before anything is written or run.
    options = _beam_options(ctx)
    runner = runner_of(given["runner"])
    job = _job(given)
    direct = given["runner"] == DIRECT
    with _told(given["runner"], started=False):
        pipeline = beam.Pipeline(runner, options=options)
        job.build(pipeline)
    was_there = os.path.isdir(given["output"])
    _checked(given, "output", lambda directory: _prepare(directory, given["overwrite"]))

    console = Console(stderr=True)
    started, clock = datetime.now(UTC), time.monotonic()
    try:
        with watching(job.inputs if direct else None, console):
            with _told(given["runner"], started=direct):
                result = pipeline.run()
            with _told(given["runner"], started=True):
                result.wait_until_finish()
    finally:
        if not was_there:
            # Nothing is in it if the engine was not there.
            with contextlib.suppress(OSError):
                os.rmdir(given["output"])
    _account(result, given, started, time.monotonic() - clock)


def _beam_options(ctx: click.Context) -> PipelineOptions:
    from thingbeam.runners.profiles import check_beam_options

    ours = [name for parameter in ctx.command.params for name in parameter.opts]
    return check_beam_options(list(ctx.args), ours)


def _job(given: dict[str, Any]) -> HomeJob:
    """The application, of settings that are all checked; errors name the option that they are about."""
    from thingbeam.pipelines.home import HomeJob, HomeSettings
    from thingbeam.transforms import CapabilityTable, HomeZones
    from thingbeam.transforms.durations import micros_of_duration
    from thingbeam.transforms.envelopes import Context, micros_of
    from thingbeam.transforms.rules import Period

    for name in _LENGTHS:
        if given[name] is not None:
            length = micros_of_duration(given[name], _flag(name))
            if name == "session_gap" and not length:
                raise ValueError("--session-gap: it must be above 0")
    _checked(given, "source", _check_inputs)
    _checked(given, "period", Period.parse)
    zones = _checked(given, "timezone", HomeZones)
    if given["timezones"] is not None:
        zones = _checked(given, "timezones", lambda path: HomeZones.read(path, given["timezone"]))
    table = CapabilityTable.default()
    if given["capabilities"] is not None:
        table = _checked(given, "capabilities", table.extended)
    return HomeJob(
        HomeSettings(
            input=given["source"],
            output=given["output"],
            zones=zones,
            session_gap=given["session_gap"],
            period=given["period"],
            format=given["file_format"],
            compression=None if given["compression"] == "none" else given["compression"],
            table=table,
            allowed_lateness=given["allowed_lateness"],
            horizon=given["dedupe_horizon"],
            hold=given["hold"],
            hold_until=_checked(given, "until", micros_of, "; write it like 2007-05-01T00:00:00Z"),
            provisional="1s" if given["revisions"] == "all" else None,
            shards=given["shards"],
            context=Context(home_id=given["home_id"]),
        )
    )


def _flag(name: str) -> str:
    return "--input" if name == "source" else f"--{name.replace('_', '-')}"


def _checked(given: dict[str, Any], name: str, check: Callable[[Any], Any], mend: str = "") -> Any:
    """What a check makes of an option's value; its error names the option."""
    value = given[name]
    if value is None:
        return None
    if value == "":
        raise ValueError(f"{_flag(name)}: it is empty")
    try:
        return check(value)
    except ValueError as error:
        shown = "" if value in str(error) else f" {value}"
        raise ValueError(f"{_flag(name)}{shown}: {error}{mend}") from error


def _check_inputs(pattern: str) -> None:
    """See that there are files, that what is in them can be told, and that those on this machine may be read."""
    from apache_beam.io.filesystems import FileSystems

    from thingbeam.io import check_inputs
    from thingbeam.io.files.paths import format_of

    for file in check_inputs(pattern):
        try:
            format_of(file.path)
        except ValueError:
            raise ValueError(
                f"{file.path!r}: what is in it cannot be told; name it .jsonl, .jsonl.gz, .jsonl.zst, .avro or .parquet"
            ) from None
        if FileSystems.get_scheme(file.path) is None:
            try:
                with open(file.path, "rb"):
                    pass
            except OSError as error:
                raise ValueError(f"{file.path!r} cannot be read: {error.strerror}") from error


def _prepare(directory: str, overwrite: bool) -> None:
    from thingbeam.io import prepare_output
    from thingbeam.pipelines.home import KINDS

    prepare_output(directory, KINDS, overwrite)
    if os.path.isdir(directory) and not os.access(directory, os.W_OK | os.X_OK):
        raise ValueError(f"{directory!r} may not be written to")


@contextlib.contextmanager
def _told(runner: str, *, started: bool) -> Generator[None]:
    """Errors of Beam as one line: those of a run that had begun, or of an engine that is not there."""
    from thingbeam.runners.profiles import engine_error, reason_of

    try:
        yield
    except Exception as error:
        if started:
            kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
            raise RunFailedError(f"the run failed: {kind}{reason_of(error)}") from error
        raise engine_error(runner, error) from error


def _account(result: Any, given: dict[str, Any], started: datetime, seconds: float) -> None:
    """Write what the run counted, see that it adds up, and say it."""
    from thingbeam.io import read_manifest
    from thingbeam.pipelines.home import KINDS
    from thingbeam.runners.account import account_of, balance, with_files, write_account

    manifest = read_manifest(given["output"])
    counts = with_files(account_of(result), {kind: manifest.rows(kind) for kind in KINDS})
    about = {
        "input": given["source"],
        "timezone": given["timezone"],
        "started": started.replace(microsecond=0).isoformat().replace("+00:00", "Z"),
    }
    write_account(given["output"], counts, about, seconds)
    problem = balance(counts)
    if problem:
        raise RunFailedError(f"the account does not balance: {problem}. This is a bug: please report it")
    rate = counts["events"] / seconds if seconds else 0.0
    click.echo(
        f"{counts['events']:,} events in {seconds:.1f} s ({rate:,.0f}/s): {counts['counted']:,} counted, "
        f"{counts['duplicates']:,} duplicates, {counts['late']:,} late, {counts['ignored']:,} ignored, "
        f"{counts['dead_letters']:,} dead letters"
    )
    made = f"{counts['activities']:,} activities, {counts['sessions']:,} sessions, {counts['usage']:,} usage rows"
    click.echo(f"{cast(str, given['output'])}: {made}")
