"""The supervisor, with small real processes for components."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from structure import CHECKOUT
from thingbeam.runners.stack import Command, Component, Place, Stack, StackError, rest, running
from thingbeam.runners.stack.ports import is_free
from thingbeam.runners.stack.state import StateFile


@dataclass(frozen=True, kw_only=True)
class Files(Component):
    """A web server of the files in its folder."""

    kind: ClassVar[str] = "files"
    start_seconds: ClassVar[float] = 20.0

    note: str = "first"
    mirrors: int = 0

    def ports(self) -> Mapping[str, int | None]:
        return {"http": None} | {f"mirror-{number}": None for number in range(self.mirrors)}

    def install(self) -> None:
        pass

    def prepare(self, place: Place) -> None:
        note = place.directory / "note.json"
        if not note.exists():
            note.write_text(f'"{self.note}"')

    def commands(self, place: Place) -> Mapping[str, Command]:
        server = [sys.executable, "-m", "http.server", "--bind=127.0.0.1"]
        commands = {"web" if self.mirrors else "": Command([*server, str(place.ports["http"])])}
        for number in range(self.mirrors):
            commands[f"mirror-{number}"] = Command([*server, str(place.ports[f"mirror-{number}"])])
        return commands

    def ready(self, place: Place, process: str) -> None:
        rest.call("GET", f"{self.uri(place, process)}/note.json", seconds=2)

    def uri(self, place: Place, process: str) -> str:
        return f"http://{place.address(process if process.startswith('mirror') else 'http')}"


@dataclass(frozen=True, kw_only=True)
class Script(Component):
    """A Python program that may do anything."""

    kind: ClassVar[str] = "script"
    start_seconds: ClassVar[float] = 1.5

    text: str

    def ports(self) -> Mapping[str, int | None]:
        return {}

    def install(self) -> None:
        pass

    def prepare(self, place: Place) -> None:
        (place.directory / "ready").unlink(missing_ok=True)

    def commands(self, place: Place) -> Mapping[str, Command]:
        return {"": Command([sys.executable, "-u", "-c", textwrap.dedent(self.text)], {"TOLD": "by the stack"})}

    def ready(self, place: Place, process: str) -> None:
        if not (place.directory / "ready").exists():
            raise RuntimeError("there is no file `ready`")

    def uri(self, place: Place, process: str) -> str:
        return ""


KINDS: dict[str, type[Component]] = {"files": Files, "script": Script}


def stack_in(directory: Path) -> Stack:
    """A stack as each command of the command line opens it, over the same folder."""
    return Stack(directory, kinds=KINDS, with_parent=True)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    opened = stack_in(tmp_path / "stack")
    yield opened
    opened.down()


def note_of(stack: Stack, name: str = "files") -> object:
    return rest.call("GET", f"{stack.uri(name)}/note.json")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def await_end(pid: int) -> None:
    until = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < until, f"{pid} still runs"
        time.sleep(0.02)


def test_up_serves_on_the_loopback_address_only(stack: Stack) -> None:
    stack.up([Files()])
    assert note_of(stack) == "first"
    (status,) = stack.status()
    assert (status.name, status.state, status.pid) == ("files", "ready", stack.pid("files"))
    assert status.seconds is not None
    assert 0 <= status.seconds < 60
    assert status.directory == stack.directory / "files"
    port = stack.place("files").ports["http"]
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    ]
    assert [address for address in listening if address.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


def test_kill_and_restart_keep_data_and_ports(stack: Stack) -> None:
    stack.up([Files()])
    uri, pid = stack.uri("files"), stack.pid("files")
    (stack.place("files").directory / "note.json").write_text('"written"')
    stack.kill("files")
    assert is_free(stack.place("files").ports["http"])
    assert [status.state for status in stack.status()] == ["stopped"]
    with pytest.raises(StackError, match=r"^files was not running$"):
        stack.kill("files")
    stack.restart("files")
    assert stack.uri("files") == uri
    assert stack.pid("files") not in (None, pid)
    assert note_of(stack) == "written"


def test_restart_replaces_what_runs(stack: Stack) -> None:
    stack.up([Files()])
    pid = stack.pid("files")
    assert pid is not None
    stack.restart("files")
    assert not alive(pid)
    assert note_of(stack) == "first"


def test_one_opens_what_another_started(stack: Stack) -> None:
    stack.up([Files(note="of the first")])
    other = stack_in(stack.directory)
    assert note_of(other) == "of the first"
    assert other.pid("files") == stack.pid("files")
    other.kill("files")
    assert stack.pid("files") is None
    other.up()
    assert note_of(stack) == "of the first"
    other.down(delete=True)
    assert stack.status() == []
    assert not (stack.directory / "files").exists()


def test_processes_of_a_component_die_alone(stack: Stack) -> None:
    stack.up([Files(mirrors=2)])
    pids = {status.name: status.pid for status in stack.status()}
    assert list(pids) == ["files/web", "files/mirror-0", "files/mirror-1"]
    stack.kill("files/mirror-1")
    assert {s.name: s.state for s in stack.status()} == {
        "files/web": "ready", "files/mirror-0": "ready", "files/mirror-1": "stopped"
    }  # fmt: skip
    stack.restart("files/mirror-1")
    again = {status.name: status.pid for status in stack.status()}
    assert again["files/web"] == pids["files/web"]
    assert again["files/mirror-1"] != pids["files/mirror-1"]
    assert note_of(stack, "files/mirror-1") == "first"
    stack.kill("files/web")
    stack.up()
    assert stack.pid("files/mirror-0") == pids["files/mirror-0"]
    assert {status.state for status in stack.status()} == {"ready"}


def test_two_of_a_kind_and_two_stacks(stack: Stack, tmp_path: Path) -> None:
    stack.up({"files": Files(note="a"), "files-b": Files(note="b")})
    with running(tmp_path / "other", Files(note="c")) as other:
        assert [note_of(stack), note_of(stack, "files-b"), note_of(other)] == ["a", "b", "c"]
        pid = other.pid("files")
    assert pid is not None
    assert not alive(pid)
    assert {status.state for status in stack.status()} == {"ready"}


def test_up_again_leaves_what_runs_alone(stack: Stack) -> None:
    stack.up([Files()])
    pid = stack.pid("files")
    stack.up([Files()])
    assert stack.pid("files") == pid
    with pytest.raises(ValueError, match=r"^files runs with other settings: "):
        stack.up([Files(mirrors=1)])
    stack.down(["files"])
    stack.up([Files(mirrors=1)])
    assert [status.name for status in stack.status()] == ["files/web", "files/mirror-0"]


def test_a_process_that_ended_by_itself_is_dead(stack: Stack) -> None:
    stack.up([Files()])
    pid = stack.pid("files")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await_end(pid)
    (status,) = stack.status()
    assert (status.state, status.pid, status.seconds) == ("dead", None, None)
    stack.up()
    assert note_of(stack) == "first"


def test_children_end_with_their_parent(stack: Stack) -> None:
    stack.up([Script(text="""
        import pathlib, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        pathlib.Path("child").write_text(str(child.pid))
        pathlib.Path("ready").touch()
        time.sleep(600)
    """)])  # fmt: skip
    child = int((stack.place("script").directory / "child").read_text())
    assert alive(child)
    stack.kill("script")
    assert not alive(child)


def test_children_end_even_where_their_parent_did(stack: Stack) -> None:
    stack.up([Script(text="""
        import pathlib, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        pathlib.Path("child").write_text(str(child.pid))
        pathlib.Path("ready").touch()
        time.sleep(600)
    """)])  # fmt: skip
    pid, child = stack.pid("script"), int((stack.place("script").directory / "child").read_text())
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await_end(pid)
    assert alive(child)
    stack.down()
    assert not alive(child)


def test_a_reused_number_is_not_killed(stack: Stack) -> None:
    """As after a reboot, or a day with many processes: the number in the file is another process's now."""
    stack.up([Files()])
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        with StateFile(stack.directory).changing() as (state, save):
            mine = state.components["files"].processes[""]
            assert mine is not None
            for born in (mine.born, "0000-another-boot:" + mine.born.rpartition(":")[2]):
                changed = type(mine)(stranger.pid, born, mine.mark, mine.since)
                state.components["files"].processes[""] = changed
                save()
                assert [status.state for status in stack_in(stack.directory).status()] == ["dead"]
                assert stack_in(stack.directory).pid("files") is None
            state.components["files"].processes[""] = changed
            save()
        stack.down()
        assert stranger.poll() is None
        with StateFile(stack.directory).changing() as (state, save):
            state.components["files"].processes[""] = mine
            save()
    finally:
        stranger.kill()
        stranger.wait()


