"""Processes in sessions of their own: started, told apart from others that got their number later, and ended.

A process is known by its number and the time it was born, so that a state file that is days old never kills a
stranger; and what it started in turn by a mark in the environment. Needs Linux, for /proc and pidfd.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from thingbeam.runners.stack.errors import StackError

__all__ = ["Identity", "end", "is_alive", "members", "start"]

_MARK: Final = "THINGBEAM_STACK_PROCESS"
_END_SECONDS: Final = 20.0
_PARENT_DEATH: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""
# A Popen that is collected while its process runs warns and loses the exit status.
_CHILDREN: Final[dict[int, subprocess.Popen[bytes]]] = {}
# The kernel takes the thread that forked for the parent. This one lives as long as the interpreter.
_PARENT: Final = ThreadPoolExecutor(1, "stack")


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which process is meant, for as long as the machine runs and after."""

    pid: int
    """Its number, also that of its session."""
    born: str
    """The boot, and the clock tick of it at which the process began."""
    mark: str
    """What its environment holds, and that of its children."""
    since: float
    """Seconds of Unix time at which it was started."""


def start(
    argv: Sequence[str],
    directory: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    with_parent: bool = False,
) -> Identity:
    """Starts a process in a session of its own.

    Args:
        argv: program and arguments.
        directory: where it runs.
        log: file to which its output is appended.
        environment: variables beside those of this process.
        with_parent: whether the kernel kills it when this process ends, even by SIGKILL.

    Raises:
        StackError: the program could not be started.
    """
    mark = uuid.uuid4().hex
    if with_parent:
        argv = [sys.executable, "-I", "-S", "-c", _PARENT_DEATH, str(os.getpid()), *argv]
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("ab") as out:
            process = _PARENT.submit(
                subprocess.Popen[bytes],
                list(argv),
                cwd=directory,
                env=os.environ | dict(environment or {}) | {_MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            ).result()
    except OSError as error:
        raise StackError(f"{argv[0]} could not be started: {error}") from error
    _CHILDREN[process.pid] = process
    born = _born(process.pid)
    assert born is not None, "a child stays in /proc until it is waited for"
    return Identity(process.pid, born, mark, time.time())


def is_alive(identity: Identity) -> bool:
    """Whether this very process still runs; one that ended and was not waited for does not."""
    try:
        return _born(identity.pid) == identity.born and not _is_over(_stat(identity.pid))
    except (OSError, IndexError):
        return False


def members(identity: Identity) -> list[int]:
    """Numbers of the living processes of its session: itself, and what it started, even where it ended itself."""
    return [pid for pid in _pids() if _is_member(pid, identity)]


def end(identity: Identity) -> bool:
    """Kills the process and all of its session with SIGKILL, and waits until they are gone and their ports free.

    Returns:
        Whether the process itself was alive.

    Raises:
        StackError: something of it does not go away.
    """
    was_alive = is_alive(identity)
    until = time.monotonic() + _END_SECONDS
    while left := members(identity):
        if time.monotonic() > until:
            raise StackError(f"process {left[0]} does not end {_END_SECONDS:.0f} s after SIGKILL")
        for pid in left:
            _kill(pid, identity)
        _reap(identity.pid)
        time.sleep(0.01)
    _reap(identity.pid)
    return was_alive


def _kill(pid: int, identity: Identity) -> None:
    # The descriptor holds on to the process, so that between the look and the kill no other can take its number.
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            if _is_member(pid, identity):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def _reap(pid: int) -> None:
    child = _CHILDREN.get(pid)
    if child is not None and child.poll() is not None:
        del _CHILDREN[pid]


def _is_member(pid: int, identity: Identity) -> bool:
    try:
        fields = _stat(pid)
        if int(fields[3]) != identity.pid or _is_over(fields):
            return False
        if pid == identity.pid and fields[19] == identity.born.rpartition(":")[2]:
            return _boot() == identity.born.rpartition(":")[0]
        return f"{_MARK}={identity.mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (OSError, IndexError):
        return False


def _is_over(fields: Sequence[str]) -> bool:
    # The first thread of a process that is being killed is a zombie while others still hold its ports.
    return fields[0] in "ZX" and int(fields[17]) <= 1


def _born(pid: int) -> str | None:
    try:
        return f"{_boot()}:{_stat(pid)[19]}"
    except (OSError, IndexError):
        return None


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third, the state, on (proc(5)); the name before them may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())
