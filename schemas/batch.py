"""EventBatch: many events as fixed-width rows, the form in which they cross a shuffle and wait in state.

A row is 72 bytes. What is common to many rows (component, capability, attribute, unit, time zone, …) is a Description,
named in the row by its 64-bit hash and kept once a batch beside the rows; so are texts, and ids that are no UUID.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.encoding import EncodingError, Rows, pack, unpack
from thingbeam.schemas.names import hash_text, id_words, mix, texts_of_ids
from thingbeam.schemas.records import Event

__all__ = ["ROW", "TEXT_TYPES", "VALUE_TYPES", "Description", "EventBatch", "Names", "hash_description"]

ROW: Final = np.dtype(
    [
        ("time", "<i8"),
        ("device_high", "<u8"),
        ("device_low", "<u8"),
        ("event_high", "<u8"),
        ("event_low", "<u8"),
        ("home_high", "<u8"),
        ("home_low", "<u8"),
        ("value", "<u8"),
        ("description", "<u8"),
    ]
)
"""Times in microseconds since 1970. `value` is a double's bits or, where the description says string or json, a text's
hash."""

TEXT_TYPES: Final = frozenset({"string", "json"})
VALUE_TYPES: Final = TEXT_TYPES | {"number", "boolean", "null"}
_WORDS: Final = ROW.itemsize // 8
_FEW_NAMES: Final = 128
_MAGIC: Final = b"TBEB"
_VERSION: Final = 1


class Description(NamedTuple):
    """What rows of one attribute have in common."""

    kind: str
    component: str
    capability: str
    attribute: str
    value_type: str
    unit: str | None
    state_change: bool | None
    last_reset: int | None
    """Microseconds since 1970."""
    zone: str | None
    """The home's time zone, once it is known."""


_descriptions: dict[Description, int] = {}


def hash_description(description: Description) -> int:
    """A description as 64 bits, the same in every process."""
    word = _descriptions.get(description)
    if word is None:
        if len(_descriptions) > 1 << 17:
            _descriptions.clear()
        encoded = msgspec.msgpack.encode(tuple(description))
        word = _descriptions[description] = int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")
    return word


class Names:
    """The texts that rows refer to.

    Attributes:
        ids: texts of ids that are no UUID, by their 16 bytes.
        texts: texts by their hash.
        descriptions: descriptions by their hash.
    """

    __slots__ = ("descriptions", "ids", "texts")

    def __init__(
        self,
        ids: dict[bytes, str] | None = None,
        texts: dict[int, str] | None = None,
        descriptions: dict[int, Description] | None = None,
    ) -> None:
        self.ids = {} if ids is None else ids
        self.texts = {} if texts is None else texts
        self.descriptions = {} if descriptions is None else descriptions

    def update(self, other: Names) -> None:
        """Learn what another knows."""
        self.ids.update(other.ids)
        self.texts.update(other.texts)
        self.descriptions.update(other.descriptions)


