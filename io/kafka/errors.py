"""What can go wrong, one class each, with messages for a person."""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "ConnectorError",
    "GapError",
    "SendError",
    "TopicMissingError",
    "UnreachableError",
    "WrongTimesError",
]  # fmt: skip


class ConnectorError(RuntimeError):
    """Something that trying again at once will not mend."""


class UnreachableError(ConnectorError):
    """No broker answered in time."""


class AuthenticationError(ConnectorError):
    """The broker refused who we said we are, or what we wanted to do."""


class TopicMissingError(ConnectorError):
    """A topic is not there, or was deleted while it was read."""


class GapError(ConnectorError):
    """Records between the position and the oldest that is kept are gone: retention was shorter than the lag."""


class WrongTimesError(ConnectorError):
    """The topic keeps the other sort of timestamp."""


class SendError(ConnectorError):
    """Records that were not acknowledged in time."""
