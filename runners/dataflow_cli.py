"""thingbeam dataflow: graphs and templates of applications, and the jobs of a project."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thingbeam.runners.package_cli import APPLICATION
from thingbeam.runners.telling import told

if TYPE_CHECKING:
    from thingbeam.runners.dataflow.jobs import DataflowJobs, Job

__all__ = ["dataflow"]

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_APPLICATION = click.argument(
    "application", nargs=-1, required=True, type=click.UNPROCESSED, metavar="APPLICATION [ITS OPTIONS]..."
)


@click.group()
@click.option("--project", metavar="ID", envvar="GOOGLE_CLOUD_PROJECT", help="[default: $GOOGLE_CLOUD_PROJECT]")
@click.option("--region", metavar="NAME", envvar="CLOUDSDK_DATAFLOW_REGION", help=(
    "Of the jobs, as europe-west1. [default: $CLOUDSDK_DATAFLOW_REGION]"
))  # fmt: skip
@click.option("--address", metavar="HOST:PORT", hidden=True, help="Of a server without TLS, instead of Google's.")
@click.pass_context
def dataflow(ctx: click.Context, /, **given: str | None) -> None:
    """Google Dataflow: job graphs and templates, and jobs: launch, list, follow, drain, update, cancel."""
    ctx.obj = given


@dataflow.command(context_settings=APPLICATION)
@click.option("--json", "as_json", is_flag=True, help="The whole job, as Dataflow would get it.")
@click.option("--streaming", is_flag=True, help="As a stream even if the input ends.")
@_APPLICATION
def graph(as_json: bool, streaming: bool, application: Sequence[str]) -> None:
    """Show the job of an application, without any account: what `thingbeam run` takes, without --runner."""
    from thingbeam.runners.dataflow.templates import graph_of
    from thingbeam.runners.packaging.capture import captured

    found = graph_of(captured(application), application[0], streaming=streaming)
    if as_json:
        click.echo(json.dumps({"job": found.job, "steps": [step._asdict() for step in found.steps]}, indent=2))
        return
    click.echo(f"{found.job['name']}: {found.job['type'].removeprefix('JOB_TYPE_')}, {len(found.steps)} steps")
    for step in found.steps:
        click.echo(f"{step.name}  {step.kind.removeprefix('beam:transform:').removesuffix(':v1')}")


@dataflow.command(context_settings=APPLICATION)
@click.option("--to", "path", required=True, metavar="GS-URI", help="The template; with --offline, a file.")
@click.option("--temp-location", required=True, metavar="GS-URI", help="For what its jobs write in passing.")
@click.option("--staging-location", metavar="GS-URI", help="For its jobs' files. [default: the temp location]")
@click.option("--job-name", metavar="NAME", help="[default: the application's]")
@click.option("--image", metavar="IMAGE", help="Container image of the workers, with thingbeam in it.")
@click.option("--code", is_flag=True, help="Bring thingbeam along as a wheel, that workers install.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Of its jobs; several times.")
@click.option("--offline", is_flag=True, help="Write all files to the folder of --to; ask Google for nothing.")
@_APPLICATION
@click.pass_obj
def template(
    obj: dict[str, str | None],
    path: str,
    temp_location: str,
    staging_location: str | None,
    job_name: str | None,
    image: str | None,
    code: bool,
    labels: Sequence[str],
    offline: bool,
    application: Sequence[str],
) -> None:
    """Make a classic template: what `thingbeam run` takes, without --runner."""
    import tempfile

    from thingbeam.runners.dataflow.templates import Target, write_template
    from thingbeam.runners.dataflow.wheel import write_wheel
    from thingbeam.runners.packaging.capture import captured

    project, region = _where(obj)
    with tempfile.TemporaryDirectory(prefix="thingbeam-") as folder, told():
        packages = [str(write_wheel(Path(folder)))] if code else []
        target = Target(
            project=project,
            region=region,
            temp=temp_location,
            staging=staging_location,
            name=job_name or application[0],
            image=image,
            packages=packages,
            labels=labels,
        )
        write_template(captured(application), path, target, offline=offline)
    click.echo(f"{path}: a template of {target.name}")


@dataflow.command()
@click.option("--to", "path", required=True, type=_FILE, metavar="FILE", help="The template's file, to be put to gs://")
@click.option("--image", required=True, metavar="IMAGE", help="Of the container: REGISTRY/PROJECT/…/NAME:TAG.")
@click.option("--context", "folder", type=_FOLDER, metavar="DIR", help="Also write what the image is built from.")
@click.option("--extra", "extras", multiple=True, metavar="NAME", help="Of thingbeam's in the image: kafka, aws…")
@click.option("--streaming", is_flag=True, help="Its jobs are streams.")
@click.argument("application")
def flex(path: Path, image: str, folder: Path | None, extras: Sequence[str], streaming: bool, application: str) -> None:
    """Make a flex template, whose parameters are the application's options."""
    from thingbeam.runners.cli import run
    from thingbeam.runners.dataflow.flex import spec_of, write_context, write_spec

    command = run.commands.get(application)
    if command is None:
        raise ValueError(f"{application}: no such application; there are {', '.join(sorted(run.commands))}")
    write_spec(path, spec_of(image, command, streaming=streaming))
    click.echo(f"{path}: a flex template of {application}; put it to gs://")
    if folder is not None:
        for one in write_context(folder, image, application, extras):
            click.echo(str(one))


