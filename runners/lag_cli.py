"""thingbeam lag: how far a group is behind, partition by partition."""

from __future__ import annotations

import json
from typing import Any

import click

from thingbeam.runners.failures import KAFKA_LOGGER, quiet

__all__ = ["lag"]


@click.command()
@click.argument("uri", metavar="URI")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def lag(uri: str, as_json: bool) -> None:
    """How far the group of a kafka:// URI is behind, in records and in seconds.

    URI is the input of a job: kafka://127.0.0.1:9092/events?group=g. Its options about reading mean nothing here.
    """
    # Clients take a while to import: not for --help.
    from thingbeam.io.kafka.errors import ConnectorError
    from thingbeam.io.kafka.lag import lag as measure
    from thingbeam.io.kafka.uris import parse_kafka_uri

    parsed = parse_kafka_uri(uri)
    group = parsed.options.get("group")
    if group is None:
        raise click.UsageError("the URI needs group=: the lag is that of a group")
    try:
        with quiet(KAFKA_LOGGER):
            found = measure(parsed.config, group, parsed.topics or None)
    except ConnectorError as error:
        raise click.ClickException(str(error)) from error
    for one in found:
        click.echo(json.dumps(one._asdict()) if as_json else _line(one))
    if not as_json:
        records, seconds = sum(one.records for one in found), max((one.seconds for one in found), default=0.0)
        click.echo(f"{len(found)} partitions, {records:,} records behind, {seconds:,.0f} s at most")


def _line(one: Any) -> str:
    committed = "nothing committed" if one.committed is None else f"at {one.committed:,} of {one.end:,}"
    lost = f", {one.lost:,} lost to retention" if one.lost else ""
    return f"{one.topic}[{one.partition}]: {committed}, {one.records:,} records and {one.seconds:,.0f} s behind{lost}"
