"""The main job beside what others make of the same work, whole processes on one core."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from inputs import Inputs, check, truth
from processes import Measured, measure

PEERS = {
    "beam_vanilla.py": ("apache_beam", ["--runner=FnApiRunner"]),
    "plain.py": ("orjson", []),
    "duck.py": ("duckdb", []),
}
"""What each needs, and is told. Others want an environment of their own: see --peer."""
_SLOW = 8
"""The element by element peer: an eighth of the events tells its rate as well."""


def job(output: Path, form: str, *more: str) -> list[str]:
    """The command of the main job, but for its input."""
    named = ["--output", str(output), "--format", form, "--timezone", "UTC", "--overwrite"]
    return [sys.executable, "-m", "thingbeam.runners.cli", "run", "home", *named, *more]


def compare(inputs: Inputs, events: int, runs: int, core: int, more: dict[str, list[str]]) -> list[Measured]:
    """thingbeam with each output format, then every peer whose packages are here, and those named.

    Args:
        inputs: makes the files.
        events: of the large file; the small one has a fifth.
        runs: of each command on each file.
        core: which.
        more: commands of further peers, by name; the file is their last argument.
    """
    small, large = inputs.file(events // 5), inputs.file(events)
    found: list[Measured] = []
    for form in ("parquet", "jsonl"):
        output = inputs.place / form
        ours = job(output, form)
        name = f"thingbeam run home ({form})"
        found.append(measure(name, lambda path, ours=ours: [*ours, "--input", str(path)], small, large, runs, core))
        check(output, truth(large))
    for script, (needs, options) in PEERS.items():
        if importlib.util.find_spec(needs) is None:
            continue
        size = events // _SLOW if script.startswith("beam") else events
        command = [sys.executable, str(inputs.peers / script)]
        found.append(
            measure(
                script,
                lambda path, command=command, options=options: [*command, str(path), *options],
                inputs.file(size // 5),
                inputs.file(size),
                runs,
                core,
            )
        )
    for name, command in more.items():
        found.append(measure(name, lambda path, command=command: [*command, str(path)], small, large, runs, core))
    return found
