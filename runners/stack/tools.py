"""Finds the programs that components need, and runs them to their end."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from thingbeam.runners.stack.errors import MissingToolError, StackError

__all__ = ["java_options", "reason_in", "run", "tool"]

_JDK: Final = "install a JDK, 17 or newer (Debian: apt install openjdk-17-jdk-headless), or set JAVA_HOME"
_HOW: Final = {
    "java": _JDK,
    "javac": _JDK,
    "jar": _JDK,
    "mvn": "install Apache Maven 3.6 or newer (Debian: apt install maven)",
    "go": "install Go 1.24 or newer (https://go.dev/dl)",
    "node": "install Node.js 18 or newer (https://nodejs.org)",
    "npm": "install Node.js 18 or newer with npm (https://nodejs.org)",
    "openssl": "install OpenSSL (Debian: apt install openssl)",
}
_TELLING: Final = re.compile(r"\b(error|exception|fatal|failed|cannot|already in use)\b|Exception:|Error:", re.I)
_FRAME: Final = re.compile(r"^\s*(at |\.\.\. \d+ more|Caused by: java\.lang\.reflect)")
_LONGEST: Final = 300
_TAIL_BYTES: Final = 1 << 16


def tool(name: str) -> str:
    """The path of a program: Java's of JAVA_HOME first, else what is on the PATH.

    Raises:
        MissingToolError: it is not there; the message says how to install it.

    >>> tool("no-such-program")
    Traceback (most recent call last):
    thingbeam.runners.stack.errors.MissingToolError: no-such-program is not on the PATH: install no-such-program
    """
    home = os.environ.get("JAVA_HOME")
    if name in ("java", "javac", "jar") and home and os.access(Path(home) / "bin" / name, os.X_OK):
        return str(Path(home) / "bin" / name)
    found = shutil.which(name)
    if found is None:
        raise MissingToolError(f"{name} is not on the PATH: {_HOW.get(name, f'install {name}')}")
    return found


def java_options(heap: str, temporary: Path) -> list[str]:
    """Options of a small JVM that starts fast: a heap limit, the first compiler tier, one collector thread.

    Args:
        heap: the limit, as java takes it: "512m".
        temporary: the folder for temporary files.
    """
    place = f"-Djava.io.tmpdir={temporary}"
    return [f"-Xmx{heap}", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.awt.headless=true", place]


def run(
    what: str,
    argv: Sequence[str],
    log: Path,
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float = 900,
) -> None:
    """Runs a program to its end, its output appended to a log.

    Args:
        what: what it is for, to begin an error with: "downloading Kafka 4.3.1".
        argv: program and arguments.
        log: file for standard output and error.
        directory: where it runs.
        environment: variables beside those of this process.
        seconds: limit of time.

    Raises:
        StackError: it failed or took too long: one line with the log's last telling line and its path.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        begin = out.tell()
        try:
            status = subprocess.run(  # noqa: S603
                list(argv),
                cwd=directory,
                env=os.environ | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                timeout=seconds,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise StackError(f"{what} took more than {seconds:.0f} s; log: {log}") from error
    if status:
        raise StackError(f"{what} failed: {reason_in(log, begin) or f'status {status}'}; log: {log}")


def reason_in(log: Path, begin: int = 0) -> str:
    """The line of a log that most likely says why a program ended: the last that speaks of an error, else the last.

    Args:
        log: the file.
        begin: the byte from which it counts.
    """
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(begin, size - _TAIL_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    lines = [line for line in lines if line and not _FRAME.match(line)]
    telling = [line for line in lines if _TELLING.search(line)]
    return (telling or lines or [""])[-1][:_LONGEST]
