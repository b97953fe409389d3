"""What can go wrong, one class each, with messages for a person."""

from __future__ import annotations

__all__ = [
    "AuthenticationError", "GapError", "KafkaFailure", "SendError", "TopicMissingError", "UnreachableError",
    "WrongTimesError",
]  # fmt: skip


class KafkaFailure(RuntimeError):
    """Something that trying again at once will not mend."""


class UnreachableError(KafkaFailure):
    """No broker answered in time."""


class AuthenticationError(KafkaFailure):
    """The broker refused who we said we are, or what we wanted to do."""


class TopicMissingError(KafkaFailure):
    """A topic is not there, or was deleted while it was read."""


class GapError(KafkaFailure):
    """Records between the position and the oldest that is kept are gone: retention was shorter than the lag."""


class WrongTimesError(KafkaFailure):
    """The topic keeps the other sort of timestamp."""


class SendError(KafkaFailure):
    """Records that were not acknowledged in time."""
