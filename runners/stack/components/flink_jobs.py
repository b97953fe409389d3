"""Beam's job server by itself, for a Flink cluster that runs already, or with a Flink in its own process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar

from thingbeam.runners.stack.component import Command, Component, Place
from thingbeam.runners.stack.components import flink_install
from thingbeam.runners.stack.jobs import ask_job_service
from thingbeam.runners.stack.ports import LOOPBACK
from thingbeam.runners.stack.tools import java_options, tool

__all__ = ["FlinkJobServer", "job_server_arguments", "opened_packages"]

_OPENED = (
    "java.lang", "java.lang.invoke", "java.lang.reflect", "java.util", "java.util.concurrent",
    "java.util.concurrent.atomic", "java.nio", "java.time", "java.net", "java.text", "java.io", "sun.nio.ch",
)  # fmt: skip


def opened_packages() -> list[str]:
    """Java's own packages that Flink looks into, as options of a JVM."""
    return [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]


def job_server_arguments(place: Place, master: str, conf: Path | None = None) -> list[str]:
    """What the job server is told.

    Args:
        place: of the component, with the ports `jobs` and `artifacts`.
        master: HOST:PORT of the cluster's REST API.
        conf: folder of Flink's configuration.
    """
    given = {
        "--job-host": LOOPBACK,
        "--job-port": place.ports["jobs"],
        "--artifact-port": place.ports["artifacts"],
        "--expansion-port": -1,
        "--artifacts-dir": place.directory / "artifacts",
        "--flink-master": master,
    }
    if conf is not None:
        given["--flink-conf-dir"] = conf
    return [str(part) for option in given.items() for part in option]


@dataclass(frozen=True, kw_only=True)
class FlinkJobServer(Component):
    """A job server for one cluster: what it is sent, it submits there, with the runner's classes.

    >>> sorted(FlinkJobServer(master="127.0.0.1:8081").ports())
    ['artifacts', 'jobs']
    """

    kind: ClassVar[str] = "flinkjobs"
    start_seconds: ClassVar[float] = 120.0

    master: str
    """HOST:PORT of the cluster's REST API."""

    def ports(self) -> Mapping[str, int | None]:
        """Of the job service and of its artifacts."""
        return {"jobs": None, "artifacts": None}

    def install(self) -> None:
        """Has the job server's jar (163 MB) from Maven."""
        flink_install.job_server()

    def prepare(self, place: Place) -> None:
        """Writes how it logs."""
        source = resources.files(__package__ or "").joinpath("log4j2.xml")
        (place.directory / "log4j2.xml").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")

    def commands(self, place: Place) -> Mapping[str, Command]:
        """One process."""
        beam = flink_install.job_server()
        options = [*java_options("1024m", place.temporary), f"-javaagent:{beam}/loopback.jar", *opened_packages()]
        main = ["-cp", f"{beam}/job-server.jar", "org.apache.beam.runners.flink.FlinkJobServerDriver"]
        return {"": Command([tool("java"), *options, *main, *job_server_arguments(place, self.master)])}

    def ready(self, place: Place, process: str) -> None:
        """Asks the job service for its options."""
        ask_job_service(place.address("jobs"))

    def uri(self, place: Place, process: str) -> str:
        """`127.0.0.1:PORT`, for `--job_endpoint`."""
        return place.address("jobs")
