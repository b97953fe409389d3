"""One connection to a Thrift gateway of HBase, of either interface, as the few calls that this connector needs.

https://github.com/apache/hbase/tree/master/hbase-thrift/src/main/resources/org/apache/hadoop/hbase
"""

from __future__ import annotations

import abc
import socket
from collections.abc import Generator, Sequence
from typing import Any, Final

from thriftpy2.protocol import TCyBinaryProtocol
from thriftpy2.thrift import TClient, TException
from thriftpy2.transport import TCyBufferedTransport, TCyFramedTransport, TSocket

from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.hbase.layout import TableLayout
from thingbeam.io.hbase.rows import HBaseRow

__all__ = ["PROBE", "Gateway", "Region"]

PROBE: Final = (b"\0thingbeam", b"_probe", b"\0never")
"""Row, qualifier and value of `try_write`."""

_CONNECT_MILLIS: Final = 10_000
Region = tuple[bytes, bytes]
"""The first key of a region, and the first one beyond; empty for the table's own ends."""


class Gateway(abc.ABC):
    """A connection, used by one thread at a time. Its calls raise what thriftpy2 and the socket raise.

    Args:
        config: where it is.
        service: of thriftpy2's.

    Raises:
        OSError: no connection.
        TTransportException: no connection.
    """

    def __init__(self, config: HBaseConfig, service: Any) -> None:
        timeout = config.timeout_millis
        family = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0][0]
        plain = TSocket(
            config.host,
            config.port,
            socket_family=family,
            socket_timeout=timeout,
            connect_timeout=min(timeout, _CONNECT_MILLIS),
        )
        # Thriftpy2's compiled protocol takes a fourth of the time of the one in Python that happybase uses.
        self._transport = TCyFramedTransport(plain) if config.framed else TCyBufferedTransport(plain)
        self._transport.open()
        self._client: Any = TClient(service, TCyBinaryProtocol(self._transport, decode_response=False))

    @property
    def is_open(self) -> bool:
        """Whether it was not closed."""
        return bool(self._transport.is_open())

    def close(self) -> None:
        """Let the connection go."""
        self._transport.close()

    @abc.abstractmethod
    def exists(self, table: str) -> bool:
        """Whether the table is there."""

    @abc.abstractmethod
    def is_enabled(self, table: str) -> bool:
        """Whether it can be read and written."""

    @abc.abstractmethod
    def families(self, table: str) -> set[str]:
        """The names of its column families."""

    @abc.abstractmethod
    def regions(self, table: str) -> list[Region]:
        """Its regions in order; none for a table that is not there."""

    @abc.abstractmethod
    def try_write(self, table: str, family: str) -> None:
        """Ask for a write that cannot happen, since it hangs on a value that is nowhere: fails where it may not."""

    @abc.abstractmethod
    def write(self, table: str, rows: Sequence[HBaseRow], families: Sequence[str]) -> None:
        """Put and delete rows; each row is atomic.

        Args:
            table: its name.
            rows: no two of one key.
            families: what a delete empties.
        """

    @abc.abstractmethod
    def get(self, table: str, keys: Sequence[bytes], columns: Sequence[bytes]) -> dict[bytes, HBaseRow]:
        """The rows of these keys that are there; all columns where none is named."""

    def scan(
        self, table: str, start: bytes, stop: bytes, columns: Sequence[bytes], where: str | None, rows: int, limit: int
    ) -> Generator[list[HBaseRow]]:
        """Rows from `start` to before `stop` (empty: to the end), so many with each call, at most `limit` (0: all).

        Close it where it is left before its end, or the gateway keeps the scanner.
        """
        scanner = self._open_scanner(table, start, stop, columns, where, rows)
        given = 0
        while not limit or given < limit:
            found = self._next_rows(scanner, min(rows, limit - given) if limit else rows)
            if not found:
                break
            given += len(found)
            try:
                yield found
            except GeneratorExit:
                try:
                    self._close_scanner(scanner)
                except (TException, OSError, EOFError):
                    self.close()
                raise
        self._close_scanner(scanner)

    @abc.abstractmethod
    def _open_scanner(
        self, table: str, start: bytes, stop: bytes, columns: Sequence[bytes], where: str | None, rows: int
    ) -> int: ...

    @abc.abstractmethod
    def _next_rows(self, scanner: int, rows: int) -> list[HBaseRow]: ...

    @abc.abstractmethod
    def _close_scanner(self, scanner: int) -> None: ...

    @abc.abstractmethod
    def create(self, table: str, layout: TableLayout) -> None:
        """Make a table."""

    @abc.abstractmethod
    def delete(self, table: str) -> None:
        """Disable and delete a table."""
