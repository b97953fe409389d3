"""PayloadBatch: hundreds of messages of one partition or shard as one element, the fast path of the stream sources."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from apache_beam.coders import Coder
from apache_beam.utils.timestamp import Timestamp
from numpy.typing import NDArray

from thingbeam.schemas.encoding import pack, unpack

__all__ = ["Headers", "Message", "PayloadBatch", "PayloadBatchCoder", "PayloadLines", "register_payload_batch"]

_MAGIC: Final = b"TBPB"
_VERSION: Final = 2
_WITHOUT_HEADERS: Final = 1
_ABSENT: Final = -1
_NEWLINE: Final = b"\n"

Payloads = Sequence[bytes | None]
Longs = NDArray[np.int64]
Headers = Sequence[tuple[str, bytes | None]]
"""Of one message: names and values. A name may come more than once, and the order counts."""


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
        headers: of each message its headers; None where no message has any.
        stamps: the records' own times in microseconds since 1970; None where these are `times`.

    >>> batch = PayloadBatch("events", "partition=3", np.array([77]), [b"{}"], [None], np.array([0]))
    >>> batch.position(0), len(batch)
    ('partition=3 offset=77', 1)
    """

    __slots__ = ("headers", "keys", "part", "payloads", "positions", "source", "stamps", "times")

    def __init__(
        self,
        source: str,
        part: str,
        positions: Longs,
        payloads: Payloads,
        keys: Payloads,
        times: Longs,
        headers: Sequence[Headers] | None = None,
        stamps: Longs | None = None,
    ) -> None:
        self.source = source
        self.part = part
        self.positions = positions
        self.payloads = payloads
        self.keys = keys
        self.times = times
        self.headers = headers
        self.stamps = stamps

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
            and _plain(self.headers) == _plain(other.headers)
            and (self.stamps is None) == (other.stamps is None)
            and (self.stamps is None or other.stamps is None or np.array_equal(self.stamps, other.stamps))
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        span = f"{self.positions[0]} to {self.positions[-1]}" if len(self) else "none"
        return f"PayloadBatch({self.source!r}, {self.part!r}, {len(self)} payloads, positions {span})"

    @property
    def nbytes(self) -> int:
        """Bytes of keys, payloads, headers and numbers."""
        data = sum(map(len, filter(None, self.payloads))) + sum(map(len, filter(None, self.keys)))
        if self.headers is not None:
            data += sum(len(name) + len(value or b"") + 8 for some in self.headers for name, value in some)
        return data + (32 if self.stamps is None else 40) * len(self)

    @property
    def earliest(self) -> Timestamp:
        """The smallest time: what a batch is stamped with, so that nothing in it is late by construction."""
        return Timestamp(micros=int(self.times.min()))

    def position(self, number: int) -> str:
        """Where a payload stood, as a dead letter says it."""
        return f"{self.part} offset={self.positions[number]}"

    def take(self, numbers: Longs) -> Self:
        """Some of the messages, in the order of these numbers: a batch of its own kind.

        >>> batch = PayloadBatch("events", "partition=3", np.array([7, 8]), [b"a", b"b"], [None] * 2, np.zeros(2))
        >>> batch.take(np.array([1])).payloads
        [b'b']
        """
        chosen: list[int] = numbers.tolist()
        some = copy.copy(self)
        some.positions, some.times = self.positions[numbers], self.times[numbers]
        some.payloads = [self.payloads[n] for n in chosen]
        some.keys = [self.keys[n] for n in chosen]
        some.headers = None if self.headers is None else [self.headers[n] for n in chosen]
        some.stamps = None if self.stamps is None else self.stamps[numbers]
        return some

    @classmethod
    def concatenate(cls, batches: Iterable[Self]) -> Self:
        """All messages of several batches, one batch after the other: a batch of their kind.

        Headers and stamps are there if one of them has any.

        Args:
            batches: of one partition or shard, and of one kind.

        Raises:
            ValueError: there are none, or they are of several partitions or kinds.
        """
        some = list(batches)
        if not some:
            raise ValueError("no batches")
        first = some[0]
        for batch in some:
            if (type(batch), batch.source, batch.part) != (type(first), first.source, first.part):
                raise ValueError(f"{first} and {batch} are not of one partition")
        return first if len(some) == 1 else first._joined(some)

    def _joined(self, some: Sequence[Self]) -> Self:
        whole = copy.copy(self)
        whole.positions = np.concatenate([batch.positions for batch in some])
        whole.payloads = [payload for batch in some for payload in batch.payloads]
        whole.keys = [key for batch in some for key in batch.keys]
        whole.times = np.concatenate([batch.times for batch in some])
        if any(batch.headers is not None for batch in some):
            whole.headers = [one for batch in some for one in batch.headers or [()] * len(batch)]
        if any(batch.stamps is not None for batch in some):
            whole.stamps = np.concatenate([batch.times if batch.stamps is None else batch.stamps for batch in some])
        return whole

    def in_order(self) -> Self:
        """All messages in the order of the partition; of several of one position, the first.

        >>> some = PayloadBatch("t", "partition=3", np.array([9, 7, 9]), [b"c", b"a", b"c"], [None] * 3, np.zeros(3))
        >>> some.in_order().payloads
        [b'a', b'c']
        """
        order = self._order()
        return self if np.array_equal(order, np.arange(len(self))) else self.take(order)

    def _order(self) -> Longs:
        return np.unique(self.positions, return_index=True)[1].astype(np.int64)

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
        """The batch as versioned bytes: version 2 where there are headers or stamps, else 1, which has none."""
        columns: dict[str, object] = {
            "names": [self.source, self.part],
            "positions": self.positions.astype("<i8"),
            "times": self.times.astype("<i8"),
            "key_lengths": _lengths(self.keys),
            "lengths": _lengths(self.payloads),
            "keys": _bytes(self.keys),
            "payloads": _bytes(self.payloads),
        }
        if self.headers is None and self.stamps is None:
            return pack(_MAGIC, _WITHOUT_HEADERS, columns)
        if self.stamps is not None:
            columns["stamps"] = self.stamps.astype("<i8")
        if self.headers is not None:
            values = [value for some in self.headers for _, value in some]
            columns |= {
                "header_counts": np.fromiter(map(len, self.headers), np.dtype("<i4"), len(self)),
                "header_names": [name for some in self.headers for name, _ in some],
                "header_lengths": _lengths(values),
                "header_values": _bytes(values),
            }
        return pack(_MAGIC, _VERSION, columns)

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
        return cls(
            source, part, columns["positions"], payloads, keys, columns["times"], _headers(columns),
            columns.get("stamps"),
        )  # fmt: skip


