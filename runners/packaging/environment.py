"""A Python environment in two zips: the packages that workers import, and thingbeam itself.

It is made of what this interpreter has installed, so what ran in the tests is what runs on the cluster. The cluster
needs the same Python, system and processor, and nothing else.
"""

from __future__ import annotations

import hashlib
import platform
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources import files
from importlib.resources.abc import Traversable
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from thingbeam import __version__
from thingbeam.runners.stack.cache import installed

__all__ = ["CLIENTS", "FOLDER", "NEEDED", "Environment", "closure", "is_needed", "own_files", "python_environment"]

NEEDED: Final = ("apache-beam", "fastavro", "msgspec", "numpy", "packaging", "pyarrow", "tzdata", "zstandard")
"""What every worker imports."""
CLIENTS: Final = {"aws": "boto3", "hbase": "happybase", "kafka": "confluent-kafka"}
"""What connectors import, by our extras."""
FOLDER: Final = "packages"
"""The folder of both zips that is to be on PYTHONPATH."""

_SUFFIXES: Final = (".a", ".c", ".h", ".hpp", ".pxd", ".pxi", ".pyc", ".pyi", ".pyx")
_FOLDERS: Final = frozenset({"__pycache__", "include", "tests"})
# Large, and imported by nothing of ours: Arrow's network service, plans and expression compiler; Beam's own tests.
_PARTS: Final = (
    "apache_beam/examples/", "pyarrow/_flight", "pyarrow/gandiva", "pyarrow/libarrow_flight",
    "pyarrow/libarrow_python_flight", "pyarrow/libgandiva", "pyarrow/src/",
)  # fmt: skip
_RECIPE: Final = f"{_SUFFIXES} {sorted(_FOLDERS)} {_PARTS} 3"
_LEVEL: Final = 4
_DATE: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Environment:
    """The two zips.

    Attributes:
        packages: zip of the installed packages.
        code: bytes of the zip of thingbeam.
        python: `3.11`: what interpreter they are for.
        digest: of all of it: two environments with the same one are the same.
        distributions: `name==version` of each package.
    """

    packages: Path
    code: bytes
    python: str
    digest: str
    distributions: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """How much both add to a file."""
        return self.packages.stat().st_size + len(self.code)


def python_environment(clients: Iterable[str] | None = None, more: Sequence[str] = ()) -> Environment:
    """The environment of this interpreter, cut down to what workers need.

    Args:
        clients: extras whose clients go in: kafka, aws, hbase; None: those that are installed.
        more: further packages by name, with what they depend on.

    Raises:
        ValueError: a package is not installed, or is installed as a link to its sources, or this system is not the
            cluster's (Linux on x86-64); one line.
        StackError: the cache cannot be written.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise ValueError(
            f"this is {sys.platform} on {platform.machine()}, the cluster is Linux on x86_64, and packages hold "
            "machine code: make it on such a machine, or in a container of one"
        )
    roots = [*NEEDED, *_clients(clients), *more]
    found = closure(roots)
    names = tuple(sorted(f"{canonicalize_name(one.metadata['Name'])}=={one.version}" for one in found))
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    recipe = f"{python} {_RECIPE} {_LEVEL}\n" + "\n".join(names)
    print_of_packages = hashlib.sha256(recipe.encode()).hexdigest()[:16]

    def build(folder: Path, log: Path) -> None:
        with zipfile.ZipFile(folder / "packages.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as target:
            for one in found:
                for name, path in _files_of(one):
                    _add(target, name, path.read_bytes())

    packages = installed("python-environment", print_of_packages, recipe, build) / "packages.zip"
    code = _code()
    digest = hashlib.sha256(f"{recipe} {hashlib.sha256(code).hexdigest()}".encode()).hexdigest()[:16]
    return Environment(packages, code, python, digest, (*names, f"thingbeam=={__version__}"))


def _clients(wanted: Iterable[str] | None) -> Iterator[str]:
    for extra in CLIENTS if wanted is None else wanted:
        if extra not in CLIENTS:
            raise ValueError(f"--client {extra}: no such client; there are {', '.join(CLIENTS)}")
        if wanted is not None or _installed(CLIENTS[extra]):
            yield CLIENTS[extra]


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def closure(names: Iterable[str]) -> list[Distribution]:
    """Packages and all that they depend on here, each once.

    Raises:
        ValueError: one is not installed.

    >>> sorted(one.metadata["Name"] for one in closure(["msgspec"]))
    ['msgspec']
    """
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    left = [(Requirement(name), "thingbeam") for name in names]
    while left:
        requirement, wanted_by = left.pop()
        name = canonicalize_name(requirement.name)
        try:
            one = found.setdefault(name, distribution(name))
        except PackageNotFoundError as error:
            raise ValueError(f"{name}, which {wanted_by} needs, is not installed: pip install {name}") from error
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for line in one.requires or ():
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    left.append((needed, name))
    return [found[name] for name in sorted(found)]


def _files_of(one: Distribution) -> Iterator[tuple[str, Path]]:
    """The files of a package that a worker may want, by their path in site-packages."""
    name, some = one.metadata["Name"], False
    for file in sorted(one.files or (), key=str):
        path = PurePosixPath(file.as_posix())
        if path.parts[0] == ".." or path.suffix == ".pth":
            continue
        if is_needed(str(path)):
            some = some or ".dist-info" not in path.parts[0]
            yield f"{FOLDER}/{path}", Path(str(one.locate_file(file)))
    if not some:
        raise ValueError(f"{name} is installed as a link to its sources: pip install it without --editable")


def is_needed(name: str) -> bool:
    """Whether a worker may want a file of a package.

    >>> is_needed("pyarrow/lib.so"), is_needed("pyarrow/include/arrow.h"), is_needed("numpy/tests/test_x.py")
    (True, False, False)
    """
    path = PurePosixPath(name)
    if _FOLDERS.intersection(path.parts) or path.suffix in _SUFFIXES or name.startswith(_PARTS):
        return False
    if path.parts[0].endswith(".dist-info"):
        return path.name in ("METADATA", "entry_points.txt")
    return not path.name.endswith(("_test.py", "_test_base.py"))


def own_files() -> list[tuple[str, bytes]]:
    """The files of thingbeam itself, by their path in the package, in order."""
    return sorted(_tree(files("thingbeam"), ""))


def _code() -> bytes:
    written = BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in own_files():
            _add(target, f"{FOLDER}/thingbeam/{name}", content)
    return written.getvalue()


def _tree(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for each in folder.iterdir():
        if each.is_dir():
            if not each.name.startswith((".", "__pycache__")):
                yield from _tree(each, f"{prefix}{each.name}/")
        elif not each.name.endswith(".pyc"):
            yield f"{prefix}{each.name}", each.read_bytes()


def _add(target: zipfile.ZipFile, name: str, content: bytes) -> None:
    # With the time of the build, no two builds were the same.
    entry = zipfile.ZipInfo(name, _DATE)
    entry.external_attr = 0o644 << 16
    target.writestr(entry, content, zipfile.ZIP_DEFLATED, _LEVEL)
