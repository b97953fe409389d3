from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from structure import python
from thingbeam.runners.stack import StackError
from thingbeam.runners.stack.cache import cache_directory, installed


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("THINGBEAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_directory() == tmp_path / "cache"
    monkeypatch.delenv("THINGBEAM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "thingbeam"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "thingbeam"


def test_built_once_and_again_where_the_recipe_changed(cache: Path) -> None:
    built: list[str] = []

    def build(folder: Path, log: Path) -> None:
        built.append(log.name)
        (folder / "number").write_text(str(len(built)))

    home = installed("thing", "1.0", "a", build)
    assert home == cache / "thing" / "1.0"
    assert installed("thing", "1.0", "a", build) == home
    assert built == ["1.0.log"]
    assert installed("thing", "1.1", "a", build) == cache / "thing" / "1.1"
    assert (home / "number").read_text() == "1"
    installed("thing", "1.0", "b", build)
    assert (home / "number").read_text() == "3"


def test_what_failed_leaves_nothing_that_looks_done(cache: Path) -> None:
    def broken(folder: Path, log: Path) -> None:
        (folder / "half").touch()
        log.write_text("reason")
        raise StackError("no")

    def whole(folder: Path, log: Path) -> None:
        (folder / "whole").touch()

    with pytest.raises(StackError, match="no"):
        installed("thing", "1.0", "a", broken)
    assert sorted(path.name for path in (cache / "thing").iterdir()) == ["1.0.lock", "1.0.log"]
    assert (cache / "thing" / "1.0.log").read_text() == "reason"
    home = installed("thing", "1.0", "a", whole)
    assert sorted(path.name for path in home.iterdir()) == [".done", "whole"]


def test_an_install_that_was_killed_is_done_again(cache: Path) -> None:
    script = """
import os
from thingbeam.runners.stack.cache import installed
def build(folder, log):
    (folder / "half").touch()
    os.kill(os.getpid(), 9)
installed("thing", "1.0", "a", build)
"""
    assert python("-c", script).returncode == -9
    home = installed("thing", "1.0", "a", lambda folder, log: (folder / "whole").touch())
    assert sorted(path.name for path in home.iterdir()) == [".done", "whole"]


def test_one_builds_while_others_wait() -> None:
    built: list[int] = []

    def build(folder: Path, log: Path) -> None:
        time.sleep(0.2)
        built.append(1)

    threads = [threading.Thread(target=installed, args=("thing", "1.0", "a", build)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [1]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("THINGBEAM_CACHE", str(tmp_path / "file"))
    with pytest.raises(StackError, match=r"file/thing cannot be written: Not a directory$"):
        installed("thing", "1.0", "a", lambda folder, log: None)
