"""Keys of results as text: the same bytes for the same result every time, wherever it is written to."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pyarrow as pa

from thingbeam.io.files.times import time_text, time_texts
from thingbeam.schemas.keys import KEY_FIELDS, key_of

__all__ = ["key_text", "key_texts"]

_ENCODER: Final = msgspec.json.Encoder(enc_hook=lambda value: time_text(value.micros))


def key_text(record: Any) -> bytes:
    """A record's key: its fields as a JSON array.

    Raises:
        KeyError: a type that has none.

    >>> from apache_beam.utils.timestamp import Timestamp
    >>> from thingbeam.schemas import Event
    >>> key_text(Event.of("e1", Timestamp(0), "d1", "switch", "switch", "on"))
    b'["d1","e1","1970-01-01T00:00:00Z"]'
    """
    return _ENCODER.encode(key_of(record))


def key_texts(batch: pa.RecordBatch, record: type[Any]) -> list[bytes]:
    """The keys of a batch's rows, each as `key_text` has it.

    Args:
        batch: of `arrow_schema(record)`.
        record: what its rows are.

    Raises:
        KeyError: a type that has none.
    """
    columns: list[list[Any]] = []
    for name in KEY_FIELDS[record]:
        column = batch.column(name)
        if pa.types.is_timestamp(column.type):
            columns.append(time_texts(column))
        else:
            columns.append(column.to_pylist())
    return _ENCODER.encode_lines(zip(*columns, strict=True)).splitlines()
