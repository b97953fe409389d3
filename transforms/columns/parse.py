"""Lines to rows, fast: SmartThings device events decoded many at a time; everything else by the plain parser.

msgspec decodes some tens of lines in one call into structs that hold just what is read. Where a line among them is
anything else, they are decoded one by one; and each line that is still not a plain device event, or has a field that
needs a second look, goes to `parse_each`. So what `parse_each` says is what comes out.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas import codes
from thingbeam.schemas.batch import ROW, Description, EventBatch, Names, hash_description, name_ids
from thingbeam.schemas.blob import Blob
from thingbeam.schemas.names import Words, hash_text
from thingbeam.schemas.records import DeadLetter, Event
from thingbeam.transforms.columns.rows import Bools, Ints
from thingbeam.transforms.columns.times import micros_of_texts
from thingbeam.transforms.envelopes import Context, Failure, Limits, parse_each, redact

__all__ = ["BlobParser", "Parsed"]

_CHUNK: Final = 16 << 10
_EXACT: Final = 1 << 53
_BLANK: Final = b" \t\r"
_TYPES: Final[dict[type, str]] = {
    str: "string", int: "number", float: "number", bool: "boolean", type(None): "null",
}  # fmt: skip

_TEXT, _NUMBER, _INTEGER, _OTHER, _STRUCTURE = range(5)
_KINDS: Final[dict[type, int]] = {
    str: _TEXT, float: _NUMBER, bool: _NUMBER, int: _INTEGER, type(None): _OTHER,
}  # fmt: skip
_MOST_DESCRIPTIONS: Final = 1 << 16

_Given = Annotated[str, msgspec.Meta(min_length=1)]
_Text = str | None
_Never = Annotated[int, msgspec.Meta(ge=1, le=0)] | msgspec.UnsetType


class _PlainEvent(msgspec.Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """The body of an event, in the order in which SmartThings writes it: msgspec looks for the next field first.

    What is not read is there too. msgspec would pass over an unknown field without looking whether its text is UTF-8
    and its numbers are finite.
    """

    eventId: _Given  # noqa: N815 - the envelope's names
    locationId: _Text = None  # noqa: N815
    ownerId: _Text = None  # noqa: N815
    ownerType: _Text = None  # noqa: N815
    deviceId: _Given  # noqa: N815
    componentId: _Text = None  # noqa: N815
    capability: _Given
    attribute: _Given
    value: Any = None
    valueType: _Text = None  # noqa: N815
    unit: _Text = None
    stateChange: bool | None = None  # noqa: N815
    data: Any = None
    subscriptionName: _Text = None  # noqa: N815


class _PlainLine(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    eventTime: int | str  # noqa: N815
    eventType: Literal["DEVICE_EVENT"]  # noqa: N815
    deviceEvent: _PlainEvent  # noqa: N815


class _LooseEvent(msgspec.Struct, gc=False):
    """The body of an event that may have fields that we have not heard of."""

    eventId: _Given  # noqa: N815
    deviceId: _Given  # noqa: N815
    capability: _Given
    attribute: _Given
    locationId: _Text = None  # noqa: N815
    componentId: _Text = None  # noqa: N815
    value: Any = None
    unit: _Text = None
    stateChange: bool | None = None  # noqa: N815
    data: Any = None


class _LooseLine(msgspec.Struct, gc=False):
    eventTime: int | str  # noqa: N815
    eventType: Literal["DEVICE_EVENT"]  # noqa: N815
    deviceEvent: _LooseEvent  # noqa: N815
    notificationType: _Never = msgspec.UNSET  # noqa: N815
    """Makes it another kind of event."""


_PLAIN: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_PlainLine)
_LOOSE: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_LooseLine)
_ANY: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()
_FAULTS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DEEPEST: Final = 3
"""How deep a plain event can be: the line, its body, its data."""

_Key = tuple[str | None, str, str, type, str | None, bool | None]


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
    """Lines that were understood and hold no event: a device state without values."""

    def to_batch(self) -> EventBatch:
        """All events in one batch."""
        if not self.events:
            return self.batch
        return EventBatch.concatenate((self.batch, EventBatch.from_events(self.events)))


class _Span(NamedTuple):
    """Some lines that were decoded together."""

    first: int
    """The number of the first, among all that were decoded."""
    offset: int
    data: bytes


class BlobParser:
    """Parses blobs of lines; gives the same events and dead letters as `parse_each` line by line.

    A line ends with LF or CRLF; lines of nothing but spaces, tabs and carriage returns are passed over.

    Args:
        context: what the caller knows of all payloads. Its `ingest_time` is not in the rows of a batch.
        limits: on size, depth and time.
        step: the name that dead letters carry.
    """

    def __init__(self, context: Context, limits: Limits, step: str) -> None:
        self._context = context
        self._limits = limits
        self._step = step
        self._earliest, self._latest = limits.earliest.micros, limits.latest.micros
        self._forget()

    def _forget(self) -> None:
        self._numbers: dict[_Key, int] = {}
        self._descriptions: list[Description] = []
        self._words, self._kinds = np.zeros(0, np.uint64), np.zeros(0, np.uint8)

    def parse(self, blob: Blob) -> Parsed:
        """All events of a blob, and its dead letters."""
        records: list[Any] = []
        spans: list[_Span] = []
        slow: list[tuple[int, bytes]] = []
        for offset, chunk in _chunks(blob.data):
            decoded = self._decode(chunk)
            if decoded is not None:
                spans.append(_Span(len(records), offset, chunk))
                records += decoded
                continue
            for at, line in _lines(offset, chunk):
                decoded = self._decode(line)
                if decoded is None:
                    slow.append((at, line))
                else:
                    spans.append(_Span(len(records), at, line))
                    records += decoded
        lines = len(records) + len(slow)
        batch, good = self._batch(records)
        if not good.all():
            slow += _lines_of(spans, np.flatnonzero(~good).tolist())
            slow.sort()
        events: list[Event] = []
        dead: list[DeadLetter] = []
        failed = empty = 0
        for offset, line in slow:
            some, letters = self.parse_line(line, blob.source, f"offset={blob.offset + offset}")
            events += some
            dead += letters
            failed += bool(letters) and not some
            empty += not letters and not some
        return Parsed(batch, events, dead, lines, failed, empty)

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

    def _decode(self, chunk: bytes) -> list[Any] | None:
        """The lines of a chunk, if every one looks like a plain device event."""
        if len(chunk) > self._limits.max_value_bytes or self._limits.max_depth < _DEEPEST:
            return None
        try:
            records: list[Any] = _PLAIN.decode_lines(chunk)
        except _FAULTS:
            loosely = self._decode_loosely(chunk)
            if loosely is None:
                return None
            records = loosely
        # A document may go on over the end of a line, where msgspec sees nothing wrong.
        return records if len(records) == chunk.count(b"\n") + (not chunk.endswith(b"\n")) else None

    def _decode_loosely(self, chunk: bytes) -> list[Any] | None:
        try:
            records: list[Any] = _LOOSE.decode_lines(chunk)
            # Looks at what was passed over.
            _ANY.decode_lines(chunk)
        except _FAULTS:
            return None
        depth = self._limits.max_depth
        if any(line.count(b"{") + line.count(b"[") > depth for line in chunk.split(b"\n")):
            return None
        return records

    def _batch(self, records: Sequence[Any]) -> tuple[EventBatch, Bools]:
        """The records as rows, and which of them are among those: the others need a second look."""
        if len(self._numbers) > _MOST_DESCRIPTIONS:
            self._forget()
        events = [record.deviceEvent for record in records]
        values = [event.value for event in events]
        micros, good = self._times([record.eventTime for record in records])
        described = self._describe(events)
        kinds = self._kinds[described]
        good &= kinds != _STRUCTURE
        for at in np.flatnonzero(kinds == _INTEGER).tolist():
            if not -_EXACT <= values[at] <= _EXACT:
                good[at] = False
        data = [event.data for event in events]
        if any(data):
            for at, some in enumerate(data):
                if some and not _says_nothing(some):
                    good[at] = False
        if not good.all():
            kept = np.flatnonzero(good)
            events = [events[at] for at in kept.tolist()]
            values = [values[at] for at in kept.tolist()]
            micros, described, kinds = micros[kept], described[kept], kinds[kept]
        names = Names()
        rows = np.zeros(len(events), ROW)
        rows["time"] = micros
        name_ids(rows, "device", [event.deviceId for event in events], names)
        name_ids(rows, "event", [event.eventId for event in events], names)
        home = self._context.home_id
        name_ids(rows, "home", [event.locationId or home for event in events], names)
        rows["description"] = self._words[described]
        for code in np.unique(described).tolist():
            names.descriptions[int(self._words[code])] = self._descriptions[code]
        rows["value"] = _value_words(values, kinds, names.texts)
        return EventBatch(rows, names), good

    def _times(self, said: list[int | str]) -> tuple[Ints, Bools]:
        """Event times in microseconds since 1970, and which of them are times, and possible."""
        micros, good = _micros_of(said)
        good &= (micros >= self._earliest) & (micros <= self._latest)
        return micros, good

    def _describe(self, events: Sequence[Any]) -> Ints:
        """What events have in common with others, as a number for each event."""
        known = self._numbers
        try:
            # All in one expression: after the decoding itself this is the loop that costs most.
            numbers = [
                known[e.componentId, e.capability, e.attribute, e.value.__class__, e.unit, e.stateChange]
                for e in events
            ]  # fmt: skip
        except KeyError:
            self._learn(events)
            return self._describe(events)
        return np.array(numbers, np.int64)

    def _learn(self, events: Iterable[Any]) -> None:
        words, kinds = self._words.tolist(), self._kinds.tolist()
        for e in events:
            key = (e.componentId, e.capability, e.attribute, e.value.__class__, e.unit, e.stateChange)
            if key in self._numbers:
                continue
            component, capability, attribute, kind, unit, change = key
            value_type = _TYPES.get(kind, "json")
            description = Description(
                "DEVICE_EVENT", component or "main", capability, attribute, value_type, unit or None, change, None, None
            )
            self._numbers[key] = len(self._descriptions)
            self._descriptions.append(description)
            words.append(hash_description(description))
            kinds.append(_KINDS.get(kind, _STRUCTURE))
        self._words, self._kinds = np.array(words, np.uint64), np.array(kinds, np.uint8)


def _micros_of(said: list[Any]) -> tuple[Ints, Bools]:
    """Numbers of milliseconds since 1970, and texts, as microseconds; and which of them are times."""
    kinds = set(map(type, said))
    if kinds == {str}:
        return micros_of_texts(said)
    if kinds <= {int}:
        return _micros_of_millis(said)
    micros, good = np.zeros(len(said), np.int64), np.zeros(len(said), np.bool_)
    of_text = np.array([time.__class__ is str for time in said], np.bool_)
    for at, convert in ((of_text, micros_of_texts), (~of_text, _micros_of_millis)):
        micros[at], good[at] = convert([said[index] for index in np.flatnonzero(at).tolist()])
    return micros, good


def _micros_of_millis(said: list[int]) -> tuple[Ints, Bools]:
    try:
        millis = np.array(said, np.int64)
    except OverflowError:
        millis = np.array([number if -_EXACT <= number <= _EXACT else _EXACT + 1 for number in said], np.int64)
    good = (millis >= -_EXACT) & (millis <= _EXACT)
    return np.where(good, millis, 0) * 1000, good


def _value_words(values: list[Any], kinds: Any, texts: dict[int, str]) -> Words:
    """Values as words: a double's bits, or a text's hash."""
    objects = np.empty(len(values), object)
    objects[:] = values
    words = np.zeros(len(values), np.uint64)
    of_text = kinds == _TEXT
    said = objects[of_text].tolist()
    if said:
        hashes = {text: hash_text(text) for text in set(said)}
        texts.update((word, text) for text, word in hashes.items())
        words[of_text] = [hashes[text] for text in said]
    of_number = (kinds == _NUMBER) | (kinds == _INTEGER)
    words[of_number] = objects[of_number].astype(np.float64).view(np.uint64)
    return words


def _says_nothing(data: object) -> bool:
    """Whether an event's data has nothing in it that we read, nor anything so deep that it must be counted."""
    return (
        isinstance(data, dict)
        and "lastReset" not in data
        and "last_reset" not in data
        and not any(isinstance(member, dict | list) for member in data.values())
    )


def _chunks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Whole lines of about 16 KiB, with their offset: where one is malformed only its neighbours are read again."""
    at, size = 0, len(data)
    while at < size:
        end = data.find(b"\n", min(at + _CHUNK, size)) + 1 or size
        yield at, data[at:end]
        at = end


def _lines(at: int, chunk: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a chunk that are not blank, without their ends."""
    for line in chunk.split(b"\n"):
        if line.strip(_BLANK):
            yield at, line.removesuffix(b"\r")
        at += len(line) + 1


def _lines_of(spans: Sequence[_Span], numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """The lines of some records, by their numbers in ascending order."""
    wanted = deque(numbers)
    for span, after in pairwise((*spans, None)):
        ends = wanted[-1] + 1 if after is None else after.first
        if not wanted or wanted[0] >= ends:
            continue
        for number, line in enumerate(_lines(span.offset, span.data), span.first):
            if wanted and wanted[0] == number:
                wanted.popleft()
                yield line
