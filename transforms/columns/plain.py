"""Plain SmartThings device events to columns, many lines at a time.

msgspec decodes whole lines into structs that hold what is read and nothing else. What it cannot vouch for is left to
the plain parser: `decode` says None, or `PlainEvents.rows` says which of its events need a second look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np

from thingbeam.schemas.batch import ROW, Description, EventBatch, Names, hash_description, name_ids
from thingbeam.schemas.names import Words, hash_text
from thingbeam.transforms.columns.rows import Bools, Ints
from thingbeam.transforms.columns.times import micros_of_texts
from thingbeam.transforms.envelopes import Limits

__all__ = ["Descriptions", "PlainEvents", "decode", "decode_plain", "description_of"]

_EXACT: Final = 1 << 53
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
_LINE_FEED: Final = ord("\n")
_DEEPEST: Final = 3
"""How deep a plain event can be: the line, its body, its data."""


_Key = tuple[str | None, str, str, type, str | None, bool | None]


def decode(data: bytes, start: int, stop: int, limits: Limits) -> list[Any] | None:
    """A span of lines as structs, if every one of them looks like a plain device event. Blank lines do not.

    Args:
        data: where the lines are.
        start: where they begin.
        stop: where they end; the last line may lack its line feed.
        limits: on size and depth.
    """
    if stop - start > limits.max_value_bytes or limits.max_depth < _DEEPEST:
        return None
    chunk = memoryview(data)[start:stop]
    try:
        records: list[Any] = _PLAIN.decode_lines(chunk)
    except msgspec.ValidationError:
        loose = _decode_loosely(chunk, limits)
        if loose is None:
            return None
        records = loose
    except _FAULTS:
        return None
    # A document may go on over the end of a line, where msgspec sees nothing wrong. (bytes.count is far slower.)
    lines = np.count_nonzero(np.frombuffer(chunk, np.uint8) == _LINE_FEED) + (data[stop - 1] != _LINE_FEED)
    return records if len(records) == lines else None


def _decode_loosely(chunk: memoryview, limits: Limits) -> list[Any] | None:
    try:
        records: list[Any] = _LOOSE.decode_lines(chunk)
        # Looks at what was passed over.
        _ANY.decode_lines(chunk)
    except _FAULTS:
        return None
    lines = bytes(chunk).split(b"\n")
    return None if any(line.count(b"{") + line.count(b"[") > limits.max_depth for line in lines) else records


def decode_plain(data: bytes, start: int, stop: int, limits: Limits) -> Any | None:
    """One line, if it is a plain device event of nothing but fields that we know, whose data says nothing."""
    records = decode(data, start, stop, limits)
    if not records or len(records) > 1 or not isinstance(records[0], _PlainLine):
        return None
    said = records[0].deviceEvent.data
    return None if said and not _says_nothing(said) else records[0]


def description_of(event: Any) -> Description:
    """What an event that was decoded has in common with others."""
    return Description(
        "DEVICE_EVENT",
        event.componentId or "main",
        event.capability,
        event.attribute,
        _TYPES.get(event.value.__class__, "json"),
        event.unit or None,
        event.stateChange,
        None,
        None,
    )


class Descriptions:
    """What events have in common with others, each numbered; remembered from blob to blob."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.numbers: dict[_Key, int] = {}
        self.descriptions: list[Description] = []
        self.words, self.kinds = np.zeros(0, np.uint64), np.zeros(0, np.uint8)

    def make_room(self) -> None:
        """Forget them all if there are too many; their numbers begin anew."""
        if len(self.numbers) > _MOST_DESCRIPTIONS:
            self._forget()

    def learn(self, events: Iterable[Any]) -> None:
        """Number those that are new."""
        words, kinds = self.words.tolist(), self.kinds.tolist()
        for e in events:
            key = (e.componentId, e.capability, e.attribute, e.value.__class__, e.unit, e.stateChange)
            if key in self.numbers:
                continue
            description = description_of(e)
            self.numbers[key] = len(self.descriptions)
            self.descriptions.append(description)
            words.append(hash_description(description))
            kinds.append(_KINDS.get(e.value.__class__, _STRUCTURE))
        self.words, self.kinds = np.array(words, np.uint64), np.array(kinds, np.uint8)


class PlainEvents:
    """The plain events of a blob, column by column.

    Args:
        descriptions: those known so far.
        home_id: of events that name no home.
    """

    def __init__(self, descriptions: Descriptions, home_id: str | None) -> None:
        descriptions.make_room()
        self._known = descriptions
        self._home_id = home_id
        self._times: list[int | str] = []
        self._ids: list[str] = []
        self._devices: list[str] = []
        self._homes: list[str | None] = []
        self._values: list[Any] = []
        self._described: list[int] = []
        self._odd: list[int] = []

    def __len__(self) -> int:
        return len(self._times)

    def add(self, records: Sequence[Any]) -> None:
        """Take what `decode` gave; the structs can go while they are still in the processor's cache."""
        events = [record.deviceEvent for record in records]
        data = [event.data for event in events]
        if any(data):
            self._odd += [at for at, some in enumerate(data, len(self)) if some and not _says_nothing(some)]
        numbers = self._known.numbers
        try:
            # All in one expression: after the decoding itself this is the loop that costs most.
            self._described += [
                numbers[e.componentId, e.capability, e.attribute, e.value.__class__, e.unit, e.stateChange]
                for e in events
            ]  # fmt: skip
        except KeyError:
            self._known.learn(events)
            self._described += [
                numbers[e.componentId, e.capability, e.attribute, e.value.__class__, e.unit, e.stateChange]
                for e in events
            ]  # fmt: skip
        self._times += [record.eventTime for record in records]
        self._ids += [event.eventId for event in events]
        self._devices += [event.deviceId for event in events]
        self._homes += [event.locationId or self._home_id for event in events]
        self._values += [event.value for event in events]

    def batch(self, earliest: int, latest: int) -> tuple[EventBatch, Bools]:
        """The events as rows; and which of those that were added are among them: the others need a second look.

        Args:
            earliest: event times before it are impossible; microseconds since 1970.
            latest: event times after it are impossible.
        """
        ids, devices, homes, values = self._ids, self._devices, self._homes, self._values
        micros, good = _micros_of(self._times)
        good &= (micros >= earliest) & (micros <= latest)
        described = np.array(self._described, np.int64)
        kinds = self._known.kinds[described]
        good &= kinds != _STRUCTURE
        # Integers that a double does not hold have more to them than a row.
        self._odd += [at for at in np.flatnonzero(kinds == _INTEGER).tolist() if not -_EXACT <= values[at] <= _EXACT]
        good[self._odd] = False
        if not good.all():
            kept = np.flatnonzero(good)
            micros, described, kinds = micros[kept], described[kept], kinds[kept]
            ids, devices = [ids[at] for at in kept.tolist()], [devices[at] for at in kept.tolist()]
            homes, values = [homes[at] for at in kept.tolist()], [values[at] for at in kept.tolist()]
        names = Names()
        rows = np.zeros(len(ids), ROW)
        rows["time"] = micros
        name_ids(rows, "device", devices, names)
        name_ids(rows, "event", ids, names)
        name_ids(rows, "home", homes, names)
        rows["description"] = self._known.words[described]
        for number in np.flatnonzero(np.bincount(described)).tolist():
            names.descriptions[int(self._known.words[number])] = self._known.descriptions[number]
        rows["value"] = _value_words(values, kinds, names.texts)
        return EventBatch(rows, names), good


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
