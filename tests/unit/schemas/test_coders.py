from __future__ import annotations

import math
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.coders import RowCoder
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from records import RECORDS, records
from streams import random_stream
from structure import python
from thingbeam.schemas import Blob, Event, EventBatch, Usage, to_record_batch
from thingbeam.schemas.coders import ArrowBatchCoder, EventBatchCoder, register_coders
from thingbeam.schemas.payloads import PayloadBatch, PayloadBatchCoder

STREAM = [event for event in random_stream(2, events=40) if event.device_id is not None]


@given(st.sampled_from(RECORDS).flatmap(records))
def test_records_by_beams_row_coder(record: Any) -> None:
    coder = beam.coders.registry.get_coder(type(record))
    assert isinstance(coder, RowCoder)
    decoded = coder.decode(coder.encode(record))
    assert type(decoded) is type(record)
    assert decoded == record


@pytest.mark.parametrize("late", [False, True])
def test_a_worker_of_another_process_has_the_same_type(late: bool, tmp_path: Path) -> None:
    """Beam itself finds a row's type by an id that each process makes up."""
    coder, event = beam.coders.registry.get_coder(Event), Event.of("e", Timestamp(1), "d", "c", "a", 2.5)
    (tmp_path / "coder").write_bytes(coder.schema.SerializeToString())
    (tmp_path / "event").write_bytes(coder.encode(event))
    program = f"""
from pathlib import Path
from apache_beam.coders import RowCoder
if not {late}:
    import thingbeam.schemas
read = lambda name: Path({str(tmp_path)!r}, name).read_bytes()
if {late}:
    # A stage without a step of ours comes first: its rows are of a type that Beam makes up.
    assert type(RowCoder.from_payload(read("coder")).decode(read("event"))).__name__.startswith("BeamSchema_")
from thingbeam.schemas import Event
found = RowCoder.from_payload(read("coder")).decode(read("event"))
assert type(found) is Event, type(found)
assert RowCoder.from_payload(read("coder")).encode(found) == read("event")
"""
    said = python("-c", program)
    assert said.returncode == 0, said.stderr


def test_numbers_that_are_not_finite() -> None:
    coder = beam.coders.registry.get_coder(Event)
    for value in (math.nan, math.inf, -math.inf):
        assert repr(coder.decode(coder.encode(Event.of("e", Timestamp(0), "d", "c", "a", value))).number) == repr(value)


def test_half_a_surrogate_pair_is_refused() -> None:
    coder = beam.coders.registry.get_coder(Event)
    with pytest.raises(UnicodeEncodeError):
        coder.encode(Event.of("e", Timestamp(0), "d", "c", "a", "\ud800"))


def test_registered_once_or_twice() -> None:
    register_coders()
    assert isinstance(beam.coders.registry.get_coder(EventBatch), EventBatchCoder)
    assert isinstance(beam.coders.registry.get_coder(pa.RecordBatch), ArrowBatchCoder)
    assert isinstance(beam.coders.registry.get_coder(PayloadBatch), PayloadBatchCoder)


class Unpicklable(EventBatch):
    def __reduce__(self) -> str:
        raise AssertionError("pickled")


def test_sizes_are_said_without_pickling() -> None:
    batch = EventBatch.from_events(STREAM)
    size = EventBatchCoder().estimate_size(Unpicklable(batch.rows, batch.names))
    assert len(batch.encode()) / 2 < size < len(batch.encode()) * 2
    table = to_record_batch(STREAM, Event)
    assert (
        len(ArrowBatchCoder().encode(table)) / 2
        < ArrowBatchCoder().estimate_size(table)
        < len(ArrowBatchCoder().encode(table)) * 2
    )
    with pytest.raises(AssertionError, match="pickled"):
        pickle.dumps(Unpicklable(batch.rows, batch.names))


def test_arrow_batches() -> None:
    coder = ArrowBatchCoder()
    for batch in (
        to_record_batch(STREAM, Event),
        to_record_batch([], Usage),
        to_record_batch(STREAM, Event).slice(3, 5),
    ):
        decoded = coder.decode(coder.encode(batch))
        assert decoded.schema == batch.schema
        assert decoded.equals(batch)


def test_what_is_deterministic() -> None:
    assert not EventBatchCoder().is_deterministic()
    assert not ArrowBatchCoder().is_deterministic()
    assert EventBatchCoder().to_type_hint() is EventBatch
    assert ArrowBatchCoder().to_type_hint() is pa.RecordBatch


