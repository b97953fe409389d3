from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from thingbeam.io.files.avro_files import encode_avro, read_avro
from thingbeam.io.files.batches import Fault
from thingbeam.schemas import DeadLetter, Event, Session, Usage, avro_schema, released_schemas, to_record_batch
from thingbeam.schemas.fields import fields_of

COMPRESSIONS = [None, "gzip", "zstd"]


def _read(data: bytes, record_type: type[Any]) -> tuple[list[Any], list[Fault]]:
    records: list[Any] = []
    faults: list[Fault] = []
    for some in read_avro(io.BytesIO(data), record_type):
        if isinstance(some, Fault):
            faults.append(some)
        else:
            records.extend(some)
    return records, faults


def _rows(records: list[Any]) -> list[dict[str, Any]]:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return [
        {
            name: epoch + timedelta(microseconds=value.micros) if isinstance(value, Timestamp) else value
            for name, value in zip(record._fields, record, strict=True)
        }
        for record in records
    ]


def _events(count: int, size: int = 200) -> list[Event]:
    return [Event.of(f"e{at}", Timestamp(at), "d1", "c", "a", f"{at:0{size}d}") for at in range(count)]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("record_type", [Event, Usage, DeadLetter])
@settings(max_examples=25)
@given(data=st.data())
def test_files_read_back_as_what_was_written(
    data: st.DataObject, record_type: type, compression: Any, records_of: Callable[[type], st.SearchStrategy[Any]]
) -> None:
    records = data.draw(records_of(record_type))
    encoded = encode_avro(to_record_batch(records, record_type), record_type, compression)
    assert _read(encoded, record_type) == (records, [])
    assert encode_avro(to_record_batch(records, record_type), record_type, compression) == encoded


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_another_library_reads_our_files(compression: Any) -> None:
    events = _events(3_000)
    encoded = encode_avro(to_record_batch(events, Event), Event, compression)
    read = fastavro.block_reader(io.BytesIO(encoded))
    blocks = list(read)
    assert len(blocks) > 2
    assert [row for block in blocks for row in block] == _rows(events)
    assert json.loads(read.metadata["avro.schema"]) == avro_schema(Event)


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_we_read_another_librarys_files(codec: str) -> None:
    events = _events(3_000)
    file = io.BytesIO()
    fastavro.writer(file, avro_schema(Event), _rows(events), codec=codec)
    assert _read(file.getvalue(), Event) == (events, [])


def test_older_and_newer_releases_are_read_by_the_schema_of_the_writer() -> None:
    session = Session("d1", Timestamp(0), "x", Timestamp(1), Timestamp(601), 2, 7)
    [row] = _rows([session])
    older = json.loads(json.dumps(released_schemas(Session)[1]))
    older["fields"] = [field for field in older["fields"] if field["name"] not in ("home_id", "final", "deleted")]
    newer = json.loads(json.dumps(released_schemas(Session)[1]))
    newer["fields"].insert(0, {"name": "brand", "type": "string"})
    for schema, extra in ((older, {}), (newer, {"brand": "x"})):
        file = io.BytesIO()
        fastavro.writer(file, schema, [row | extra])
        assert _read(file.getvalue(), Session) == ([session], [])


@pytest.mark.parametrize(
    ("schema", "rows", "error"),
    [
        (avro_schema(Event), _rows(_events(2)), "the file holds Event records, where Session was asked for"),
        (avro_schema(Event), [], "the file holds Event records, where Session was asked for"),
        ("string", ["x"], "the file's schema is no record, where Session was asked for"),
        (
            {"type": "record", "name": "Session", "fields": [{"name": "device_id", "type": "string"}]},
            [{"device_id": "x"}],
            "the file's Session has no start, start_local, last, end, count, revision",
        ),
    ],
)
def test_another_schema_is_one_fault(schema: Any, rows: list[Any], error: str) -> None:
    file = io.BytesIO()
    fastavro.writer(file, schema, rows)
    assert _read(file.getvalue(), Session) == ([], [Fault("schema_mismatch", "offset=0", error)])


def test_a_field_of_another_type_is_one_schema_mismatch_for_the_file() -> None:
    schema = json.loads(json.dumps(avro_schema(Session)))
    next(field for field in schema["fields"] if field["name"] == "count")["type"] = "string"
    [row] = _rows([Session("d1", Timestamp(0), "x", Timestamp(1), Timestamp(601), 2, 7)])
    file = io.BytesIO()
    fastavro.writer(file, schema, [row | {"count": "two"}] * 5, sync_interval=1)
    records, faults = _read(file.getvalue(), Session)
    assert records == []
    assert [fault.code for fault in faults] == ["schema_mismatch"]


