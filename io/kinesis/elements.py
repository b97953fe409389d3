"""From the rows of a shard to what ReadFromKinesis gives: records or batches, with their event times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.event_times import EventTimes, event_times
from thingbeam.io.kinesis.feeds import Row
from thingbeam.io.kinesis.records import KinesisBatch, KinesisRecord

__all__ = ["Form", "elements"]

_BATCH_BYTES: Final = 1 << 20


class Form(NamedTuple):
    """What is wanted of records."""

    batches: bool
    batch_records: int
    event_time: EventTimes | None


def elements(form: Form, stream: str, shard: str, rows: Sequence[Row]) -> Iterator[tuple[Any, int]]:
    """What is output for the rows of one shard, each with the latest event time of what was output up to it.

    It is UNKNOWN_TIME as long as none could be read.
    """
    latest: int | None = None
    for some in _parts(rows, form.batch_records):
        payloads = [row.data for row in some]
        arrivals = np.array([row.arrival_ms for row in some], np.int64) * 1000
        times, newest = event_times(form.event_time, payloads, arrivals)
        latest = newest if latest is None else max(latest, newest)
        if form.batches:
            batch = KinesisBatch(
                stream,
                f"shard={shard}",
                np.array([row.sub for row in some], np.int64),
                payloads,
                [row.key.encode() for row in some],
                times,
                [row.sequence for row in some],
            )
            yield TimestampedValue(batch, batch.earliest), latest
            continue
        for row, arrival, at in zip(some, arrivals.tolist(), times.tolist(), strict=True):
            record = KinesisRecord(
                row.data, row.key, row.sequence, row.sub, Timestamp(micros=arrival), stream, shard, row.hash_key
            )
            yield TimestampedValue(record, record.arrival if at == arrival else Timestamp(micros=at)), latest


def _parts(rows: Sequence[Row], most: int) -> Iterator[Sequence[Row]]:
    """So many rows at a time, and no more than about a mebibyte."""
    begin = size = 0
    for at, row in enumerate(rows):
        if at > begin and (at - begin >= most or size + len(row.data) > _BATCH_BYTES):
            yield rows[begin:at]
            begin, size = at, 0
        size += len(row.data)
    if begin < len(rows):
        yield rows[begin:]
