"""Measures thingbeam beside its peers, its stages, its stores, and how cost grows; prints tables and writes plots.

Each command is a whole process, pinned to one core, on the same files. Its CPU time (with that of its children) on a
large file less that on a small one, over the events between, is the cost of an event without the start-up. Medians of
several runs; the seed of the files is chosen anew each time, and the job's counts are checked against a plain loop.
Stores are measured by the clock, on all cores, beside bare loops of their clients, by turns. Latency is measured from
a broker's append to the append of what comes out, on all cores too: see kafka_latency.py. Live is the main job from
Kafka to Kafka on Flink: how soon it catches up, and its latency: see live_home.py. A soak is an hour of a stream on
Flink, in which nothing may grow: see soak.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from beside import Beside
from flink import OnFlink, on_flink
from growth import growth, state
from inputs import Inputs
from page import write_page
from peers import compare
from processes import ROOT, Measured, run
from rich.console import Console
from rich.table import Table
from stores import STORES, stores

WHAT = ("peers", "stages", "growth", "flink", "stores", "latency", "live", "soak")
_BY_RATE = {"latency": "kafka_latency.py", "live": "live_home.py"}
_OF_FILES = frozenset({"peers", "stages", "growth", "flink"})


def table_of(measured: list[Measured]) -> Table:
    """Peers, each beside the slowest kind and the plain loop."""
    rates = {row.name: row.rate for row in measured}
    besides = [name for name in ("beam_vanilla.py", "plain.py") if name in rates]
    table = Table(title="Whole processes")
    for heading in ("", "events/s", *(f"beside {name}" for name in besides), "start-up, CPU s", "peak MB", "of runs"):
        table.add_column(heading, justify="left" if not heading else "right")
    for row in measured:
        spread = f"{min(row.runs):,.0f}-{max(row.runs):,.0f}"
        beside = [f"{row.rate / rates[name]:.2f} x" for name in besides]
        table.add_row(row.name, f"{row.rate:,.0f}", *beside, f"{row.start:.1f}", f"{row.megabytes:,.0f}", spread)
    return table


def table_of_series(title: str, series: Mapping[str, float]) -> Table:
    """One series of costs."""
    table = Table("", "ns an event", title=title)
    for name, value in series.items():
        table.add_row(name, f"{value:,.0f}")
    return table


def table_of_flink(measured: list[OnFlink]) -> Table:
    """The main job on Flink beside what runs on one core."""
    besides = [row for row in measured if row.cores == 1]
    table = Table(title="The main job by the clock; on Flink engine and workers together, a checkpoint each second")
    for heading in ("", "cores", "events/s", *(f"beside {row.name}" for row in besides), "start-up, s", "of runs"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in measured:
        spread = f"{min(row.runs):,.0f}-{max(row.runs):,.0f}"
        beside = [f"{row.rate / other.rate:.2f} x" for other in besides]
        table.add_row(row.name, str(row.cores), f"{row.rate:,.0f}", *beside, f"{row.start:.1f}", spread)
    return table


def table_of_stores(measured: list[Beside]) -> Table:
    """Sinks beside bare loops."""
    table = Table(title="Stores, medians")
    for heading in ("", "bare loop", "sink", "", "ratio", "of turns"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in measured:
        sides = [f"{statistics.median(rates):,.0f}" for rates in (row.bare, row.sink)]
        spread = f"{min(row.ratios):.2f}-{max(row.ratios):.2f}"
        table.add_row(row.what, *sides, row.unit, f"{row.ratio:.2f}", spread)
    return table


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", metavar="|".join(WHAT), help="what to measure (default: peers)")
    parser.add_argument("--events", type=int, default=500_000, help="of the large file (default 500,000)")
    parser.add_argument("--runs", type=int, default=3, help="of each command on each file (default 3)")
    parser.add_argument("--core", type=int, default=0, help="which core (default 0)")
    parser.add_argument("--devices", type=int, default=200_000, help="growth: up to so many (default 200,000)")
    parser.add_argument("--series", default="", help="growth: those that begin so, as devices (default all)")
    parser.add_argument("--turns", type=int, default=5, help="stores: of each side (default 5)")
    parser.add_argument(
        "--store", action="append", default=[], choices=STORES, help="stores: one of them (default all)"
    )
    parser.add_argument(
        "--rate", type=float, help="latency, live, soak: events a second (default 37,000; 5,000; 1,000)"
    )
    parser.add_argument("--minutes", type=float, default=60, help="soak: how long (default 60)")
    parser.add_argument("--speed", type=float, default=60, help="soak: of event time beside the clock (default 60)")
    parser.add_argument("--peers", type=Path, default=ROOT.parent / "shared" / "peers", help="where gen.py is")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help=(
        "peers, flink: a further peer, as 'flink_sql.py=/path/of/its/python flink_sql.py'; the file is its last "
        "argument"
    ))  # fmt: skip
    parser.add_argument("--output", type=Path, help="folder for results.json and a page of plots, index.html")
    given = parser.parse_args()
    what = given.what or ["peers"]
    if unknown := [each for each in what if each not in WHAT]:
        parser.error(f"{unknown[0]}: it is one of {', '.join(WHAT)}")
    if _OF_FILES & set(what) and not (given.peers / "gen.py").is_file():
        parser.error(f"no gen.py in {given.peers}: name the folder of the peers with --peers")
    more = {name: shlex.split(command) for name, _, command in (each.partition("=") for each in given.peer)}
    seed = random.SystemRandom().randrange(1 << 30)
    results: dict[str, Any] = {
        "about": {
            "when": datetime.now(UTC).isoformat(timespec="minutes"),
            "command": "scripts/bench " + shlex.join(sys.argv[1:]),
            "seed": seed,
            "cores": os.cpu_count(),
            "load before": os.getloadavg()[0],
            "python": platform.python_version(),
        }
    }
    console = Console(width=max(110, Console().width))
    with tempfile.TemporaryDirectory() as place:
        inputs = Inputs(given.peers, Path(place), seed)
        if "peers" in what:
            measured = compare(inputs, given.events, given.runs, given.core, more)
            results["peers"] = [row._asdict() for row in measured]
            console.print(table_of(measured))
        if "stages" in what:
            file = Path(place) / "stages.json"
            script = str(Path(__file__).with_name("stages.py"))
            run([sys.executable, script, str(inputs.file(given.events)), str(given.runs), str(file)], given.core)
            results["stages"] = json.loads(file.read_text())
            console.print(table_of_series("Stages, each alone", results["stages"]))
        if "growth" in what:
            results["growth"] = growth(inputs, given.events, given.runs, given.core, given.devices, given.series)
            results["state"] = state(inputs, given.events // 5, given.core)
            for title, series in results["growth"].items():
                console.print(table_of_series(title, series))
            console.print(results["state"])
        if "flink" in what:
            rates = on_flink(inputs, given.events, given.runs, more)
            results["flink"] = [row._asdict() for row in rates]
            console.print(table_of_flink(rates))
        if "stores" in what:
            besides = stores(Path(place), given.turns, given.store)
            results["stores"] = [row._asdict() | {"ratio": row.ratio} for row in besides]
            console.print(table_of_stores(besides))
        for name in _BY_RATE.keys() & set(what):
            file = Path(place) / f"{name}.json"
            script = str(Path(__file__).with_name(_BY_RATE[name]))
            rate = ["--rate", str(given.rate)] if given.rate else []
            subprocess.run([sys.executable, script, *rate, "--output", str(file)], check=True)
            results[name] = json.loads(file.read_text())
        if "soak" in what:
            folder = given.output or Path(place) / "soak"
            script = [sys.executable, str(Path(__file__).with_name("soak.py")), "--output", str(folder)]
            told = {"--minutes": given.minutes, "--rate": given.rate or 1000, "--speed": given.speed}
            subprocess.run([*script, *(str(part) for pair in told.items() for part in pair)], check=True)
            results["soak"] = json.loads((folder / "soak.json").read_text())
    if given.output:
        given.output.mkdir(parents=True, exist_ok=True)
        (given.output / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        write_page(results, given.output / "index.html")
        console.print(f"{given.output / 'index.html'}")


if __name__ == "__main__":
    main()