class EventBatch:
    """Events as rows.

    Attributes:
        rows: a structured array of ROW.
        names: what the rows refer to.

    >>> event = Event.of("e1", Timestamp(0), "d1", "switch", "switch", "on")
    >>> batch = EventBatch.from_events([event])
    >>> EventBatch.decode(batch.encode()).to_events() == [event]
    True
    """

    __slots__ = ("names", "rows")

    def __init__(self, rows: Rows, names: Names) -> None:
        self.rows = rows
        self.names = names

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """About how many bytes it takes."""
        return self.rows.nbytes + 64 * (len(self.names.ids) + len(self.names.texts) + len(self.names.descriptions))

    @classmethod
    def from_events(
        cls, events: Sequence[Event], zone_of: Callable[[str | None], str | None] | None = None
    ) -> EventBatch:
        """Events as a batch.

        A batch does not carry `ingest_time`, nor the digits of an integer beyond what a double holds.

        Args:
            events: the events.
            zone_of: the time zone of a home id, where it is known by now.
        """
        names = Names()
        rows = np.zeros(len(events), ROW)
        rows["time"] = [event.event_time.micros for event in events]
        name_ids(rows, "device", [event.device_id for event in events], names)
        name_ids(rows, "event", [event.event_id for event in events], names)
        name_ids(rows, "home", [event.home_id for event in events], names)
        values = np.zeros(len(events), np.float64)
        hashes = rows["value"]
        for at, event in enumerate(events):
            if event.value_type in TEXT_TYPES:
                text = event.text or ""
                word = hash_text(text)
                names.texts[word] = text
                hashes[at] = word
            elif event.number is not None:
                values[at] = event.number
                hashes[at] = values.view(np.uint64)[at]
            description = Description(
                event.kind,
                event.component,
                event.capability,
                event.attribute,
                event.value_type,
                event.unit,
                event.state_change,
                None if event.last_reset is None else event.last_reset.micros,
                zone_of(event.home_id) if zone_of else None,
            )
            word = hash_description(description)
            names.descriptions[word] = description
            rows["description"][at] = word
        return cls(rows, names)

    def to_events(self) -> list[Event]:
        """The events of the rows, in their order."""
        rows, names = self.rows, self.names
        devices = texts_of_ids(rows["device_high"], rows["device_low"], names.ids).to_pylist()
        ids = texts_of_ids(rows["event_high"], rows["event_low"], names.ids).to_pylist()
        homes = texts_of_ids(rows["home_high"], rows["home_low"], names.ids).to_pylist()
        numbers = np.ascontiguousarray(rows["value"]).view(np.float64).tolist()
        events: list[Event] = []
        columns = zip(
            rows["time"].tolist(), ids, devices, homes, rows["description"].tolist(), rows["value"].tolist(), numbers,
            strict=True,
        )  # fmt: skip
        for time, event_id, device, home, word, text_word, number in columns:
            d = names.descriptions[word]
            events.append(
                Event(
                    event_id=event_id or "",
                    event_time=Timestamp(micros=time),
                    device_id=device,
                    kind=d.kind,
                    component=d.component,
                    capability=d.capability,
                    attribute=d.attribute,
                    value_type=d.value_type,
                    text=names.texts[text_word] if d.value_type in TEXT_TYPES else None,
                    number=number if d.value_type in ("number", "boolean") else None,
                    unit=d.unit,
                    state_change=d.state_change,
                    home_id=home,
                    last_reset=None if d.last_reset is None else Timestamp(micros=d.last_reset),
                )
            )
        return events

    def encode(self) -> bytes:
        """The batch in its versioned encoding."""
        names = self.names
        return pack(
            _MAGIC,
            _VERSION,
            {
                "rows": np.ascontiguousarray(self.rows).view("<u8"),
                "ids": names.ids,
                "texts": names.texts,
                "descriptions": {word: tuple(value) for word, value in names.descriptions.items()},
            },
        )

    @classmethod
    def decode(cls, encoded: bytes) -> EventBatch:
        """The batch of these bytes; its rows are a read-only view of them.

        Raises:
            EncodingError: bytes of another kind, of a later version, cut or damaged.
        """
        _, columns = unpack(_MAGIC, _VERSION, encoded)
        try:
            described = {word: Description(*value) for word, value in columns["descriptions"].items()}
            return cls(columns["rows"].view(ROW), Names(columns["ids"], columns["texts"], described))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise EncodingError(f"{_MAGIC!r} bytes do not have the columns of a batch: {error!r}") from error

    @classmethod
    def concatenate(cls, batches: Iterable[EventBatch]) -> EventBatch:
        """All rows of several batches, in their order."""
        names = Names()
        # Of plain words: numpy compares the fields of rows, name by name, for each batch.
        parts: list[Rows] = []
        for batch in batches:
            if len(batch):
                parts.append(np.ascontiguousarray(batch.rows).view("<u8"))
            names.update(batch.names)
        if not parts:
            return cls(np.zeros(0, ROW), names)
        return cls((parts[0] if len(parts) == 1 else np.concatenate(parts)).view(ROW), names)

    def take(self, rows: Rows) -> EventBatch:
        """A batch of some of the rows, with the names that those refer to."""
        names = self.names
        words = set(np.unique(rows["description"]).tolist())
        descriptions = {word: names.descriptions[word] for word in words}
        texts: dict[int, str] = {}
        if names.texts and any(d.value_type in TEXT_TYPES for d in descriptions.values()):
            values = set(np.unique(rows["value"]).tolist())
            # Numbers are in this column too: one that looks like a text's hash only brings a name along.
            texts = {word: text for word, text in names.texts.items() if word in values}
        ids: dict[bytes, str] = {}
        if names.ids:
            matrix = np.ascontiguousarray(rows).view("<u8").reshape(-1, _WORDS)
            used = {key for first in (1, 3, 5) for key in _id_keys(matrix[:, first : first + 2])}
            ids = {key: text for key, text in names.ids.items() if key in used}
        return EventBatch(rows, Names(ids, texts, descriptions))

    def shards(self, count: int) -> Iterator[tuple[int, EventBatch]]:
        """The batch cut by shard, a stable hash of the device id modulo `count`; each part keeps the order of rows."""
        if not len(self.rows):
            return
        words = mix(self.rows["device_high"], self.rows["device_low"])
        shard = (words % np.uint64(count)).astype(np.uint16 if count <= 1 << 16 else np.uint32)
        order = np.argsort(shard, kind="stable")
        # Of rows, to take is far faster than to index, which goes field by field.
        rows, shard = self.rows.take(order), shard[order]
        edges = np.flatnonzero(np.diff(shard)) + 1
        # A few names may go along to where nobody asks for them: finding out which are used costs more.
        names = self.names
        few = not names.ids and len(names.texts) + len(names.descriptions) <= _FEW_NAMES
        for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(rows)], strict=True):
            part = rows[start:stop]
            yield int(shard[start]), EventBatch(part, names) if few else self.take(part)


def _id_keys(words: Any) -> Iterator[bytes]:
    big = np.ascontiguousarray(words.astype(">u8"))
    for row in np.unique(big.view("V16")):
        yield row.tobytes()


def name_ids(rows: Rows, field: str, texts: Sequence[str | None], names: Names) -> None:
    """Write ids into the words of a field (device, event or home), and those that are no UUID into the names."""
    words, plain = id_words(texts)
    rows[f"{field}_high"], rows[f"{field}_low"] = words[:, 0], words[:, 1]
    if not plain.all():
        for at in np.flatnonzero(~plain).tolist():
            names.ids[words[at].astype(">u8").tobytes()] = str(texts[at])
