"""Flink and Beam's job server for it, from package registries."""

from __future__ import annotations

import os
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from thingbeam.runners.stack import java, maven
from thingbeam.runners.stack.cache import installed
from thingbeam.runners.stack.errors import StackError
from thingbeam.runners.stack.tools import run, tool

__all__ = ["FLINK", "flink", "job_server"]

FLINK: Final = "1.19.3"
"""The version of Flink: the newest line that the portable runner and AWS both know."""
BEAM_JAVA: Final = "2.70.0"
"""The version of Beam's runner, which our changes to it are for; it takes the pipelines of newer Python SDKs."""

_SDIST: Final = "apache-flink-libraries"
_PARTS: Final = ("deps/lib/", "deps/plugins/metrics-prometheus/")
_AGENT: Final = "Loopback.java"
_MENDINGS: Final = (
    "Mend.java",
    "Residuals.java",
    "Finalizations.java",
    "Operators.java",
    "Turns.java",
    "Promptness.java",
)
_PIP_SECONDS: Final = 1800.0


def flink() -> Path:
    """The folder of Flink: `lib/` with its jars, `plugins/` with Prometheus' reporter. 230 MB are downloaded.

    Flink's jars are also published as a source distribution for Python, without the shell scripts of its own archive.

    Raises:
        StackError: the download failed; one line with the log's path.
    """
    return installed("flink", FLINK, f"{_SDIST} {_PARTS}", _build_flink)


def _build_flink(folder: Path, log: Path) -> None:
    archives = folder / "download"
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
    argv += [f"{_SDIST}=={FLINK}", f"--dest={archives}"]
    run(f"downloading Flink {FLINK}", argv, log, seconds=_PIP_SECONDS)
    (archive,) = archives.iterdir()
    with tarfile.open(archive) as file:
        for member in file:
            name = member.name.partition("/")[2]
            if member.isfile() and name.startswith(_PARTS) and name.endswith(".jar"):
                member.name = name.removeprefix("deps/")
                file.extract(member, folder, filter="data")
    archive.unlink()
    archives.rmdir()
    if not list((folder / "lib").glob("flink-dist-*.jar")):
        raise StackError(f"{_SDIST} {FLINK} holds no flink-dist; log: {log}")


def job_server() -> Path:
    """The folder of Beam's job server for Flink, with an agent that keeps its servers to this machine.

    `job-server.jar` is made of Beam's runner and our mendings of it (Mend.java); the agent is `loopback.jar`. No
    released job server is taken, though newer ones may be had: state would grow, and savepoints not fit.

    Raises:
        StackError: it cannot be had; one line with the log's path.
        MissingToolError: there is no Maven, or no JDK.
    """
    series = ".".join(FLINK.split(".")[:2])

    def build(folder: Path, log: Path) -> None:
        server = folder / "job-server.jar"
        maven.package(f"building Beam's job server for Flink {series}", BEAM_JAVA, "beam-flink.pom.xml", server, log)
        _mend(server, log)
        java.compiled([_AGENT], str(server), {"Premain-Class": "Loopback"}, folder / "loopback.jar", log)

    recipe = "\n".join((maven.template("beam-flink.pom.xml"), *map(java.source_text, (_AGENT, *_MENDINGS))))
    return installed(f"beam-flink-{series}", BEAM_JAVA, recipe, build)


def _mend(server: Path, log: Path) -> None:
    """Puts our changes to the runner's classes into its jar."""
    with TemporaryDirectory() as place:
        ours, changed = Path(place) / "ours.jar", Path(place) / "changed"
        java.compiled(_MENDINGS, str(server), {}, ours, log)
        with zipfile.ZipFile(ours) as jar:
            for name in jar.namelist():
                if name.endswith(".class"):
                    jar.extract(name, changed)
        classes = os.pathsep.join((str(ours), str(server)))
        what = "mending Beam's job server for Flink"
        run(what, [tool("java"), "-cp", classes, "thingbeam.Mend", str(server), str(changed)], log)
        run(what, [tool("jar"), "uf", str(server), "-C", str(changed), "."], log)
