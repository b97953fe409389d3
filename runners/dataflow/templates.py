"""Job graphs and classic templates, made by Beam on this machine and without asking Google for anything it need not.

A classic template is the job's graph in a file; what was given when it was made cannot be changed when it is launched.
Beam's own check of the locations asks Cloud Storage, and without credentials tries for a minute: what is wrong is found
here first. https://cloud.google.com/dataflow/docs/guides/templates/creating-templates
"""

from __future__ import annotations

import importlib
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.internal.names import STAGED_PIPELINE_FILENAME

__all__ = [
    "INSTALL", "Graph", "Step", "Target", "check_installed", "check_project", "graph_of",
    "run_on_dataflow", "write_template",
]  # fmt: skip

INSTALL: Final = "Dataflow needs Google's clients: pip install 'thingbeam[dataflow]'"

_CLIENTS: Final = ("google.auth", "google.cloud.dataflow_v1beta3", "google.cloud.storage", "google_auth_httplib2")
_NAME: Final = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")
_PROJECT: Final = re.compile(r"([a-z][a-z0-9.-]*:)?[a-z][-a-z0-9]{4,28}[a-z0-9]")
_REGION: Final = re.compile(r"[a-z]+-[a-z]+\d+")
_LABEL: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}")
_NOWHERE: Final = "nowhere"


def check_installed() -> None:
    """See that Google's clients are there.

    Raises:
        ModuleNotFoundError: one is not; the message says what to install.
    """
    try:
        for name in _CLIENTS:
            importlib.import_module(name)
    except ImportError as error:
        raise ModuleNotFoundError(INSTALL, name=error.name) from error


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a job is to run.

    Attributes:
        project: Google's id of it.
        region: `europe-west1`.
        temp: `gs://BUCKET/PATH` for what the job writes in passing, and for its files if `staging` is not given.
        staging: `gs://BUCKET/PATH` for the job's files.
        name: of the job.
        image: container image of the workers, with thingbeam in it; None: Beam's, which installs `packages`.
        packages: wheels that workers install.
        options: further options of Beam's.
        labels: `key=value`.
    """

    project: str
    region: str
    temp: str
    name: str
    staging: str | None = None
    image: str | None = None
    packages: Sequence[str] = ()
    options: Sequence[str] = ()
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse what Dataflow would refuse."""
        check_project(self.project, self.region)
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"--job-name {self.name}: a letter, then small letters, digits and hyphens are expected")
        for option, place in (("--temp-location", self.temp), ("--staging-location", self.staging)):
            if place is not None and not re.fullmatch(r"gs://[a-z0-9][-._a-z0-9]{1,220}[a-z0-9](/.*)?", place):
                raise ValueError(f"{option} {place}: gs://BUCKET/PATH is expected, which workers reach too")
        for label in self.labels:
            if not _LABEL.fullmatch(label):
                raise ValueError(f"--label {label}: key=value of small letters, digits, _ and - is expected")

    def flags(self) -> list[str]:
        """As Beam has them."""
        found = [f"--project={self.project}", f"--region={self.region}", f"--job_name={self.name}"]
        found += [f"--temp_location={self.temp}", f"--staging_location={self.staging or self.temp}"]
        if self.image:
            found.append(f"--sdk_container_image={self.image}")
        found += [f"--extra_package={path}" for path in self.packages]
        return [*found, *(f"--labels={label}" for label in self.labels), *self.options]


def check_project(project: str, region: str) -> None:
    """See that a project and a region can be ones.

    Raises:
        ValueError: they cannot.
    """
    if not _PROJECT.fullmatch(project):
        raise ValueError(f"--project {project}: Google's id of a project is expected, as my-project-123")
    if not _REGION.fullmatch(region):
        raise ValueError(f"--region {region}: a region like europe-west1 is expected")