def test_what_ends_at_once_says_why(stack: Stack) -> None:
    with pytest.raises(StackError) as failed:
        stack.up([Script(text="import os; print('starting'); raise OSError('no room on the disk')")])
    log = stack.directory / "script" / "logs" / "script.log"
    assert str(failed.value) == f"script ended: OSError: no room on the disk; log: {log}"
    assert stack.logs("script") == [log]
    assert "starting" in log.read_text()


def test_what_never_answers_is_given_up(stack: Stack) -> None:
    with pytest.raises(StackError, match=r"^script is not ready after 2 s: there is no file `ready`; log: "):
        stack.up([Script(text="import time; time.sleep(600)")])
    assert [status.state for status in stack.status()] == ["starting"]


def test_one_that_fails_leaves_the_others(stack: Stack) -> None:
    with pytest.raises(StackError, match=r"^script ended"):
        stack.up([Script(text="raise SystemExit(3)"), Files()])
    assert {status.name: status.state for status in stack.status()} == {"script": "dead", "files": "ready"}


def test_a_port_that_was_taken_is_named(stack: Stack) -> None:
    stack.up([Files()])
    stack.kill("files")
    port = stack.place("files").ports["http"]
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(StackError, match=rf"^port {port}, http of files, is "),
    ):
        stack.restart("files")
    stack.restart("files")


