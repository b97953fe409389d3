"""A sink beside a bare loop of the store's client, turn by turn, so that what else the machine does falls on both."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

__all__ = ["Beside", "by_turns", "command", "keys", "piped"]


class Beside(NamedTuple):
    """How fast both were, in each turn."""

    what: str
    unit: str
    bare: list[float]
    sink: list[float]

    @property
    def ratios(self) -> list[float]:
        """The sink's rate over the loop's, of each turn."""
        return [sink / bare for bare, sink in zip(self.bare, self.sink, strict=True)]

    @property
    def ratio(self) -> float:
        """Their median."""
        return statistics.median(self.ratios)

    def lines(self) -> str:
        """For a person."""
        sides = [f"  {side}: median {statistics.median(rates):,.0f} {self.unit} of "
                 + ", ".join(f"{rate:,.0f}" for rate in rates)
                 for side, rates in (("bare loop", self.bare), ("sink", self.sink))]  # fmt: skip
        shown = ", ".join(f"{ratio:.2f}" for ratio in self.ratios)
        return "\n".join([self.what, *sides, f"  ratio: median {self.ratio:.2f} of {shown}"])


def by_turns(what: str, unit: str, turns: int, bare: Callable[[int], float], sink: Callable[[int], float]) -> Beside:
    """Measure: each side first by turns. The turn before the first warms the server up and does not count.

    Args:
        what: is measured.
        unit: of the rates.
        turns: how often each side runs.
        bare: the loop's rate; given the number of the turn.
        sink: the sink's.
    """
    found = Beside(what, unit, [], [])
    sides = ((bare, found.bare), (sink, found.sink))
    for turn in range(turns + 1):
        for side, rates in sides if turn % 2 else sides[::-1]:
            rate = side(turn)
            if turn:
                rates.append(rate)
    return found


def command(about: str | None, measure: Callable[..., Iterable[Beside]], **options: int | Mapping[str, Any]) -> None:
    """The command line of what measures: its options are the arguments; prints what is found.

    Args:
        about: for `--help`.
        measure: gives what it finds, one after the other.
        options: of each argument the default, a number; or what argparse is told of it.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, each in options.items():
        details = {"type": int, "default": each} if isinstance(each, int) else dict(each)
        parser.add_argument(f"--{name.replace('_', '-')}", **details)
    for found in measure(**vars(parser.parse_args())):
        print(found.lines(), flush=True)


def keys(access_key: str, secret_key: str) -> dict[str, str]:
    """The keys of a server of the stack, by reference: put into the environment, from which AwsConfig reads them."""
    os.environ |= {"RATES_ACCESS_KEY": access_key, "RATES_SECRET_KEY": secret_key}
    return {"access_key": "env:RATES_ACCESS_KEY", "secret_key": "env:RATES_SECRET_KEY"}


class _Clock(beam.DoFn):
    began = 0.0
    ended = 0.0

    def process(self, element: Any) -> Any:
        """Hands elements on, and remembers when the first one went."""
        if not _Clock.began:
            _Clock.began = time.perf_counter()
        yield element


def _ended(_: Any) -> None:
    _Clock.ended = time.perf_counter()


def piped(elements: Iterable[Any], rows: int, write: Any, *, flatten: bool = False) -> float:
    """Rows per second of a pipeline: from its first element to the result of its last.

    Args:
        elements: what is created; one bundle.
        rows: how many they are.
        write: the sink, which gives WriteResults.
        flatten: whether an element is an iterable of what the sink takes.
    """
    _Clock.began = _Clock.ended = 0.0
    with beam.Pipeline(FnApiRunner()) as pipeline:
        given = pipeline | beam.Create(list(elements), reshuffle=False) | beam.ParDo(_Clock())
        if flatten:
            given |= "Flatten" >> beam.FlatMap(iter)
        done = given | write
        _ = done.written | "Ended" >> beam.Map(_ended)
        _ = done.dead_letters | "None" >> beam.Map(_none)
    return rows / (_Clock.ended - _Clock.began)


def _none(letter: Any) -> None:
    raise AssertionError(letter)
