"""State cells and timers as plain objects: what a stateful step is given where no engine runs it."""

from __future__ import annotations

from typing import Any

from apache_beam.utils.timestamp import Timestamp


class Value:
    """One value, bytes or None."""

    def __init__(self) -> None:
        self.held: Any = None

    def read(self) -> Any:
        return self.held

    def write(self, value: bytes) -> None:
        self.held = value

    def clear(self) -> None:
        self.held = None


class Bag:
    """Many values."""

    def __init__(self) -> None:
        self.held: list[bytes] = []

    def read(self) -> list[bytes]:
        return list(self.held)

    def add(self, value: bytes) -> None:
        self.held.append(value)

    def clear(self) -> None:
        self.held.clear()


class Timer:
    """When it is set to, or None."""

    def __init__(self) -> None:
        self.at: Timestamp | None = None

    def set(self, at: Timestamp) -> None:
        self.at = at
