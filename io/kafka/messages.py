"""What the client's messages hold, column by column.

A message is taken apart as soon as the client gives it, and let go. Some hundreds of messages with their values fit
into a processor's cache, thousands do not: held until there were two thousand, they cost twice the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

__all__ = ["Messages"]

Longs = NDArray[np.int64]

_NO_LONGS: Final[Longs] = np.zeros(0, np.int64)
_value: Final[Any] = Message.value
_key: Final[Any] = Message.key
_headers: Final[Any] = Message.headers
_offset: Final[Any] = Message.offset
_stamp: Final[Any] = Message.timestamp
_millis: Final[Any] = itemgetter(1)


class Messages:
    """Messages of one partition in their order, none of them an error.

    Attributes:
        payloads: the values.
        keys: the keys.
        headers: of each message its headers; empty where no message has any.
        time_type: confluent_kafka's word for which time the first one has; -1 without messages.
        nbytes: of the values.

    >>> found = Messages()
    >>> found.add([Message(offset=offset, value=b"{}", timestamp=(1, 1000 + offset)) for offset in (5, 6, 9)])
    >>> found.payloads, found.offsets.tolist(), found.millis.tolist()
    ([b'{}', b'{}', b'{}'], [5, 6, 9], [1005, 1006, 1009])
    """

    __slots__ = ("_millis", "_offsets", "headers", "keys", "nbytes", "payloads", "time_type")

    def __init__(self) -> None:
        self.payloads: list[bytes | None] = []
        self.keys: list[bytes | None] = []
        self.headers: list[Sequence[tuple[str, bytes | None]]] = []
        self.time_type = -1
        self.nbytes = 0
        self._millis: list[Longs] = []
        self._offsets: list[Longs] = []

    def __len__(self) -> int:
        return len(self.payloads)

    def add(self, messages: Sequence[Message]) -> None:
        """Some more, which come after those that are here."""
        count = len(messages)
        if not count:
            return
        headers = list(map(_headers, messages))
        if any(headers) or self.headers:
            self.headers += [()] * (len(self.payloads) - len(self.headers))
            self.headers += [tuple(some or ()) for some in headers]
        if self.time_type < 0:
            self.time_type = messages[0].timestamp()[0]
        self.payloads += map(_value, messages)
        self.keys += map(_key, messages)
        self._millis.append(np.fromiter(map(_millis, map(_stamp, messages)), np.int64, count))
        self._offsets.append(_offsets(messages))
        self.nbytes += sum(map(len, messages))

    @property
    def offsets(self) -> Longs:
        """Where each stands."""
        return _joined(self._offsets)

    @property
    def millis(self) -> Longs:
        """The time of each, in milliseconds since 1970; negative for a message that has none."""
        return _joined(self._millis)

    def only(self, wanted: NDArray[np.bool_]) -> Messages:
        """Those that are wanted; `nbytes` stays, of all that was read."""
        if wanted.all():
            return self
        flags = wanted.tolist()
        found = Messages()
        found.payloads = [value for value, good in zip(self.payloads, flags, strict=True) if good]
        found.keys = [key for key, good in zip(self.keys, flags, strict=True) if good]
        if self.headers:
            found.headers = [some for some, good in zip(self.headers, flags, strict=True) if good]
        found.time_type, found.nbytes = self.time_type, self.nbytes
        found._millis, found._offsets = [self.millis[wanted]], [self.offsets[wanted]]
        return found


def _offsets(messages: Sequence[Message]) -> Longs:
    first, last = int(messages[0].offset() or 0), int(messages[-1].offset() or 0)
    if last - first == len(messages) - 1:
        # They ascend, so none is left out; compaction and transactions leave some out.
        return np.arange(first, last + 1, dtype=np.int64)
    return np.fromiter(map(_offset, messages), np.int64, len(messages))


def _joined(parts: list[Longs]) -> Longs:
    if not parts:
        return _NO_LONGS
    if len(parts) > 1:
        parts[:] = [np.concatenate(parts)]
    return parts[0]
