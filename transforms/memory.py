"""What a worker keeps of state from one call to the next, beside the state's cells and never in place of them.

To read, decode and index a shard's whole state costs far more than a call that concerns a few devices. So a call that
has written its cells leaves here what it knows, under a token that it has written into a cell as well. The next call
reads the token: if the runner kept the write, and the call came to this worker, the cells need not be read. After a
failed bundle, a restart or a move to another worker the token is another one, and what lies here is forgotten in time.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from typing import Final, Generic, Protocol, TypeVar

__all__ = ["Memory", "Sized"]

_MOST_BYTES: Final = 1 << 30


class Sized(Protocol):
    """What knows how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """About how many bytes."""
        ...


T = TypeVar("T", bound=Sized)


class Memory(Generic[T]):
    """Values by tokens that are never given twice. It is safe in threads.

    Args:
        most_bytes: beyond so many, what was left first is forgotten, but for the newest.

    >>> import numpy as np
    >>> memory = Memory[np.ndarray](16)
    >>> one, other = memory.leave(np.zeros(1)), memory.leave(np.ones(1))
    >>> memory.take(one), memory.take(one)
    (array([0.]), None)
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._held: OrderedDict[bytes, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()

    def leave(self, value: T) -> bytes:
        """Keep a value that nobody else has; returns its token."""
        token, size = secrets.token_bytes(16), value.nbytes
        with self._lock:
            self._held[token] = value, size
            self._bytes += size
            while self._bytes > self._most_bytes and len(self._held) > 1:
                _, (_, freed) = self._held.popitem(last=False)
                self._bytes -= freed
        return token

    def take(self, token: bytes) -> T | None:
        """The value that was left under a token, which is not here any more then; None if it is not."""
        with self._lock:
            value, size = self._held.pop(token, (None, 0))
            self._bytes -= size
        return value
