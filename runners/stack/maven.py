"""Java components from Maven's repositories, by poms of our own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from thingbeam.runners.stack.cache import cache_directory, installed, locked
from thingbeam.runners.stack.tools import run, tool

__all__ = ["download", "jars", "package", "template", "unpacked"]

_PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
_SECONDS: Final = 1800.0
_EMPTY: Final = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>none</artifactId><version>1</version><packaging>pom</packaging></project>
"""


def jars(coordinate: str, version: str, pom: str) -> Path:
    """The folder of a pom's runtime dependencies, in the cache.

    Args:
        coordinate: the component, for the cache.
        version: its version, given to the pom as property `component.version`.
        pom: name of the template in `components/`.

    Raises:
        StackError: Maven failed; one line with the log's path.
        MissingToolError: there is no Maven.
    """
    text = template(pom)

    def build(folder: Path, log: Path) -> None:
        goal = [f"{_PLUGIN}:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'lib'}"]
        _maven(f"downloading {coordinate} {version}", version, text, goal, log)

    return installed(coordinate, version, text, build) / "lib"


def unpacked(coordinate: str, version: str, artifact: str) -> Path:
    """The folder into which an archive of Maven's was unpacked, in the cache.

    Args:
        coordinate: the component, for the cache.
        version: its version.
        artifact: group:name:version:packaging:classifier.

    Raises:
        StackError: Maven failed; one line with the log's path.
        MissingToolError: there is no Maven.
    """

    def build(folder: Path, log: Path) -> None:
        download(f"downloading {coordinate} {version}", artifact, folder, log)
        (archive,) = (path for path in folder.iterdir() if path.is_file())
        shutil.unpack_archive(archive, folder, filter="data")
        archive.unlink()

    return installed(coordinate, version, artifact, build)


def download(what: str, artifact: str, folder: Path, log: Path) -> None:
    """Puts one artifact, without what it depends on, into a folder.

    Args:
        what: what it is for, to begin an error with.
        artifact: group:name:version[:packaging[:classifier]].
        folder: where it goes.
        log: of Maven.

    Raises:
        StackError: Maven failed; one line with the log's path.
        MissingToolError: there is no Maven.
    """
    _maven(what, "1", _EMPTY, [f"{_PLUGIN}:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"], log)


def package(what: str, version: str, pom: str, result: Path, log: Path) -> None:
    """Makes the one jar that a pom's `package` builds.

    Args:
        what: what it is for, to begin an error with.
        version: given to the pom as property `component.version`.
        pom: name of the template in `components/`.
        result: where the jar goes.
        log: of Maven.

    Raises:
        StackError: Maven failed; one line with the log's path.
        MissingToolError: there is no Maven.
    """
    _maven(what, version, template(pom), ["package"], log, result)


def template(name: str) -> str:
    """The text of a pom in `components/`."""
    return resources.files("thingbeam.runners.stack.components").joinpath(name).read_text(encoding="utf-8")


def _maven(what: str, version: str, pom: str, goal: Sequence[str], log: Path, result: Path | None = None) -> None:
    program = tool("mvn")
    tool("java")
    # Maven 3's local repository is not made for two writers at once.
    with locked(cache_directory() / "maven.lock"):
        work = log.parent / f"{log.stem}.work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            (work / "pom.xml").write_text(pom, encoding="utf-8")
            argv = [program, "-B", "-q", "-ntp", f"-Dcomponent.version={version}", *goal]
            run(what, argv, log, directory=work, seconds=_SECONDS)
            if result is not None:
                (built,) = (path for path in (work / "target").glob("*.jar") if not path.name.startswith("original-"))
                shutil.move(built, result)
        finally:
            shutil.rmtree(work, ignore_errors=True)
