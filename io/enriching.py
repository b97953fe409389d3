"""Lookups for Beam's Enrichment transform, with a cache: what the device registry says of an event's device."""

from __future__ import annotations

import abc
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final

import apache_beam as beam

from thingbeam.io.writing.store import Again, Throttled
from thingbeam.schemas.durations import Duration, micros_of_duration

__all__ = ["CachedLookup", "LookupCache"]


class LookupCache:
    """What was found, for a while. The one that was asked for longest ago goes first. Several threads use it at once.

    Args:
        most: entries.
        keep: seconds that what was found stays.
        keep_absent: seconds that it is remembered that nothing was.
        clock: seconds that never go back.

    >>> cache = LookupCache(2, 60.0, 5.0)
    >>> cache.put("a", {"room": "hall"})
    >>> cache.get("a"), cache.get("b")
    ((True, {'room': 'hall'}), (False, None))
    """

    def __init__(self, most: int, keep: float, keep_absent: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._keep = keep
        self._keep_absent = keep_absent
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, tuple[float, Mapping[str, Any] | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> tuple[bool, Mapping[str, Any] | None]:
        """Whether it is known, and what it is; None where it is known that there is nothing."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return False, None
            until, found = entry
            if until <= self._clock():
                del self._entries[key]
                return False, None
            self._entries.move_to_end(key)
            return True, found

    def put(self, key: Hashable, found: Mapping[str, Any] | None) -> None:
        """Remember what was found; None for nothing."""
        with self._lock:
            self._entries[key] = self._clock() + (self._keep_absent if found is None else self._keep), found
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)


class CachedLookup(abc.ABC):
    """Looks up a row by a key that each element has, and adds some of its fields; for `beam.transforms.enrichment`.

    Takes `beam.Row`s and NamedTuples, gives `beam.Row`s with the fields of `add` beside their own: None where there is
    no such key, or the row has no such field. What was found is kept, in one cache for the worker process, so that a
    change of the table shows after `keep` at the latest. A failure that may pass is tried again by Enrichment.

    A subclass says how to `open`, `find` and `close`. It is an `EnrichmentSourceHandler` in all but its base class:
    Beam's module of those needs google-api-core, of the extra `apache-beam[gcp]`, which whoever uses Enrichment has.

    Args:
        key: the field that has the key, or a function of the element. Where it gives None, nothing is looked up.
        add: the fields to add; with a mapping, by the names that they get.
        keep: how long what was found is taken for true.
        keep_absent: how long it is taken for true that there is nothing.
        most: entries of the cache.

    Raises:
        ValueError: nothing to add, or a name twice.
    """

    def __init__(
        self,
        key: str | Callable[[Any], Hashable | None],
        add: Sequence[str] | Mapping[str, str],
        *,
        keep: Duration = "5m",
        keep_absent: Duration = "30s",
        most: int = 10_000,
    ) -> None:
        names = dict(add) if isinstance(add, Mapping) else {name: name for name in add}
        if not names or len(set(names.values())) < len(add):
            raise ValueError("add: name one field or more, each once")
        if most < 1:
            raise ValueError(f"most {most}: at least 1")
        self._key = key
        self._names = names
        self._keep = micros_of_duration(keep, "keep") / 1e6
        self._keep_absent = micros_of_duration(keep_absent, "keep_absent") / 1e6
        self._most = most
        self._id = uuid.uuid4().hex

    @abc.abstractmethod
    def open(self) -> None:
        """Connect, on the worker.

        Raises:
            ConnectorError: what trying again will not mend.
        """

    @abc.abstractmethod
    def find(self, key: Any) -> Mapping[str, Any] | None:
        """The row of a key; None if there is none.

        Raises:
            Throttled: too many at once.
            Again: it may do the next time.
            ConnectorError: what trying again will not mend.
        """

    def close(self) -> None:  # noqa: B027
        """Let go of what `open` made."""

    def __enter__(self) -> CachedLookup:
        """As Beam wants it."""
        self._cache = _cache(self._id, self._most, self._keep, self._keep_absent)
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        """As Beam wants it."""
        self.close()

    def __call__(self, request: Any, *_: Any, **__: Any) -> tuple[beam.Row, beam.Row]:
        """The element, as a Row, and what is added to it."""
        key = getattr(request, self._key) if isinstance(self._key, str) else self._key(request)
        known, found = (True, None) if key is None else self._cache.get(key)
        if not known:
            try:
                found = self.find(key)
            except (Throttled, Again) as answer:
                # What Beam tries again.
                from apache_beam.io.requestresponse import UserCodeQuotaException, UserCodeTimeoutException

                sort = UserCodeQuotaException if isinstance(answer, Throttled) else UserCodeTimeoutException
                raise sort(str(answer)) from answer
            self._cache.put(key, found)
        given = found or {}
        return beam.Row(**request._asdict()), beam.Row(**{to: given.get(name) for name, to in self._names.items()})

    def batch_elements_kwargs(self) -> dict[str, Any]:
        """For Beam: elements come one by one."""
        return {}

    def get_cache_key(self, request: Any) -> str:
        """For Beam's own cache, where one is used: the key's text."""
        return str(getattr(request, self._key) if isinstance(self._key, str) else self._key(request))


_caches: Final[dict[str, LookupCache]] = {}
_lock: Final = threading.Lock()


def _cache(name: str, most: int, keep: float, keep_absent: float) -> LookupCache:
    with _lock:
        if name not in _caches:
            _caches[name] = LookupCache(most, keep, keep_absent)
        return _caches[name]