def _headers(columns: dict[str, Any]) -> list[Headers] | None:
    if "header_counts" not in columns:
        return None
    values = _cut(columns["header_values"].tobytes(), columns["header_lengths"].tolist())
    pairs = zip(columns["header_names"], values, strict=True)
    return [tuple(itertools.islice(pairs, count)) for count in columns["header_counts"].tolist()]


def _plain(headers: Sequence[Headers] | None) -> list[list[tuple[str, bytes | None]]] | None:
    return None if headers is None else [[(name, value) for name, value in some] for some in headers]


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


_DECODERS: Final[dict[bytes, Callable[[bytes], PayloadBatch]]] = {}


def register_payload_batch(magic: bytes, decode: Callable[[bytes], PayloadBatch]) -> None:
    """Have a kind of PayloadBatch decoded where a PCollection holds several: sources of two services, flattened.

    Args:
        magic: the first four bytes of its encoding.
        decode: from such bytes to a batch.
    """
    _DECODERS[magic] = decode


class PayloadBatchCoder(Coder):
    """PayloadBatch in its own versioned encoding, and each kind of it in its own."""

    def encode(self, value: PayloadBatch) -> bytes:
        """The batch as bytes."""
        return value.encode()

    def decode(self, encoded: bytes) -> PayloadBatch:
        """The batch of these bytes, of the kind that it was."""
        return _DECODERS.get(encoded[: len(_MAGIC)], PayloadBatch.decode)(encoded)

    def estimate_size(self, value: PayloadBatch) -> int:
        """Bytes, without encoding."""
        return value.nbytes

    def is_deterministic(self) -> bool:
        """Equal batches have equal bytes."""
        return True

    def to_type_hint(self) -> Any:
        """The type that it is registered for."""
        return PayloadBatch
