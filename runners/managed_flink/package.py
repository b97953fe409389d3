"""An application package: one file with the job, Beam's runner and the Python environment of its workers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import apache_beam as beam

from thingbeam.runners.managed_flink.rules import FLINK, PYTHON, check_package
from thingbeam.runners.packaging.embedded import boot_of, embedded
from thingbeam.runners.packaging.environment import python_environment
from thingbeam.runners.packaging.flink_jar import JarSettings, write_jar

__all__ = ["UNPACK_TO", "Package", "write_package"]

UNPACK_TO: Final = "/tmp/thingbeam"  # noqa: S108 - of AWS's machines: the folder that every process may write to
"""Where TaskManagers unpack the environment, by default."""


class Package(NamedTuple):
    """What was made.

    Attributes:
        path: of the file.
        size: its bytes.
        environment: bytes of the Python environment in it.
        distributions: what that holds, `name==version`.
    """

    path: Path
    size: int
    environment: int
    distributions: tuple[str, ...]


def write_package(
    pipeline: beam.Pipeline,
    path: Path,
    name: str,
    *,
    clients: Iterable[str] | None = None,
    more: Sequence[str] = (),
    unpack_to: str = UNPACK_TO,
    max_parallelism: int = 0,
) -> Package:
    """Makes the package of a pipeline.

    Its job takes parallelism and checkpoints from the service. The file is removed where AWS would refuse it.

    Args:
        pipeline: built and not run.
        path: the file, replaced if it is there.
        name: of the job.
        clients: extras whose clients go in: kafka, aws, hbase; None: those installed.
        more: further packages, by name.
        unpack_to: folder, on every TaskManager, for the environment.
        max_parallelism: of key groups, which bounds later parallelism; 0 leaves it to Flink, which takes 128. One that
            was changed makes snapshots useless.

    Raises:
        ValueError: AWS would refuse it, or something that goes in is not there; one line.
        StackError: Beam's runner cannot be had; one line with the log's path.
        MissingToolError: there is no Maven, or no JDK.
    """
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if here != PYTHON:
        raise ValueError(
            f"this is Python {here}, and AWS has {PYTHON} beside Flink {FLINK}: make the package with Python {PYTHON}"
        )
    environment = python_environment(clients, more)
    settings = JarSettings(boot=boot_of(environment, unpack_to), name=name, max_parallelism=max_parallelism)
    write_jar(pipeline, path, settings, extras=embedded(environment, unpack_to))
    try:
        check_package(path)
    except ValueError:
        path.unlink()
        raise
    return Package(path, path.stat().st_size, environment.bytes, environment.distributions)
