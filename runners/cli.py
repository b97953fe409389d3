"""The command line: thingbeam run, thingbeam report."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from thingbeam import __version__
from thingbeam.runners.stack_cli import stack

__all__ = ["main"]

USAGE_ERROR: Final = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="thingbeam")
def thingbeam() -> None:
    """Smart-home event streams into device history, hourly usage and what follows from them, on Apache Beam."""


thingbeam.add_command(stack)


@thingbeam.group()
def run() -> None:
    """Run an application. Every option of Apache Beam's can follow its own."""


class _Application(click.Command):
    """A command whose help says where further options go."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show that Beam's options follow."""
        formatter.write_usage(ctx.command_path, "--input GLOB --output DIR --timezone ZONE [OPTIONS] [BEAM OPTIONS]")


@run.command(
    cls=_Application,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": True},
)
@click.option("--input", "source", required=True, metavar="GLOB", help=(
    "Files of events: JSON Lines (.jsonl, .gz, .zst) of SmartThings or Matter messages, or Avro or Parquet files of "
    "Event records. A path or glob of any filesystem that Beam knows."
))  # fmt: skip
@click.option("--output", required=True, metavar="DIR", help=(
    "Where results go: activities-*, sessions-*, usage-*, late-*, dead-letters-*, manifest.json, account.json."
))  # fmt: skip
@click.option("--timezone", required=True, metavar="ZONE", help="Of homes, as IANA names it: Europe/Paris.")
@click.option("--timezones", metavar="FILE", help="CSV with home_id,timezone: homes in other zones.")
@click.option("--session-gap", default="10m", show_default=True, help="A silence that ends a session.")
@click.option("--period", default="1h", show_default=True, help="Of usage: 15m, 30m, 1h, 1d, …")
@click.option("--format", "file_format", type=click.Choice(["jsonl", "avro", "parquet"]), default="jsonl",
              show_default=True, help="Of the results.")  # fmt: skip
@click.option("--compression", type=click.Choice(["none", "gzip", "zstd"]), default="none", show_default=True,
              help="Of JSON Lines; Avro and Parquet compress inside.")  # fmt: skip
@click.option("--runner", default="direct", show_default=True, help="direct, prism, flink, spark, dataflow, portable.")
@click.option("--capabilities", metavar="FILE", help="TOML that adds to or changes the table of capabilities.")
@click.option("--revisions", type=click.Choice(["final", "all"]), default="final", show_default=True,
              help="Final results only, or provisional ones too. Bounded input has none of those.")  # fmt: skip
@click.option("--allowed-lateness", default="60s", show_default=True, help="How much later than newer events one may come.")
@click.option("--dedupe-horizon", metavar="LENGTH", help=(
    "Event time in which an id is not counted twice. [default: the allowed lateness]"
))  # fmt: skip
@click.option("--hold", default="24h", show_default=True, help="How long a silent device's values make usage rows.")
@click.option("--until", metavar="TIME", help="RFC 3339 time up to which values are held when the input has ended.")
@click.option("--home-id", metavar="ID", help="The home of messages that do not name theirs (Matter).")
@click.option("--shards", default=12, show_default=True, type=click.IntRange(1, 1 << 15), help="Units of parallel work.")
@click.option("--overwrite", is_flag=True, help="Replace results that are in the output directory.")
@click.pass_context
def home(ctx: click.Context, /, **given: Any) -> None:
    """What the devices of homes did, and how much they were used.

    Reads events, drops repeats, and writes activities (a wash, a light being on), sessions (runs of events without a
    long silence) and usage by the hour (Home Assistant's long-term statistics), with what came too late and what could
    not be understood beside them. Times are UTC with the home's local time beside.
    """
    _run_home(list(ctx.args), given)


