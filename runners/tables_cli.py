"""thingbeam tables: the tables that applications write into, made by the layouts that they are written by."""

from __future__ import annotations

import click

from thingbeam.runners.telling import told

__all__ = ["tables"]


@click.group()
def tables() -> None:
    """Make the tables that applications write into."""


@tables.command()
@click.argument("uri", metavar="URI")
def create(uri: str) -> None:
    """Make the tables of an output that are not there yet.

    URI is the --output of a job: hbase://127.0.0.1:9090/home or dynamodb://home?region=eu-west-1.
    """
    from thingbeam.io.endpoints import TableSink
    from thingbeam.io.uris import sink_of
    from thingbeam.pipelines.home import RECORDS

    sink = sink_of(uri)
    if not isinstance(sink, TableSink):
        raise click.UsageError(f"{sink.shown} has no tables to make: hbase:// and dynamodb:// have")
    with told():
        made = sink.create(RECORDS)
    click.echo("\n".join(made) if made else "all are there already")
