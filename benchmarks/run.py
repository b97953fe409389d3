"""The main job beside what a Beam user would write: events a second of one core, and the ratio.

Each command is a whole process, pinned to one core, on the same files. Its CPU time (with that of its children) on a
large file less that on a small one, over the events between, is the cost of an event without the start-up. Medians of
several runs; the seed of the files is chosen anew each time, and the job's counts are checked against a plain loop.

usage: scripts/bench [--events 500000] [--runs 3] [--peers DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_PEERS = ROOT.parent / "shared" / "peers"


class Cost(NamedTuple):
    """What one run of a command took."""

    cpu: float
    wall: float
    megabytes: float


class Measured(NamedTuple):
    """What a command comes to on two sizes of file."""

    name: str
    rate: float
    start: float
    megabytes: float


def run(command: Sequence[str], core: int) -> Cost:
    """Run a command on one core; its children's time counts."""
    clock = os.times()
    pinned = ["taskset", "-c", str(core), *command] if shutil.which("taskset") else list(command)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(pinned, stdout=log, stderr=log, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            tail = log.read()[-2000:].decode(errors="replace")
            raise SystemExit(f"bench: {' '.join(command)} ended with {process.returncode}:\n{tail}")
    wall = os.times().elapsed - clock.elapsed
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def measure(name: str, command: Any, small: Path, large: Path, events: int, runs: int, core: int) -> Measured:
    """Rate of one core from the difference of two sizes, and the start-up that remains."""
    costs = [(run(command(small), core), run(command(large), core)) for _ in range(runs)]
    slopes = [(b.cpu - a.cpu) / events for a, b in costs]
    cost = statistics.median(slopes)
    start = statistics.median(a.cpu for a, _ in costs) - cost * sum(1 for _ in small.open("rb"))
    return Measured(name, 1 / cost, start, max(b.megabytes for _, b in costs))


def truth(path: Path) -> dict[str, int]:
    """The counts of a file of gen.py's, by a plain loop."""
    lines = bad = 0
    seen: set[tuple[str, str]] = set()
    repeated = 0
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
    """The job's account must say what the plain loop says."""
    account = json.loads((output / "account.json").read_text())
    found = {name: account[name] for name in expected}
    if found != expected:
        raise SystemExit(f"bench: the job counted {found}, a plain loop {expected}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=500_000, help="of the large file (default 500,000)")
    parser.add_argument("--runs", type=int, default=3, help="of each command on each file (default 3)")
    parser.add_argument("--core", type=int, default=0, help="which core (default 0)")
    parser.add_argument("--peers", type=Path, default=DEFAULT_PEERS, help="where gen.py and the peers are")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    given = parser.parse_args()
    if not (given.peers / "gen.py").is_file():
        parser.error(f"no gen.py in {given.peers}: name the folder of the peers with --peers")
    seed = random.SystemRandom().randrange(1 << 30)
    console = Console()
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)

        def generate(count: int) -> Path:
            path = work / f"{count}.jsonl"
            subprocess.run([sys.executable, str(given.peers / "gen.py"), str(count), str(path), str(seed)], check=True)
            return path

        # The peer is slow: an eighth of the events tells its rate as well.
        sizes = [given.events // 5, given.events, given.events // 40, given.events // 8]
        files = {size: generate(size) for size in sizes}
        results: list[Measured] = []
        for output_format in ("jsonl", "parquet"):
            output = work / output_format

            def ours(path: Path, output: Path = output, output_format: str = output_format) -> list[str]:
                return [
                    sys.executable, "-m", "thingbeam.runners.cli", "run", "home", "--input", str(path),
                    "--output", str(output), "--timezone", "UTC", "--format", output_format, "--overwrite",
                ]  # fmt: skip

            name = f"thingbeam run home ({output_format})"
            results.append(
                measure(name, ours, files[sizes[0]], files[sizes[1]], sizes[1] - sizes[0], given.runs, given.core)
            )
            check(output, truth(files[sizes[1]]))

        def vanilla(path: Path) -> list[str]:
            return [sys.executable, str(given.peers / "beam_vanilla.py"), str(path), "--runner=FnApiRunner"]

        results.append(
            measure(
                "beam_vanilla.py",
                vanilla,
                files[sizes[2]],
                files[sizes[3]],
                sizes[3] - sizes[2],
                given.runs,
                given.core,
            )
        )
    table = Table(title=f"One core, {given.events:,} events, medians of {given.runs}, seed {seed}")
    for heading in ("", "events/s", "beside beam_vanilla", "start-up, CPU s", "peak MB"):
        table.add_column(heading, justify="left" if not heading else "right")
    base = results[-1].rate
    for row in results:
        table.add_row(
            row.name, f"{row.rate:,.0f}", f"{row.rate / base:.1f} x", f"{row.start:.1f}", f"{row.megabytes:,.0f}"
        )
    console.print(table)
    if given.json:
        given.json.write_text(json.dumps([row._asdict() for row in results], indent=2) + "\n")


if __name__ == "__main__":
    main()
