"""One KPU on this machine: a Flink cluster of one TaskManager with what AWS gives it, to try a package on."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from thingbeam.runners.stack.cache import installed
from thingbeam.runners.stack.component import Command, Place
from thingbeam.runners.stack.components import flink_install
from thingbeam.runners.stack.components.flink import Flink
from thingbeam.runners.stack.tools import tool

__all__ = ["KPU_BYTES", "Kpu"]

KPU_BYTES: Final = 4 << 30
"""Memory of one KPU."""

_AGENT: Final = "net/bytebuddy/"
_CLASS_PATH: Final = "-cp"


@dataclass(frozen=True, kw_only=True)
class Kpu(Flink):
    """A JobManager, and a TaskManager of one slot on one processor core.

    As at AWS, one KPU is 1 vCPU and 4 GB, of which 3 GB are heap
    (https://docs.aws.amazon.com/managed-flink/latest/java/how-resources.html), and the JobManager has one of its own.
    Beam is not on the cluster, a job's classes come before the cluster's own, and nothing of this interpreter's is on
    PATH or PYTHONPATH.

    >>> sorted(Kpu().ports())
    ['blobs', 'rest', 'rpc']
    """

    kind: ClassVar[str] = "kpu"

    taskmanagers: int = 1
    slots: int = 1
    heap: int = 3072 - 128
    ha: bool = False
    core: int = 0
    """Which processor core."""

    def ports(self) -> Mapping[str, int | None]:
        """For REST and the parts of the cluster among themselves."""
        return {"rest": self.port, "rpc": None, "blobs": None}

    def prepare(self, place: Place) -> None:
        """Writes the configuration: the cluster's, but a job's classes come first."""
        super().prepare(place)
        path = place.directory / "conf" / "config.yaml"
        lines = [
            line for line in path.read_text(encoding="utf-8").splitlines() if "classloader.resolve-order" not in line
        ]
        path.write_text("\n".join([*lines, "classloader.resolve-order: child-first"]) + "\n", encoding="utf-8")

    def commands(self, place: Place) -> Mapping[str, Command]:
        """JobManager and TaskManager."""
        whole = {**place.ports, "jobs": 0, "artifacts": 0}
        found = super().commands(Place(place.directory, whole))
        return {name: self._alone(found[name]) for name in ("jobmanager", "taskmanager-1")}

    def uri(self, place: Place, process: str) -> str:
        """The JobManager's is `http://127.0.0.1:PORT`, of REST and the web page."""
        return f"http://{place.address('rest')}" if process == "jobmanager" else ""

    def _alone(self, command: Command) -> Command:
        argv = list(command.argv)
        argv[argv.index(_CLASS_PATH) + 1] = f"{flink_install.flink()}/lib/*"
        agent = _agent()
        # It keeps Beam's servers on the TaskManager to this machine, and must not bring Beam's classes along.
        argv = [f"{part}={agent}" if part.startswith("-javaagent:") else part for part in argv]
        # The interpreter that ours was made of; boot keeps even that one's packages from workers.
        environment = {"PATH": f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": ""}
        return Command([tool("taskset"), "--cpu-list", str(self.core), *argv], dict(command.environment) | environment)


def _agent() -> Path:
    """A jar of only what the agent in the TaskManager needs."""
    whole = flink_install.job_server()

    def build(folder: Path, log: Path) -> None:
        with (
            zipfile.ZipFile(whole / "job-server.jar") as source,
            zipfile.ZipFile(folder / "agent.jar", "w", zipfile.ZIP_DEFLATED) as target,
        ):
            for entry in source.infolist():
                if entry.filename.startswith(_AGENT) and not entry.is_dir():
                    target.writestr(entry.filename, source.read(entry))

    recipe = f"{(whole / '.done').read_text()} {_AGENT}"
    return installed(f"{whole.parent.name}-agent", whole.name, recipe, build) / "agent.jar"
