"""Objects as files: opened to be read at any place, found by pattern, written whole. For thingbeam.io.files."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterator
from typing import IO, Any, Final
from urllib.parse import quote, unquote

from thingbeam.io.files.s3_paths import split_s3_uri
from thingbeam.io.s3.location import S3Location, parse_s3_uri
from thingbeam.io.s3.requests import ObjectMissingError, Requests
from thingbeam.io.s3.uploads import put
from thingbeam.io.writing.policies import RetryPolicy

__all__ = ["S3File", "delete_object", "exists", "match_objects", "open_object", "pinned", "write_object"]

_BLOCK: Final = 8 << 20
_MAGIC: Final = re.compile(r"[*?\[]")


class S3File(io.RawIOBase):
    """An object to read, by ranges; each is tried again where the connection breaks.

    All ranges are of the object as it was when opened: where it has been replaced since, reading fails and never mixes
    the two.

    Args:
        requests: to the bucket.
        key: of the object.
        etag: that it must have; None for what is there.

    Raises:
        ObjectMissingError: there is none.
        PreconditionError: it has another ETag.
    """

    def __init__(self, requests: Requests, key: str, etag: str | None = None) -> None:
        super().__init__()
        self._requests, self._key = requests, key
        condition: dict[str, Any] = {} if etag is None else {"IfMatch": etag}
        found = requests.call("head_object", "s3:GetObject", Key=key, **condition)
        self._size, self._etag = int(found["ContentLength"]), str(found["ETag"])
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what comes next."""
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """All that comes next."""
        # The one that is inherited asks for 8 KiB at a time, each by a request.
        return b"".join(iter(lambda: self._next(_BLOCK), b""))

    def _next(self, count: int) -> bytes:
        count = min(count, self._size - self._at)
        if count <= 0:
            return b""
        span = f"bytes={self._at}-{self._at + count - 1}"
        data: bytes = self._requests.call(
            "get_object", "s3:GetObject", lambda answer: answer["Body"].read(), Key=self._key, Range=span,
            IfMatch=self._etag,
        )  # fmt: skip
        self._at += len(data)
        return data


# Before a pipeline starts, somebody waits for what is asked; and what a worker asks, its runner asks again.
_LISTING: Final = RetryPolicy(deadline="15s")


@functools.lru_cache(maxsize=64)
def _requests(location: S3Location) -> Requests:
    return Requests(location)


_PINNED: Final = re.compile(r"[?&]etag=([^&]*)$")


def pinned(uri: str, etag: str) -> str:
    """The URI of an object as it is now: opening it fails where it has been replaced since.

    >>> pinned("s3://bucket/a.avro?region=eu-west-1", '"d41d8"')
    's3://bucket/a.avro?region=eu-west-1&etag=%22d41d8%22'
    """
    return f"{uri}{'&' if split_s3_uri(uri)[1] else '?'}etag={quote(etag)}"


def _reached(uri: str) -> tuple[Requests, str]:
    location = parse_s3_uri(_PINNED.sub("", uri))
    # One for all keys of a bucket.
    return _requests(location.at("")), location.key


def open_object(uri: str) -> IO[bytes]:
    """An object to read, with 8 MiB read ahead.

    Raises:
        ObjectMissingError: there is none.
        PreconditionError: it is not the one that `pinned` says, or has been replaced while it was read.
        ConnectorError: it cannot be read.
    """
    requests, key = _reached(uri)
    said = _PINNED.search(uri)
    return io.BufferedReader(S3File(requests, key, unquote(said[1]) if said else None), _BLOCK)


def write_object(uri: str, data: bytes) -> None:
    """Put a whole object in place, replacing one of that key."""
    requests, key = _reached(uri)
    put(requests, key, (data,))


def delete_object(uri: str) -> None:
    """Remove an object."""
    requests, key = _reached(uri)
    requests.delete(key)


def exists(uri: str) -> bool:
    """Whether there is an object of that key."""
    requests, key = _reached(uri)
    return requests.head(key) is not None


def match_objects(uri: str) -> Iterator[tuple[str, int]]:
    """The objects that a URI names, with their sizes: one by its key, or all that its pattern matches.

    `*`, `?` and `[…]` stay between slashes, `**` crosses them; a key that ends in a slash means all directly below.

    Raises:
        ConnectorError: the bucket cannot be asked.
    """
    location = parse_s3_uri(uri)
    requests, pattern = Requests(location.at(""), _LISTING), location.key
    if pattern.endswith("/") or not pattern:
        pattern += "*"
    if not _MAGIC.search(pattern):
        try:
            found = requests.call("head_object", "s3:GetObject", Key=pattern)
        except ObjectMissingError:
            return
        yield uri, int(found["ContentLength"])
        return
    literal = pattern[: next(_MAGIC.finditer(pattern)).start()]
    wanted = re.compile(_regular(pattern))
    for entry in requests.list(literal):
        if wanted.fullmatch(entry.key) and not entry.key.endswith("/"):
            yield location.at(entry.key).uri, entry.size


def _regular(pattern: str) -> str:
    """A pattern as a regular expression.

    >>> _regular("a/*/x[!0]"), _regular("a/**b?")
    ('a/[^/]*/x[^0]', 'a/.*b[^/]')
    """
    words = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*|\*|\?|\[!?[^\]]+\])", pattern)
    return "".join(
        words.get(piece) or (f"[{'^' * (piece[1] == '!')}{piece[1:-1].lstrip('!')}]" if at % 2 else re.escape(piece))
        for at, piece in enumerate(pieces)
    )
