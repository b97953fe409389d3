"""Results as records of a stream: which kind and which key, beside the row itself.

    {"kind":"usage","key":["washer","main",…],"record":{"device_id":"washer",…,"revision":7,"deleted":false}}

A stream has one record for each row that was written and forgets none by key, and a retry may bring an older one again
behind a newer. So a row that is taken back is no empty record but the row itself, with its revision: of one kind and
key the highest revision is right, whatever order they are read in.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec
import pyarrow as pa

from thingbeam.io.endpoints import Kind
from thingbeam.io.files.json_lines import encode_json_line, encode_json_lines
from thingbeam.io.keys import key_text, key_texts
from thingbeam.io.kinesis.records import KinesisMessage
from thingbeam.io.letters import shortened
from thingbeam.schemas.keys import KEY_FIELDS

__all__ = ["ResultRows"]

_KEY_CHARACTERS: Final = 256


class ResultRows:
    """Makes records of a kind's rows: the `rows` of WriteToKinesis.

    The partition key is the device, or of a dead letter its source, so that a device is in one shard; where that is no
    partition key (none, empty or over 256 characters) it is a digest of the row's key.

    Args:
        kind: of what is written.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> from thingbeam.schemas import Event
    >>> [message] = ResultRows(Kind("late", Event))(Event.of("e1", Timestamp(0), "d1", "switch", "switch", "on"))
    >>> message.partition_key, message.data[:63]
    ('d1', b'{"kind":"late","key":["d1","e1","1970-01-01T00:00:00Z"],"record')
    """

    def __init__(self, kind: Kind) -> None:
        self._record = kind.record
        self._head = b'{"kind":' + msgspec.json.encode(kind.name) + b',"key":'

    def __call__(self, element: Any) -> list[KinesisMessage]:
        """The records of one of the kind's records, or of a (name, pyarrow.RecordBatch) of them.

        Raises:
            ValueError: a number that is not finite, or a time outside the years 1 to 9999.
        """
        name = KEY_FIELDS[self._record][0]
        if isinstance(element, self._record):
            line = encode_json_line(shortened(element)).rstrip(b"\n")
            return [self._message(getattr(element, name), key_text(element), line)]
        batch: pa.RecordBatch = element[1]
        lines = encode_json_lines(batch, self._record).splitlines()
        owners = batch.column(name).to_pylist()
        return list(map(self._message, owners, key_texts(batch, self._record), lines))

    def _message(self, owner: str | None, key: bytes, line: bytes) -> KinesisMessage:
        if not owner or len(owner) > _KEY_CHARACTERS:
            owner = hashlib.sha256(key).hexdigest()
        return KinesisMessage(b"".join((self._head, key, b',"record":', line, b"}")), owner)
