"""ReadFromHBase and HBaseLookup against a real HBase."""

from __future__ import annotations

import contextlib
import random
import threading
from typing import Any, Literal

import apache_beam as beam
import happybase
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.enrichment import Enrichment
from apache_beam.utils.timestamp import Timestamp

from fault_proxy import TcpProxy
from kafka_running import collect, collected
from stack_fixtures import Tables
from thingbeam.io.errors import ConnectorError, MissingError, UnreachableError
from thingbeam.io.hbase import (
    Column,
    HBaseLookup,
    HBaseRow,
    KeyPart,
    ReadFromHBase,
    RowKey,
    TableLayout,
    newest,
)
from thingbeam.io.hbase.encoding import RowEncoder
from thingbeam.io.hbase.pool import open_gateway
from thingbeam.io.hbase.ranges import KeyRange, KeyRangeTracker
from thingbeam.io.hbase.reading import HBaseReader
from thingbeam.io.hbase.selection import Selection
from thingbeam.io.writing import RetryPolicy
from thingbeam.schemas.records import Activity

LAYOUT = TableLayout.of(
    Activity, RowKey("device_id", KeyPart.newest("start"), "component", "capability", salt=8), regions=4
)
DEVICES, WASHES = 40, 50
Interface = Literal[1, 2]
BOTH = pytest.mark.parametrize("interface", [1, 2])