class Step(NamedTuple):
    """A step of a job's graph.

    Attributes:
        name: as the pipeline names it, with the names of the composites that it is in.
        kind: URN of the primitive.
        inputs: ids of the collections that it reads.
        outputs: ids of those that it makes.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Graph(NamedTuple):
    """A job as Dataflow would get it.

    Attributes:
        job: the request's Job, as JSON: name, type, environment with workers and options.
        steps: the pipeline's primitives, in the order of their ids.
    """

    job: dict[str, Any]
    steps: tuple[Step, ...]


def graph_of(pipeline: beam.Pipeline, name: str = "graph", *, streaming: bool = False) -> Graph:
    """The job of a pipeline, without any account; takes about a second.

    Args:
        pipeline: built and not run.
        name: of the job.
        streaming: whether it is a streaming job even if its input ends.

    Raises:
        ValueError: Dataflow cannot run the pipeline; one line.
        ModuleNotFoundError: Google's clients are not installed.
    """
    with tempfile.TemporaryDirectory(prefix="dataflow-") as place:
        path = Path(place) / "job.json"
        # An image, so that nothing is asked about what workers install.
        flags = ["--project=offline", "--region=nowhere-any1", f"--job_name={name}", "--no_auth"]
        flags += [f"--temp_location={place}", f"--staging_location={place}", f"--sdk_container_image={_NOWHERE}"]
        if streaming:
            flags.append("--streaming")
        run_on_dataflow(pipeline, [*flags, f"--template_location={path}"])
        job: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        staged = beam_runner_api_pb2.Pipeline.FromString((Path(place) / STAGED_PIPELINE_FILENAME).read_bytes())
    transforms = sorted(staged.components.transforms.items())
    return Graph(
        job,
        tuple(
            Step(one.unique_name, one.spec.urn, tuple(sorted(one.inputs.values())), tuple(sorted(one.outputs.values())))
            for _, one in transforms
            if not one.subtransforms
        ),
    )


def write_template(pipeline: beam.Pipeline, path: str, target: Target, *, offline: bool = False) -> None:
    """Writes a classic template, and stages the job's files beside it.

    Args:
        pipeline: built and not run.
        path: `gs://BUCKET/TEMPLATE`; a local file only with `offline`.
        target: where its jobs run.
        offline: writes the files to the folder of `path` instead, for `gsutil rsync` to bring them to the staging
            location later; no account is needed.

    Raises:
        ValueError: a location that cannot be, or Dataflow cannot run the pipeline; one line.
        ModuleNotFoundError: Google's clients are not installed.
        OSError: Cloud Storage refused the files.
    """
    if not target.image and not target.packages:
        raise ValueError(
            "workers need thingbeam: give --image of a container image that has it, or --code, which brings it along"
        )
    if offline:
        folder = Path(path).absolute().parent
        folder.mkdir(parents=True, exist_ok=True)
        staged = target.staging or target.temp
        run_on_dataflow(
            pipeline, [*target.flags(), f"--staging_location={folder}", f"--template_location={path}", "--no_auth"]
        )
        text = Path(path).read_text(encoding="utf-8")
        # Where the files will be.
        Path(path).write_text(text.replace(str(folder), staged.rstrip("/")), encoding="utf-8")
        return
    if not path.startswith("gs://"):
        raise ValueError(f"{path}: gs://BUCKET/TEMPLATE is expected; for a local file say --offline")
    run_on_dataflow(pipeline, [*target.flags(), f"--template_location={path}"])


def run_on_dataflow(pipeline: beam.Pipeline, flags: Sequence[str]) -> Any:
    """Gives a pipeline to Dataflow, or writes it where `--template_location` says.

    Args:
        pipeline: built and not run, with Beam options of its own.
        flags: further options of Beam's; these count where both say something.

    Returns:
        Beam's result: of a job that was submitted, with its id.

    Raises:
        ModuleNotFoundError: Google's clients are not installed.
    """
    check_installed()
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

    given: Mapping[str, Any] = pipeline.options.get_all_options(drop_default=True)
    said = {flag.removeprefix("--").partition("=")[0] for flag in flags}
    kept = {name: value for name, value in given.items() if name not in _OTHERS | said}
    options = PipelineOptions(list(flags), **kept)
    return DataflowRunner().run_pipeline(pipeline, options)


# Of the runner that the pipeline was built for.
_OTHERS: Final = frozenset({"environment_config", "environment_type", "job_endpoint", "runner", "sdk_location"})
