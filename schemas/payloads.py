"""PayloadBatch: hundreds of messages of one partition or shard as one element, the fast path of the stream sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
from apache_beam.coders import Coder
from apache_beam.utils.timestamp import Timestamp
from numpy.typing import NDArray

from thingbeam.schemas.encoding import pack, unpack

__all__ = ["Message", "PayloadBatch", "PayloadBatchCoder", "PayloadLines"]

_MAGIC: Final = b"TBPB"
_VERSION: Final = 1
_ABSENT: Final = -1
_NEWLINE: Final = b"\n"

Payloads = Sequence[bytes | None]
Longs = NDArray[np.int64]


@runtime_checkable
class Message(Protocol):
    """One payload that says where it stood: a record of a stream, or a dead letter."""

    @property
    def payload(self) -> bytes | None:
        """The bytes; None for a message without a value."""
        ...

    @property
    def source(self) -> str:
        """The topic, stream or file."""
        ...

    @property
    def position(self) -> str:
        """Where in the source, as a dead letter says it."""
        ...


class PayloadLines(NamedTuple):
    """A batch as one text of lines, as a decoder of many lines takes it."""

    data: bytes
    """The payloads that are lines, each but the last ended by LF."""
    starts: Longs
    """The offset in `data` at which each line begins."""
    numbers: Longs
    """Which payload of the batch each line is."""
    others: Longs
    """The payloads that are no line: absent, empty, or with a line feed in them."""


class PayloadBatch:
    """Messages as a broker had them, in the order of one partition.

    Attributes:
        source: the topic or stream.
        part: the partition or shard, as a dead letter names it: `partition=3`.
        positions: offsets, or sequence numbers that fit in 64 bits, ascending.
        payloads: the values; None for a tombstone.
        keys: the keys; None where a message has none.
        times: event times in microseconds since 1970, as the source says them: see its `event_time`.

    >>> batch = PayloadBatch("events", "partition=3", np.array([77]), [b"{}"], [None], np.array([0]))
    >>> batch.position(0), len(batch)
    ('partition=3 offset=77', 1)
    """

    __slots__ = ("keys", "part", "payloads", "positions", "source", "times")

    def __init__(
        self, source: str, part: str, positions: Longs, payloads: Payloads, keys: Payloads, times: Longs
    ) -> None:
        self.source = source
        self.part = part
        self.positions = positions
        self.payloads = payloads
        self.keys = keys
        self.times = times

    def __len__(self) -> int:
        return len(self.payloads)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PayloadBatch):
            return NotImplemented
        return (
            (self.source, self.part) == (other.source, other.part)
            and list(self.payloads) == list(other.payloads)
            and list(self.keys) == list(other.keys)
            and np.array_equal(self.positions, other.positions)
            and np.array_equal(self.times, other.times)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        span = f"{self.positions[0]} to {self.positions[-1]}" if len(self) else "none"
        return f"PayloadBatch({self.source!r}, {self.part!r}, {len(self)} payloads, positions {span})"

    @property
    def nbytes(self) -> int:
        """Bytes of keys, payloads and numbers."""
        data = sum(map(len, filter(None, self.payloads))) + sum(map(len, filter(None, self.keys)))
        return data + 32 * len(self)

    @property
    def earliest(self) -> Timestamp:
        """The smallest time: what a batch is stamped with, so that nothing in it is late by construction."""
        return Timestamp(micros=int(self.times.min()))

    def position(self, number: int) -> str:
        """Where a payload stood, as a dead letter says it."""
        return f"{self.part} offset={self.positions[number]}"

    def lines(self) -> PayloadLines:
        """The payloads as lines, for a decoder that takes many at a time.

        A payload that is absent or empty, or that holds a line feed, is no line: its number is in `others`.
        """
        payloads = self.payloads
        if all(payloads):
            data = _NEWLINE.join(payloads)  # type: ignore[arg-type]  # none is None, as all() saw
            if data.count(_NEWLINE) == len(payloads) - 1:
                numbers = np.arange(len(payloads), dtype=np.int64)
                return PayloadLines(data, _starts(payloads), numbers, np.zeros(0, np.int64))
        flat = [bool(payload) and _NEWLINE not in payload for payload in payloads]  # type: ignore[operator]
        numbers = np.flatnonzero(flat).astype(np.int64)
        some = [payloads[number] or b"" for number in numbers.tolist()]
        others = np.flatnonzero(~np.array(flat, bool)).astype(np.int64)
        return PayloadLines(_NEWLINE.join(some), _starts(some), numbers, others)

    def encode(self) -> bytes:
        """The batch as versioned bytes."""
        return pack(
            _MAGIC,
            _VERSION,
            {
                "names": [self.source, self.part],
                "positions": self.positions.astype("<i8"),
                "times": self.times.astype("<i8"),
                "key_lengths": _lengths(self.keys),
                "lengths": _lengths(self.payloads),
                "keys": _bytes(self.keys),
                "payloads": _bytes(self.payloads),
            },
        )

    @classmethod
    def decode(cls, encoded: bytes) -> PayloadBatch:
        """The batch of these bytes.

        Raises:
            EncodingError: not what `encode` made, or of a version that is newer than this library.
        """
        _, columns = unpack(_MAGIC, _VERSION, encoded)
        source, part = columns["names"]
        keys = _cut(columns["keys"].tobytes(), columns["key_lengths"].tolist())
        payloads = _cut(columns["payloads"].tobytes(), columns["lengths"].tolist())
        return cls(source, part, columns["positions"], payloads, keys, columns["times"])


def _starts(lines: Payloads) -> Longs:
    lengths = np.fromiter((len(line or b"") + 1 for line in lines), np.int64, len(lines))
    return np.cumsum(lengths) - lengths


def _lengths(values: Payloads) -> NDArray[np.int32]:
    return np.fromiter((_ABSENT if v is None else len(v) for v in values), np.dtype("<i4"), len(values))


def _bytes(values: Payloads) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(filter(None, values)), np.uint8)


def _cut(data: bytes, lengths: list[int]) -> list[bytes | None]:
    values: list[bytes | None] = []
    at = 0
    for length in lengths:
        if length == _ABSENT:
            values.append(None)
        else:
            values.append(data[at : at + length])
            at += length
    return values


class PayloadBatchCoder(Coder):
    """PayloadBatch in its own versioned encoding."""

    def encode(self, value: PayloadBatch) -> bytes:
        """The batch as bytes."""
        return value.encode()

    def decode(self, encoded: bytes) -> PayloadBatch:
        """The batch of these bytes."""
        return PayloadBatch.decode(encoded)

    def estimate_size(self, value: PayloadBatch) -> int:
        """Bytes, without encoding."""
        return value.nbytes

    def is_deterministic(self) -> bool:
        """Equal batches have equal bytes."""
        return True

    def to_type_hint(self) -> Any:
        """The type that it is registered for."""
        return PayloadBatch
