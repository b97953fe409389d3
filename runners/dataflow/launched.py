"""What runs in a flex template's container: makes the job's graph of the parameters, and gives it to Dataflow.

Google's launcher starts it with the parameters and Beam's own options, all as `--name=value`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import click

__all__ = ["arguments_of", "main"]

_OURS_NOT: Final = frozenset({"runner"})


def main(application: str, arguments: Sequence[str] | None = None) -> None:
    """Makes the graph and submits it, or writes it where `--template_location` says.

    Args:
        application: name of a command of `thingbeam run`.
        arguments: [default: those of the process].
    """
    from thingbeam.runners.failures import exit_status

    given = sys.argv[1:] if arguments is None else arguments
    sys.exit(exit_status(lambda: _launch(application, given)))


def _launch(application: str, given: Sequence[str]) -> None:
    from thingbeam.runners.cli import run
    from thingbeam.runners.dataflow.templates import run_on_dataflow
    from thingbeam.runners.packaging.capture import captured

    command = run.commands[application]
    ours, beams = arguments_of(command, given)
    run_on_dataflow(captured([application, *ours]), beams)


def arguments_of(command: click.Command, given: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command line of an application, and what is left for Beam.

    Args:
        command: of `thingbeam run`.
        given: parameters of a template, `--session_gap=10m`; of a flag, `--overwrite=true`.

    >>> options = [click.Option(["--session-gap"]), click.Option(["--overwrite"], is_flag=True)]
    >>> arguments_of(click.Command("home", params=options), ["--session_gap=5m", "--overwrite=true", "--region=eu"])
    (['--session-gap', '5m', '--overwrite'], ['--region=eu'])
    """
    from thingbeam.runners.dataflow.flex import name_of

    known = {name_of(option): option for option in command.params if isinstance(option, click.Option)}
    ours: list[str] = []
    beams: list[str] = []
    for argument in given:
        name, has_value, value = argument.removeprefix("--").partition("=")
        option = known.get(name.replace("-", "_"))
        if option is None:
            beams.append(argument)
        elif name not in _OURS_NOT:
            flag = next(flag for flag in option.opts if flag.startswith("--"))
            if not option.is_flag:
                ours += [flag, value]
            elif not has_value or value == "true":
                ours.append(flag)
    return ours, beams
