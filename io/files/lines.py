"""A stream of bytes cut into spans of whole lines."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Final, NamedTuple

from thingbeam.io.files.compression import DamagedFileError

__all__ = ["KEPT_BYTES", "Damage", "Lines", "LongLine", "cut_lines"]

KEPT_BYTES: Final = 64 << 10
"""How much of what could not be read a dead letter keeps."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Lines(NamedTuple):
    """Whole lines, each with its line feed; only the last of a file may lack it."""

    offset: int
    data: bytes


class LongLine(NamedTuple):
    """A line longer than the limit."""

    offset: int
    length: int
    """Bytes without the line feed."""
    head: bytes
    """Its first KEPT_BYTES."""


class Damage(NamedTuple):
    """Where a stream could not be read further."""

    offset: int
    """Of the first byte of the line that was not finished."""
    tail: bytes
    """What there was of that line, at most KEPT_BYTES."""
    error: DamagedFileError


def cut_lines(
    chunks: Iterable[bytes], *, start: int = 0, stop: int | None = None, size: int, limit: int
) -> Iterator[Lines | LongLine | Damage]:
    r"""Cut a stream into spans of about `size` bytes that end where lines end.

    A range is read by who reads from its start: a line belongs to the range that holds its first byte, so that the
    ranges of a file, each read on its own, give each line once. A UTF-8 byte order mark at the start of a file is
    dropped. Memory holds no more than `limit` + `size` + one chunk.

    Args:
        chunks: the stream, from offset `start` - 1 (so that a line that begins at `start` is seen to), or from 0.
        start: the first byte of the range.
        stop: the first byte after the range; None for the end of the stream.
        size: bytes to gather before a span is cut; more than 0.
        limit: the longest line, without its line feed, that is given whole.

    >>> list(cut_lines([b"a\nb", b"b\nc"], size=2, limit=9))
    [Lines(offset=0, data=b'a\n'), Lines(offset=2, data=b'bb\n'), Lines(offset=5, data=b'c')]
    """
    cutter = _Cutter(start, stop, size, limit)
    try:
        for chunk in chunks:
            # What decompresses well comes in chunks far larger than a span.
            step = size if len(chunk) > 2 * size else max(1, len(chunk))
            for at in range(0, len(chunk), step):
                yield from cutter.feed(chunk[at : at + step])
                if cutter.done:
                    return
    except DamagedFileError as error:
        yield from cutter.whole()
        yield Damage(*cutter.unfinished(), error)
        return
    yield from cutter.finish()


class _Cutter:
    def __init__(self, start: int, stop: int | None, size: int, limit: int) -> None:
        self.offset = max(0, start - 1)
        """Of the first pending byte."""
        self.pending = b""
        self.done = False
        self._gathered: list[bytes] = []
        self._waiting = 0
        self._stop, self._size, self._limit = stop, size, limit
        self._skipping = start > 0
        self._long: LongLine | None = None

    def feed(self, chunk: bytes) -> Iterator[Lines | LongLine]:
        if self._skipping or self._long:
            chunk = yield from self._to_line_end(chunk)
        if self.done or not chunk:
            return
        self._gathered.append(chunk)
        self._waiting += len(chunk)
        if self._waiting >= self._size or self._at_stop():
            yield from self.whole()

    def _at_stop(self) -> bool:
        return self._stop is not None and self.offset + len(self.pending) + self._waiting >= self._stop

    def _to_line_end(self, chunk: bytes) -> Generator[LongLine, None, bytes]:
        # Runs to the end of a line that is not to be kept, without holding it.
        end = chunk.find(b"\n")
        passed = len(chunk) if end < 0 else end
        self.offset += passed
        if self._long:
            head = self._long.head
            if len(head) < KEPT_BYTES:
                head += chunk[: min(passed, KEPT_BYTES - len(head))]
            self._long = LongLine(self._long.offset, self._long.length + passed, head)
        if end < 0:
            return b""
        self.offset += 1
        if self._long:
            yield self._long
            self._long = None
        self._skipping = False
        self.done = self._stop is not None and self.offset >= self._stop
        return chunk[end + 1 :]

    def whole(self) -> Iterator[Lines | LongLine]:
        """The whole lines of what is pending, as far as they belong to the range."""
        pieces, at_stop = [self.pending, *self._gathered], self._at_stop()
        self._gathered, self._waiting = [], 0
        end = pieces[-1].rfind(b"\n") + 1
        if end == len(pieces[-1]) and len(pieces) == 2 and not (self.pending or at_stop):
            # As from a file on this machine: whole lines.
            data, rest = pieces[-1], b""
        elif end and not at_stop:
            # As nearly always else: lines are copied once.
            data, rest = b"".join((*pieces[:-1], memoryview(pieces[-1])[:end])), pieces[-1][end:]
        else:
            pending = b"".join(pieces)
            end = pending.rfind(b"\n") + 1
            if at_stop:
                assert self._stop is not None
                last = pending.find(b"\n", max(0, self._stop - 1 - self.offset))
                if last >= 0:
                    end, self.done = last + 1, True
            data, rest = pending[:end], pending[end:]
        yield from self._spans(data)
        self.pending = b"" if self.done else rest
        self.offset += len(data)
        if len(self.pending) > self._limit:
            self._long = LongLine(self.offset, len(self.pending), self.pending[:KEPT_BYTES])
            self.offset += len(self.pending)
            self.pending = b""

    def _spans(self, data: bytes) -> Iterator[Lines | LongLine]:
        begin = 0
        if len(data) > self._limit:
            at = 0
            while at < len(data):
                end = data.find(b"\n", at)
                end = len(data) if end < 0 else end
                if end - at > self._limit:
                    yield from self._lines(begin, data[begin:at])
                    yield LongLine(self.offset + at, end - at, data[at : min(end, at + KEPT_BYTES)])
                    begin = end + 1
                at = end + 1
        yield from self._lines(begin, data[begin:])

    def _lines(self, begin: int, data: bytes) -> Iterator[Lines]:
        offset = self.offset + begin
        if offset == 0 and data.startswith(_BYTE_ORDER_MARK):
            offset, data = len(_BYTE_ORDER_MARK), data[len(_BYTE_ORDER_MARK) :]
        if data:
            yield Lines(offset, data)

    def unfinished(self) -> tuple[int, bytes]:
        """Where the line that the stream broke off in begins, and its first bytes."""
        if self._long:
            return self._long.offset, self._long.head
        return self.offset, self.pending[:KEPT_BYTES]

    def finish(self) -> Iterator[Lines | LongLine]:
        """What is left where the stream ends."""
        yield from self.whole()
        if self._long:
            yield self._long
        elif not self.done and not self._skipping and self.pending:
            yield from self._spans(self.pending)
