"""The Java classes of a jar: Beam's runner for Flink without what every Flink brings."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

from thingbeam.runners.stack.cache import installed
from thingbeam.runners.stack.components import flink_install
from thingbeam.runners.stack.errors import StackError
from thingbeam.runners.stack.java import RELEASE

__all__ = ["REGISTRARS", "is_wanted", "registrars", "runner_classes"]

_FLINKS: Final = "org/apache/flink/"
# What lies in Flink's packages, and is in no jar of Flink's own.
_BEAMS: Final = ("org/apache/flink/streaming/runtime/operators/", "org/apache/flink/shaded/io/airlift/")
REGISTRARS: Final = "META-INF/services/org.apache.beam.sdk.options.PipelineOptionsRegistrar"
"""The entry that lists who brings options: whoever packs adds it, with its own line or without."""

_UNWANTED: Final = (
    "META-INF/MANIFEST.MF",
    REGISTRARS,
    # Found twice, a service of Flink's is ambiguous.
    "META-INF/services/org.apache.flink.",
    "META-INF/maven/",
    "flink-rpc-akka.jar",
    "org/slf4j/",
    "META-INF/services/org.slf4j.",
)
_ELSEWHERE: Final = ("windows", "osx", "darwin", "freebsd", "sunos", "win32", "aarch", "ppc64", "s390")
_NATIVE: Final = (".so", ".dll", ".dylib", ".jnilib")
_RECIPE: Final = f"{_FLINKS} {_BEAMS} {_UNWANTED} {_ELSEWHERE} {RELEASE}"


def runner_classes() -> Path:
    """The path of the jar, made once for each version of Beam.

    Raises:
        StackError: Beam's job server cannot be had, of which it is made; one line with the log's path.
        MissingToolError: there is no Maven, or no JDK.
    """
    whole = flink_install.job_server()

    def build(folder: Path, log: Path) -> None:
        with (
            zipfile.ZipFile(whole / "job-server.jar") as source,
            zipfile.ZipFile(folder / "runner.jar", "w", zipfile.ZIP_DEFLATED, compresslevel=6) as target,
        ):
            for entry in source.infolist():
                if is_wanted(entry.filename):
                    content = source.read(entry)
                    _check_version(entry.filename, content)
                    target.writestr(entry.filename, content)

    recipe = f"{(whole / '.done').read_text()} {_RECIPE}"
    return installed(f"{whole.parent.name}-classes", whole.name, recipe, build) / "runner.jar"


def _check_version(name: str, content: bytes) -> None:
    # Of a class file, bytes 6 and 7 are its version: 44 and that of Java. Folders of META-INF have newer ones beside.
    if name.endswith(".class") and not name.startswith("META-INF/"):
        version = int.from_bytes(content[6:8], "big") - 44
        if version > int(RELEASE):
            raise StackError(f"{name} is for Java {version}, and a managed Flink 1.19 runs on {RELEASE}")


def registrars() -> bytes:
    """The lines of `REGISTRARS` in Beam's own jar.

    Raises:
        StackError: Beam's job server cannot be had; one line with the log's path.
        MissingToolError: there is no Maven, or no JDK.
    """
    with zipfile.ZipFile(flink_install.job_server() / "job-server.jar") as source:
        return source.read(REGISTRARS)


def is_wanted(name: str) -> bool:
    """Whether an entry of the job server's jar is needed on a Linux cluster of x86-64.

    >>> is_wanted("org/apache/beam/runners/flink/FlinkPipelineRunner.class")
    True
    >>> is_wanted("org/apache/flink/api/common/Plan.class"), is_wanted("META-INF/native/lib_osx_x86_64.jnilib")
    (False, False)
    """
    if name.endswith("/") or name.startswith(_UNWANTED):
        return False
    if name.startswith(_FLINKS):
        return name.startswith(_BEAMS)
    return not (name.endswith(_NATIVE) and any(part in name.lower() for part in _ELSEWHERE))
