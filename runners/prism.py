"""Prism, Beam's embedded engine for streams: built from its Go module, started and ended by us.

Prism that Beam starts is orphaned when its client is killed; and Beam would download a binary of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

import apache_beam

__all__ = ["cache_directory", "install_prism", "prism"]

_MODULE: Final = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_BUILD_SECONDS: Final = 900
_START_SECONDS: Final = 30


def cache_directory() -> Path:
    """Where components are kept, by coordinate and version: $THINGBEAM_CACHE, or thingbeam in the user's cache."""
    given = os.environ.get("THINGBEAM_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "thingbeam"


def install_prism() -> Path:
    """The path of Prism's binary, of the same version as this Beam; built where it is not there (about two minutes).

    Raises:
        FileNotFoundError: there is no Go to build it with.
        RuntimeError: the build failed; the message has its last line.
    """
    version = f"v{apache_beam.__version__}"
    home = cache_directory() / "prism" / version
    binary = home / "prism"
    if binary.exists():
        return binary
    go = shutil.which("go")
    if go is None:
        raise FileNotFoundError("Prism is built with Go, which is not on the PATH: install Go 1.24 or newer")
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            with tempfile.TemporaryDirectory(dir=home) as place:
                built = subprocess.run(  # noqa: S603
                    [go, "install", f"{_MODULE}@{version}"],
                    env=os.environ | {"GOBIN": place, "GOFLAGS": ""},
                    capture_output=True,
                    text=True,
                    timeout=_BUILD_SECONDS,
                    check=False,
                )
                if built.returncode:
                    lines = built.stderr.strip().splitlines() or ["no output"]
                    raise RuntimeError(f"building Prism {version} failed: {lines[-1]}")
                (Path(place) / "prism").rename(binary)
    return binary


@contextlib.contextmanager
def prism() -> Generator[str]:
    """A Prism of one's own: gives the address of its job service, and ends it afterwards.

    Raises:
        RuntimeError: it did not start.
    """
    binary = install_prism()
    port = _free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603
            [str(binary), f"--job_port={port}", "--serve_http=false", "--log_level=warn"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _await(process, port)
            yield f"localhost:{port}"
        finally:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"Prism ended at once, with status {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"Prism does not answer after {_START_SECONDS} s")
