from __future__ import annotations

import socket
from pathlib import Path

import pytest

from thingbeam.runners.stack import StackError, ports
from thingbeam.runners.stack.ports import free_port, is_free


def test_ports_are_free_and_not_those_of_outgoing_connections() -> None:
    lowest_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: set[int] = set()
    for _ in range(50):
        found.add(free_port(found))
    assert len(found) == 50
    assert all(port >= 20_000 for port in found)
    if lowest_outgoing > 21_000:
        assert max(found) < lowest_outgoing


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_with_a_server_is_not_free(host: str) -> None:
    port = free_port()
    with socket.create_server((host, port)):
        assert not is_free(port)
    assert is_free(port)


def test_a_port_with_a_connection_that_lingers_is_free() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as server:
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first waits in TIME_WAIT
        client.close()
    assert is_free(port)


def test_no_port_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: False)
    with pytest.raises(StackError, match=r"^no free port on 127\.0\.0\.1 from "):
        free_port()
