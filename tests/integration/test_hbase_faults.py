"""WriteToHBase while HBase is killed, cut off, slowed and full: all rows there, each once, in their newest revision.

THINGBEAM_TEST_ROWS says how many states are written: 1,000,000 by hand.
"""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import apache_beam as beam
import happybase
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from fault_proxy import TcpProxy
from kafka_running import collect, collected
from stack_fixtures import Tables
from thingbeam.io.hbase import Column, HBaseConfig, RowKey, TableLayout, WriteToHBase
from thingbeam.io.hbase.thrift2 import Thrift2
from thingbeam.io.writing import BatchPolicy, RetryPolicy

ROWS = int(os.environ.get("THINGBEAM_TEST_ROWS", "20000"))
LAYOUT = TableLayout(
    RowKey("device", salt=4),
    (Column("number", "int64"), Column("state", "text"), Column("note", "text", optional=True)),
)
CHUNK = 500


def states(rows: int, shared: bool) -> Iterator[dict[str, Any]]:
    """Three states for each device, in no order; every ninth device is gone in its newest. And some poison.

    Args:
        rows: about so many.
        shared: whether many rows have the same revision, as those of one slice of DeviceHistory have.
    """
    order = random.Random(7)
    devices = rows // 3
    block = 3 * 5_000
    for first in range(0, devices * 3, block):
        numbers = list(range(first, min(first + block, devices * 3)))
        order.shuffle(numbers)
        for number in numbers:
            device, turn = divmod(number, 3)
            revision = 1_000 * (turn + 1) + (device // CHUNK if shared else device)
            deleted = turn == 2 and device % 9 == 0
            yield {"device": f"device-{device}", "number": number, "state": f"state {turn}",
                   "note": None if turn == 2 else "x" * 20, "revision": revision, "deleted": deleted}  # fmt: skip
            if number % 5_000 == 0:
                yield {"device": "", "number": number, "state": "poison", "revision": 1}
                yield {"device": f"poison-{number}", "number": "five", "state": "poison", "revision": 1}


def check(hbase: Tables, table: str, rows: int) -> None:
    """That happybase sees what should be there, and no more."""
    config = hbase.config(1)
    connection = happybase.Connection(config.host, config.port, timeout=120_000)
    seen: set[int] = set()
    for key, cells in connection.table(table).scan(batch_size=5_000):
        device = int(key[1:].removeprefix(b"device-"))
        assert device not in seen
        seen.add(device)
        assert struct.unpack(">q", cells[b"d:number"])[0] == device * 3 + 2
        assert (cells[b"d:state"], cells[b"d:note"]) == (b"state 2", b"")
    connection.close()
    devices = rows // 3
    assert len(seen) == devices - len(range(0, devices, 9))
    assert all(device % 9 for device in seen)


class Chunks(beam.DoFn):
    """The states, in bundles of the source's own; says how far it is."""

    reached = 0

    def __init__(self, rows: int, shared: bool) -> None:
        self._rows = rows
        self._shared = shared

    def process(self, _: Any) -> Iterator[dict[str, Any]]:
        for number, state in enumerate(states(self._rows, self._shared)):
            Chunks.reached = number
            yield state


def wait_for(share: float, rows: int, ended: threading.Event) -> None:
    """Until the source is so far."""
    while Chunks.reached < share * rows and not ended.is_set():
        time.sleep(0.005)


def run(config: HBaseConfig, table: str, rows: int, shared: bool, faults: Callable[[threading.Event], None]) -> Any:
    """Writes while there are faults; gives dead letters and metrics."""
    Chunks.reached = 0
    ended = threading.Event()
    problems: list[BaseException] = []

    def trouble() -> None:
        try:
            faults(ended)
        except BaseException as error:  # told in the test's own thread
            problems.append(error)

    thread = threading.Thread(target=trouble)
    pipeline = beam.Pipeline(FnApiRunner())
    done = (
        pipeline
        | beam.Create([None])
        | beam.ParDo(Chunks(rows, shared))
        | WriteToHBase(config, table, LAYOUT, batch=BatchPolicy(rows=CHUNK), retry=RetryPolicy(longest="1s"))
    )
    dead = collect(done.dead_letters)
    thread.start()
    began = time.monotonic()
    try:
        result = pipeline.run()
        result.wait_until_finish()
    finally:
        ended.set()
        thread.join()
    print(f"{Chunks.reached + 1} states in {time.monotonic() - began:.1f} s")
    assert problems == []
    counters = result.metrics().query(MetricsFilter().with_namespace("thingbeam.io.hbase"))["counters"]
    return collected.pop(dead), {one.key.metric.name: one.committed for one in counters}


@pytest.mark.slow
@pytest.mark.parametrize(("interface", "shared"), [(1, True), (2, False)], ids=["thrift1", "thrift2"])
def test_nothing_is_lost_or_doubled_by_kills_cuts_and_slowness(
    hbase: Tables, interface: Literal[1, 2], shared: bool
) -> None:
    table = hbase.table(LAYOUT)
    with TcpProxy(hbase.config(interface).address) as proxy:

        def faults(ended: threading.Event) -> None:
            wait_for(0.1, ROWS, ended)
            proxy.cut(0.5)
            wait_for(0.25, ROWS, ended)
            with proxy.slow(0.05):
                ended.wait(2)
            wait_for(0.4, ROWS, ended)
            with hbase.killed():
                ended.wait(1)
            for share in (0.6, 0.75, 0.9):
                wait_for(share, ROWS, ended)
                proxy.cut(0.2)

        config = hbase.config(interface, proxy.address, timeout="10s")
        dead, counters = run(config, table, ROWS, shared, faults)
    print(counters)
    assert counters["rows_retried"] > 0, "the faults were felt"
    check(hbase, table, ROWS)
    poison = len(range(0, ROWS // 3 * 3, 5_000))
    assert sorted(letter.code for letter in dead) == ["missing_field"] * poison + ["wrong_type"] * poison
    assert counters["dead_letters"] == 2 * poison


@pytest.mark.slow
def test_a_full_region_is_waited_for(hbase: Tables) -> None:
    """RegionTooBusyException of a real region, whose memory of 1 MiB fills faster than it is written to disk."""
    table = f"full-{time.time_ns()}"
    gateway = Thrift2(hbase.config(2))
    types = gateway._types
    description = types.TTableDescriptor(
        tableName=types.TTableName(qualifier=table.encode()),
        columns=[types.TColumnFamilyDescriptor(name=b"d")],
        attributes={b"MEMSTORE_FLUSHSIZE": b"1048576", b"hbase.hregion.memstore.block.multiplier": b"1"},
    )
    gateway._client.createTable(description, [])
    gateway.close()
    layout = TableLayout(RowKey("id"), (Column("data", "bytes"),), deleted=None)
    rows = 3_000
    write = WriteToHBase(
        hbase.config(2), table, layout, batch=BatchPolicy(bytes=1 << 20, in_flight=8), retry=RetryPolicy("2m")
    )
    elements = [{"id": f"{number}", "data": os.urandom(10_000), "revision": 1} for number in range(rows)]
    pipeline = beam.Pipeline(FnApiRunner())
    pipeline | beam.Create(elements, reshuffle=False) | write
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace("thingbeam.io.hbase"))["counters"]
    found = {one.key.metric.name: one.committed for one in counters}
    print(found)
    assert found["rows_throttled"] > 0, "the region was full"
    assert found["rows_written"] == rows
    config = hbase.config(1)
    connection = happybase.Connection(config.host, config.port, timeout=60_000)
    stored = {key: cells[b"d:data"] for key, cells in connection.table(table).scan(batch_size=200)}
    connection.close()
    assert stored == {element["id"].encode(): element["data"] for element in elements}