def _launching(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--validate", is_flag=True, help="Only check the request."),
        click.option("--renamed", multiple=True, metavar="OLD=NEW", help="Of an update: a step's new name."),
        click.option("--environment", metavar="JSON", help='Of the workers: {"num_workers": 2}.'),
        click.option("--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="Of the template."),
        click.option("--flex", "is_flex", is_flag=True, help="It is a flex template."),
        click.argument("name"),
        click.argument("path", metavar="GS-URI"),
    ):
        command = option(command)
    return command


@dataflow.command()
@_launching
@click.pass_obj
def launch(obj: dict[str, str | None], /, **given: Any) -> None:
    """Start a job of a template under a new NAME."""
    _launch(obj, given, update=False)


@dataflow.command()
@_launching
@click.pass_obj
def update(obj: dict[str, str | None], /, **given: Any) -> None:
    """Let a job of a template take over from the one called NAME that runs, with its state."""
    _launch(obj, given, update=True)


def _launch(obj: dict[str, str | None], given: dict[str, Any], *, update: bool) -> None:
    parameters = _pairs(given["parameters"], "--parameter")
    renamed = _pairs(given["renamed"], "--renamed")
    if renamed and not update:
        raise ValueError("--renamed: it is for updates")
    with told():
        jobs = _open(obj)
        start = jobs.launch_flex if given["is_flex"] else jobs.launch
        made = start(
            given["path"],
            given["name"],
            parameters,
            _environment(given["environment"]),
            update=update,
            renamed=renamed,
            validate=given["validate"],
        )
    if given["validate"]:
        click.echo("Dataflow would take it")
    else:
        _show(made)


@dataflow.command("list")
@click.option("--active", is_flag=True, help="Only those that are not over.")
@click.pass_obj
def list_(obj: dict[str, str | None], active: bool) -> None:
    """List jobs, the newest first."""
    with told():
        for one in _open(obj).all(active=active):
            _show(one)


@dataflow.command()
@click.argument("job")
@click.pass_obj
def show(obj: dict[str, str | None], job: str) -> None:
    """Show a job by its id, or the newest by its name."""
    with told():
        _show(_open(obj).job(job))


@dataflow.command()
@click.option("--importance", default="BASIC", show_default=True, metavar="NAME", help=(
    "Of messages, at least: DEBUG, DETAILED, BASIC, WARNING or ERROR."
))  # fmt: skip
@click.argument("job")
@click.pass_obj
def follow(obj: dict[str, str | None], importance: str, job: str) -> None:
    """Show what happens to a job, until it is over; exit status 1 where it failed."""
    from thingbeam.runners.failures import RunFailedError

    last = ""
    with told():
        for line in _open(obj).follow(job, importance):
            click.echo(f"{line.time}  {line.importance:8}  {line.text}")
            last = line.text if line.importance == "STATE" else last
    if last == "FAILED":
        raise RunFailedError(f"job {job} failed")


@dataflow.command()
@click.argument("job")
@click.pass_obj
def drain(obj: dict[str, str | None], job: str) -> None:
    """Let a streaming job finish what it has read, and end."""
    with told():
        _show(_open(obj).drain(job))


@dataflow.command()
@click.argument("job")
@click.pass_obj
def cancel(obj: dict[str, str | None], job: str) -> None:
    """End a job as it is; what it holds is lost."""
    with told():
        _show(_open(obj).cancel(job))


def _where(given: dict[str, str | None]) -> tuple[str, str]:
    for name, variable in (("project", "GOOGLE_CLOUD_PROJECT"), ("region", "CLOUDSDK_DATAFLOW_REGION")):
        if not given[name]:
            raise ValueError(f"thingbeam dataflow: say --{name} before the command, or set {variable}")
    return str(given["project"]), str(given["region"])


def _open(given: dict[str, str | None]) -> DataflowJobs:
    from thingbeam.runners.dataflow.jobs import Connection, DataflowJobs

    return DataflowJobs(Connection(*_where(given), given["address"]))


def _pairs(given: Sequence[str], option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in given:
        name, has_value, value = each.partition("=")
        if not has_value or not name:
            raise ValueError(f"{option} {each}: NAME=VALUE is expected")
        found[name] = value
    return found


def _environment(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--environment: it is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError('--environment: an object is expected, as {"num_workers": 2}')
    return dict(found)


def _show(job: Job) -> None:
    click.echo("  ".join(part for part in (job.id, job.name, job.state, job.kind, job.created) if part))
