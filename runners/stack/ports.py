"""Free ports of the loopback address, that stay free for a restart."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Final

from thingbeam.runners.stack.errors import StackError

__all__ = ["LOOPBACK", "free_port", "is_free"]

LOOPBACK: Final = "127.0.0.1"
_LOWEST: Final = 20_000
_EPHEMERAL: Final = 32_768
_TRIES: Final = 1_000
_CHOICE: Final = random.SystemRandom()


def free_port(avoid: Collection[int] = ()) -> int:
    """A port that nothing listens on, below those that the system gives to outgoing connections.

    A component that was killed must find its port free when it comes back: one from the ephemeral range could have
    become some connection's own in the meantime. The choice is random, so that stacks which start at once rarely meet.

    Args:
        avoid: ports that are promised already.

    Raises:
        StackError: none was found.
    """
    highest = _EPHEMERAL
    with contextlib.suppress(OSError, ValueError, IndexError):
        highest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    low, high = (_LOWEST, highest) if highest > _LOWEST + _TRIES else (_LOWEST, 65_536)
    for _ in range(_TRIES):
        port = _CHOICE.randrange(low, high)
        if port not in avoid and is_free(port):
            return port
    raise StackError(f"no free port on {LOOPBACK} from {low} to {high - 1}")


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now; connections that linger after a kill do not count."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((LOOPBACK, port))
            server.listen(1)
        except OSError:
            return False
    return True
