"""WriteToHBase against a real HBase, through both of its gateways."""

from __future__ import annotations

import json
import struct
import time
from typing import Any, Literal

import apache_beam as beam
import happybase
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.timestamp import Timestamp

from kafka_running import collect, collected
from stack_fixtures import Tables
from thingbeam.io.errors import ConnectorError, MissingError
from thingbeam.io.hbase import (
    Column,
    Family,
    HBaseConfig,
    HBaseRow,
    KeyPart,
    RowKey,
    TableLayout,
    WriteToHBase,
    check_table,
    create_table,
    delete_table,
)
from thingbeam.io.writing import BatchPolicy, WriteResult
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.schemas.records import Activity

LAYOUT = TableLayout.of(
    Activity, RowKey("device_id", KeyPart.newest("start"), "component", "capability", salt=4), regions=2
)
PLAIN = TableLayout(RowKey("id"), (Column("state", "text"), Column("room", "text", optional=True)), revision="revision")
Interface = Literal[1, 2]
BOTH = pytest.mark.parametrize("interface", [1, 2])


def activity(device: str, start: int, revision: int, **more: Any) -> Activity:
    """A wash of five seconds."""
    end = Timestamp(start + 5)
    fields = {"home_id": "h1", "closed_by": "stop"} | more
    return Activity(device, "main", "washer", Timestamp(start), "local", end, 5.0, "done", revision=revision, **fields)


