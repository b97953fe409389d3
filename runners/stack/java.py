"""Small Java programs of our own, compiled where they are used."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from thingbeam.runners.stack.tools import run, tool

__all__ = ["RELEASE", "compiled", "source_text"]

RELEASE: Final = "11"
"""The Java that our classes are for: a managed Flink 1.19 runs on it."""


def compiled(sources: Sequence[str], classes: str, manifest: Mapping[str, str], result: Path, log: Path) -> None:
    """Makes a jar of a few Java sources.

    Args:
        sources: names of the files in `components/`.
        classes: the class path that it needs.
        manifest: attributes of the jar: Main-Class, Premain-Class…
        result: where the jar goes.
        log: of the compiler.

    Raises:
        StackError: they cannot be compiled; one line with the log's path.
        MissingToolError: there is no Java compiler.
    """
    with TemporaryDirectory() as place:
        files = [Path(place) / source for source in sources]
        for file in files:
            file.write_text(source_text(file.name), encoding="utf-8")
        out = Path(place) / "classes"
        argv = [tool("javac"), "--release", RELEASE, "-cp", classes, "-d", str(out), *map(str, files)]
        run(f"compiling {', '.join(sources)}", argv, log)
        lines = ["Manifest-Version: 1.0", *(f"{name}: {value}" for name, value in manifest.items())]
        with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as jar:
            jar.writestr("META-INF/MANIFEST.MF", "\r\n".join(lines) + "\r\n\r\n")
            for path in sorted(out.rglob("*.class")):
                jar.write(path, path.relative_to(out))


def source_text(name: str) -> str:
    """The text of a source in `components/`."""
    return resources.files("thingbeam.runners.stack.components").joinpath(name).read_text(encoding="utf-8")
