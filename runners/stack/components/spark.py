"""Beam's job server for Spark, with a Spark of its own: for batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from thingbeam.runners.stack import java, maven
from thingbeam.runners.stack.cache import installed
from thingbeam.runners.stack.component import Command, Component, Place
from thingbeam.runners.stack.jobs import ask_job_service
from thingbeam.runners.stack.ports import LOOPBACK
from thingbeam.runners.stack.tools import java_options, tool

__all__ = ["BEAM_JAVA", "SPARK", "Spark"]

SPARK: Final = "3.5.0"
"""The version of Spark, in the pom."""
BEAM_JAVA: Final = "2.70.0"
"""The newest runner all of whose parts were found."""

_POM: Final = "beam-spark.pom.xml"
_AGENT: Final = "Loopback.java"
_MAIN: Final = "org.apache.beam.runners.spark.SparkJobServerDriver"
# https://spark.apache.org/docs/3.5.0: what Spark's own scripts open of Java 17.
_OPENED: Final = (
    "java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util",
    "java.util.concurrent", "java.util.concurrent.atomic", "sun.nio.ch", "sun.nio.cs", "sun.security.action",
    "sun.util.calendar",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Spark(Component):
    """A job server whose jobs run in its own process, on so many cores.

    Through Beam, Spark runs input that ends; endless sources do not work there. A restart forgets every job.
    """

    kind: ClassVar[str] = "spark"
    start_seconds: ClassVar[float] = 90.0

    port: int | None = None
    """Of the job service; any free one if None."""
    cores: int = 2
    """Tasks at one time."""
    heap: str = "1g"
    """Limit of the JVM's heap."""

    def ports(self) -> Mapping[str, int | None]:
        """Of the job service and its artifacts."""
        return {"jobs": self.port, "artifacts": None}

    def install(self) -> None:
        """Downloads the job server and Spark with Maven: 300 MB."""
        _libraries()
        _agent()

    def prepare(self, place: Place) -> None:
        """Makes the folders for what jobs bring, and for what Spark spills."""
        for folder in ("artifacts", "spill"):
            (place.directory / folder).mkdir(exist_ok=True)

    def commands(self, place: Place) -> Mapping[str, Command]:
        """One process."""
        spark = {
            "spark.driver.bindAddress": LOOPBACK,
            "spark.driver.host": LOOPBACK,
            "spark.local.dir": place.directory / "spill",
            "spark.ui.enabled": "false",
        }
        server = {
            "--job-host": LOOPBACK,
            "--job-port": place.ports["jobs"],
            "--artifact-port": place.ports["artifacts"],
            "--expansion-port": -1,
            "--artifacts-dir": place.directory / "artifacts",
            "--spark-master-url": f"local[{self.cores}]",
        }
        java = [tool("java"), *java_options(self.heap, place.temporary), f"-javaagent:{_agent()}"]
        java += [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
        java += [f"-D{name}={value}" for name, value in spark.items()]
        arguments = [str(part) for option in server.items() for part in option]
        return {"": Command([*java, "-cp", f"{_libraries()}/*", _MAIN, *arguments])}

    def ready(self, place: Place, process: str) -> None:
        """Asks the job service for its options."""
        ask_job_service(place.address("jobs"))

    def uri(self, place: Place, process: str) -> str:
        """`127.0.0.1:PORT`, for `--job_endpoint`."""
        return place.address("jobs")


def _libraries() -> Path:
    return maven.jars("beam-spark-3", BEAM_JAVA, _POM)


def _agent() -> Path:
    """The jar of what keeps Beam's servers to this machine."""
    classes = f"{_libraries()}/*"

    def build(folder: Path, log: Path) -> None:
        java.compiled([_AGENT], classes, {"Premain-Class": "Loopback"}, folder / "loopback.jar", log)

    recipe = f"{maven.template(_POM)}\n{java.source_text(_AGENT)}"
    return installed("beam-spark-3-agent", BEAM_JAVA, recipe, build) / "loopback.jar"
