"""Lines to rows, fast: SmartThings device events decoded many at a time; everything else by the plain parser."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas import codes
from thingbeam.schemas.batch import ROW, Description, EventBatch, Names, hash_description, name_ids
from thingbeam.schemas.blob import Blob
from thingbeam.schemas.names import hash_text
from thingbeam.schemas.records import DeadLetter, Event
from thingbeam.transforms.columns.times import micros_of_texts
from thingbeam.transforms.envelopes import Context, Failure, Limits, parse_each, redact

__all__ = ["BlobParser", "Parsed"]

_CHUNK: Final = 32 << 10
_EXACT: Final = 1 << 53
_TYPES: Final[dict[type, str]] = {
    str: "string", int: "number", float: "number", bool: "boolean", type(None): "null",
}  # fmt: skip


class _DeviceEvent(msgspec.Struct):
    deviceId: str  # noqa: N815 - the envelope's names
    capability: str
    attribute: str
    eventId: str = ""  # noqa: N815
    value: Any = None
    componentId: str | None = None  # noqa: N815
    locationId: str | None = None  # noqa: N815
    unit: str | None = None
    stateChange: bool | None = None  # noqa: N815
    data: Any = None


class _Line(msgspec.Struct):
    eventTime: int | str  # noqa: N815
    eventType: str  # noqa: N815
    deviceEvent: _DeviceEvent  # noqa: N815
    notificationType: Any = None  # noqa: N815


_DECODER: Final = msgspec.json.Decoder(_Line)
_Key = tuple[str | None, str, str, type, str | None, bool | None]


class Parsed(NamedTuple):
    """What came of a blob."""

    batch: EventBatch
    dead_letters: list[DeadLetter]
    lines: int
    """Lines that were not blank."""
    failed_lines: int
    """Lines of which nothing came but dead letters."""


class BlobParser:
    """Parses blobs of lines; gives the same events as `parse_each` line by line.

    Args:
        context: what the caller knows of all payloads.
        limits: on size, depth and time.
        step: the name that dead letters carry.
    """

    def __init__(self, context: Context, limits: Limits, step: str) -> None:
        self._context = context
        self._limits = limits
        self._step = step
        self._earliest, self._latest = limits.earliest.micros, limits.latest.micros
        self._words: dict[_Key, int] = {}
        self._described: dict[int, Description] = {}

    def parse(self, blob: Blob) -> Parsed:
        """All events of a blob, and its dead letters."""
        quick: list[_Line] = []
        slow: list[tuple[int, bytes]] = []
        times: list[Any] = []
        lines = 0
        for at, chunk in _chunks(blob.data):
            records = self._quickly(chunk)
            if records is not None:
                moments = self._times(records)
                if moments is not None:
                    quick += records
                    times.append(moments)
                    lines += len(records)
                    continue
            for offset, line in _lines(at, chunk):
                lines += 1
                records = self._quickly(line)
                moments = None if records is None else self._times(records)
                if records and moments is not None:
                    quick += records
                    times.append(moments)
                else:
                    slow.append((blob.offset + offset, line))
        batch = self._batch(quick, np.concatenate(times) if times else np.zeros(0, np.int64))
        events: list[Event] = []
        dead: list[DeadLetter] = []
        failed = 0
        for offset, line in slow:
            some, letters = self.parse_line(line, blob.source, f"offset={offset}")
            events += some
            dead += letters
            failed += bool(letters) and not some
        if events:
            batch = EventBatch.concatenate((batch, EventBatch.from_events(events)))
        return Parsed(batch, dead, lines, failed)

    def parse_line(self, line: bytes, source: str, position: str) -> tuple[list[Event], list[DeadLetter]]:
        """The events of one payload, and what is wrong with it."""
        events: list[Event] = []
        dead: list[DeadLetter] = []
        trace = ""
        try:
            items: list[Event | Failure] = list(parse_each(line, self._context, self._limits))
        except Exception as error:
            # A parser's own mistake must not stop the stream; its message might hold a secret, its type does not.
            trace = "".join(traceback.format_tb(error.__traceback__)[-3:])
            items = [Failure(codes.PARSER_ERROR, f"the parser failed with {type(error).__name__}", "")]
        for item in items:
            if isinstance(item, Event):
                events.append(item)
                continue
            where = f"{position} {item.path}" if item.path else position
            payload = redact(line[: self._limits.max_value_bytes])
            dead.append(
                DeadLetter(payload, source, where, self._step, item.code, item.message, Timestamp.now(), trace)
            )
        return events, dead

    def _quickly(self, chunk: bytes) -> list[_Line] | None:
        """The lines of a chunk, if every one is a plain device event."""
        if len(chunk) > _CHUNK and len(chunk) > self._limits.max_value_bytes:
            return None
        try:
            records: list[_Line] = _DECODER.decode_lines(chunk)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        # An event has two objects, seldom a third: more may be nesting that is too deep, or a value with structure.
        if chunk.count(b"{") + chunk.count(b"[") > 3 * len(records) + self._limits.max_depth - 3:
            return None
        for record in records:
            event = record.deviceEvent
            if (
                record.eventType != "DEVICE_EVENT"
                or not (event.eventId and event.deviceId and event.capability and event.attribute)
                or event.value.__class__ not in _TYPES
                or event.data
            ):
                return None
        return records

    def _times(self, records: Sequence[_Line]) -> Any:
        """The event times, if every one is a plain and possible time."""
        said = [record.eventTime for record in records]
        if not said:
            return np.zeros(0, np.int64)
        if said[0].__class__ is int:
            try:
                micros = np.array(said, np.int64) * 1000
            except (ValueError, OverflowError, TypeError):
                return None
            # Products that do not fit wrap round.
            good = np.abs(micros // 1000) < _EXACT
            if any(value.__class__ is not int for value in said):
                return None
        else:
            if any(value.__class__ is not str for value in said):
                return None
            micros, good = micros_of_texts(said)  # type: ignore[arg-type]
        good &= (micros >= self._earliest) & (micros <= self._latest)
        return micros if good.all() else None

    def _batch(self, records: Sequence[_Line], times: Any) -> EventBatch:
        count = len(records)
        names = Names()
        rows = np.zeros(count, ROW)
        if not count:
            return EventBatch(rows, names)
        events = [record.deviceEvent for record in records]
        rows["time"] = times
        name_ids(rows, "device", [event.deviceId for event in events], names)
        name_ids(rows, "event", [event.eventId for event in events], names)
        home = self._context.home_id
        name_ids(rows, "home", [event.locationId or home for event in events], names)
        values = [event.value for event in events]
        keys = [
            (e.componentId, e.capability, e.attribute, e.value.__class__, e.unit, e.stateChange) for e in events
        ]  # fmt: skip
        known = self._words
        try:
            words = [known[key] for key in keys]
        except KeyError:
            words = [known.get(key) or self._describe(key) for key in keys]
        rows["description"] = words
        names.descriptions = {word: self._described[word] for word in set(words)}
        rows["value"] = _value_words(values, names.texts)
        return EventBatch(rows, names)

    def _describe(self, key: _Key) -> int:
        component, capability, attribute, kind, unit, change = key
        description = Description(
            "DEVICE_EVENT", component or "main", capability, attribute, _TYPES[kind], unit or None, change, None, None
        )
        word = hash_description(description)
        if len(self._words) > 1 << 17:
            self._words.clear()
        self._words[key] = word
        self._described[word] = description
        return word


def _value_words(values: list[Any], texts: dict[int, str]) -> Any:
    """Values as words: a double's bits, or a text's hash."""
    at_text = [at for at, value in enumerate(values) if value.__class__ is str]
    if not at_text:
        return np.array([0.0 if value is None else value for value in values], np.float64).view(np.uint64)
    numbers = np.array([0.0 if value is None or value.__class__ is str else value for value in values], np.float64)
    words = numbers.view(np.uint64)
    said = [values[at] for at in at_text]
    hashes = {text: hash_text(text) for text in set(said)}
    texts.update((word, text) for text, word in hashes.items())
    words[at_text] = [hashes[text] for text in said]
    return words


def _chunks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Whole lines of about 32 KiB, with their offset: where one is malformed only its neighbours are read again."""
    at, size = 0, len(data)
    while at < size:
        end = data.find(b"\n", min(at + _CHUNK, size)) + 1 or size
        yield at, data[at:end]
        at = end


def _lines(at: int, chunk: bytes) -> Iterator[tuple[int, bytes]]:
    for line in chunk.split(b"\n"):
        stripped = line.strip()
        if stripped:
            yield at + line.index(stripped[:1]), stripped
        at += len(line) + 1
