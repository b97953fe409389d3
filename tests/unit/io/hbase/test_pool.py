"""Connections in turns: how many, which are kept, and what becomes of those that broke."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from thingbeam.io.hbase import HBaseConfig
from thingbeam.io.hbase.pool import ConnectionPool
from thingbeam.io.hbase.thrift2 import _interface

GatewayError = _interface().TIOError


class Connection:
    """Is counted, and can be closed."""

    made = 0

    def __init__(self, config: HBaseConfig) -> None:
        Connection.made += 1
        self.number = Connection.made
        self.is_open = True

    def close(self) -> None:
        """Once."""
        assert self.is_open
        self.is_open = False


@pytest.fixture
def clock() -> list[float]:
    """Seconds."""
    Connection.made = 0
    return [0.0]


def pool_of(connections: int, clock: list[float]) -> Any:
    """A pool of connections to nobody."""
    opener: Any = Connection
    return ConnectionPool(HBaseConfig("h:1", connections=connections), opener, lambda: clock[0])


def test_one_is_used_again_until_it_breaks(clock: list[float]) -> None:
    pool = pool_of(2, clock)
    for _ in range(3):
        with pool.connection() as one:
            assert one.number == 1
    with pytest.raises(GatewayError), pool.connection():
        raise GatewayError(message=b"an answer of the server's")
    with pool.connection() as one:
        assert one.number == 1, "what the server answers harms no connection"
    with pytest.raises(TimeoutError), pool.connection() as one:
        raise TimeoutError
    assert not one.is_open
    with pool.connection() as other:
        assert other.number == 2


def test_silent_ones_are_not_used_again(clock: list[float]) -> None:
    pool = pool_of(2, clock)
    with pool.connection() as one:
        pass
    clock[0] = 30.0
    with pool.connection() as other:
        assert (one.is_open, other.number) == (False, 2)


def test_no_more_than_allowed(clock: list[float]) -> None:
    pool = pool_of(1, clock)
    order: list[str] = []

    def second() -> None:
        with pool.connection():
            order.append("second")

    thread = threading.Thread(target=second)
    with pool.connection():
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert Connection.made == 1


def test_a_closed_pool_keeps_none(clock: list[float]) -> None:
    pool = pool_of(2, clock)
    with pool.connection() as late:
        with pool.connection() as early:
            pass
        pool.close()
        assert not early.is_open
    assert not late.is_open


def test_a_generator_that_is_left_gives_its_connection_back(clock: list[float]) -> None:
    pool = pool_of(1, clock)

    def rows() -> Any:
        with pool.connection() as one:
            yield one
            yield one

    reading = rows()
    one = next(reading)
    reading.close()
    assert one.is_open
    with pool.connection() as again:
        assert again is one
