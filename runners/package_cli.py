"""thingbeam package: one jar of a pipeline for a Flink cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from thingbeam.runners.telling import told

__all__ = ["APPLICATION", "package"]

APPLICATION = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""Settings of a command whose arguments, from the first without --, are those of `thingbeam run`."""


@click.command(context_settings=APPLICATION)
@click.option("--jar", required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help=(
    "The file to make."
))  # fmt: skip
@click.option("--boot", metavar="PATH", help=(
    "Program on every TaskManager that starts a Python worker, where thingbeam is installed there. [default: the jar "
    "brings a Python environment]"
))  # fmt: skip
@click.option("--unpack-to", default="/tmp/thingbeam", show_default=True, metavar="DIR", help=(  # noqa: S108
    "Folder on every TaskManager for that environment."
))  # fmt: skip
@click.option("--client", "clients", multiple=True, metavar="NAME", help=(
    "Clients that go into it: kafka, aws, hbase; several times. [default: those installed]"
))  # fmt: skip
@click.option("--with", "more", multiple=True, metavar="PACKAGE", help="Another package that goes into it.")
@click.option("--name", metavar="NAME", help="Of the job. [default: the application's]")
@click.option("--parallelism", default=0, type=click.IntRange(0), metavar="N", help=(
    "Tasks of each step. [default: as the cluster says when it is submitted]"
))  # fmt: skip
@click.option("--max-parallelism", default=0, type=click.IntRange(0), metavar="N", help=(
    "Of key groups, which bounds later parallelism. [default: Flink's]"
))  # fmt: skip
@click.option("--checkpoint-interval", default="0s", metavar="LENGTH", help="[default: as the cluster says]")
@click.argument("application", nargs=-1, required=True, type=click.UNPROCESSED, metavar="APPLICATION [ITS OPTIONS]...")
def package(
    jar: Path,
    boot: str | None,
    unpack_to: str,
    clients: Sequence[str],
    more: Sequence[str],
    name: str | None,
    parallelism: int,
    max_parallelism: int,
    checkpoint_interval: str,
    application: Sequence[str],
) -> None:
    """Make one jar that runs an application on a Flink cluster, with all that it needs but Python.

    What comes after the options is what `thingbeam run` takes, without --runner: home --input ... --output ... The jar
    is for Flink 1.19; `flink run`, the upload of its web page or a managed Flink starts it.
    """
    from thingbeam.runners.packaging import JarSettings, captured, write_jar
    from thingbeam.runners.packaging.embedded import boot_of, embedded
    from thingbeam.runners.packaging.environment import python_environment
    from thingbeam.transforms.durations import micros_of_duration

    with told():
        checkpoint = micros_of_duration(checkpoint_interval, "--checkpoint-interval") // 1000
        if boot is not None and (clients or more):
            raise ValueError("--boot: then no Python environment goes in; leave out --client and --with")
        extras: dict[str, Path | bytes] = {}
        pipeline = captured(application)
        if boot is None:
            environment = python_environment(clients or None, more)
            extras, boot = embedded(environment, unpack_to), boot_of(environment, unpack_to)
        settings = JarSettings(
            boot=boot,
            name=name or application[0],
            parallelism=parallelism,
            max_parallelism=max_parallelism,
            checkpoint_ms=checkpoint,
        )
        write_jar(pipeline, jar, settings, extras=extras)
    click.echo(f"{jar}: {jar.stat().st_size / 1e6:,.0f} MB, for Flink 1.19")
