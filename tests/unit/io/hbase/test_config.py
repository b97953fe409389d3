"""HBaseConfig, and what the transforms refuse before anything runs."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.hbase import (
    Column,
    HBaseConfig,
    HBaseLookup,
    KeyPart,
    ReadFromHBase,
    RowKey,
    TableLayout,
    WriteToHBase,
)
from thingbeam.io.hbase.sink import _ToRows
from thingbeam.io.writing import BatchPolicy

LAYOUT = TableLayout(RowKey("id", KeyPart.newest("at"), salt=4), (Column("a", "text"),))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"address": "h"}, "write it as host:port"),
        ({"address": "h:0"}, "write it as host:port"),
        ({"address": ":1"}, "write it as host:port"),
        ({"interface": 3}, r"interface 3: 1 \(hbase thrift start\) or 2"),
        ({"connections": 0}, "connections 0: at least 1"),
        ({"timeout": 0}, "timeout: above 0"),
    ],
)
def test_what_no_gateway_can_be(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        HBaseConfig(**({"address": "h:1"} | arguments))


def test_an_address_of_any_sort() -> None:
    config = HBaseConfig("[::1]:9090", timeout="1.5s")
    assert (config.host, config.port, config.timeout_millis) == ("::1", 9090, 1500)
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"table": ""}, "name the table"),
        ({"limit": 0}, "limit 0: at least 1"),
        ({"batch_rows": 0}, "batch_rows 0: at least 1"),
        ({"since": Timestamp(0)}, "since and until go with fields"),
        ({"fields": {"id": "x"}, "start": b"a"}, "fields need a layout, and stand instead of start and stop"),
        ({"fields": {"id": "x"}, "since": Timestamp(5), "until": Timestamp(5)}, "nothing is between"),
        ({"fields": {"at": Timestamp(0)}}, "by the first parts of the key: id, at"),
        ({"start": b"b", "stop": b"a"}, "nothing is between"),
        ({"layout": None, "event_time": "at"}, "it needs a layout"),
        ({"columns": ["b"]}, "no column b; there are a"),
    ],
)
def test_what_cannot_be_read(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ReadFromHBase(**({"address": "h:1", "table": "t", "layout": LAYOUT} | arguments))


def test_what_cannot_be_written_or_looked_up() -> None:
    with pytest.raises(ValueError, match="give the layout of the table"):
        WriteToHBase("h:1", "t")
    with pytest.raises(ValueError, match="name the table"):
        WriteToHBase("h:1", "", LAYOUT)
    with pytest.raises(ValueError, match="9 calls at once, and 8 connections"):
        WriteToHBase("h:1", "t", LAYOUT, batch=BatchPolicy(in_flight=9))
    with pytest.raises(ValueError, match="no column b; there are a"):
        HBaseLookup("h:1", "t", LAYOUT, "id", ["b"])


@pytest.mark.parametrize("layout", [None, LAYOUT])
def test_what_travels_to_the_workers(layout: TableLayout | None) -> None:
    rows = pickle.loads(pickle.dumps(_ToRows(layout)))
    if layout is None:
        with pytest.raises(TypeError, match="without a layout takes HBaseRow, not dict"):
            list(rows({}))
    else:
        (row,) = rows({"id": "x", "at": Timestamp(0), "a": "b", "revision": 1})
        assert row.row is not None
