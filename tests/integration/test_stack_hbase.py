"""The stack's HBase: what it acknowledged it keeps over kill -9, on the same ports, for this machine only."""

from __future__ import annotations

from pathlib import Path

import happybase
import pytest
from thriftpy2.transport import TTransportException

from stack_fixtures import Tables
from thingbeam.runners.stack.components.hbase import HBase

ROWS = 20_000


@pytest.mark.slow
def test_rows_survive_kill_9(hbase: Tables) -> None:
    config = hbase.config()
    connection = happybase.Connection(config.host, config.port, timeout=60_000)
    connection.create_table("kept", {"d": {}})
    with connection.table("kept").batch(batch_size=1_000) as batch:
        for number in range(ROWS):
            batch.put(b"%06d" % number, {b"d:n": b"%d" % number})
    pid = hbase.pid()
    with hbase.killed():
        assert hbase.pid() is None
        with pytest.raises(TTransportException):
            happybase.Connection(config.host, config.port, timeout=1_000)
    assert hbase.pid() != pid
    assert hbase.config() == config
    connection = happybase.Connection(config.host, config.port, timeout=60_000)
    found = [int(cells[b"d:n"]) for _, cells in connection.table("kept").scan(batch_size=1_000)]
    connection.close()
    assert found == list(range(ROWS))


def test_it_listens_on_this_machine_only(hbase: Tables) -> None:
    ports = set(hbase.stack.place("hbase").ports.values())
    listening: dict[int, set[str]] = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            local, _, state = line.split()[1:4]
            address, _, port = local.partition(":")
            if state == "0A" and int(port, 16) in ports:
                listening.setdefault(int(port, 16), set()).add(address)
    assert set(listening) == ports
    assert set().union(*listening.values()) <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_its_settings() -> None:
    assert set(HBase(port=9090).ports()) == {"thrift", "thrift2", "master", "region", "zookeeper"}
    assert HBase.of({"secured": "true", "retries": "3"}, strict=False) == HBase(secured=True, retries=3)
