"""thingbeam managed-flink: packages and applications of AWS Managed Service for Apache Flink."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thingbeam.runners.package_cli import APPLICATION
from thingbeam.runners.telling import told

if TYPE_CHECKING:
    from thingbeam.runners.managed_flink.applications import Application, Applications

__all__ = ["managed_flink"]

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("managed-flink")
@click.option("--region", metavar="NAME", help="AWS region. [default: AWS_DEFAULT_REGION, or the profile's]")
@click.option("--profile", metavar="NAME", help="Of the AWS configuration.")
@click.option("--endpoint", metavar="URL", help="Of the service, where it is not AWS's own.")
@click.pass_context
def managed_flink(ctx: click.Context, /, **given: str | None) -> None:
    """Applications of AWS Managed Service for Apache Flink: package, try, upload, create, start, stop, snapshot."""
    ctx.obj = given


@managed_flink.command(context_settings=APPLICATION)
@click.option("--to", "path", required=True, type=_FILE, metavar="FILE", help="The file to make.")
@click.option("--client", "clients", multiple=True, metavar="NAME", help=(
    "Clients that go in: kafka, aws, hbase; several times. [default: those installed]"
))  # fmt: skip
@click.option("--with", "more", multiple=True, metavar="PACKAGE", help="Another package that goes in.")
@click.option("--max-parallelism", default=0, type=click.IntRange(0), metavar="N", help=(
    "Of key groups. Once changed, snapshots are useless. [default: Flink's, 128]"
))  # fmt: skip
@click.option("--unpack-to", metavar="DIR", help="Folder on the TaskManagers. [default: /tmp/thingbeam]")
@click.argument("application", nargs=-1, required=True, type=click.UNPROCESSED, metavar="APPLICATION [ITS OPTIONS]...")
def package(
    path: Path,
    clients: Sequence[str],
    more: Sequence[str],
    max_parallelism: int,
    unpack_to: str | None,
    application: Sequence[str],
) -> None:
    """Make the package of an application: what `thingbeam run` takes, without --runner.

    It is checked against AWS's rules: at most 512 MB, Flink 1.19, Python 3.11.
    """
    from thingbeam.runners.managed_flink.package import UNPACK_TO, write_package
    from thingbeam.runners.packaging import captured

    with told():
        made = write_package(
            captured(application),
            path,
            application[0],
            clients=clients or None,
            more=more,
            unpack_to=unpack_to or UNPACK_TO,
            max_parallelism=max_parallelism,
        )
    click.echo(
        f"{made.path}: {made.size / 1e6:,.0f} MB of at most 512, of which {made.environment / 1e6:,.0f} MB are Python "
        f"({len(made.distributions)} packages)"
    )


@managed_flink.command("try")
@click.argument("path", type=_FILE, metavar="FILE")
@click.option("--for", "length", default="5m", show_default=True, metavar="LENGTH", help="At most so long.")
def try_(path: Path, length: str) -> None:
    """Run a package on this machine as on one KPU: one core, 4 GB, nothing installed but Python."""
    from thingbeam.runners.managed_flink.kpu import KPU_BYTES
    from thingbeam.runners.managed_flink.rehearsal import rehearse
    from thingbeam.transforms.durations import micros_of_duration

    with told():
        found = rehearse(path, seconds=micros_of_duration(length, "--for") / 1e6)
    click.echo(f"{found.state} after {found.seconds:.0f} s; at most {found.peak / 1e9:.2f} GB of {KPU_BYTES / 1e9:.2f}")


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """The options of an application's settings, given to the command as `settings`."""

    @click.option("--parallelism", type=int, metavar="N", help="Tasks of each step. [default: 1]")
    @click.option("--parallelism-per-kpu", "per_kpu", type=int, metavar="N", help=(
        "Tasks that share a KPU of 1 vCPU and 4 GB: 1 to 8. [default: 1]"
    ))  # fmt: skip
    @click.option("--autoscaling/--no-autoscaling", default=None, help="[default: off]")
    @click.option("--checkpoint-interval", metavar="LENGTH", help="0s for none. [default: 1m]")
    @click.option("--snapshots/--no-snapshots", default=None, help="At each stop and update. [default: on]")
    @click.option("--log-level", metavar="LEVEL", help="[default: INFO]")
    @click.option("--log-stream", metavar="ARN", help="CloudWatch log stream; only when it is made. [default: no logs]")
    @click.option("--property", "properties", multiple=True, metavar="GROUP.KEY=VALUE", help="A runtime property.")
    @functools.wraps(command)
    def wrapped(
        *arguments: Any,
        parallelism: int | None,
        per_kpu: int | None,
        autoscaling: bool | None,
        checkpoint_interval: str | None,
        snapshots: bool | None,
        log_level: str | None,
        log_stream: str | None,
        properties: Sequence[str],
        **more: Any,
    ) -> None:
        from thingbeam.transforms.durations import micros_of_duration

        given: dict[str, Any] = {
            "parallelism": parallelism,
            "per_kpu": per_kpu,
            "autoscaling": autoscaling,
            "snapshots": snapshots,
            "log_level": log_level,
            "log_stream": log_stream,
            "properties": _properties(properties) or None,
        }
        if checkpoint_interval is not None:
            given["checkpoint_seconds"] = micros_of_duration(checkpoint_interval, "--checkpoint-interval") / 1e6
        settings = {name: value for name, value in given.items() if value is not None}
        command(*arguments, settings=settings, **more)

    return wrapped


