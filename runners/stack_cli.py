"""The command line of the local stack: thingbeam stack up, status, kill, restart, down, logs."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from thingbeam.runners.stack import Component, Stack

__all__ = ["stack"]

_COLOURS = {"ready": "green", "starting": "yellow", "dead": "red", "stopped": "dim"}
_WIDE = 240


@click.group()
@click.option("--directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help=(
    "Of the stack's data and logs. [default: $THINGBEAM_STACK, or thingbeam/stack in the user's state folder]"
))  # fmt: skip
@click.pass_context
def stack(ctx: click.Context, directory: Path | None) -> None:
    """Real servers on this machine, without containers: Kafka, a schema registry, Flink, Prism."""
    ctx.obj = directory


@stack.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--set", "settings", multiple=True, metavar="NAME.KEY=VALUE", help=(
    "A setting of a component: kafka.port=9092, kafka.secured=true, kafka.topics=events:8, flink.taskmanagers=2."
))  # fmt: skip
@click.pass_obj
def up(directory: Path | None, names: Sequence[str], settings: Sequence[str]) -> None:
    """Install and start components; without a name, all that the stack has had.

    A NAME is kafka, registry, flink or prism; with a hyphen and a label after it, a second one of its kind (kafka-2).
    """
    with _said():
        opened = _open(directory)
        opened.up(_components(opened, names, settings))
    _show(opened)


@stack.command()
@click.pass_obj
def status(directory: Path | None) -> None:
    """Show each process: its state, where clients find it, its number, how long it runs, its data."""
    with _said():
        _show(_open(directory))


@stack.command()
@click.argument("name")
@click.pass_obj
def kill(directory: Path | None, name: str) -> None:
    """Kill a component, or one of its processes, with SIGKILL: a crash. Its data and ports stay."""
    with _said():
        _open(directory).kill(name)


@stack.command()
@click.argument("name")
@click.pass_obj
def restart(directory: Path | None, name: str) -> None:
    """Start a component, or one of its processes, again; kill it before if it runs."""
    with _said():
        _open(directory).restart(name)


@stack.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--delete", is_flag=True, help="Forget them, with their data.")
@click.pass_obj
def down(directory: Path | None, names: Sequence[str], delete: bool) -> None:
    """Stop components; without a name, all. Their data stays."""
    with _said():
        _open(directory).down(names, delete=delete)


@stack.command()
@click.argument("name")
@click.option("--lines", default=50, show_default=True, type=click.IntRange(1), help="How many, from the end.")
@click.pass_obj
def logs(directory: Path | None, name: str, lines: int) -> None:
    """Show the end of a component's logs."""
    with _said():
        for path in _open(directory).logs(name):
            click.echo(f"==> {path}", err=True)
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            click.echo("\n".join(text.splitlines()[-lines:]))


def _open(directory: Path | None) -> Stack:
    from thingbeam.runners.stack import Stack

    return Stack(directory, say=lambda line: click.echo(line, err=True))


def _components(opened: Stack, names: Sequence[str], settings: Sequence[str]) -> dict[str, Component]:
    from thingbeam.runners.stack.components import KINDS

    given: dict[str, dict[str, str]] = {name: {} for name in names}
    for setting in settings:
        path, is_given, value = setting.partition("=")
        name, has_key, key = path.partition(".")
        if not is_given or not has_key or name not in given:
            raise ValueError(f"--set {setting}: write NAME.KEY=VALUE, where NAME is one of those to start")
        given[name][key] = value
    found: dict[str, Component] = {}
    for name, values in given.items():
        kind = KINDS.get(name.partition("-")[0])
        if kind is None:
            raise ValueError(f"{name}: no such component; there are {', '.join(KINDS)}")
        if not values and opened.has(name):
            found[name] = opened.component(name)
            continue
        found[name] = kind.of(values, strict=False)
    return found


def _show(opened: Stack) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = opened.status()
    if not rows:
        click.echo("nothing here; `thingbeam stack up kafka` starts a broker", err=True)
        return
    table = Table(box=None, pad_edge=False)
    for title in ("name", "state", "address", "pid", "up", "data"):
        table.add_column(title, overflow="fold", justify="right" if title in ("pid", "up") else "left")
    for row in rows:
        colour = _COLOURS[row.state]
        pid = "" if row.pid is None else str(row.pid)
        cells: list[Any] = [row.name, Text(row.state, colour), row.uri, pid, _length(row.seconds), str(row.directory)]
        table.add_row(*cells)
    # What goes to a file or another program is not folded.
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


def _length(seconds: float | None) -> str:
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def _said() -> Generator[None]:
    """What the stack cannot do becomes one line."""
    from thingbeam.runners.stack import StackError

    try:
        yield
    except StackError as error:
        raise click.ClickException(str(error)) from error
