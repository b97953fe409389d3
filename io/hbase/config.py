"""How to reach HBase: the address of a Thrift gateway, and how it was started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from thingbeam.schemas.durations import Duration, micros_of_duration

__all__ = ["HBaseConfig"]


@dataclass(frozen=True)
class HBaseConfig:
    """A Thrift gateway. Plain values only, so it travels in the job's graph.

    HBase has two gateways, which are two programs (`hbase thrift start`, `hbase thrift2 start`): the first is the one
    that happybase speaks to and that clusters usually run; the second takes a revision with each row, makes tables with
    pre-splits, and is the faster one wherever rows of one batch have different revisions.

    Attributes:
        address: `host:port` of the gateway.
        interface: which of the two it is: 1 or 2.
        framed: whether it was started with a framed transport (`-hsha`, `-nonblocking`, `-threadedselector`, `-f`).
        timeout: how long one answer is waited for. The gateway itself tries again for as long as it likes.
        connections: the most that one worker process opens at once.

    Raises:
        ValueError: what cannot be; one line that says how to mend it.

    >>> HBaseConfig("127.0.0.1:9090").host
    '127.0.0.1'
    >>> HBaseConfig("127.0.0.1")
    Traceback (most recent call last):
    ...
    ValueError: address '127.0.0.1': write it as host:port, of HBase's Thrift gateway
    """

    address: str
    interface: Literal[1, 2] = 1
    framed: bool = False
    timeout: Duration = "60s"
    connections: int = 8

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise ValueError(f"address {self.address!r}: write it as host:port, of HBase's Thrift gateway")
        if self.interface not in (1, 2):
            raise ValueError(f"interface {self.interface!r}: 1 (hbase thrift start) or 2 (hbase thrift2 start)")
        if self.connections < 1:
            raise ValueError(f"connections {self.connections}: at least 1")
        if micros_of_duration(self.timeout, "timeout") == 0:
            raise ValueError("timeout: above 0")

    @property
    def host(self) -> str:
        """Of the gateway; an IPv6 address without its brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Of the gateway."""
        return int(self.address.rpartition(":")[2])

    @property
    def timeout_millis(self) -> int:
        """`timeout` in milliseconds."""
        return max(1, micros_of_duration(self.timeout) // 1000)
