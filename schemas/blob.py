"""Blob: thousands of lines as one element, the fast path in which nothing is made per line."""

from __future__ import annotations

from typing import Any, NamedTuple

from apache_beam.coders import Coder

from thingbeam.schemas.encoding import EncodingError

__all__ = ["Blob", "BlobCoder"]


class Blob(NamedTuple):
    """Whole lines of one source, as stored: LF or CRLF, blank ones included; only the last line may lack its end."""

    source: str
    """The file's path, or the topic."""
    offset: int
    """Of the first byte, in the uncompressed file."""
    data: bytes


class BlobCoder(Coder):
    """Blob as length of source (4 bytes), offset (8 bytes), source, data; numbers big-endian."""

    def encode(self, value: Blob) -> bytes:
        """The blob as bytes."""
        source = value.source.encode()
        return b"".join((len(source).to_bytes(4, "big"), value.offset.to_bytes(8, "big"), source, value.data))

    def decode(self, encoded: bytes) -> Blob:
        """The blob of these bytes.

        Raises:
            EncodingError: bytes that are no blob, or that end before its data.
        """
        end = 12 + int.from_bytes(encoded[:4], "big")
        if len(encoded) < end:
            raise EncodingError(f"{len(encoded)} bytes of a blob whose head takes {end}")
        try:
            source = encoded[12:end].decode()
        except UnicodeDecodeError as error:
            raise EncodingError(f"the source of a blob is no text: {error}") from error
        return Blob(source, int.from_bytes(encoded[4:12], "big"), encoded[end:])

    def estimate_size(self, value: Blob) -> int:
        """Bytes, without encoding."""
        return 12 + len(value.source) + len(value.data)

    def is_deterministic(self) -> bool:
        """Equal blobs have equal bytes."""
        return True

    def to_type_hint(self) -> Any:
        """The type that it is registered for."""
        return Blob
