"""The Python environment of a package."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from io import BytesIO
from pathlib import Path

import pytest

from structure import requirements
from thingbeam.runners.packaging import embedded, environment
from thingbeam.runners.packaging.embedded import boot_of, boot_text
from thingbeam.runners.packaging.environment import (
    CLIENTS,
    FOLDER,
    NEEDED,
    Environment,
    closure,
    is_needed,
    own_files,
    python_environment,
)

# What a worker has no use for.
# The pool of workers is of the process that submits; a worker has grpcio with Beam.
COMMAND_LINE = {"click", "grpcio", "rich"}


def test_workers_have_all_dependencies_but_the_command_lines() -> None:
    assert {*NEEDED} == {name.lower() for name in requirements()} - COMMAND_LINE


def test_clients_are_the_extras() -> None:
    assert all(name in requirements(extra) for extra, name in CLIENTS.items())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of one's own, and little to put into it."""
    monkeypatch.setenv("THINGBEAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(environment, "NEEDED", ("msgspec",))


@pytest.mark.usefixtures("small")
def test_the_same_twice() -> None:
    first, second = python_environment(()), python_environment(())
    assert (first.digest, first.packages) == (second.digest, second.packages)
    assert first.code == second.code
    with zipfile.ZipFile(first.packages) as file:
        names = file.namelist()
    assert f"{FOLDER}/msgspec/__init__.py" in names
    assert not [name for name in names if name.endswith((".pyc", ".pyi")) or "RECORD" in name]
    other = python_environment((), ["click"])
    assert other.digest != first.digest
    assert any(name.startswith("click==") for name in other.distributions)


@pytest.mark.usefixtures("small")
def test_what_is_packed_runs_alone(tmp_path: Path) -> None:
    """With no packages but those, as boot starts it."""
    made = python_environment(())
    for archive in (made.packages, BytesIO(made.code)):
        with zipfile.ZipFile(archive) as file:
            file.extractall(tmp_path / "at")
    script = "import msgspec, thingbeam, sys; print(msgspec.__file__, thingbeam.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-s", "-S", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(tmp_path / "at" / FOLDER)},
    )
    assert all(path.startswith(str(tmp_path)) for path in done.stdout.split())


def test_closure_follows_extras_and_markers() -> None:
    found = {one.metadata["Name"].lower() for one in closure(["boto3"])}
    assert {"boto3", "botocore", "urllib3"} <= found
    with pytest.raises(ValueError, match=r"^no-such-thing, which thingbeam needs, is not installed: pip install"):
        closure(["no-such-thing"])


@pytest.mark.usefixtures("small")
def test_what_cannot_go_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--client none: no such client; there are aws, hbase, kafka"):
        python_environment(["none"])
    linked = tmp_path / "mine-1.0.dist-info"
    linked.mkdir()
    (linked / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (linked / "RECORD").write_text("__editable__.mine.pth,,\nmine-1.0.dist-info/METADATA,,\n")
    real = environment.distribution
    monkeypatch.setattr(
        environment, "distribution", lambda name: PathDistribution(linked) if name == "mine" else real(name)
    )
    with pytest.raises(ValueError, match=r"^mine is installed as a link to its sources"):
        python_environment((), ["mine"])
    monkeypatch.setattr(environment.platform, "machine", lambda: "arm64")
    with pytest.raises(ValueError, match="on arm64, the cluster is Linux on x86_64"):
        python_environment(())


def test_own_files_are_all_of_thingbeam() -> None:
    names = [name for name, _ in own_files()]
    assert {
        "__init__.py",
        "schemas/records.py",
        "runners/stack/boot.py",
        "runners/packaging/PythonEnvironment.java",
    } <= {*names}
    assert names == sorted(names)
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("pyarrow/libarrow.so.2500", True),
        ("pyarrow/libarrow_flight.so.2500", False),
        ("pyarrow/_flight.cpython-311.so", False),
        ("numpy/_core/include/numpy/a.h", False),
        ("apache_beam/runners/worker/worker_test.py", False),
        ("apache_beam-2.77.dist-info/METADATA", True),
        ("apache_beam-2.77.dist-info/RECORD", False),
        ("x/y.pyi", False),
    ],
)
def test_files_that_go_in(name: str, needed: bool) -> None:
    assert is_needed(name) is needed


def boot(tmp_path: Path, python: str, path: str) -> subprocess.CompletedProcess[str]:
    """Runs the boot program for a version of Python, with a PATH."""
    script = tmp_path / "boot"
    script.write_text(boot_text(python))
    return subprocess.run(
        ["/bin/sh", str(script), "--id", "1"], capture_output=True, text=True, check=False, env={"PATH": path}
    )


def test_boot_says_what_is_missing(tmp_path: Path) -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "dirname").symlink_to("/usr/bin/dirname")
    done = boot(tmp_path, here, str(tools))
    assert done.returncode == 127
    assert done.stderr == (
        f"thingbeam: there is no Python {here} on the PATH of the TaskManager, and the packages are for it\n"
    )
    # One of another version does not do.
    (tools / "python3").symlink_to(sys.executable)
    assert boot(tmp_path, "3.99", str(tools)).returncode == 127


def test_boot_uses_what_is_beside_it(tmp_path: Path) -> None:
    package = tmp_path / FOLDER / "thingbeam" / "runners" / "stack"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").touch()
    (package / "boot.py").write_text("import sys; print(sys.argv[1:], sys.flags.no_site, sys.flags.safe_path)")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    done = boot(tmp_path, here, f"{Path(sys.executable).parent}{os.pathsep}/usr/bin:/bin")
    assert done.stdout == "['--id', '1'] 1 True\n", done.stderr


def test_embedded_needs_an_absolute_place(tmp_path: Path) -> None:
    made = Environment(tmp_path, b"", "3.11", "abc", ())
    with pytest.raises(ValueError, match="--unpack-to tmp: an absolute path is expected"):
        embedded.embedded(made, "tmp")
    assert boot_of(made, "/tmp/") == "/tmp/abc/boot"
