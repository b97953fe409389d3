from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.files.batches import SchemaMismatchError, check_batch, resolve_batch
from thingbeam.schemas import Event, Session, Usage, arrow_schema, from_record_batch, to_record_batch

SESSION = Session("d1", Timestamp(0), "1970-01-01T00:00:00Z", Timestamp(5), Timestamp(605), 3, 7)
USAGE = Usage(
    *("d1", "main", "switch", "switch", "state", "PT1H", Timestamp(0), "1970-01-01T00:00:00Z", Timestamp(3600)),
    *(4, 2, None, None, None, None, None, None, "on", {"on": 60.0, "off": 3540.0}, 9),
)
EVENT = Event.of("e1", Timestamp(0), "d1", "switch", "switch", 3.5)


def _with(batch: pa.RecordBatch, name: str, column: Any) -> pa.RecordBatch:
    at = batch.schema.get_field_index(name)
    columns = [column if index == at else batch.column(index) for index in range(batch.num_columns)]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def test_a_good_batch_passes_as_it_is() -> None:
    batch = to_record_batch([USAGE, USAGE], Usage)
    assert check_batch(batch, Usage).equals(batch)
    assert check_batch(batch.slice(1, 0), Usage).num_rows == 0


def test_columns_of_like_types_are_cast() -> None:
    batch = to_record_batch([SESSION, SESSION], Session)
    other = _with(batch, "device_id", batch["device_id"].dictionary_encode())
    other = _with(other, "start", other["start"].cast(pa.timestamp("ms", "UTC")))
    assert check_batch(other, Session).equals(batch)


@pytest.mark.parametrize(
    ("record", "name", "column", "message"),
    [
        (EVENT, "number", pa.array([float("nan")]), "Event.number: a number that is not finite"),
        (EVENT, "number", pa.array([float("-inf")]), "Event.number: a number that is not finite"),
        (EVENT, "event_id", pa.array([None], pa.string()), "Event.event_id: null in row 0, where none may be"),
        (
            EVENT,
            "event_time",
            pa.array([2**62]).cast(pa.timestamp("us", "UTC")),
            "Event.event_time: a time outside the years 1 to 9999",
        ),
        (
            USAGE,
            "seconds_in_state",
            pa.array([[("on", float("inf"))]], pa.map_(pa.string(), pa.float64())),
            "Usage.seconds_in_state: a number that is not finite",
        ),
        (
            USAGE,
            "seconds_in_state",
            pa.array([[("on", None)]], pa.map_(pa.string(), pa.float64())),
            "Usage.seconds_in_state: a number that is not finite",
        ),
    ],
)
def test_what_no_format_could_give_back_is_refused(record: Any, name: str, column: pa.Array, message: str) -> None:
    batch = _with(to_record_batch([record], type(record)), name, column)
    with pytest.raises(ValueError, match=message):
        check_batch(batch, type(record))


def test_a_slice_is_not_blamed_for_the_rest_of_its_map() -> None:
    states = pa.array(
        [[("on", float("nan"))], [("on", 1.0), ("off", 2.0)], [("on", float("nan"))]],
        pa.map_(pa.string(), pa.float64()),
    )
    batch = _with(to_record_batch([USAGE] * 3, Usage), "seconds_in_state", states)
    assert check_batch(batch.slice(1, 1), Usage).num_rows == 1
    for at in (0, 2):
        with pytest.raises(ValueError, match="not finite"):
            check_batch(batch.slice(at, 1), Usage)


def test_a_batch_of_another_record_is_refused() -> None:
    with pytest.raises(ValueError, match="not a batch of Usage: its columns are device_id, start"):
        check_batch(to_record_batch([SESSION], Session), Usage)


def test_other_releases_columns_are_resolved_by_name() -> None:
    batch = to_record_batch([SESSION], Session)
    names = [name for name in reversed(batch.schema.names) if name not in ("home_id", "final", "deleted")]
    older = batch.select(names).append_column("newer", pa.array(["x"]))
    resolved = resolve_batch(older, Session)
    assert resolved.schema.equals(arrow_schema(Session))
    assert from_record_batch(resolved, Session) == [SESSION]


def test_columns_that_cannot_be_resolved_are_told() -> None:
    batch = to_record_batch([SESSION], Session)
    with pytest.raises(SchemaMismatchError, match="no column start, which Session needs"):
        resolve_batch(batch.select(["device_id"]), Session)
    with pytest.raises(SchemaMismatchError, match="column count is string, not int64"):
        resolve_batch(_with(batch, "count", pa.array(["many"])), Session)
    with pytest.raises(SchemaMismatchError, match="column count has nulls, which Session does not"):
        resolve_batch(_with(batch, "count", pa.array([None], pa.int64())), Session)
