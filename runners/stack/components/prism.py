"""Prism, Beam's embedded engine for streams, built from its Go module."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Final

from thingbeam.runners.stack.cache import installed
from thingbeam.runners.stack.component import Command, Component, Place
from thingbeam.runners.stack.errors import StackError
from thingbeam.runners.stack.jobs import ask_job_service
from thingbeam.runners.stack.ports import LOOPBACK
from thingbeam.runners.stack.tools import run, tool

__all__ = ["Prism", "binary"]

_MODULE: Final = "github.com/apache/beam/sdks/v2"
_LISTENER: Final = "go/pkg/beam/runners/prism/internal/jobservices/server.go"
_EVERYWHERE: Final = 'fmt.Sprintf(":%d", port)'
_HERE: Final = f'fmt.Sprintf("{LOOPBACK}:%d", port)'
_BUILD_SECONDS: Final = 900.0


def binary() -> Path:
    """The path of Prism's binary, of the same version as this Beam; built where it is not there (about two minutes).

    Prism listens on every address, and whoever reaches it can run programs. So one line of it is built differently.

    Raises:
        StackError: the build failed; one line with the log's path.
        MissingToolError: there is no Go to build it with.
    """
    release = f"v{version('apache-beam')}"
    return installed("prism", release, f"{_MODULE} {_HERE}", lambda folder, log: _build(release, folder, log)) / "prism"


def _build(release: str, folder: Path, log: Path) -> None:
    go, what = tool("go"), f"building Prism {release}"
    environment = {"GOFLAGS": ""}
    with TemporaryDirectory() as place:
        told = Path(place) / "module.json"
        run(what, [go, "mod", "download", "-json", f"{_MODULE}@{release}"], told, environment=environment)
        # Go builds what is in its own cache as it is, and nothing else of that name.
        copy = Path(place) / "module"
        shutil.copytree(json.loads(told.read_text(encoding="utf-8"))["Dir"], copy, copy_function=_writable)
        source = copy / _LISTENER
        text = source.read_text(encoding="utf-8")
        if text.count(_EVERYWHERE) != 1:
            raise StackError(f"{what} failed: it listens in another way than is known, in {_LISTENER}")
        source.write_text(text.replace(_EVERYWHERE, _HERE), encoding="utf-8")
        build = ["build", "-o", str(folder / "prism"), "./go/cmd/prism"]
        run(what, [go, *build], log, directory=copy, environment=environment, seconds=_BUILD_SECONDS)


def _writable(source: str, target: str) -> None:
    shutil.copyfile(source, target)


@dataclass(frozen=True, kw_only=True)
class Prism(Component):
    """A job service that runs pipelines itself. All of its state is in memory: a restart forgets every job."""

    kind: ClassVar[str] = "prism"

    port: int | None = None
    """Of the job service; any free one if None."""

    def ports(self) -> Mapping[str, int | None]:
        """One, of the job service."""
        return {"jobs": self.port}

    def install(self) -> None:
        """Builds the binary with Go: 66 MB, about two minutes."""
        binary()

    def prepare(self, place: Place) -> None:
        """Has nothing to prepare."""

    def commands(self, place: Place) -> Mapping[str, Command]:
        """One process."""
        argv = [str(binary()), f"--job_port={place.ports['jobs']}", "--serve_http=false", "--log_level=warn"]
        return {"": Command(argv)}

    def ready(self, place: Place, process: str) -> None:
        """Asks the job service for its options."""
        ask_job_service(place.address("jobs"))

    def uri(self, place: Place, process: str) -> str:
        """`127.0.0.1:PORT`, for `--job_endpoint`."""
        return place.address("jobs")
