"""A Python environment inside a jar, and what unpacks it on the TaskManagers."""

from __future__ import annotations

import hashlib
import shlex
import zipfile
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from thingbeam.runners.packaging.classes import REGISTRARS, registrars
from thingbeam.runners.packaging.environment import FOLDER, Environment
from thingbeam.runners.stack.cache import installed
from thingbeam.runners.stack.components import flink_install
from thingbeam.runners.stack.java import RELEASE
from thingbeam.runners.stack.tools import run, tool

__all__ = ["boot_of", "embedded"]

_HOME: Final = "THINGBEAM-PYTHON"
_SOURCE: Final = "PythonEnvironment.java"
_CLASS: Final = "thingbeam/PythonEnvironment"


def boot_of(environment: Environment, place: str) -> str:
    """The path on a TaskManager of the program that starts a worker in an embedded environment.

    Args:
        environment: that is embedded.
        place: folder, on every TaskManager, that environments are unpacked into.

    Raises:
        ValueError: the folder is no absolute path.
    """
    if not place.startswith("/"):
        raise ValueError(f"--unpack-to {place}: an absolute path is expected, as it is on the TaskManagers")
    return f"{place.rstrip('/')}/{environment.digest}/boot"


def embedded(environment: Environment, place: str) -> dict[str, Path | bytes]:
    """The entries of a jar that bring an environment along.

    Args:
        environment: to embed.
        place: folder, on every TaskManager, to unpack it into; absolute, made if it is not there.

    Raises:
        ValueError: the folder is no absolute path.
        StackError: what unpacks it cannot be compiled; one line with the log's path.
        MissingToolError: there is no JDK, or no Maven.
    """
    home = boot_of(environment, place).removesuffix("/boot")
    contents = [home, "packages.zip", "code.zip", "boot.zip"]
    return {
        REGISTRARS: registrars().rstrip() + b"\n" + _CLASS.replace("/", ".").encode() + b"\n",
        f"{_CLASS}.class": (_unpacker() / "PythonEnvironment.class").read_bytes(),
        f"{_HOME}/contents": "\n".join(contents).encode() + b"\n",
        f"{_HOME}/packages.zip": environment.packages,
        f"{_HOME}/code.zip": environment.code,
        f"{_HOME}/boot.zip": _zipped("boot", boot_text(environment.python).encode()),
    }


def boot_text(python: str) -> str:
    """The program that starts a worker with the packages beside it, and no others that the machine may have.

    Args:
        python: `3.11`: the version that the packages are for.
    """
    needed = tuple(int(part) for part in python.split("."))
    check = shlex.quote(f"import sys; sys.exit(sys.version_info[:2] != {needed})")
    return f"""#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd) || exit 1
python=$(command -v python{python} || command -v python3)
if [ -z "$python" ] || ! "$python" -S -c {check}; then
  echo "thingbeam: there is no Python {python} on the PATH of the TaskManager, and the packages are for it" >&2
  exit 127
fi
export PYTHONPATH="$here/{FOLDER}"
exec "$python" -P -s -S -m thingbeam.runners.stack.boot "$@"
"""


def _zipped(name: str, content: bytes) -> bytes:
    written = BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(zipfile.ZipInfo(name), content)
    return written.getvalue()


def _unpacker() -> Path:
    source = files("thingbeam.runners.packaging").joinpath(_SOURCE).read_text(encoding="utf-8")
    jar = flink_install.job_server() / "job-server.jar"

    def build(folder: Path, log: Path) -> None:
        with TemporaryDirectory() as place:
            file = Path(place) / _SOURCE
            file.write_text(source, encoding="utf-8")
            argv = [tool("javac"), "--release", RELEASE, "-proc:none", "-cp", str(jar), "-d", place, str(file)]
            run(f"compiling {_SOURCE}", argv, log)
            (Path(place) / f"{_CLASS}.class").rename(folder / "PythonEnvironment.class")

    version = hashlib.sha256(source.encode()).hexdigest()[:16]
    return installed("python-environment-unpacker", version, source, build)
