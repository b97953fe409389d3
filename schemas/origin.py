"""Where the records of an Arrow batch came from, carried with it: for the dead letters of those that are wrong."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

__all__ = ["origin_of", "with_origin"]

_SOURCE: Final = b"thingbeam.source"
_FIRST: Final = b"thingbeam.first_record"


def with_origin(batch: pa.RecordBatch, source: str, first: int) -> pa.RecordBatch:
    """The batch with a note of its origin in its schema's metadata; rows and columns are the same.

    Args:
        batch: any.
        source: the file, topic or stream.
        first: the number of its first record there, from 0.

    >>> batch = pa.RecordBatch.from_pydict({"a": [1, 2]})
    >>> origin_of(with_origin(batch, "events.avro", 7))
    ('events.avro', 7)
    """
    noted = {_SOURCE: source.encode("utf-8", "surrogateescape"), _FIRST: str(first).encode()}
    return batch.replace_schema_metadata({**(batch.schema.metadata or {}), **noted})


def origin_of(batch: pa.RecordBatch) -> tuple[str, int]:
    """The source of a batch and the number of its first record; ("", 0) where nobody said.

    >>> origin_of(pa.RecordBatch.from_pydict({"a": [1, 2]}))
    ('', 0)
    """
    noted = batch.schema.metadata or {}
    return noted.get(_SOURCE, b"").decode("utf-8", "surrogateescape"), int(noted.get(_FIRST, b"0"))
