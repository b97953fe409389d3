"""The wheel and the sdist, built for real, hold the package that the checkout shows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from apache_beam.runners.portability.stager import Stager

import thingbeam
from structure import CHECKOUT, PARTS, modules, project

ROOT_FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE")
JUNK = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info")


def shipped() -> set[str]:
    """Every file of the package, code and data, by its path in the package."""
    files = {path.relative_to(CHECKOUT) for part in PARTS for path in (CHECKOUT / part).rglob("*") if path.is_file()}
    own = {"__init__.py", "py.typed"}
    return own | {str(path) for path in files if "__pycache__" not in path.parts and path.suffix != ".pyc"}


def copy_checkout(to: Path) -> Path:
    """What a build reads, with the symlinks as they are, so that no build writes into the checkout."""
    to.mkdir()
    for name in ROOT_FILES:
        shutil.copy(CHECKOUT / name, to / name)
    for name in ("src", *PARTS):
        shutil.copytree(CHECKOUT / name, to / name, symlinks=True, ignore=JUNK)
    return to


def run(*arguments: str | Path, cwd: Path) -> str:
    """Runs a command and returns what it printed; no index is asked for anything."""
    environment = os.environ | {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=cwd, env=environment)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build_sdist(source: Path) -> Path:
    """By Beam's own stager, which does it for the workers of a job with --setup_file."""
    to = source.parent / "sdist"
    to.mkdir()
    return Path(Stager._build_setup_package(str(source / "setup.py"), str(to)))


def build_wheel(source: Path, to: Path) -> Path:
    """A wheel of a folder or an sdist, with the setuptools that is here."""
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", to)
    run(sys.executable, "-m", "pip", "wheel", *options, source, cwd=to.parent)
    (built,) = to.glob("*.whl")
    return built


def in_wheel(wheel: Path) -> set[str]:
    """The package's files in a wheel, by their path in the package."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert all(name.startswith("thingbeam/") for name in names), names
    return {name.removeprefix("thingbeam/") for name in names}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of the checkout."""
    return build_sdist(copy_checkout(tmp_path_factory.mktemp("build") / "checkout"))


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """The wheel of the sdist."""
    return build_wheel(sdist, sdist.parent.parent / "wheel")


# setuptools 84 imports the standard library's distutils where its own shim was not the first on the import path.
@pytest.mark.filterwarnings("ignore:The distutils package is deprecated:DeprecationWarning")
def test_the_checkout_shows_each_part_once() -> None:
    for part in PARTS:
        link = CHECKOUT / "src" / "thingbeam" / part
        assert link.is_symlink()
        assert os.readlink(link) == f"../../{part}"
    namespace: dict[str, object] = {}
    source = (CHECKOUT / "setup.py").read_text(encoding="utf-8")
    exec(source.split("def folder_of")[0], {"__file__": str(CHECKOUT / "setup.py")}, namespace)
    assert namespace["PARTS"] == PARTS
    tool = project()["tool"]
    assert isinstance(tool, dict)
    assert tool["pyright"]["include"] == list(PARTS)


def test_every_folder_with_code_is_a_package() -> None:
    loose = {str(m.path) for m in modules() if not (m.path.parent / "__init__.py").is_file()}
    assert loose == set()


def test_wheel_of_the_sdist_holds_the_whole_package(wheel: Path) -> None:
    assert in_wheel(wheel) == shipped()


def test_wheel_of_the_checkout_is_the_same(wheel: Path, tmp_path: Path) -> None:
    direct = build_wheel(copy_checkout(tmp_path / "checkout"), tmp_path / "wheel")
    assert in_wheel(direct) == in_wheel(wheel)


def test_wheel_without_symlinks_is_the_same(wheel: Path, tmp_path: Path) -> None:
    """Where git could not make a symlink it writes a file that holds the link's text."""
    source = copy_checkout(tmp_path / "checkout")
    for part in PARTS:
        link = source / "src" / "thingbeam" / part
        link.unlink()
        link.write_text(f"../../{part}")
    direct = build_wheel(source, tmp_path / "wheel")
    assert in_wheel(direct) == in_wheel(wheel)
    from_sdist = build_wheel(build_sdist(source), tmp_path / "wheel of the sdist")
    assert in_wheel(from_sdist) == in_wheel(wheel)


def test_sdist_holds_real_files_and_the_licence(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    top = f"thingbeam-{thingbeam.__version__}"
    assert not [member.name for member in members if member.issym() or member.islnk()]
    names = {member.name for member in members if member.isfile()}
    assert {f"{top}/{name}" for name in ROOT_FILES} <= names
    assert {f"{top}/src/thingbeam/{name}" for name in shipped()} <= names


def test_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        folder = f"thingbeam-{thingbeam.__version__}.dist-info"
        metadata = archive.read(f"{folder}/METADATA").decode()
        scripts = archive.read(f"{folder}/entry_points.txt").decode()
        assert f"{folder}/licenses/LICENSE" in archive.namelist()
    assert f"Version: {thingbeam.__version__}\n" in metadata
    assert "License-Expression: Apache-2.0\n" in metadata
    assert "Requires-Dist: apache-beam<3,>=2.76\n" in metadata
    table = project()["project"]
    assert isinstance(table, dict)
    assert scripts == f"[console_scripts]\nthingbeam = {table['scripts']['thingbeam']}\n"


def test_wheel_works_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    """Only the wheel is installed; its dependencies are borrowed from the environment that runs the tests."""
    fresh = tmp_path / "venv"
    venv.create(fresh, with_pip=False)
    interpreter = fresh / "bin" / "python"
    run(sys.executable, "-m", "pip", f"--python={interpreter}", "install", "--quiet", "--no-deps", wheel, cwd=tmp_path)
    (packages,) = fresh.glob("lib/python*/site-packages")
    # A .pth line adds a folder and leaves the .pth files in it unread: our editable installation stays out.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    names = sorted(module.name for module in modules() if not module.name.endswith("__main__"))
    script = f"""
import importlib, io, pathlib, sys
for name in {names!r}:
    module = importlib.import_module(name)
    assert pathlib.Path(module.__file__).is_relative_to({str(packages)!r}), module.__file__
assert io.BytesIO(b"x").read() == b"x" and "site-packages" not in getattr(io, "__file__", "")
"""
    run(interpreter, "-c", script, cwd=tmp_path)
    assert "run" in run(fresh / "bin" / "thingbeam", "--help", cwd=tmp_path)