def write(config: HBaseConfig, table: str, elements: list[Any], layout: TableLayout | None, **how: Any) -> Any:
    """Writes elements; gives what became of them and the dead letters."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        done = pipeline | beam.Create(elements, reshuffle=False) | WriteToHBase(config, table, layout, **how)
        written, dead = collect(done.written), collect(done.dead_letters)
    return collected.pop(written), collected.pop(dead)


def rows_of(hbase: Tables, table: str) -> dict[bytes, dict[bytes, bytes]]:
    """What a table shows to happybase."""
    config = hbase.config(1)
    connection = happybase.Connection(config.host, config.port, timeout=60_000)
    try:
        return {key: dict(cells) for key, cells in connection.table(table).scan()}
    finally:
        connection.close()


@BOTH
def test_what_it_takes(hbase: Tables, interface: Interface) -> None:
    """Records, batches of them, named batches and rows made by hand end up alike."""
    table = hbase.table(LAYOUT)
    elements = [
        activity("d1", 1, 10),
        activity("d2", 2, 10)._asdict(),
        to_record_batch([activity("d3", 3, 10), activity("d4", 4, 11, home_id=None)], Activity),
        ("activities", to_record_batch([activity("d5", 5, 12)], Activity)),
        HBaseRow(b"\x00by hand", {b"d:x": b"y"}, 13),
    ]
    written, dead = write(hbase.config(interface), table, elements, LAYOUT)
    assert dead == []
    assert sum((result.stored for _, result in written)) == 6
    assert {element.device_id for element, _ in written if isinstance(element, Activity)} == {"d1"}
    found = rows_of(hbase, table)
    assert found.pop(b"\x00by hand") == {b"d:x": b"y"}
    # By what the page says of keys and values, without our code.
    times = {key[1:3]: (1 << 63) - 1 - struct.unpack(">Q", key[5:13])[0] for key in found}
    assert times == {b"d%d" % number: number * 1_000_000 for number in range(1, 6)}
    assert {key[13:] for key in found} == {b"main\0\0washer"}
    cells = next(cells for key, cells in found.items() if key[1:3] == b"d4")
    assert cells == {
        b"d:_v": b"\x01",
        b"d:start_local": b"local",
        b"d:end": struct.pack(">q", 9_000_000),
        b"d:duration_s": struct.pack(">d", 5.0),
        b"d:state": b"done",
        b"d:closed_by": b"stop",
        b"d:revision": struct.pack(">q", 11),
        b"d:home_id": b"",
        b"d:final": b"\xff",
    }


@BOTH
def test_the_newest_revision_wins_in_any_order(hbase: Tables, interface: Interface) -> None:
    """Across calls, and pipelines: nothing is remembered between them but what HBase holds."""
    table = hbase.table(PLAIN)
    config = hbase.config(interface)
    tombstone = {"deleted": True, "state": ""}
    states = [
        {"id": "late", "state": "new", "room": "", "revision": 9},
        {"id": "late", "state": "old", "room": "hall", "revision": 3},
        {"id": "gone", "state": "was", "room": "hall", "revision": 5},
        {"id": "gone", "revision": 6, **tombstone},
        {"id": "gone", "state": "too late", "room": "hall", "revision": 4},
        {"id": "back", "revision": 6, **tombstone},
        {"id": "back", "state": "again", "room": "hall", "revision": 7},
        {"id": "less", "state": "full", "room": "hall", "revision": 1},
        {"id": "less", "state": "less", "room": None, "revision": 2},
    ]
    for state in states:
        write(config, table, [state], PLAIN)
    found = rows_of(hbase, table)
    assert {key: (cells[b"d:state"], cells[b"d:room"]) for key, cells in found.items()} == {
        b"late": (b"new", b"\0"),
        b"back": (b"again", b"hall"),
        b"less": (b"less", b""),
    }
    # And within one call.
    other = hbase.table(PLAIN)
    written, _ = write(config, other, states, PLAIN)
    assert rows_of(hbase, other) == found
    assert sum((result.superseded for _, result in written)) == 5


def test_an_older_revision_stays_hidden_after_a_major_compaction(hbase: Tables) -> None:
    """HBase forgets its delete markers then, unless the layout's keep_deletes is set, as create_table does."""
    kept, bare = hbase.table(PLAIN), f"bare-{time.time_ns()}"
    config = hbase.config(1)
    connection = happybase.Connection(config.host, config.port, timeout=60_000)
    connection.create_table(bare, {"d": {"max_versions": 1}})
    for table in (kept, bare):
        write(config, table, [{"id": "a", "revision": 6, "deleted": True, "state": ""}], PLAIN)
        for number in range(4):
            # A table that is disabled has its rows in files; a compaction of all of them is a major one. The gateway
            # takes the call for a major compaction as one for any.
            write(config, table, [{"id": f"z{number}", "state": "x", "room": "", "revision": 1}], PLAIN)
            connection.disable_table(table)
            connection.enable_table(table)
        connection.compact_table(table, major=True)
    until = time.monotonic() + 60
    while True:
        # The compaction is asked for, and done in the background.
        for table in (kept, bare):
            write(config, table, [{"id": "a", "state": "old", "room": "", "revision": 4}], PLAIN)
        if b"a" in rows_of(hbase, bare) or time.monotonic() > until:
            break
        time.sleep(1)
    assert b"a" in rows_of(hbase, bare), "what keep_deletes is there for"
    assert b"a" not in rows_of(hbase, kept)
    connection.close()