def activity(device: int, start: int) -> Activity:
    """A wash."""
    return Activity(
        f"d{device}", "main", "washer", Timestamp(start), "local", None if start % 7 == 0 else Timestamp(start + 60),
        60.0, "done", "stop" if start % 2 else None, 10 + start, f"h{device % 5}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def washes(hbase: Tables) -> tuple[str, list[Activity]]:
    """A table of washes, and these."""
    table = hbase.table(LAYOUT, "washes")
    found = [activity(device, turn * 100) for device in range(DEVICES) for turn in range(WASHES)]
    encoder = RowEncoder(LAYOUT)
    rows = [row for row in map(encoder.row, found) if isinstance(row, HBaseRow)]
    gateway = open_gateway(hbase.config(2))
    gateway.write(table, rows, ["d"])
    gateway.close()
    return table, found


def read(read_it: ReadFromHBase) -> tuple[list[Any], list[Any]]:
    """What it gives: records and dead letters."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        done = pipeline | read_it
        if isinstance(done, tuple):
            records, dead = collect(done.records), collect(done.dead_letters)
        else:
            records, dead = collect(done), ""
    return collected.pop(records), collected.pop(dead, [])


@BOTH
def test_all_of_a_table(hbase: Tables, washes: tuple[str, list[Activity]], interface: Interface) -> None:
    table, wanted = washes
    config = hbase.config(interface)
    records, dead = read(ReadFromHBase(config, table, LAYOUT, batch_rows=130, event_time="start"))
    assert dead == []
    assert sorted(records) == sorted(wanted)
    rows, _ = read(ReadFromHBase(config, table))
    assert len({row.key for row in rows}) == len(rows) == len(wanted)
    assert {row.cells[b"d:start_local"] for row in rows} == {b"local"}
    assert {row.revision for row in rows} == {record.revision for record in wanted}
    keys = sorted(row.key for row in rows)
    some, _ = read(ReadFromHBase(config, table, start=keys[100], stop=keys[900]))
    assert sorted(row.key for row in some) == keys[100:900]


@BOTH
def test_the_last_of_a_device(hbase: Tables, washes: tuple[str, list[Activity]], interface: Interface) -> None:
    """Against the same asked of a list. d1 is what d10 begins with."""
    table, wanted = washes
    config = hbase.config(interface)
    of_one = sorted((one for one in wanted if one.device_id == "d1"), key=lambda one: -one.start.micros)
    assert newest(config, table, LAYOUT, 5, {"device_id": "d1"}) == of_one[:5]
    assert newest(config, table, LAYOUT, 1_000, {"device_id": "d1"}) == of_one
    since, until = Timestamp(300), Timestamp(2_000)
    between = [one for one in of_one if since <= one.start < until]
    assert newest(config, table, LAYOUT, 1_000, {"device_id": "d1"}, since=since, until=until) == between
    records, _ = read(ReadFromHBase(config, table, LAYOUT, fields={"device_id": "d1"}, since=since, until=until))
    assert sorted(records) == sorted(between)
    records, _ = read(ReadFromHBase(config, table, LAYOUT, fields={"device_id": "d1"}, limit=7))
    assert records == of_one[:7]
    assert newest(config, table, LAYOUT, 5, {"device_id": "d"}) == []


@BOTH
def test_columns_and_filters(hbase: Tables, washes: tuple[str, list[Activity]], interface: Interface) -> None:
    table, wanted = washes
    where = "SingleColumnValueFilter('d', 'home_id', =, 'binary:h3')"
    records, _ = read(ReadFromHBase(hbase.config(interface), table, LAYOUT, where=where))
    assert sorted(records) == sorted(one for one in wanted if one.home_id == "h3")
    dicts, dead = read(ReadFromHBase(hbase.config(interface), table, LAYOUT, columns=["end", "revision"]))
    assert dead == []
    names = ("device_id", "start", "component", "capability", "end", "revision")
    found = [tuple(one[name] for name in names) for one in dicts]
    assert sorted(found, key=str) == sorted((tuple(getattr(one, name) for name in names) for one in wanted), key=str)
    with pytest.raises(ConnectorError, match=r"^filter 'Nonsense\(' of table"):
        read(ReadFromHBase(hbase.config(interface), table, LAYOUT, where="Nonsense("))


def test_rows_that_are_none_of_the_layout(hbase: Tables, washes: tuple[str, list[Activity]]) -> None:
    table = hbase.table(LAYOUT)
    good = RowEncoder(LAYOUT).row(washes[1][0])
    assert isinstance(good, HBaseRow)
    key = good.key
    bad = [
        HBaseRow(b"\x00strange", {b"d:state": b"x"}, 1),
        HBaseRow(key[:-6] + b"other", {**good.cells, b"d:revision": b"short"}, 1),
        HBaseRow(key[:-6] + b"newer", {**good.cells, b"d:_v": b"\x02"}, 1),
        HBaseRow(key[:-6] + b"lacks", {name: v for name, v in good.cells.items() if name != b"d:state"}, 1),
    ]
    gateway = open_gateway(hbase.config(2))
    gateway.write(table, [good, *bad], ["d"])
    gateway.close()
    records, dead = read(ReadFromHBase(hbase.config(), table, LAYOUT))
    assert records == [washes[1][0]]
    assert sorted(letter.code for letter in dead) == ["missing_field", "schema_mismatch", "wrong_type", "wrong_type"]
    assert {letter.position for letter in dead} == {f"row={row.key.hex()}" for row in bad}


def test_a_range_is_split_while_it_is_read(hbase: Tables, washes: tuple[str, list[Activity]]) -> None:
    """Wherever and however often: each row is in one part."""
    table, wanted = washes
    choice = random.Random(3)
    reader = HBaseReader(hbase.config(2), table, Selection(rows=50))
    left = [KeyRange(start, stop) for start, stop in reader.regions()]
    assert len(left) == 4
    keys: list[bytes] = []
    parts = 0
    while left:
        tracker = KeyRangeTracker(left.pop())
        parts += 1
        start, stop = tracker.current_restriction()
        with contextlib.closing(reader.rows(start, stop)) as rows:
            for row in rows:
                if choice.random() < 0.02:
                    cut = tracker.try_split(choice.choice([0, 0.1, 0.5, 0.9]))
                    if cut is not None:
                        left.append(cut[1])
                if not tracker.try_claim(row.key):
                    break
                keys.append(row.key)
            else:
                tracker.try_claim(None)
        assert tracker.check_done()
    reader.close()
    assert parts > 10
    assert len(keys) == len(set(keys)) == len(wanted)


@pytest.mark.slow
def test_reading_goes_on_behind_the_last_row(hbase: Tables, washes: tuple[str, list[Activity]]) -> None:
    """Over cut connections and a kill -9, in order and without repeats."""
    table, wanted = washes
    with TcpProxy(hbase.config(1).address) as proxy:
        reader = HBaseReader(
            hbase.config(1, proxy.address, timeout="10s"), table, Selection(rows=100), RetryPolicy(longest="1s")
        )
        keys: list[bytes] = []
        for row in reader.rows(b"", b""):
            keys.append(row.key)
            if len(keys) in (150, 900):
                threading.Thread(target=proxy.cut, args=(0.3,)).start()
                while not proxy.is_cut:
                    pass
            if len(keys) == 1_200:
                with hbase.killed():
                    pass
        reader.close()
    assert keys == sorted(set(keys))
    assert len(keys) == len(wanted)


def test_what_is_set_up_wrong_is_said(hbase: Tables, secured_hbase: Tables) -> None:
    with pytest.raises(MissingError, match=r"^table no-such is not there"):
        read(ReadFromHBase(hbase.config(), "no-such"))
    with pytest.raises(UnreachableError, match=r"^127\.0\.0\.1:1: HBase's Thrift gateway does not answer"):
        read(ReadFromHBase("127.0.0.1:1", "t", connect_timeout="1s"))
    with pytest.raises(ConnectorError, match="no permission on table forbidden"):
        read(ReadFromHBase(secured_hbase.config(), "forbidden", limit=3))


@BOTH
def test_elements_are_enriched_from_a_registry(hbase: Tables, interface: Interface) -> None:
    registry = TableLayout(
        RowKey("device_id"),
        (Column("model", "text"), Column("room", "text", optional=True)),
        revision=None,
        deleted=None,
    )
    table = hbase.table(registry, "registry")
    gateway = open_gateway(hbase.config(2))
    encoder = RowEncoder(registry)
    for device, model, room in (("d1", "WM5000", "bath"), ("d2", "TV55", None)):
        row = encoder.row({"device_id": device, "model": model, "room": room})
        assert isinstance(row, HBaseRow)
        gateway.write(table, [row], ["d"])
    lookup = HBaseLookup(
        hbase.config(interface), table, registry, "device_id", {"model": "model", "room": "device_room"}
    )
    elements = [beam.Row(device_id=device, number=number) for number, device in enumerate(("d1", "d2", "d3", "d1"))]
    with beam.Pipeline(FnApiRunner()) as pipeline:
        name = collect(pipeline | beam.Create(elements, reshuffle=False) | Enrichment(lookup))
    found = {row.number: (row.device_id, row.model, row.device_room) for row in collected.pop(name)}
    assert found == {
        0: ("d1", "WM5000", "bath"),
        1: ("d2", "TV55", None),
        2: ("d3", None, None),
        3: ("d1", "WM5000", "bath"),
    }
    # What was found is kept: the row may change, or go, and is not asked for again.
    with HBaseLookup(hbase.config(interface), table, registry, "device_id", ["model"]) as kept:
        assert kept(beam.Row(device_id="d1"))[1].model == "WM5000"
        gateway.write(table, [HBaseRow(b"d1", {}, None, deleted=True)], ["d"])
        assert kept(beam.Row(device_id="d1"))[1].model == "WM5000"
    gateway.close()
    with (
        pytest.raises(MissingError, match="not there"),
        HBaseLookup(hbase.config(interface), "no-such", registry, "device_id", ["model"]),
    ):
        pass


def test_happybase_reads_and_writes_the_same_rows(hbase: Tables) -> None:
    """A row that others write, as the page says, is read as one of ours; what it lacks has no version."""
    layout = TableLayout(RowKey("id"), (Column("state", "text"), Column("count", "int64")), revision=None, deleted=None)
    table = hbase.table(layout)
    connection = happybase.Connection(hbase.config().host, hbase.config().port, timeout=60_000)
    connection.table(table).put(b"a", {b"d:state": b"on", b"d:count": (5).to_bytes(8, "big", signed=True)})
    connection.close()
    assert read(ReadFromHBase(hbase.config(), table, layout))[0] == [{"id": "a", "state": "on", "count": 5}]