def _blocks(encoded: bytes) -> list[tuple[int, int, int]]:
    return [(block.offset, block.size, block.num_records) for block in fastavro.block_reader(io.BytesIO(encoded))]


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_damaged_block_costs_itself_and_says_where_it_is(compression: Any) -> None:
    events = _events(12_000)
    encoded = encode_avro(to_record_batch(events, Event), Event, compression)
    blocks = _blocks(encoded)
    offset, size, count = blocks[1]
    before = blocks[0][2]
    assert len(blocks) > 3
    for at in (offset, offset + 2, offset + size // 2, offset + size - 1):
        damaged = bytearray(encoded)
        damaged[at : at + 1] = b"\xff" if damaged[at] != 0xFF else b"\x7f"
        records, faults = _read(bytes(damaged), Event)
        if at == offset + size // 2 and compression is None:
            # Without compression nothing but the form of the rows can tell, and it may not.
            assert len(faults) <= 1
            continue
        assert [(fault.code, fault.position) for fault in faults] == [("corrupt_file", f"offset={offset}")]
        # Damage to the block's end is seen only after it: the next one's marker is then found.
        lost = count if at < offset + size - 1 else count + blocks[2][2]
        assert records == events[:before] + events[before + lost :]
        assert faults[0].payload.startswith(bytes(damaged[offset : offset + 100]))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_cut_file_gives_its_whole_blocks_and_one_fault(compression: Any) -> None:
    events = _events(5_000)
    encoded = encode_avro(to_record_batch(events, Event), Event, compression)
    for cut in (3, 300, len(encoded) // 2, len(encoded) - 1, len(encoded) - 20):
        records, faults = _read(encoded[:cut], Event)
        assert [fault.code for fault in faults] == ["truncated_file"], cut
        assert records == events[: len(records)]
        assert len(faults[0].payload) <= 64 << 10
    assert _read(b"", Event)[1][0].code == "truncated_file"


def test_what_is_no_avro_and_unknown_codecs_are_corrupt() -> None:
    for data in (b'{"a": 1}\n', b"PAR1" * 5):
        assert [fault.code for fault in _read(data, Event)[1]] == ["corrupt_file"]
    file = io.BytesIO()
    fastavro.writer(file, avro_schema(Event), _rows(_events(1)), codec="bzip2")
    [fault] = _read(file.getvalue(), Event)[1]
    assert (fault.code, fault.error) == (
        "corrupt_file",
        "Avro: codec 'bzip2' is not read, only null, deflate, zstandard",
    )


def test_a_block_that_claims_to_be_huge_takes_no_memory() -> None:
    encoded = encode_avro(to_record_batch(_events(1), Event), Event, None)
    [(offset, _, _)] = _blocks(encoded)
    huge = encoded[:offset] + b"\x02" + b"\xff" * 8 + b"\x7f" + b"x" * 30
    [fault] = _read(huge, Event)[1]
    assert (fault.code, fault.position) == ("truncated_file", f"offset={offset}")


def _framed(encoded: bytes, *blocks: tuple[int, bytes]) -> bytes:
    """A file with the header of another and blocks of (records, bytes)."""
    [(offset, size, _)] = _blocks(encoded)
    sync, out = encoded[offset + size - 16 : offset + size], encoded[:offset]
    for count, data in blocks:
        frame = io.BytesIO()
        for number in (count, len(data)):
            fastavro.schemaless_writer(frame, "long", number)
        out += frame.getvalue() + data + sync
    return out


def test_bytes_left_after_the_records_of_a_block_are_damage() -> None:
    event = _events(1)
    encoded = encode_avro(to_record_batch(event, Event), Event, None)
    row = io.BytesIO()
    fastavro.schemaless_writer(row, avro_schema(Event), _rows(event)[0])
    data = row.getvalue()
    records, faults = _read(_framed(encoded, (1, data), (1, data + b"\0"), (2, data + data)), Event)
    assert records == event * 3
    assert [fault.code for fault in faults] == ["corrupt_file"]


@pytest.mark.parametrize("short", range(0, 20, 3))
def test_the_next_block_is_found_wherever_its_mark_lies(short: int) -> None:
    event = _events(1)
    encoded = encode_avro(to_record_batch(event, Event), Event, None)
    row = io.BytesIO()
    fastavro.schemaless_writer(row, avro_schema(Event), _rows(event)[0])
    # The mark after a MiB of rubbish lies across the end of the first MiB that is searched.
    rubbish = b"\xff" * ((1 << 20) - 4 - short)
    records, faults = _read(_framed(encoded, (1, rubbish), (1, row.getvalue())), Event)
    assert records == event
    assert [fault.code for fault in faults] == ["corrupt_file"]


def test_every_field_type_is_in_these_tests() -> None:
    types = {field.type for record in (Event, Usage, DeadLetter) for field in fields_of(record)}
    assert types == {"string", "double", "long", "boolean", "bytes", "timestamp", "map_of_double"}
