"""The main job on the bundled week, and its results by whatever engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from structure import CHECKOUT

KINDS = ("activities", "sessions", "usage", "late", "dead-letters")


def home(out: Path) -> list[str]:
    """The command line of the main job, after `thingbeam run`."""
    week = CHECKOUT / "examples" / "home-week.jsonl.gz"
    return ["home", "--input", str(week), "--output", str(out), "--timezone", "Europe/Paris"]


def thingbeam(*arguments: str) -> str:
    """Runs a command in a process of its own; gives what it says."""
    path = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    argv = [sys.executable, "-m", "thingbeam.runners.cli", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ | path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def direct_results(out: Path) -> dict[str, list[str]]:
    """Of the embedded runner."""
    thingbeam("run", *home(out))
    return results(out)


def results(out: Path, kinds: Sequence[str] = KINDS) -> dict[str, list[str]]:
    """The rows in a directory, by kind, in an order; without revisions, which hold when a row was made."""
    return {kind: sorted(_rows(out, kind)) for kind in kinds}


def _rows(out: Path, kind: str) -> list[str]:
    found: list[str] = []
    for path in out.glob(f"{kind}-*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            row: dict[str, Any] = json.loads(line)
            row.pop("revision", None)
            found.append(json.dumps(row, sort_keys=True))
    return found