def test_what_is_not_there(stack: Stack) -> None:
    assert stack.status() == []
    with pytest.raises(ValueError, match=r"^files: not in this stack, which has nothing$"):
        stack.kill("files")
    stack.up([Files()])
    for name in ("film", "files/web"):
        with pytest.raises(ValueError, match=rf"^{name}: not in this stack, which has files$"):
            stack.restart(name)
    with pytest.raises(ValueError, match=r"^film: a files is named files or files-LABEL$"):
        stack.up({"film": Files()})


def test_a_broken_state_file_is_named(stack: Stack) -> None:
    stack.directory.mkdir()
    (stack.directory / "state.json").write_text("{")
    with pytest.raises(StackError, match=r"state\.json cannot be understood: "):
        stack.status()
    (stack.directory / "state.json").write_text('{"format": 99}')
    with pytest.raises(StackError, match=r"state\.json is of format 99"):
        stack.status()
    (stack.directory / "state.json").unlink()


OWNER = """
import pathlib, sys, time
sys.path[:0] = {paths!r}
from test_supervisor import Files, KINDS
from thingbeam.runners.stack import Stack
stack = Stack({directory!r}, kinds=KINDS, with_parent={with_parent})
stack.up([Files()])
print(stack.pid("files"), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("with_parent", [True, False])
def test_death_of_the_one_that_started_it(tmp_path: Path, with_parent: bool) -> None:
    """A test run that is killed leaves nothing; what a person started stays."""
    paths = [str(Path(__file__).parent), str(CHECKOUT / "tests"), str(CHECKOUT / "src")]
    script = OWNER.format(paths=paths, directory=str(tmp_path / "stack"), with_parent=with_parent)
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        with owner.stdout:
            pid = int(owner.stdout.readline())
        assert alive(pid)
    finally:
        owner.kill()
        owner.wait()
    if with_parent:
        await_end(pid)
    else:
        time.sleep(0.3)
        assert alive(pid)
        stack_in(tmp_path / "stack").down()
        assert not alive(pid)
