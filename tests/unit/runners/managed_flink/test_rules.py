"""What AWS takes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from thingbeam.runners.managed_flink import rules
from thingbeam.runners.managed_flink.rules import check_name, check_package, kpus


def package(path: Path, python: int = 10, classes: int = 10, *, environment: bool = True) -> Path:
    """A file laid out as ours are, with so many bytes of each kind, not compressed."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("BEAM-PIPELINE/pipeline-manifest.json", "{}")
        file.writestr("org/apache/beam/Runner.class", b"c" * classes)
        if environment:
            file.writestr("THINGBEAM-PYTHON/contents", "/tmp/x\n")
            file.writestr("THINGBEAM-PYTHON/packages.zip", b"p" * python)
    return path


def test_a_package_of_ours(tmp_path: Path) -> None:
    check_package(package(tmp_path / "home.jar"))


def test_too_large_says_how_to_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "LARGEST", 5_000_000)
    path = package(tmp_path / "home.jar", python=4_000_000, classes=2_000_000)
    with pytest.raises(ValueError, match="AWS takes 5 at most") as error:
        check_package(path)
    said = str(error.value)
    assert said.startswith(f"{path}: 6 MB, and AWS takes 5 at most (Python environment 4 MB, Java classes 2 MB); ")
    assert "split it by category" in said
    assert "--client kafka" in said
    assert len(said.splitlines()) == 1


def test_the_limit_is_that_of_aws() -> None:
    assert rules.LARGEST <= 512 * 1000 * 1000


def test_what_is_no_package(tmp_path: Path) -> None:
    path = tmp_path / "x.jar"
    path.write_text("x")
    with pytest.raises(ValueError, match="it is no jar"):
        check_package(path)
    with pytest.raises(ValueError, match="there is no Python environment in it"):
        check_package(package(path, environment=False))
    with pytest.raises(FileNotFoundError):
        check_package(tmp_path / "none.jar")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 129, "ü"])
def test_names(name: str) -> None:
    assert check_name("usage-by_hour.1") == "usage-by_hour.1"
    with pytest.raises(ValueError, match="1 to 128 letters"):
        check_name(name)


def test_kpus() -> None:
    assert [kpus(parallelism, 4) for parallelism in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]