class Sum(NamedTuple):
    device_id: str
    events: int
    last: Timestamp


def test_records_are_schema_types_to_beam(fn_api_runner: FnApiRunner) -> None:
    """`beam.Select` and `beam.GroupBy` work on fields, through a shuffle."""
    expected = {
        device: (len(times), max(times))
        for device in {event.device_id for event in STREAM}
        for times in [[event.event_time.micros for event in STREAM if event.device_id == device]]
    }
    with beam.Pipeline(runner=fn_api_runner) as pipeline:
        events = pipeline | beam.Create(STREAM).with_output_types(Event)
        chosen = events | beam.Select("event_id", "device_id", kind_of_value=lambda event: event.value_type)
        assert_that(
            chosen | beam.Map(lambda row: (row.event_id, row.device_id, row.kind_of_value)),
            equal_to([(event.event_id, event.device_id, event.value_type) for event in STREAM]),
            label="select",
        )
        grouped = (
            events
            | beam.Select("device_id", micros=lambda event: int(event.event_time.micros), one=lambda event: 1)
            | beam.GroupBy("device_id").aggregate_field("one", sum, "events").aggregate_field("micros", max, "last")
        )
        assert_that(
            grouped | beam.Map(lambda row: (row.device_id, row.events, row.last)),
            equal_to([(device, *found) for device, found in expected.items()]),
            label="group",
        )


class Shuffled(beam.DoFn):
    def process(self, element: tuple[int, Iterable[Any]]) -> Iterable[Any]:
        yield from element[1]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_records_cross_a_shuffle(record: Any, fn_api_runner: FnApiRunner) -> None:
    found: list[Any] = []

    @settings(max_examples=20, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(records(record))
    def collect(one: Any) -> None:
        found.append(one)

    collect()
    with beam.Pipeline(runner=fn_api_runner) as pipeline:
        out = (
            pipeline
            | beam.Create(found).with_output_types(record)
            | beam.Map(lambda one: (0, one)).with_output_types(tuple[int, record])
            | beam.GroupByKey()
            | beam.ParDo(Shuffled()).with_output_types(record)
        )
        assert_that(out, equal_to(found))


def test_batches_cross_a_shuffle(fn_api_runner: FnApiRunner) -> None:
    batch = EventBatch.from_events(STREAM)
    with beam.Pipeline(runner=fn_api_runner) as pipeline:
        out = (
            pipeline
            | beam.Create([batch]).with_output_types(EventBatch)
            | beam.FlatMap(lambda whole: whole.shards(7)).with_output_types(tuple[int, EventBatch])
            | beam.GroupByKey()
            | beam.ParDo(Shuffled()).with_output_types(EventBatch)
            | beam.FlatMap(EventBatch.to_events).with_output_types(Event)
        )
        # By their text: NaN is not equal to itself.
        assert_that(out | beam.Map(repr), equal_to([repr(event) for event in STREAM]))


def test_other_elements_cross_a_shuffle(fn_api_runner: FnApiRunner) -> None:
    blobs, table = [Blob("a", 0, b"x\n"), Blob("é", 2**40, b"")], to_record_batch(STREAM, Event)
    with beam.Pipeline(runner=fn_api_runner) as pipeline:
        out = (
            pipeline
            | "blobs" >> beam.Create(blobs).with_output_types(Blob)
            | beam.Map(lambda blob: (blob.offset, blob)).with_output_types(tuple[int, Blob])
            | beam.GroupByKey()
            | beam.ParDo(Shuffled()).with_output_types(Blob)
        )
        assert_that(out, equal_to(blobs), label="same blobs")
        rows = (
            pipeline
            | "tables" >> beam.Create([table]).with_output_types(pa.RecordBatch)
            | "key" >> beam.Map(lambda one: (0, one)).with_output_types(tuple[int, pa.RecordBatch])
            | "group" >> beam.GroupByKey()
            | "rows" >> beam.ParDo(Shuffled()).with_output_types(pa.RecordBatch)
            | beam.Map(lambda one: one.num_rows)
        )
        assert_that(rows, equal_to([len(STREAM)]), label="same rows")


@pytest.mark.parametrize("record", RECORDS)
def test_engines_in_java_can_read_every_field(record: type) -> None:
    """A field of any type is pickled: Flink decodes rows between its stages, and fails."""
    assert "pythonsdk_any" not in str(RowCoder.from_type_hint(record, None).schema)
