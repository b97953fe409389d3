"""The command line: thingbeam run, thingbeam report, thingbeam stack, thingbeam lag."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import click

from thingbeam import __version__
from thingbeam.runners.dataflow_cli import dataflow
from thingbeam.runners.failures import INTERRUPTED, exit_status
from thingbeam.runners.home_cli import home
from thingbeam.runners.lag_cli import lag
from thingbeam.runners.managed_flink_cli import managed_flink
from thingbeam.runners.package_cli import package
from thingbeam.runners.stack_cli import stack
from thingbeam.runners.tables_cli import tables

__all__ = ["main"]

# Commands import what they need when they run: Beam takes seconds, and --help and slips of the pen need none of it.


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="thingbeam")
def thingbeam() -> None:
    """Smart-home event streams into device history, hourly usage and what follows from them, on Apache Beam."""


@thingbeam.group()
def run() -> None:
    """Run an application, on any engine that Beam knows."""


run.add_command(home)
thingbeam.add_command(dataflow)
thingbeam.add_command(stack)
thingbeam.add_command(lag)
thingbeam.add_command(managed_flink)
thingbeam.add_command(package)
thingbeam.add_command(tables)


@thingbeam.command()
@click.argument("directory", metavar="DIR")
@click.option("--output", metavar="FILE", help="Page to write. [default: DIR/report.html]")
@click.option("--names", metavar="FILE", help='JSON file of names by device id: {"a35021ab-…": "Kitchen"}.')
def report(directory: str, output: str | None, names: str | None) -> None:
    """Make one self-contained HTML page of the results in DIR, and say where it is."""
    from thingbeam.pipelines.report import write_report

    click.echo(write_report(directory, output, names=names))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: a mistake in it is one line on stderr and status 2."""
    logging.basicConfig(level=logging.ERROR)
    status = exit_status(lambda: thingbeam.main(arguments, prog_name="thingbeam", standalone_mode=False))
    if status == INTERRUPTED:
        # A worker thread of Beam's may be in the middle of its work, and the interpreter would wait for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    main()
