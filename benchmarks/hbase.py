"""Rows per second into HBase: WriteToHBase in a pipeline beside a bare happybase batch loop, turn by turn.

    python benchmarks/hbase.py [--rows 10000] [--turns 9] [--interface 2] [--distinct]

Starts an HBase of the stack. Both sides write rows of the same cells, 1,000 in a call: activities of 2,000 devices, 9
cells each. The bare loop has its keys and cells ready, makes one call after another, and has no timestamps of its own;
the pipeline is given Arrow batches, as DeviceHistory makes them, and makes keys, cells and timestamps. Many short
turns, so that what else the machine does falls on both sides.
"""

from __future__ import annotations

import tempfile
import time
from typing import Literal

import happybase
import pyarrow as pa
from apache_beam.utils.timestamp import Timestamp
from beside import Beside, by_turns, command, piped

from thingbeam.io.hbase import HBaseConfig, HBaseRow, KeyPart, RowKey, TableLayout, WriteToHBase, create_table
from thingbeam.io.hbase.encoding import RowEncoder
from thingbeam.io.writing import BatchPolicy
from thingbeam.runners.stack import running
from thingbeam.runners.stack.components.hbase import HBase
from thingbeam.schemas.arrow import to_record_batch
from thingbeam.schemas.records import Activity

BATCH = 1_000
LAYOUT = TableLayout.of(
    Activity, RowKey("device_id", KeyPart.newest("start"), "component", "capability", salt=4), regions=4
)


def batch_of(number: int, turn: int, *, distinct: bool = False) -> pa.RecordBatch:
    """A thousand activities of one revision, or each of its own."""
    first = number * BATCH
    return to_record_batch(
        [
            Activity(
                f"device-{row % 2_000:08d}",
                "main",
                "washerOperatingState",
                Timestamp(micros=(turn * 10_000_000 + row) * 1_000_000),
                "2026-11-22T10:00:00+01:00",
                Timestamp(micros=(turn * 10_000_000 + row + 60) * 1_000_000),
                60.0,
                "done",
                "stop",
                1_795_000_000_000_000 + (row if distinct else number),
                f"home-{row % 700}",
            )
            for row in range(first, first + BATCH)
        ],
        Activity,
    )


def bare(address: str, table: str, rows: list[HBaseRow]) -> float:
    """Rows per second of a happybase batch loop."""
    host, _, port = address.rpartition(":")
    connection = happybase.Connection(host, int(port), timeout=60_000)
    cells = len(rows[0].cells)
    began = time.perf_counter()
    with connection.table(table).batch(batch_size=BATCH * cells) as batch:
        for row in rows:
            batch.put(row.key, row.cells)
    seconds = time.perf_counter() - began
    connection.close()
    return len(rows) / seconds


def measure(rows: int, turns: int, interface: Literal[1, 2], *, distinct: bool, in_flight: int = 4) -> list[Beside]:
    """Turn by turn."""
    with tempfile.TemporaryDirectory() as folder, running(folder, HBase()) as stack:
        place = stack.place("hbase")
        first, second = place.address("thrift"), place.address("thrift2")
        config = HBaseConfig(second, 2) if interface == 2 else HBaseConfig(first)
        table = f"bench-{time.time_ns()}"
        create_table(HBaseConfig(second, 2), table, LAYOUT)
        encoder = RowEncoder(LAYOUT)
        policy = BatchPolicy(rows=BATCH, in_flight=in_flight)

        def batches(turn: int) -> list[pa.RecordBatch]:
            return [batch_of(number, turn, distinct=distinct) for number in range(rows // BATCH)]

        def loop(turn: int) -> float:
            ready = [row for batch in batches(2 * turn) for row in encoder.rows(batch) if isinstance(row, HBaseRow)]
            return bare(first, table, ready)

        def sink(turn: int) -> float:
            return piped(batches(2 * turn + 1), rows, WriteToHBase(config, table, LAYOUT, batch=policy))

        what = f"HBase, Thrift {interface}, 1,000 rows a call, a revision for each {'row' if distinct else 'batch'}"
        return [by_turns(what, "rows/s", turns, loop, sink)]


if __name__ == "__main__":
    command(
        __doc__,
        measure,
        rows=10_000,
        turns=9,
        interface={"type": int, "choices": (1, 2), "default": 1},
        in_flight=4,
        distinct={"action": "store_true", "help": "a revision for each row, not for each batch"},
    )
