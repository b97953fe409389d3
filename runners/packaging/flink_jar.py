"""One jar that runs a pipeline on a Flink cluster, as Beam lays it out.

The jar is Beam's runner with the pipeline beside the classes, at the places that Beam's PortablePipelineJarUtils reads
(in runners/java-job-service of https://github.com/apache/beam). `flink run home.jar`, the upload of Flink's web page,
or a managed Flink starts it; nothing else of Beam must be there. Classes that every Flink has are left out.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, PortableOptions, StandardOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.job.utils import struct_to_dict
from apache_beam.runners.portability.portable_runner import JobServiceHandle, PortableRunner
from apache_beam.runners.runner import PipelineResult, PipelineState

from thingbeam.runners.engines.flink_options import at_once
from thingbeam.runners.packaging.classes import REGISTRARS, registrars, runner_classes

__all__ = ["ENTRY", "JarSettings", "write_jar"]

ENTRY: Final = "org.apache.beam.runners.flink.FlinkPipelineRunner"
"""The main class of a jar."""

_FOLDER: Final = "BEAM-PIPELINE"
_NAME: Final = "pipeline"
_MANIFEST: Final = f"Manifest-Version: 1.0\r\nMain-Class: {ENTRY}\r\nCreated-By: thingbeam\r\n\r\n"
# Of submitting, not of the job.
_OURS: Final = (
    "flink_job_server_jar", "flink_master", "flink_submit_uber_jar", "flink_version", "job_endpoint",
    "output_executable_path", "runner",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class JarSettings:
    """How the job of a jar runs.

    Elements of a stream go to workers as they come, which suits batches; a pipeline of many small elements is faster
    with the experiment `data_buffer_size_limit=1000000`, Beam's own.

    Attributes:
        boot: path, on every TaskManager, of the program that starts a Python worker.
        name: of the job, as Flink shows it.
        parallelism: tasks of each step; 0 leaves it to the cluster, which is what a managed one wants.
        max_parallelism: of key groups, which bounds a later parallelism; 0 leaves it to Flink.
        checkpoint_ms: milliseconds between checkpoints; 0 leaves them to the cluster.
        bundle_ms: of a stream, milliseconds after which a bundle ends.
        streaming: whether it runs as a stream; None: if its input is endless.
    """

    boot: str
    name: str
    parallelism: int = 0
    max_parallelism: int = 0
    checkpoint_ms: int = 0
    bundle_ms: int = 100
    streaming: bool | None = None

    def __post_init__(self) -> None:
        """Refuse what would fail on the cluster."""
        if not self.boot.startswith("/"):
            raise ValueError(f"--boot {self.boot}: an absolute path is expected, as it is on the TaskManagers")
        if not self.name.strip():
            raise ValueError("--name: it is empty")
        for option in ("parallelism", "max_parallelism", "checkpoint_ms"):
            if getattr(self, option) < 0:
                raise ValueError(f"--{option.replace('_', '-')}: it must not be below 0")
        if self.max_parallelism and self.parallelism > self.max_parallelism:
            raise ValueError(f"--parallelism {self.parallelism}: it is above --max-parallelism {self.max_parallelism}")

    def options(self, streaming: bool) -> dict[str, Any]:
        """As Beam's runner for Flink has them."""
        # With an address, the job's program would submit to it from inside a submission, which Flink refuses.
        found: dict[str, Any] = {"flink_master": "[auto]", "job_name": self.name, "streaming": streaming}
        if streaming:
            # Whoever turns checkpoints on, a step after Impulse would buffer at the first one and never go on.
            found["finish_bundle_before_checkpointing"] = True
            found["max_bundle_time_mills"] = self.bundle_ms
        if self.parallelism:
            found["parallelism"] = self.parallelism
        if self.max_parallelism:
            found["max_parallelism"] = self.max_parallelism
        if self.checkpoint_ms:
            found["checkpointing_interval"] = self.checkpoint_ms
        return found


