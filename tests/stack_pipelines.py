"""Pipelines for the stack's tests, in a module that workers in other processes can import."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.utils.timestamp import Timestamp

KEYS = 4


class CountInState(beam.DoFn):
    """The n-th element of a key gets the number n, from state."""

    COUNT = ReadModifyWriteStateSpec("count", VarIntCoder())

    def process(self, element: tuple[str, int], count: Any = beam.DoFn.StateParam(COUNT)) -> Iterator[str]:
        number = (count.read() or 0) + 1
        count.write(number)
        yield f"{element[0]} {element[1]} {number} {os.getpid()} {time.time()}"


class Append(beam.DoFn):
    """Lines to a file; each comes at least once."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, line: str) -> None:
        with Path(self._path).open("a") as file:
            file.write(line + "\n")


def keyed(at: Timestamp, start: float, interval: float) -> tuple[str, int]:
    """The number of an impulse, by its key."""
    number = round((float(at) - start) / interval)
    return str(number % KEYS), number


def counted_impulses(pipeline: beam.Pipeline, start: float, count: int, interval: float, path: str) -> None:
    """Numbers one after the other in real time, counted by key in state: `key number count worker time` per line."""
    stop = Timestamp(start + (count - 0.5) * interval)
    impulses = pipeline | "Impulses" >> PeriodicImpulse(Timestamp(start), stop, interval, apply_windowing=False)
    numbers = impulses | "Key" >> beam.Map(
        lambda _, at=beam.DoFn.TimestampParam: keyed(at, start, interval)
    ).with_output_types(tuple[str, int])
    _ = numbers | "Count" >> beam.ParDo(CountInState()) | "Append" >> beam.ParDo(Append(path))


def refuse(_: object) -> None:
    """Fails."""
    raise ValueError("this element is not for me")
