from __future__ import annotations

import sys
from pathlib import Path

import pytest

from thingbeam.runners.stack import StackError
from thingbeam.runners.stack.processes import end, is_alive, members, start


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"^/no/such/program could not be started: "):
        start(["/no/such/program"], tmp_path, tmp_path / "log")


@pytest.mark.parametrize("with_parent", [True, False])
def test_a_process_has_its_folder_log_and_environment(tmp_path: Path, with_parent: bool) -> None:
    log = tmp_path / "logs" / "a.log"
    program = "import os, sys; print(os.getcwd(), os.environ['TOLD']); print(sys.argv[1:], file=sys.stderr)"
    argv = [sys.executable, "-c", program, "-x", "y"]
    identity = start(argv, tmp_path, log, {"TOLD": "so"}, with_parent=with_parent)
    while is_alive(identity):
        pass
    assert sorted(log.read_text().splitlines()) == sorted([f"{tmp_path} so", "['-x', 'y']"])
    assert members(identity) == []
    assert end(identity) is False


def test_a_process_with_threads_is_over_when_all_of_them_are(tmp_path: Path) -> None:
    """The first thread of a killed process may be a zombie while others still hold its ports."""
    program = """
import ctypes, pathlib, threading, time
def work():
    pathlib.Path("ready").touch()
    time.sleep(600)
threading.Thread(target=work, daemon=True).start()
while not pathlib.Path("ready").exists():
    pass
ctypes.CDLL(None).syscall(60 if __import__("platform").machine() == "x86_64" else 93, 0)
"""
    identity = start([sys.executable, "-c", program], tmp_path, tmp_path / "log")
    stat = Path(f"/proc/{identity.pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert is_alive(identity)
    assert is_alive(identity)
    assert members(identity) == [identity.pid]
    assert end(identity) is True
    assert not stat.exists()
