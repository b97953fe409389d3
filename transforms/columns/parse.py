"""Lines to rows, fast: SmartThings device events decoded many at a time; everything else by the plain parser.

What has the form of a line that was decoded before is read without decoding (`forms`). Of the others,
msgspec decodes some tens of lines in one call into structs that hold just what is read. Where a line among them is
anything else, they are decoded one by one; and each line that is still not a plain device event, or has a field that
needs a second look, goes to `parse_each`. So what `parse_each` says is what comes out.
"""

from __future__ import annotations

import traceback
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas import codes
from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.blob import Blob
from thingbeam.schemas.payloads import PayloadBatch
from thingbeam.schemas.records import DeadLetter, Event
from thingbeam.transforms.columns.native import forms_of
from thingbeam.transforms.columns.plain import Descriptions, PlainEvents, decode
from thingbeam.transforms.envelopes import Context, Failure, Limits, parse_each, redact

__all__ = ["NO_ROWS", "BlobParser", "Parsed"]

_CHUNK: Final = 16 << 10
_BLANK: Final = b" \t\r"

NO_ROWS: Final = EventBatch.from_events(())


class Parsed(NamedTuple):
    """What came of a blob."""

    batch: EventBatch
    """The events that were read fast."""
    events: list[Event]
    """The others, as `parse_each` gave them."""
    dead_letters: list[DeadLetter]
    """In the order of the lines."""
    lines: int
    """Lines that were not blank."""
    failed_lines: int
    """Lines of which nothing came but dead letters."""
    empty_lines: int
    """Lines that were understood and hold no event: a device state without values, or a tombstone."""
    tombstones: int = 0
    """Messages without a value; each is an empty line too."""

    def to_batch(self) -> EventBatch:
        """All events in one batch."""
        if not self.events:
            return self.batch
        return EventBatch.concatenate((self.batch, EventBatch.from_events(self.events)))

    @classmethod
    def of_one(cls, events: list[Event], dead_letters: list[DeadLetter]) -> Parsed:
        """What came of one payload."""
        failed = bool(dead_letters) and not events
        return cls(NO_ROWS, events, dead_letters, 1, int(failed), int(not dead_letters and not events))


class _Span(NamedTuple):
    """Some lines that were decoded together."""

    first: int
    """The number of the first, among all that were decoded."""
    start: int
    stop: int