@BOTH
def test_a_ttl_counts_from_the_revision(hbase: Tables, interface: Interface) -> None:
    layout = TableLayout(
        RowKey("id"), (Column("state", "text"),), (Family(ttl="4s"),), timestamps="milliseconds", deleted=None
    )
    table = hbase.table(layout)
    now = time.time_ns() // 1000
    rows = [
        {"id": "now", "state": "x", "revision": now},
        {"id": "now", "state": "older", "revision": now - 3000},
        {"id": "long ago", "state": "x", "revision": now - 10_000_000},
    ]
    for row in rows:
        write(hbase.config(interface), table, [row], layout)
    assert {key: cells[b"d:state"] for key, cells in rows_of(hbase, table).items()} == {b"now": b"x"}
    time.sleep(max(0.0, 4.5 - (time.time_ns() // 1000 - now) / 1e6))
    assert rows_of(hbase, table) == {}


@BOTH
def test_without_a_revision_the_last_wins(hbase: Tables, interface: Interface) -> None:
    layout = TableLayout(RowKey("id"), (Column("state", "text"),), revision=None)
    table = hbase.table(layout)
    for element in ({"id": "a", "state": "1"}, {"id": "b", "state": "1"}, {"id": "a", "state": "2"}):
        write(hbase.config(interface), table, [element], layout)
        time.sleep(0.002)
    write(hbase.config(interface), table, [{"id": "b", "deleted": True}], layout)
    assert {key: cells[b"d:state"] for key, cells in rows_of(hbase, table).items()} == {b"a": b"2"}


@BOTH
def test_poison_is_in_the_dead_letters_and_nowhere_else(hbase: Tables, interface: Interface) -> None:
    table = hbase.table(PLAIN)
    good = [{"id": f"good-{number}", "state": "x", "room": "r", "revision": number} for number in range(50)]
    poison: list[tuple[Any, str]] = [
        ({"id": "", "state": "x", "revision": 1}, "missing_field"),
        ({"id": None, "state": "x", "revision": 1}, "missing_field"),
        ({"id": "k" * 40_000, "state": "x", "revision": 1}, "too_large"),
        ({"id": "large", "state": "x" * 3_000, "revision": 1}, "too_large"),
        ({"id": "no state", "revision": 1}, "missing_field"),
        ({"id": "wrong", "state": 5, "revision": 1}, "wrong_type"),
        ({"id": "no revision", "state": "x"}, "missing_field"),
        ({"id": "negative", "state": "x", "revision": -1}, "out_of_range"),
        ({"id": 5, "state": "x", "revision": 1}, "wrong_type"),
        ("no record", "wrong_type"),
    ]
    elements = good[:25] + [element for element, _ in poison] + good[25:]
    written, dead = write(
        hbase.config(interface),
        table,
        elements,
        PLAIN,
        largest_cell=2_000,
        redact=lambda data: data.replace(b"x", b"*"),
    )
    assert sorted(letter.code for letter in dead) == sorted(code for _, code in poison)
    assert {letter.source for letter in dead} == {f"hbase://{hbase.config(interface).address}/{table}"}
    assert all(b"x" not in letter.payload.replace(b"exp", b"") for letter in dead)
    assert {json.loads(letter.payload)["id"] for letter in dead if b'"id":"wr' in letter.payload} == {"wrong"}
    assert set(rows_of(hbase, table)) == {row["id"].encode() for row in good}
    assert sum((result == WriteResult(0, 0, 1) for _, result in written)) == len(poison)


@BOTH
def test_what_only_hbase_finds_too_large(hbase: Tables, interface: Interface) -> None:
    """Its limit may be lower than we were told; the gateway then refuses the whole call, and rows are told apart."""
    table = hbase.table(PLAIN)
    batch = BatchPolicy(rows=16, bytes=64 << 20)
    elements = [
        {"id": f"{number}", "state": "x" * (11 << 20 if number in (3, 11) else 10), "room": "", "revision": 1}
        for number in range(32)
    ]
    _, dead = write(hbase.config(interface), table, elements, PLAIN, largest_cell=50 << 20, batch=batch)
    assert len(dead) == 2
    assert {letter.code for letter in dead} <= {"too_large", "refused"}
    assert set(rows_of(hbase, table)) == {b"%d" % number for number in range(32) if number not in (3, 11)}


@BOTH
def test_what_is_set_up_wrong_is_said_in_one_line(hbase: Tables, interface: Interface) -> None:
    table = hbase.table(PLAIN)
    config = hbase.config(interface)
    element = {"id": "a", "state": "x", "room": "", "revision": 1}
    with pytest.raises(MissingError, match=r"^table no-such is not there: .*create_table makes it"):
        write(config, "no-such", [element], PLAIN)
    with pytest.raises(MissingError, match=rf"^table {table} has no column family e; it has d: alter it"):
        write(config, table, [HBaseRow(b"a", {b"e:x": b""}, 1)], None, families=("e",))
    with pytest.raises(MissingError, match=rf"^table {table} has no column family e: alter it"):
        # A family that nobody told of shows with the first row.
        write(config, table, [HBaseRow(b"a", {b"e:x": b""}, 1)], None, families=("d",))
    other = HBaseConfig(config.address, 2 if interface == 1 else 1)
    with pytest.raises(ConnectorError, match=r"the other of HBase's two gateways: say interface="):
        write(other, table, [element], PLAIN)
    with pytest.raises(ConnectorError, match=r"^127\.0\.0\.1:1: HBase's Thrift gateway does not answer: .*start` runs"):
        write(HBaseConfig("127.0.0.1:1", interface), table, [element], PLAIN, connect_timeout="1s")
    connection = happybase.Connection(hbase.config(1).host, hbase.config(1).port, timeout=60_000)
    connection.disable_table(table)
    connection.close()
    with pytest.raises(MissingError, match=rf"^table {table} is disabled: enable it"):
        write(config, table, [element], PLAIN)


@BOTH
def test_no_permission_is_said_before_anything_is_written(secured_hbase: Tables, interface: Interface) -> None:
    config = secured_hbase.config(interface)
    own = secured_hbase.table(PLAIN)
    element = {"id": "a", "state": "x", "room": "", "revision": 1}
    with pytest.raises(ConnectorError, match=r"no permission on table forbidden: the gateway's user needs R to read"):
        write(config, "forbidden", [element], PLAIN)
    _, dead = write(config, own, [element], PLAIN)
    assert dead == []
    check_table(config, own, ["d"])


def test_tables_are_made_as_they_are_declared(hbase: Tables) -> None:
    layout = TableLayout(
        RowKey("id", salt=8),
        (Column("a", "text"), Column("b", "int64", family="e")),
        (Family("d", compression="GZ"), Family("e", ttl="1d", versions=3)),
        timestamps="milliseconds",
        regions=4,
    )
    table = f"declared-{time.time_ns()}"
    with pytest.raises(ConnectorError, match=r"one region only: .* run in hbase shell: create 'declared-"):
        create_table(hbase.config(1), table, layout)
    assert create_table(hbase.config(2), table, layout)
    assert not create_table(hbase.config(2), table, layout), "it is there already"
    connection = happybase.Connection(hbase.config(1).host, hbase.config(1).port, timeout=60_000)
    regions = connection.table(table).regions()
    assert [region["start_key"] for region in regions] == [b"", b"\x02", b"\x04", b"\x06"]
    families = connection.table(table).families()
    assert {name: (one["max_versions"], one["compression"]) for name, one in families.items()} == {
        b"d": (1, b"GZ"),
        b"e": (3, b"NONE"),
    }
    assert families[b"e"]["time_to_live"] == 86_400
    connection.close()
    wider = TableLayout(RowKey("id"), families=(Family("d"), Family("f")), revision=None)
    with pytest.raises(MissingError, match="has no column family f; it has d, e"):
        create_table(hbase.config(2), table, wider)
    delete_table(hbase.config(2), table)
    with pytest.raises(MissingError, match="is not there"):
        check_table(hbase.config(1), table)
    with pytest.raises(MissingError, match="there is no such namespace"):
        create_table(hbase.config(2), f"nowhere:{table}", layout)


def test_windows_of_the_input_stay(hbase: Tables) -> None:
    table = hbase.table(PLAIN)
    with beam.Pipeline(FnApiRunner()) as pipeline:
        elements = pipeline | beam.Create([{"id": "a", "state": "x", "room": "", "revision": 1}, {"id": ""}])
        done = elements | beam.WindowInto(FixedWindows(5)) | WriteToHBase(hbase.config(), table, PLAIN)
        dead = collect(done.dead_letters)
    assert len(collected.pop(dead)) == 1
    assert set(rows_of(hbase, table)) == {b"a"}
