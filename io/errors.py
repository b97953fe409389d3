"""What can go wrong with any service, one class each, with messages for a person. Connectors add their own kinds."""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "ConnectorError",
    "MismatchError",
    "MissingError",
    "UnreachableError",
    "WriteError",
]


class ConnectorError(RuntimeError):
    """Something that trying again at once will not mend."""


class UnreachableError(ConnectorError):
    """No server answered in time."""


class AuthenticationError(ConnectorError):
    """The server refused who we said we are, or what we wanted to do."""


class MissingError(ConnectorError):
    """A table, stream, bucket or column family is not there."""


class MismatchError(ConnectorError):
    """It is there, and is not what the pipeline says that it is: other keys, another region."""


class WriteError(ConnectorError):
    """Rows that were not stored within the deadline."""