class BlobParser:
    """Parses blobs of lines; gives the same events and dead letters as `parse_each` line by line.

    A line ends with LF and any carriage returns before it. Lines of nothing but spaces, tabs and carriage returns are
    passed over.

    Args:
        context: what the caller knows of all payloads. Its `ingest_time` is not in the rows of a batch.
        limits: on size, depth and time.
        step: the name that dead letters carry.
    """

    def __init__(self, context: Context, limits: Limits, step: str) -> None:
        self._context = context
        self._limits = limits
        self._step = step
        self._descriptions = Descriptions()
        self._forms = forms_of(limits)

    def parse(self, blob: Blob, position: Callable[[int], str] | None = None) -> Parsed:
        """All events of a blob, and its dead letters.

        Args:
            blob: the lines.
            position: says, for a dead letter, where the line stood that begins at an offset of the blob's data. By
                default that is its offset in the source.
        """
        alike = self._forms.take(blob.data)
        data = alike.rest
        plain = PlainEvents(self._descriptions, self._context.home_id)
        spans: list[_Span] = []
        slow: list[tuple[int, bytes]] = []
        for start, stop, records in _decoded(data, self._limits):
            if records is None:
                slow += _lines(data, start, stop)
            else:
                spans.append(_Span(len(plain), start, stop))
                plain.add(records)
        lines = len(alike.batch) + len(plain) + len(slow)
        batch, good = plain.batch(self._limits.earliest.micros, self._limits.latest.micros)
        if not good.all():
            slow += _lines_of(data, spans, np.flatnonzero(~good).tolist())
            slow.sort()
        if len(alike.batch):
            batch = EventBatch.concatenate((alike.batch, batch))
        events: list[Event] = []
        dead: list[DeadLetter] = []
        failed = empty = 0
        for at, line in slow:
            offset = alike.origin(at)
            where = f"offset={blob.offset + offset}" if position is None else position(offset)
            some, letters = self.parse_line(line, blob.source, where)
            events += some
            dead += letters
            failed += bool(letters) and not some
            empty += not letters and not some
        return Parsed(batch, events, dead, lines, failed, empty)

    def parse_batch(self, batch: PayloadBatch) -> Parsed:
        """All events of a stream's messages, and its dead letters, each with the position of its message.

        A message is one payload, whatever line feeds are in it. One without a value, a tombstone, has nothing to parse
        and is counted; one of nothing but spaces is a dead letter.
        """
        lines = batch.lines()

        def position(at: int) -> str:
            return batch.position(int(lines.numbers[np.searchsorted(lines.starts, at)]))

        parsed = self.parse(Blob(batch.source, 0, lines.data), position)
        numbers = lines.others.tolist()
        if parsed.lines < len(lines.numbers):
            # In a file a blank line is none; a blank message is a message.
            numbers += [
                number for number in lines.numbers.tolist() if not (batch.payloads[number] or b"").strip(_BLANK)
            ]
        tombstones = 0
        others: list[Parsed] = []
        for number in numbers:
            payload = batch.payloads[number]
            if payload is None:
                tombstones += 1
            else:
                others.append(Parsed.of_one(*self.parse_line(payload, batch.source, batch.position(number))))
        return Parsed(
            parsed.batch,
            [*parsed.events, *(event for other in others for event in other.events)],
            [*parsed.dead_letters, *(letter for other in others for letter in other.dead_letters)],
            parsed.lines + len(others) + tombstones,
            parsed.failed_lines + sum(other.failed_lines for other in others),
            parsed.empty_lines + sum(other.empty_lines for other in others) + tombstones,
            tombstones,
        )

    def parse_line(self, line: bytes, source: str, position: str) -> tuple[list[Event], list[DeadLetter]]:
        """The events of one payload, and what is wrong with it."""
        items, trace = self._attempt(line)
        events = [item for item in items if isinstance(item, Event)]
        failures = [item for item in items if isinstance(item, Failure)]
        if not failures:
            return events, []
        payload = redact(line)
        if payload != line:
            # The messages may tell places and lengths: those of the bytes that are kept, where it is the same fault.
            again = [item for item in self._attempt(payload)[0] if isinstance(item, Failure)]
            if [(f.code, f.path) for f in again] == [(f.code, f.path) for f in failures]:
                failures = again
        now = Timestamp.now()
        return events, [
            DeadLetter(
                payload, source, f"{position} {path}".strip(), self._step, code, message, now, trace
            )
            for code, message, path in failures
        ]  # fmt: skip

    def _attempt(self, line: bytes) -> tuple[list[Event | Failure], str]:
        try:
            return list(parse_each(line, self._context, self._limits)), ""
        except Exception as error:
            # A parser's own mistake must not stop the stream; its message might hold a secret, its type does not.
            trace = "".join(traceback.format_tb(error.__traceback__)[-3:])
            return [Failure(codes.PARSER_ERROR, f"the parser failed with {type(error).__name__}", "")], trace


def _decoded(data: bytes, limits: Limits) -> Iterator[tuple[int, int, list[Any] | None]]:
    """The lines of a blob in spans, each with its records; None is for a single line that has no plain event."""
    at = 0
    while at < len(data):
        end = data.find(b"\n", at + _CHUNK) + 1 or len(data)
        yield from _halved(data, at, end, limits)
        at = end


def _halved(data: bytes, start: int, stop: int, limits: Limits) -> Iterator[tuple[int, int, list[Any] | None]]:
    """A span of lines, in halves of halves where they do not decode together: a bad line costs few others."""
    records = decode(data, start, stop, limits)
    if records is None:
        middle = (
            data.find(b"\n", (start + stop) // 2, stop - 1) + 1 or data.rfind(b"\n", start, (start + stop) // 2) + 1
        )
        if middle:
            yield from _halved(data, start, middle, limits)
            yield from _halved(data, middle, stop, limits)
            return
    yield start, stop, records


def _lines(data: bytes, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """The lines of a span that are not blank, without their ends, and where each begins."""
    for line in data[start:stop].split(b"\n"):
        if line.strip(_BLANK):
            yield start, line.rstrip(b"\r")
        start += len(line) + 1


def _lines_of(data: bytes, spans: Sequence[_Span], numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """The lines of some records, by the numbers of those, in ascending order."""
    firsts = [span.first for span in spans]
    for at, some in groupby(numbers, lambda number: bisect_right(firsts, number) - 1):
        span = spans[at]
        lines = list(_lines(data, span.start, span.stop))
        for number in some:
            yield lines[number - span.first]