def _run_home(beam_arguments: Sequence[str], given: dict[str, Any]) -> None:
    # Beam takes seconds to import: not for --help, nor for a mistake that click sees.
    import apache_beam as beam
    from rich.console import Console

    from thingbeam.io import prepare_output, read_manifest
    from thingbeam.pipelines.home import KINDS, HomeJob, HomeSettings
    from thingbeam.runners.account import account_of, balance, write_account
    from thingbeam.runners.profiles import check_beam_options, runner_of
    from thingbeam.runners.progress import watching
    from thingbeam.transforms import CapabilityTable, HomeZones
    from thingbeam.transforms.envelopes import Context, micros_of

    options = check_beam_options(beam_arguments, [f"--{name.replace('_', '-')}" for name in given])
    runner = runner_of(given["runner"])
    zones = (
        HomeZones.read(given["timezones"], given["timezone"]) if given["timezones"] else HomeZones(given["timezone"])
    )
    table = CapabilityTable.default()
    if given["capabilities"]:
        table = table.extended(given["capabilities"])
    try:
        until = micros_of(given["until"]) if given["until"] else None
    except ValueError as error:
        raise ValueError(f"--until {given['until']}: {error}; write it like 2007-05-01T00:00:00Z") from error
    job = HomeJob(
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
            hold_until=until,
            provisional="1s" if given["revisions"] == "all" else None,
            shards=given["shards"],
            context=Context(home_id=given["home_id"]),
        )
    )
    prepare_output(given["output"], KINDS, given["overwrite"])
    console = Console(stderr=True)
    started, clock = datetime.now(UTC), time.monotonic()
    pipeline = beam.Pipeline(runner, options=options)
    job.build(pipeline)
    with watching(job.inputs, console):
        result = pipeline.run()
        result.wait_until_finish()
    seconds = time.monotonic() - clock
    counts = account_of(result)
    manifest = read_manifest(given["output"])
    rows = {kind.replace("-", "_"): manifest.rows(kind) for kind in KINDS}
    counts |= {"activities": rows["activities"], "sessions": rows["sessions"], "usage": rows["usage"]}
    # What could not be read was no line: the file tells of all dead letters.
    counts["dead_letters"] = rows["dead_letters"]
    about = {
        "input": given["source"],
        "timezone": given["timezone"],
        "started": started.replace(microsecond=0).isoformat().replace("+00:00", "Z"),
    }
    write_account(given["output"], counts, about, seconds)
    problem = balance(counts)
    if problem:
        raise RuntimeError(f"the account does not balance: {problem}. This is a bug: please report it")
    _summarise(console, counts, given["output"], seconds)


def _summarise(console: Any, counts: dict[str, int], output: str, seconds: float) -> None:
    rate = counts["events"] / seconds if seconds else 0.0
    click.echo(
        f"{counts['events']:,} events in {seconds:.1f} s ({rate:,.0f}/s): {counts['counted']:,} counted, "
        f"{counts['duplicates']:,} duplicates, {counts['late']:,} late, {counts['ignored']:,} ignored, "
        f"{counts['dead_letters']:,} dead letters"
    )
    click.echo(
        f"{output}: {counts['activities']:,} activities, {counts['sessions']:,} sessions, {counts['usage']:,} usage rows"
    )


@thingbeam.command()
@click.argument("directory", metavar="DIR")
@click.option("--output", metavar="FILE", help="The page. [default: DIR/report.html]")
@click.option("--names", metavar="FILE", help="JSON with a name for each device id.")
def report(directory: str, output: str | None, names: str | None) -> None:
    """Make one self-contained HTML page of the results in DIR."""
    from thingbeam.pipelines.report import write_report

    click.echo(write_report(directory, output, names=names))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. A mistake in it is one line and exit status 2."""
    logging.basicConfig(level=logging.ERROR)
    sys.exit(_exit_status(lambda: thingbeam.main(arguments, standalone_mode=False)))


def _exit_status(command: Callable[[], Any]) -> int:
    try:
        command()
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.ClickException as error:
        return _say(error.format_message(), USAGE_ERROR)
    except click.Abort:
        return _say("interrupted", 130)
    except (ValueError, ImportError, FileNotFoundError, NotADirectoryError) as error:
        return _say(str(error), USAGE_ERROR)
    return 0


def _say(message: str, status: int) -> int:
    click.echo("thingbeam: " + " ".join(message.split()), err=True)
    return status


if __name__ == "__main__":
    main()
