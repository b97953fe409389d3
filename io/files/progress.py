"""How much has been read in this process: for a progress bar beside an embedded runner."""

from __future__ import annotations

import threading

__all__ = ["Tally", "read_so_far"]


class Tally:
    """Bytes that were read, of the files as they are stored or, where those are compressed, unpacked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0

    def add(self, count: int) -> None:
        """Count some more."""
        with self._lock:
            self._bytes += count

    @property
    def bytes(self) -> int:
        """All so far."""
        return self._bytes


read_so_far = Tally()
"""Of all reads of files in this process."""
