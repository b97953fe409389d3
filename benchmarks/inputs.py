"""Files of events to measure on, and what a plain loop finds in them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Inputs(NamedTuple):
    """Makes files with the peers' generator, each once.

    Attributes:
        peers: the folder of gen.py.
        place: where the files go.
        seed: of all of them.
    """

    peers: Path
    place: Path
    seed: int

    def file(self, events: int, devices: int | None = None) -> Path:
        """A file of so many events: of 20,000 devices over six hours, or of so many devices at 0.01 events/s each."""
        path = self.place / f"{events}-{devices or 'six-hours'}.jsonl"
        if not path.exists():
            of = [str(devices)] if devices else []
            command = [sys.executable, str(self.peers / "gen.py"), str(events), str(path), str(self.seed), *of]
            subprocess.run(command, check=True)
        return path


def truth(path: Path) -> dict[str, int]:
    """The account of a file of gen.py's, by a plain loop."""
    lines = bad = repeated = 0
    seen: set[tuple[str, str]] = set()
    with path.open("rb") as file:
        for line in file:
            lines += 1
            try:
                event = json.loads(line)["deviceEvent"]
            except ValueError:
                bad += 1
                continue
            identity = (event["deviceId"], event["eventId"])
            repeated += identity in seen
            seen.add(identity)
    return {"lines": lines, "counted": len(seen), "duplicates": repeated, "dead_letters": bad, "late": 0, "ignored": 0}


def check(output: Path, expected: dict[str, int]) -> None:
    """The job's account must say what the plain loop says.

    Raises:
        SystemExit: it does not.
    """
    account = json.loads((output / "account.json").read_text())
    found = {name: account[name] for name in expected}
    if found != expected:
        raise SystemExit(f"bench: the job counted {found}, a plain loop {expected}")
