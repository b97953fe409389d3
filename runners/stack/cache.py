"""Where installed components are kept: once for each user, by coordinate and version, outside any tree."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

from thingbeam.runners.stack.errors import StackError

__all__ = ["cache_directory", "installed", "locked"]

_DONE: Final = ".done"


def cache_directory() -> Path:
    """$THINGBEAM_CACHE, or thingbeam in the user's cache."""
    given = os.environ.get("THINGBEAM_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "thingbeam"


def installed(coordinate: str, version: str, recipe: str, build: Callable[[Path, Path], None]) -> Path:
    """The folder of a component, built where it is not there yet.

    It is built beside its place and moved there when whole, so that an install that was cut off leaves nothing that
    looks finished; one process builds, others that want the same wait for it.

    Args:
        coordinate: what it is: `kafka`, `flink`.
        version: which one.
        recipe: text that says what is built. Where it differs from that of the folder, it is built anew.
        build: fills a folder, and may write to a log: `build(folder, log)`.

    Raises:
        StackError: the build failed, or the cache cannot be written.
        MissingToolError: it needs a program that is not there.
    """
    home = cache_directory() / coordinate / version
    print_of_recipe = hashlib.sha256(f"{coordinate} {version}\n{recipe}".encode()).hexdigest()
    if _is_done(home, print_of_recipe):
        return home
    with locked(home.parent / f"{version}.lock"):
        if not _is_done(home, print_of_recipe):
            log = home.parent / f"{version}.log"
            log.write_bytes(b"")
            with tempfile.TemporaryDirectory(prefix=f"{version}.", dir=home.parent) as place:
                building = Path(place) / "build"
                building.mkdir()
                build(building, log)
                (building / _DONE).write_text(print_of_recipe + "\n")
                if home.exists():
                    shutil.rmtree(home)
                building.rename(home)
    return home


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    """Holds a lock among processes, by a file that stays.

    Raises:
        StackError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise StackError(f"{path.parent} cannot be written: {error.strerror}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_done(home: Path, print_of_recipe: str) -> bool:
    try:
        return (home / _DONE).read_text().strip() == print_of_recipe
    except OSError:
        return False
