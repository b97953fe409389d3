"""What is read from Kinesis and what is written to it, as typed records and as batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

import apache_beam as beam
import numpy as np
from apache_beam.coders import Coder
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.coders import register_rows
from thingbeam.schemas.encoding import pack, unpack
from thingbeam.schemas.payloads import Longs, PayloadBatch, Payloads, register_payload_batch

__all__ = ["PLAIN", "KinesisBatch", "KinesisBatchCoder", "KinesisMessage", "KinesisRecord", "position_text"]

PLAIN: Final = -1
"""The sub-sequence number of a record that is no part of an aggregate."""

_MAGIC: Final = b"TBKB"
_VERSION: Final = 1


def position_text(shard: str, sequence: str, sub: int) -> str:
    """Where a record stood, as a dead letter says it.

    >>> position_text("shardId-000000000000", "4959", 2)
    'shard=shardId-000000000000 sequence=4959 sub=2'
    """
    text = f"shard={shard} sequence={sequence}"
    return text if sub == PLAIN else f"{text} sub={sub}"


class KinesisRecord(NamedTuple):
    """One record as its producer put it; those that the KPL had packed together are taken apart."""

    data: bytes
    partition_key: str
    sequence: str
    """The sequence number, a decimal number of up to 129 digits."""
    sub_sequence: int
    """Its place in an aggregate, from 0; -1 for a record that came alone."""
    arrival: Timestamp
    """When Kinesis took it in, roughly, in milliseconds."""
    stream: str
    shard: str
    explicit_hash_key: str | None = None
    """Known of records in an aggregate only."""

    @property
    def payload(self) -> bytes:
        """The data, as every `Message` names it."""
        return self.data

    @property
    def source(self) -> str:
        """The stream, as every `Message` names it."""
        return self.stream

    @property
    def position(self) -> str:
        """Where it stood, as a dead letter says it.

        >>> KinesisRecord(b"{}", "d1", "4959", -1, Timestamp(0), "events", "shardId-000000000000").position
        'shard=shardId-000000000000 sequence=4959'
        """
        return position_text(self.shard, self.sequence, self.sub_sequence)


class KinesisMessage(NamedTuple):
    """One record to be written."""

    data: bytes
    partition_key: str
    """1 to 256 characters. Its hash says the shard, so what has one key stays in order only if a sink writes it so."""
    explicit_hash_key: str | None = None
    """A decimal number below 2**128, instead of the key's hash."""


class KinesisBatch(PayloadBatch):
    """Records of one shard as one element: what `ReadFromKinesis(batches=True)` gives and `ParseEvents` takes.

    Attributes:
        sequences: the sequence number of each.

    As of every PayloadBatch: `source` is the stream, `part` the shard as a dead letter names it, `payloads` the data,
    `keys` the partition keys in UTF-8, `times` the event times; `positions` are the sub-sequence numbers, -1 for plain
    records.

    >>> batch = KinesisBatch("events", "shard=s", np.array([-1]), [b"{}"], [b"d1"], np.array([0]), ["4959"])
    >>> batch.position(0)
    'shard=s sequence=4959'
    """

    __slots__ = ("sequences",)

    def __init__(
        self,
        source: str,
        part: str,
        positions: Longs,
        payloads: Payloads,
        keys: Payloads,
        times: Longs,
        sequences: Sequence[str],
    ) -> None:
        super().__init__(source, part, positions, payloads, keys, times)
        self.sequences = sequences

    def __eq__(self, other: object) -> bool:
        return (
            super().__eq__(other) and isinstance(other, KinesisBatch) and list(self.sequences) == list(other.sequences)
        )

    __hash__ = None

    def position(self, number: int) -> str:
        """Where a record stood, as a dead letter says it."""
        return position_text(self.part.removeprefix("shard="), self.sequences[number], int(self.positions[number]))

    def take(self, numbers: Longs) -> Self:
        """Some of the records, in the order of these numbers."""
        some = super().take(numbers)
        some.sequences = [self.sequences[n] for n in numbers.tolist()]
        return some

    def _joined(self, some: Sequence[Self]) -> Self:
        whole = super()._joined(some)
        whole.sequences = [sequence for batch in some for sequence in batch.sequences]
        return whole

    def _order(self) -> Longs:
        places = zip(map(int, self.sequences), self.positions.tolist(), strict=True)
        firsts: dict[tuple[int, int], int] = {}
        for number, place in enumerate(places):
            firsts.setdefault(place, number)
        return np.array([firsts[place] for place in sorted(firsts)], np.int64)

    def encode(self) -> bytes:
        """The batch as versioned bytes."""
        sequences = np.frombuffer("\n".join(self.sequences).encode("ascii"), np.uint8)
        batch = np.frombuffer(super().encode(), np.uint8)
        return pack(_MAGIC, _VERSION, {"batch": batch, "sequences": sequences})

    @classmethod
    def decode(cls, encoded: bytes) -> KinesisBatch:
        """The batch of these bytes.

        Raises:
            EncodingError: not what `encode` made, or of a version that is newer than this library.
        """
        _, columns = unpack(_MAGIC, _VERSION, encoded)
        plain = PayloadBatch.decode(columns["batch"].tobytes())
        sequences = columns["sequences"].tobytes().decode("ascii")
        return cls(
            plain.source,
            plain.part,
            plain.positions,
            plain.payloads,
            plain.keys,
            plain.times,
            sequences.split("\n") if sequences else [],
        )


class KinesisBatchCoder(Coder):
    """KinesisBatch in its own versioned encoding."""

    def encode(self, value: KinesisBatch) -> bytes:
        """The batch as bytes."""
        return value.encode()

    def decode(self, encoded: bytes) -> KinesisBatch:
        """The batch of these bytes."""
        return KinesisBatch.decode(encoded)

    def estimate_size(self, value: KinesisBatch) -> int:
        """Bytes, without encoding."""
        return value.nbytes + 57 * len(value)

    def is_deterministic(self) -> bool:
        """Equal batches have equal bytes."""
        return True

    def to_type_hint(self) -> Any:
        """The type that it is registered for."""
        return KinesisBatch


register_rows(KinesisRecord, KinesisMessage)
register_payload_batch(_MAGIC, KinesisBatch.decode)
beam.coders.registry.register_coder(KinesisBatch, KinesisBatchCoder)
