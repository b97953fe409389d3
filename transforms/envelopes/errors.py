"""What goes wrong with a device message: as an exception, and as a value beside the events that are fine."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["Failure", "ParseError"]

MAX_PATH: Final = 300


class ParseError(ValueError):
    """A payload, or one event inside it, could not be understood.

    Args:
        code: one of `thingbeam.schemas.codes.CODES`.
        message: what is wrong, for a person. It holds names of fields and of JSON types, never what a field holds, so
            it may be logged.
        path: where in the payload the failing part is, as `eventData.events[2]`; empty for the whole of it.

    >>> error = ParseError("missing_field", "deviceId is missing", "eventData.events[2]")
    >>> error.code, str(error)
    ('missing_field', 'eventData.events[2]: deviceId is missing')
    """

    def __init__(self, code: str, message: str, path: str = "") -> None:
        # All three go to Exception so that the error crosses process borders by pickle.
        super().__init__(code, message, path)
        self.code = code
        self.message = message
        self.path = path[:MAX_PATH]

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class Failure(NamedTuple):
    """A part of a payload that could not be understood, while other parts may be.

    >>> Failure("missing_field", "deviceId is missing", "eventData.events[2]").path
    'eventData.events[2]'
    """

    code: str
    """One of `thingbeam.schemas.codes.CODES`."""
    message: str
    """What is wrong, for a person; without anything of what the fields hold."""
    path: str = ""
    """Where in the payload; empty for the whole of it."""

    @classmethod
    def of(cls, error: ParseError, path: str) -> Failure:
        """The failure that an error is, in the part of the payload at `path`."""
        return cls(error.code, error.message, path[:MAX_PATH])
