"""What says that a window is whole: one small object for each, written after all of the window's rows are in place.

A reader goes by it alone. So what is not finished, what a crash left, and what an earlier try made and the last one did
not, is not read. It holds the ETag of every object, by which a reader notices one that was replaced since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from thingbeam.io.s3.names import ALL, COMMITTED, LONGEST, Window, manifest_name, time_text, window_of_manifest
from thingbeam.io.s3.requests import ObjectMissingError, PreconditionError, Requests
from thingbeam.io.s3.uploads import put
from thingbeam.schemas.coders import register_rows

__all__ = [
    "S3Object", "S3Window", "WindowManifest", "commit_window", "committed_windows", "decode_object", "encode_object",
    "merge_objects",
]  # fmt: skip

_VERSION: Final = 1
_TRIES: Final = 20


class S3Object(NamedTuple):
    """An object of a window, in place and whole; or, without a name, only that its shard has no further part."""

    name: str
    """Below the prefix."""
    start: int
    """Of its window, in microseconds since 1970."""
    stop: int
    shard: int = -1
    """-1 for a named batch."""
    part: int = 0
    last: bool = False
    """No part with a higher number counts any more: an earlier try may have made some."""
    rows: int = 0
    bytes: int = 0
    etag: str = ""

    @property
    def window(self) -> Window:
        """The period of its rows."""
        return Window(self.start, self.stop)


def encode_object(one: S3Object) -> bytes:
    """An object as bytes, for shuffles and state."""
    return msgspec.msgpack.encode(tuple(one))


def decode_object(encoded: bytes) -> S3Object:
    """What `encode_object` made."""
    return S3Object(*msgspec.msgpack.decode(encoded))


class S3Window(NamedTuple):
    """A window that readers now see whole."""

    manifest: str
    """The URI of its manifest."""
    start: int
    """In microseconds since 1970."""
    stop: int
    objects: int
    rows: int


register_rows(S3Object, S3Window)


class _Entry(msgspec.Struct):
    name: str
    rows: int
    bytes: int
    etag: str
    shard: int = -1
    part: int = 0


class _Document(msgspec.Struct):
    version: int
    record: str
    """The type of the rows."""
    start: str
    stop: str
    objects: list[_Entry]


class WindowManifest(NamedTuple):
    """A window's objects, by name."""

    window: Window
    objects: tuple[S3Object, ...]

    @property
    def rows(self) -> int:
        """Of all objects."""
        return sum(entry.rows for entry in self.objects)


def merge_objects(old: Iterable[S3Object], new: Iterable[S3Object]) -> tuple[S3Object, ...]:
    """A window's objects after some more are in place, by name.

    One of the same name replaces the old. Where the new ones say which part of a shard is the last, old ones with
    higher numbers go: a try that was taken back had made them, and their rows are in other parts now.

    >>> parts = [S3Object(f"p{part}", 0, 1, shard=0, part=part) for part in range(3)]
    >>> [entry.name for entry in merge_objects(parts, [parts[1]._replace(last=True)])]
    ['p0', 'p1']
    """
    fresh = list(new)
    ends = {entry.shard: entry.part for entry in fresh if entry.last and entry.shard >= 0}
    kept = {
        entry.name: entry
        for entry in (*old, *fresh)
        if entry.name and (entry.shard < 0 or entry.part <= ends.get(entry.shard, entry.part))
    }
    return tuple(kept[name] for name in sorted(kept))


def commit_window(
    requests: Requests, window: Window, objects: Iterable[S3Object], record: str, *, replace: bool
) -> S3Window:
    """Write the manifest of a window.

    With `replace` it says what is given here. Else it says that beside what it said before: it is read, and written on
    the condition (If-Match, If-None-Match) that nobody wrote it in between, which two workers could at once.

    Args:
        requests: to the bucket, whose location's key is the prefix.
        window: which.
        objects: all of them, or those that are new.
        record: the name of the rows' type.
        replace: whether the objects given are all that count.

    Raises:
        ConnectorError: it could not be written.
    """
    location = requests.location.join(manifest_name(window))
    fresh = list(objects)
    tries = 0
    while True:
        found = None if replace else requests.get(location.key)
        old = () if found is None else _decode(found[0], location.plain, window).objects
        merged = merge_objects(old, fresh)
        condition: Mapping[str, str] = {}
        if not replace:
            condition = {"IfNoneMatch": "*"} if found is None else {"IfMatch": found[1]}
        data = _encode(window, merged, record)
        try:
            put(requests, location.key, (data,), condition=condition, part_bytes=max(1, len(data)))
        except (PreconditionError, ObjectMissingError):
            tries += 1
            if tries == _TRIES:
                raise
        else:
            return S3Window(location.uri, window.start, window.stop, len(merged), sum(one.rows for one in merged))


def _encode(window: Window, objects: tuple[S3Object, ...], record: str) -> bytes:
    entries = [_Entry(one.name, one.rows, one.bytes, one.etag, one.shard, one.part) for one in objects]
    bounds = ("", "") if window == ALL else (time_text(window.start), time_text(window.stop))
    return msgspec.json.format(msgspec.json.encode(_Document(_VERSION, record, *bounds, entries)), indent=1) + b"\n"


def _decode(data: bytes, where: str, window: Window) -> WindowManifest:
    try:
        document = msgspec.json.decode(data, type=_Document)
    except msgspec.DecodeError as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    if document.version != _VERSION:
        raise ValueError(f"{where} is of version {document.version}; this release reads {_VERSION}")
    objects = tuple(
        S3Object(entry.name, *window, entry.shard, entry.part, False, entry.rows, entry.bytes, entry.etag)
        for entry in document.objects
    )
    return WindowManifest(window, objects)


def committed_windows(
    requests: Requests, start: int | None = None, stop: int | None = None
) -> Iterator[WindowManifest]:
    """The windows of a prefix that are whole, in the order of time.

    Args:
        requests: to the bucket, whose location's key is the prefix.
        start: windows that begin earlier are left out; microseconds since 1970.
        stop: windows that begin then or later are left out.

    Raises:
        ValueError: a manifest that cannot be read.
        ConnectorError: the bucket cannot be asked.
    """
    prefix = requests.location.join(COMMITTED).key
    # Names order as times do, and "all.json" comes after every digit.
    after = "" if start is None else prefix + time_text(max(start - LONGEST, _FIRST))
    for found in requests.list(prefix, after):
        window = window_of_manifest(found.key[len(prefix) :])
        if window is None or (window == ALL and not (start is None and stop is None)):
            continue
        if (start is not None and window.start < start) or (stop is not None and window.start >= stop):
            continue
        got = requests.get(found.key)
        if got is not None:
            yield _decode(got[0], f"s3://{requests.location.bucket}/{found.key}", window)


_FIRST: Final = -62_135_596_800_000_000
