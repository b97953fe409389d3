"""Launching again: how often, and what a parent makes of how a child ends. Children are real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import thingbeam
from thingbeam.runners import relaunch
from thingbeam.runners.failures import RunFailedError
from thingbeam.runners.relaunch import Relaunches, Report, stopping, supervise

SOURCE = Path(thingbeam.__file__).resolve().parents[1]
CHILD = """
import json, os, signal, sys, time
log, plan = sys.argv[1:3]
with open(log, "a") as file:
    file.write("x")
count = os.path.getsize(log)
launch = json.load(open(sys.argv[sys.argv.index("--launch") + 1]))
with open(launch["report"], "w") as file:
    json.dump({"counts": {"events": count}, "problem": f"problem {count}"}, file)
step = plan.split(",")[min(count, len(plan.split(","))) - 1]
if step == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if step == "wait":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    time.sleep(30)
if step == "mistake":
    print("thingbeam: no such thing", file=sys.stderr)
    sys.exit(2)
sys.exit(int(step))
"""


class Ran:
    """What came of some children."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown: list[Report] = []
        self.engines = 0

    @contextlib.contextmanager
    def engine(self) -> Iterator[str]:
        self.engines += 1
        yield "127.0.0.1:1"

    def run(self, folder: Path, plan: str, limit: int = 3) -> Report:
        quick = Relaunches(limit, first=0.01, longest=0.02)
        log = str(folder / "log")
        return supervise([log, plan], ["{}"], self.engine, quick, self.shown.append, self.said.append)


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    popen = subprocess.Popen

    def child(argv: list[str], **more: object) -> object:
        return popen([sys.executable, str(script), *argv[3:]], **more)  # type: ignore[call-overload]

    monkeypatch.setattr(relaunch.subprocess, "Popen", child)  # type: ignore[attr-defined]
    return Ran()


def test_a_child_that_dies_is_launched_again_on_an_engine_of_its_own(ran: Ran, tmp_path: Path) -> None:
    report = ran.run(tmp_path, "kill,75,0")
    assert report.counts == {"events": 3}
    assert ran.engines == 3
    assert ran.said == [
        "the worker was ended by signal 9; launching it again in 0.01 s (1 of 3)",
        "problem 2; launching it again in 0.02 s (2 of 3)",
    ]


def test_what_another_try_would_not_mend_ends_it(ran: Ran, tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match=r"^problem 2$"):
        ran.run(tmp_path, "75,1")
    assert ran.engines == 2


def test_it_gives_up(ran: Ran, tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match="problem 3; it was launched again 2 times: see --relaunch"):
        ran.run(tmp_path, "75", limit=2)
    assert ran.engines == 3


def test_a_mistake_that_the_child_found_is_told(ran: Ran, tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match=r"^no such thing$"):
        ran.run(tmp_path, "mistake")


def test_a_signal_ends_parent_and_child(ran: Ran, tmp_path: Path) -> None:
    def ask() -> None:
        while not ran.shown or not ran.shown[-1].counts:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    began = time.monotonic()
    report = ran.run(tmp_path, "wait")
    asking.join()
    assert report.counts == {"events": 1}
    assert time.monotonic() - began < 20
    assert ran.said == []


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_child_ends_with_its_parent() -> None:
    script = "from thingbeam.runners.relaunch import end_with_parent; import time; end_with_parent(); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(SOURCE)}
    )
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == 1


def test_a_report_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    path = str(tmp_path / "report.json")
    assert Report.read(path) == Report()
    Report({"events": 1}, [{"usage": 2}], (3, 4.5), "why").write(path)
    assert Report.read(path) == Report({"events": 1}, [{"usage": 2}], (3, 4.5), "why")
    assert os.listdir(tmp_path) == ["report.json"]
