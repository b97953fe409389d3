"""Connections of one worker process: several threads take turns, and what broke is replaced."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator
from typing import Final

from thriftpy2.thrift import TException
from thriftpy2.transport import TTransportException

from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.hbase.gateways import Gateway
from thingbeam.io.hbase.thrift1 import Thrift1
from thingbeam.io.hbase.thrift2 import Thrift2

__all__ = ["ConnectionPool", "open_gateway"]

_IDLE_S: Final = 20.0
"""A gateway cuts connections that were silent for a minute (hbase.thrift.server.socket.read.timeout)."""


def open_gateway(config: HBaseConfig) -> Gateway:
    """A new connection.

    Raises:
        OSError: no connection.
        TTransportException: no connection.
    """
    return Thrift1(config) if config.interface == 1 else Thrift2(config)


class ConnectionPool:
    """At most `config.connections` at once. A connection that failed is closed; the next user has a new one.

    Args:
        config: of the gateway.
        opener: makes a connection.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        config: HBaseConfig,
        opener: Callable[[HBaseConfig], Gateway] = open_gateway,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._opener = opener
        self._clock = clock
        self._room = threading.BoundedSemaphore(config.connections)
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Gateway]] = []
        self._closed = False

    @property
    def config(self) -> HBaseConfig:
        """Of the gateway."""
        return self._config

    @contextlib.contextmanager
    def connection(self) -> Generator[Gateway]:
        """A connection for this thread; waits for one where all are taken.

        Raises:
            OSError: there is none to be had.
            TTransportException: there is none to be had.
        """
        with self._room:
            gateway = self._take() or self._opener(self._config)
            try:
                yield gateway
            except GeneratorExit:
                # Whoever used it was left in peace.
                self._give(gateway)
                raise
            except BaseException as error:
                if _spoils(error):
                    _drop(gateway)
                else:
                    self._give(gateway)
                raise
            else:
                self._give(gateway)

    def close(self) -> None:
        """Let all go; those that are in use when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for _, gateway in idle:
            _drop(gateway)

    def _take(self) -> Gateway | None:
        with self._lock:
            now = self._clock()
            stale = [gateway for since, gateway in self._idle if now - since > _IDLE_S]
            self._idle = [(since, gateway) for since, gateway in self._idle if now - since <= _IDLE_S]
            found = self._idle.pop()[1] if self._idle else None
        for gateway in stale:
            _drop(gateway)
        return found

    def _give(self, gateway: Gateway) -> None:
        with self._lock:
            if not self._closed and gateway.is_open:
                self._idle.append((self._clock(), gateway))
                return
        _drop(gateway)


def _drop(gateway: Gateway) -> None:
    with contextlib.suppress(OSError):
        gateway.close()


def _spoils(error: BaseException) -> bool:
    """Whether the connection that raised it is of no more use: nobody answered, or half of an answer was read."""
    return isinstance(error, TTransportException) or not isinstance(error, TException)