def write_jar(
    pipeline: beam.Pipeline, jar: Path, settings: JarSettings, *, extras: Mapping[str, Path | bytes] | None = None
) -> None:
    """Makes the jar.

    Args:
        pipeline: built and not run, with its Beam options.
        jar: the file, made or replaced when whole.
        settings: how the job runs.
        extras: further entries, by their path in the jar; files that are zips go in as they are.

    Raises:
        ValueError: the pipeline needs files that the jar cannot bring to a worker; one line that names one.
        StackError: Beam's runner cannot be had; one line with the log's path.
        MissingToolError: there is no Maven, or no JDK.
    """
    runner = _JarRunner(settings)
    given = pipeline.options
    options = given.view_as(PortableOptions)
    options.environment_type = "PROCESS"
    options.environment_config = json.dumps({"command": settings.boot})
    # Else a list of this machine's packages would be a file for workers.
    options.view_as(DebugOptions).add_experiment("disable_logging_submission_environment")
    runner.run_pipeline(pipeline, options)
    _pack(jar, {REGISTRARS: registrars()} | runner.entries() | dict(extras or {}))


class _JarRunner(PortableRunner):
    """Beam's portable runner up to where it would submit."""

    def __init__(self, settings: JarSettings) -> None:
        super().__init__()
        self._settings = settings
        self._entries: dict[str, Path | bytes] = {}

    def run_portable_pipeline(self, pipeline: beam_runner_api_pb2.Pipeline, options: PipelineOptions) -> PipelineResult:
        streaming = self._settings.streaming
        if streaming is None:
            streaming = _is_endless(pipeline) or bool(options.get_all_options().get("streaming"))
        options.view_as(StandardOptions).streaming = streaming
        for experiment in at_once(options) if streaming else ():
            options.view_as(DebugOptions).add_experiment(experiment)
        optimized = self._optimize_pipeline(pipeline, options)
        _check_dependencies(optimized)
        everything = {name: value for name, value in options.get_all_options().items() if name not in _OURS}
        told = JobServiceHandle.encode_pipeline_options(everything | self._settings.options(streaming))
        place = f"{_FOLDER}/{_NAME}"
        # For all its name and annotation, it gives any message as JSON has it.
        as_json: Any = struct_to_dict
        self._entries = {
            f"{_FOLDER}/pipeline-manifest.json": json.dumps({"defaultJobName": _NAME}).encode(),
            f"{place}/pipeline.json": json.dumps(as_json(optimized)).encode(),
            f"{place}/pipeline-options.json": json.dumps(as_json(told)).encode(),
        }
        return PipelineResult(PipelineState.DONE)

    def entries(self) -> dict[str, Path | bytes]:
        """What goes beside the classes."""
        return dict(self._entries)


def _is_endless(pipeline: beam_runner_api_pb2.Pipeline) -> bool:
    unbounded = beam_runner_api_pb2.IsBounded.UNBOUNDED
    return any(collection.is_bounded == unbounded for collection in pipeline.components.pcollections.values())


def _check_dependencies(pipeline: beam_runner_api_pb2.Pipeline) -> None:
    for environment in pipeline.components.environments.values():
        for dependency in environment.dependencies:
            role = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(dependency.role_payload)
            raise ValueError(
                f"{role.staged_name or 'a file'} would be staged, which a worker of a jar does not install; leave out "
                "--requirements_file, --setup_file, --extra_package and --save_main_session, and install it where boot "
                "runs, or see --with of `thingbeam managed-flink package`"
            )


def _pack(jar: Path, entries: Mapping[str, Path | bytes]) -> None:
    base = runner_classes()
    jar.parent.mkdir(parents=True, exist_ok=True)
    part = jar.with_name(f"{jar.name}.part")
    try:
        part.write_bytes(base.read_bytes())
        with zipfile.ZipFile(part, "a", zipfile.ZIP_DEFLATED) as file:
            file.writestr("META-INF/MANIFEST.MF", _MANIFEST)
            for name, content in entries.items():
                if isinstance(content, bytes):
                    file.writestr(name, content)
                else:
                    kind = zipfile.ZIP_STORED if content.suffix == ".zip" else zipfile.ZIP_DEFLATED
                    file.write(content, name, kind)
        part.replace(jar)
    finally:
        part.unlink(missing_ok=True)
