"""What can go wrong, one class each, with messages for a person."""

from __future__ import annotations

from thingbeam.io.errors import AuthenticationError, ConnectorError, MissingError, UnreachableError, WriteError

__all__ = [
    "AuthenticationError",
    "ConnectorError",
    "GapError",
    "SendError",
    "TopicMissingError",
    "TopicRecreatedError",
    "UnreachableError",
    "WrongTimesError",
]  # fmt: skip


class TopicMissingError(MissingError):
    """A topic is not there, or was deleted while it was read."""


class TopicRecreatedError(TopicMissingError):
    """A topic was deleted and made again under its name: it has another id, and other records at the same offsets."""


class GapError(ConnectorError):
    """Records between the position and the oldest that is kept are gone: retention was shorter than the lag."""


class WrongTimesError(ConnectorError):
    """The topic keeps the other sort of timestamp."""


class SendError(WriteError):
    """Records that were not acknowledged in time."""
