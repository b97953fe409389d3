"""thingbeam stack, as a person types it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from structure import python
from thingbeam.runners.cli import main
from thingbeam.runners.stack import Command, Component, Place, StackError, components, rest


@dataclass(frozen=True, kw_only=True)
class Files(Component):
    """A web server of the files in its folder."""

    kind: ClassVar[str] = "files"
    start_seconds: ClassVar[float] = 20.0

    port: int | None = None
    fails: bool = False

    def ports(self) -> Mapping[str, int | None]:
        return {"http": self.port}

    def install(self) -> None:
        if self.fails:
            raise StackError("downloading files failed: no network; log: /tmp/files.log")

    def prepare(self, place: Place) -> None:
        (place.directory / "note.json").write_text("1")

    def commands(self, place: Place) -> Mapping[str, Command]:
        return {"": Command([sys.executable, "-m", "http.server", "--bind=127.0.0.1", str(place.ports["http"])])}

    def ready(self, place: Place, process: str) -> None:
        rest.call("GET", f"{self.uri(place, process)}/note.json", seconds=2)

    def uri(self, place: Place, process: str) -> str:
        return f"http://{place.address('http')}"


class Shell:
    """Runs commands of one stack in this process."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory, self._capsys = directory, capsys

    def __call__(self, *arguments: str, status: int = 0) -> tuple[list[str], list[str]]:
        """Lines of output and of errors."""
        with pytest.raises(SystemExit) as ended:
            main(["stack", "--directory", str(self.directory), *arguments])
        told = self._capsys.readouterr()
        assert ended.value.code == status, told
        return told.out.splitlines(), told.err.splitlines()


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr(components, "KINDS", {"files": Files})
    return Shell(tmp_path / "stack", capsys)


def test_up_to_down(shell: Shell) -> None:
    try:
        out, err = shell("up", "files")
        assert err[0].startswith("files ready after ")
        assert out[0].split() == ["name", "state", "address", "pid", "up", "data"]
        name, state, address, pid, *_, data = out[1].split()
        assert (name, state, data) == ("files", "ready", str(shell.directory / "files"))
        assert rest.call("GET", f"{address}/note.json") == 1
        os.kill(int(pid), 0)
        assert shell("status")[0][1].split()[:4] == ["files", "ready", address, pid]
        shell("kill", "files")
        assert shell("status")[0][1].split() == ["files", "stopped", address, data]
        assert shell("kill", "files", status=2)[1] == ["thingbeam: files was not running"]
        shell("restart", "files")
        assert shell("status")[0][1].split()[:3] == ["files", "ready", address]
        out, err = shell("logs", "files", "--lines", "1")
        assert err == [f"==> {shell.directory}/files/logs/files.log"]
        assert len(out) == 1
        assert "GET /note.json" in out[0]
        # What has settings of its own keeps them when it is named again.
        shell("down")
        assert shell("up", "files")[0][1].split()[2] == address
    finally:
        shell("down", "--delete")
    assert shell("status") == ([], ["nothing here; `thingbeam stack up kafka` starts a broker"])
    assert not (shell.directory / "files").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["up", "kafak"], "kafak: no such component; there are files"),
        (["up", "files", "--set", "files.prt=1"], "files has no setting prt; it has port, fails"),
        (["up", "files", "--set", "files.port=x"], "files: Expected `int | null`, got `str` - at `$.port`"),
        (["up", "files", "--set", "port=1"], "--set port=1: write NAME.KEY=VALUE, where NAME is one of those to start"),
        (
            ["up", "--set", "files.port=1"],
            "--set files.port=1: write NAME.KEY=VALUE, where NAME is one of those to start",
        ),
        (["up", "files", "--set", "files.fails=true"], "downloading files failed: no network; log: /tmp/files.log"),
        (["kill", "files"], "files: not in this stack, which has nothing"),
        (["restart", "files"], "files: not in this stack, which has nothing"),
        (["down", "files"], "files: not in this stack, which has nothing"),
        (["logs", "files"], "files: not in this stack, which has nothing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(shell: Shell, arguments: list[str], line: str) -> None:
    assert shell(*arguments, status=2) == ([], [f"thingbeam: {line}"])


def test_a_port_may_be_chosen(shell: Shell) -> None:
    from thingbeam.runners.stack.ports import free_port

    port = free_port()
    try:
        out, _ = shell("up", "files-b", "--set", f"files-b.port={port}")
        assert out[1].split()[:3] == ["files-b", "ready", f"http://127.0.0.1:{port}"]
    finally:
        shell("down", "--delete")


@pytest.mark.parametrize(
    ("kind", "missing"), [("kafka", "mvn"), ("registry", "mvn"), ("flink", "mvn"), ("prism", "go")]
)
def test_a_missing_tool_is_named(kind: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cache and a PATH that have nothing in them."""
    cache, empty = tmp_path / "cache", tmp_path / "empty"
    empty.mkdir()
    if kind == "flink":
        pytest.importorskip("pip")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("THINGBEAM_CACHE", str(cache))
    monkeypatch.setenv("PATH", str(empty))
    done = python("-m", "thingbeam.runners.cli", "stack", "--directory", str(tmp_path / "stack"), "up", kind)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    if kind == "flink":
        assert line.startswith("thingbeam: downloading Flink 1.19.3 failed: ")
        assert line.endswith(f"; log: {cache}/flink/1.19.3.log")
    else:
        assert line.startswith(f"thingbeam: {missing} is not on the PATH: install ")
    assert shutil.which(missing) is None


def test_help_does_not_import_beam() -> None:
    script = """
import sys
from thingbeam.runners.cli import main
try:
    main(["stack", "up", "--help"])
except SystemExit as ending:
    assert not ending.code
assert "apache_beam" not in sys.modules
assert "thingbeam.runners.stack" not in sys.modules
"""
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
    assert "kafka.topics=events:8" in done.stdout
