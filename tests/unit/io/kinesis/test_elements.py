"""From rows to what is output."""

from __future__ import annotations

import numpy as np
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.event_times import JsonTime
from thingbeam.io.kinesis.elements import Form, elements
from thingbeam.io.kinesis.feeds import Row
from thingbeam.io.kinesis.records import KinesisRecord


def rows(*data: bytes) -> list[Row]:
    return [Row(one, f"k{at}", None, str(100 + at), -1, 1000 + at) for at, one in enumerate(data)]


def test_a_record_has_its_event_time_or_its_arrival() -> None:
    form = Form(False, 2000, JsonTime("t"))
    found = list(elements(form, "events", "s", rows(b'{"t": 5000}', b"no JSON")))
    assert [output.value for output, _ in found] == [
        KinesisRecord(b'{"t": 5000}', "k0", "100", -1, Timestamp(1), "events", "s"),
        KinesisRecord(b"no JSON", "k1", "101", -1, Timestamp(micros=1_001_000), "events", "s"),
    ]
    assert [output.timestamp for output, _ in found] == [Timestamp(5), Timestamp(micros=1_001_000)]
    assert [latest for _, latest in found] == [5_000_000, 5_000_000]


def test_batches_are_held_to_a_number_and_a_size() -> None:
    form = Form(True, 2, None)
    found = list(elements(form, "events", "s", rows(b"a", b"b", b"c")))
    assert [list(output.value.payloads) for output, _ in found] == [[b"a", b"b"], [b"c"]]
    assert found[0][0].timestamp == Timestamp(1)
    assert [latest for _, latest in found] == [1_001_000, 1_002_000]
    batch = found[0][0].value
    assert (batch.source, batch.part, batch.sequences) == ("events", "shard=s", ["100", "101"])
    assert np.array_equal(batch.times, [1_000_000, 1_001_000])
    big = bytes(700_000)
    sizes = [len(output.value) for output, _ in elements(Form(True, 2000, None), "events", "s", rows(big, big, b"x"))]
    assert sizes == [1, 2]
    assert list(elements(form, "events", "s", [])) == []
