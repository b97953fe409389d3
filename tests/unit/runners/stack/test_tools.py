from __future__ import annotations

import sys
from pathlib import Path

import pytest

from thingbeam.runners.stack import MissingToolError, StackError
from thingbeam.runners.stack.tools import java_options, reason_in, run, tool


@pytest.mark.parametrize("name", ["java", "javac", "mvn", "go", "openssl"])
def test_a_missing_tool_is_named_with_its_remedy(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(MissingToolError, match=rf"^{name} is not on the PATH: install \S+"):
        tool(name)


def test_java_of_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    before = tool("sh")
    program.chmod(0o755)
    assert tool("java") == str(program)
    assert tool("sh") == before


def test_a_failure_is_one_line_with_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "a.log"
    run("greeting", [sys.executable, "-c", "print('error of before')"], log)
    program = "import sys; print('ERROR: no such artifact'); print('at line 5'); sys.exit(3)"
    with pytest.raises(StackError) as failed:
        run("downloading", [sys.executable, "-c", program], log)
    assert str(failed.value) == f"downloading failed: ERROR: no such artifact; log: {log}"
    with pytest.raises(StackError) as failed:
        run("downloading", [sys.executable, "-c", "raise SystemExit(4)"], log)
    assert str(failed.value) == f"downloading failed: status 4; log: {log}"
    with pytest.raises(StackError, match=r"^waiting took more than 0 s; log: "):
        run("waiting", [sys.executable, "-c", "import time; time.sleep(600)"], log, seconds=0.2)


def test_the_reason_is_the_last_line_that_tells(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "INFO starting\n"
        "Exception in thread main java.net.BindException: Address already in use\n"
        "\tat java.base/sun.nio.ch.Net.bind0(Native Method)\n"
        "\tat Main.main(Main.java:3)\n"
        "INFO bye\n"
    )
    assert reason_in(log) == "Exception in thread main java.net.BindException: Address already in use"
    assert reason_in(log, log.stat().st_size - 9) == "INFO bye"
    assert reason_in(log, log.stat().st_size) == ""


def test_java_has_its_limit_and_its_folder(tmp_path: Path) -> None:
    program = tmp_path / "Place.java"
    values = 'System.getProperty("java.io.tmpdir") + " " + Runtime.getRuntime().maxMemory() / 1048576'
    program.write_text(f"class Place {{ public static void main(String[] a) {{ System.out.print({values}); }} }}")
    log = tmp_path / "log"
    run("asking", [tool("java"), *java_options("64m", tmp_path), str(program)], log)
    words = log.read_text().split()
    assert words[-2] == str(tmp_path)
    assert 48 <= int(words[-1]) <= 64