def _properties(given: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for each in given:
        path, has_value, value = each.partition("=")
        group, has_key, key = path.rpartition(".")
        if not has_value or not has_key:
            raise ValueError(f"--property {each}: write GROUP.KEY=VALUE")
        found.setdefault(group, {})[key] = value
    return found


@managed_flink.command()
@click.argument("path", type=_FILE, metavar="FILE")
@click.argument("place", metavar="S3-URI")
@click.pass_obj
def upload(obj: dict[str, str | None], path: Path, place: str) -> None:
    """Put a package into a bucket: s3://BUCKET/KEY."""
    from thingbeam.runners.managed_flink.applications import Place

    with told():
        _open(obj).upload(path, Place.parse(place))


@managed_flink.command()
@click.argument("name")
@click.option("--code", required=True, metavar="S3-URI", help="Of the package: s3://BUCKET/KEY.")
@click.option("--role", required=True, metavar="ARN", help="IAM role that it runs as; it must read the package.")
@click.pass_obj
@_with_settings
def create(obj: dict[str, str | None], name: str, code: str, role: str, settings: dict[str, Any]) -> None:
    """Make an application; `start` runs it."""
    from thingbeam.runners.managed_flink.applications import Place, Settings

    with told():
        place, wanted = Place.parse(code), Settings(**settings)
        _show(_open(obj).create(name, place, role, wanted))


@managed_flink.command()
@click.argument("name")
@click.option("--code", metavar="S3-URI", help="Of a new package: s3://BUCKET/KEY.")
@click.pass_obj
@_with_settings
def update(obj: dict[str, str | None], name: str, code: str | None, settings: dict[str, Any]) -> None:
    """Change the package, or those settings that are given. An application that runs restarts, from a snapshot."""
    from thingbeam.runners.managed_flink.applications import Place

    with told():
        place = Place.parse(code) if code is not None else None
        _show(_open(obj).update(name, place=place, settings=settings))


@managed_flink.command()
@click.argument("name")
@click.option("--snapshot", metavar="NAME", help="To start from. [default: the newest]")
@click.option("--fresh", is_flag=True, help="Start without state.")
@click.option("--drop-state", is_flag=True, help="Leave behind state of steps that are no longer there.")
@click.option("--wait", is_flag=True, help="Until it runs.")
@click.pass_obj
def start(
    obj: dict[str, str | None], name: str, snapshot: str | None, fresh: bool, drop_state: bool, wait: bool
) -> None:
    """Start an application."""
    with told():
        opened = _open(obj)
        opened.start(name, snapshot=snapshot, fresh=fresh, drop_state=drop_state)
        if wait:
            _show(opened.wait(name, "RUNNING"))


@managed_flink.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Without a snapshot, in whatever state it is.")
@click.option("--wait", is_flag=True, help="Until it has stopped.")
@click.pass_obj
def stop(obj: dict[str, str | None], name: str, force: bool, wait: bool) -> None:
    """Stop an application, with a snapshot."""
    with told():
        opened = _open(obj)
        opened.stop(name, force=force)
        if wait:
            _show(opened.wait(name, "READY"))


@managed_flink.command()
@click.argument("name")
@click.argument("snapshot")
@click.pass_obj
def snapshot(obj: dict[str, str | None], name: str, snapshot: str) -> None:
    """Save the state of an application that runs."""
    with told():
        _open(obj).snapshot(name, snapshot)


@managed_flink.command()
@click.argument("name")
@click.pass_obj
def snapshots(obj: dict[str, str | None], name: str) -> None:
    """List an application's snapshots, the newest first."""
    with told():
        for one in _open(obj).snapshots(name):
            click.echo(f"{one.name}  {one.status}  version {one.version}  {one.made}".rstrip())


@managed_flink.command()
@click.argument("name")
@click.pass_obj
def describe(obj: dict[str, str | None], name: str) -> None:
    """Show how an application is."""
    with told():
        _show(_open(obj).describe(name))


@managed_flink.command("list")
@click.pass_obj
def list_(obj: dict[str, str | None]) -> None:
    """List the applications."""
    with told():
        for one in _open(obj).all():
            click.echo(f"{one.name}  {one.status}  {one.runtime}  version {one.version}")


@managed_flink.command()
@click.argument("name")
@click.pass_obj
def delete(obj: dict[str, str | None], name: str) -> None:
    """Delete an application with its snapshots."""
    with told():
        _open(obj).delete(name)


def _open(given: dict[str, str | None]) -> Applications:
    from thingbeam.io.aws.config import AwsConfig
    from thingbeam.runners.managed_flink.applications import Applications

    return Applications(AwsConfig(given["region"], given["endpoint"], given["profile"]))


def _show(one: Application) -> None:
    size = f", parallelism {one.parallelism}, {one.kpus} KPU and one for the JobManager" if one.kpus else ""
    code = f", {one.code}" if one.code else ""
    click.echo(f"{one.name}: {one.status}, {one.runtime}, version {one.version}{size}{code}")
