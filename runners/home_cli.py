"""The command line of the home application: thingbeam run home."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, Final

import click

__all__ = ["home"]

_ARGUMENTS: Final = "thingbeam.arguments"

_EPILOG: Final = (
    "A LENGTH is written 90s, 10m, 1h30m or 1d. BEAM OPTIONS are any of Apache Beam's, as --job_name NAME or "
    "--job_name=NAME; one that Beam does not know is refused.",
    "Exit status: 0, done; 1, the run failed; 2, a mistake in the command line or in what it names, and nothing was "
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
        formatter.write_usage(
            ctx.command_path, "--input INPUT --output OUTPUT --timezone ZONE [OPTIONS] [BEAM OPTIONS]"
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments: a run that is launched again is given the same.

        Raises:
            click.NoSuchOption: an option that must be there is misspelt: what is not ours might be Beam's.
        """
        given = ctx.meta[_ARGUMENTS] = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter as error:
            wanted = error.param.opts if error.param is not None else []
            for name in (argument.partition("=")[0] for argument in given if argument.startswith("--")):
                if name not in self._names(ctx) and (near := difflib.get_close_matches(name, wanted, 1)):
                    raise click.NoSuchOption(name, possibilities=near, ctx=ctx) from error
            raise

    def _names(self, ctx: click.Context) -> set[str]:
        return {name for option in self.get_params(ctx) for name in option.opts}

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
@_option("Input and output", "--input", "source", required=True, multiple=True, metavar="INPUT", help=(
    "What to read: files, by a path or a quoted pattern: JSON Lines (.jsonl, .jsonl.gz, .jsonl.zst) of SmartThings or "
    "Matter messages, or .avro or .parquet files of Event records; or topics, as "
    "'kafka://HOST:PORT/TOPIC?group=NAME'. May be given again."
))  # fmt: skip
@_option("Input and output", "--output", required=True, multiple=True, metavar="OUTPUT", help=(
    "Where results go: a directory, for activities-*, sessions-*, usage-*, late-*, dead-letters-*, manifest.json and "
    "account.json, made if it is not there; or topics, as kafka://HOST:PORT/PREFIX. May be given again."
))  # fmt: skip
@_option("Input and output", "--overwrite", is_flag=True, help="Replace results that are in the directory already.")
@_option("Input and output", "--format", "file_format", type=click.Choice(["jsonl", "avro", "parquet"]),
         default="jsonl", show_default=True, metavar="NAME", help="Write jsonl, avro or parquet.")  # fmt: skip
@_option("Input and output", "--compression", type=click.Choice(["none", "gzip", "zstd"]), default="none",
         show_default=True, metavar="NAME", help=(
    "Compress jsonl with none, gzip or zstd; avro and parquet compress inside."
))  # fmt: skip
@_option("Input and output", "--account", metavar="FILE", help=(
    "Write what was counted to this file too. [default: account.json in each directory]"
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
@_option("Results", "--provisional-every", default="1s", show_default=True, metavar="LENGTH", help=(
    "With --revisions all: how often, by the clock, provisional rows of what changed are written."
))  # fmt: skip
@_option("Results", "--provisional-within", metavar="LENGTH", help=(
    "How far behind the clock an event may be to make provisional rows: a backlog makes none. "
    "[default: the allowed lateness and a minute]"
))  # fmt: skip
@_option("Running", "--runner", default="direct", show_default=True, metavar="NAME", help=(
    "Engine: direct (embedded, for input that ends), prism (embedded, for streams too: one is started where "
    "--job_endpoint names none), flink, spark, dataflow or portable."
))  # fmt: skip
@_option("Running", "--relaunch", default=10, show_default=True, type=click.IntRange(0), metavar="N", help=(
    "How often in a row a stream's job on prism is launched again when its worker dies."
))  # fmt: skip
@_option("Running", "--shards", default=12, show_default=True, type=click.IntRange(1, 1 << 15), metavar="N", help=(
    "Units of parallel work."
))  # fmt: skip
@click.option("--launch", hidden=True, help="What a run that was launched by another is given.")
@click.pass_context
def home(ctx: click.Context, /, **given: Any) -> None:
    """What the devices of homes did, and how much they were used.

    Reads events, drops repeats, and writes activities (a wash, a light being on), sessions (runs of events without a
    long silence) and usage by the hour (Home Assistant's long-term statistics); beside them what came too late and what
    could not be understood. Times are in UTC, with the home's local time beside.

    A stream is worked on until Ctrl-C or SIGTERM, with --runner prism or an engine of your own.
    """
    # What it needs takes seconds to import: not for --help.
    from thingbeam.runners.home_run import run

    ours = [name for parameter in ctx.command.params for name in parameter.opts]
    run(given, ctx.args, ours, ["run", "home", *ctx.meta[_ARGUMENTS]])
