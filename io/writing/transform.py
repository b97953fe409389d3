"""BatchedWrite: what every sink is made of. A bundle ends when its rows are stored."""

from __future__ import annotations

import bisect
import threading
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, NamedTuple, TypeVar

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from thingbeam.io.writing.calls import Counts
from thingbeam.io.writing.payloads import payload_of
from thingbeam.io.writing.policies import BatchPolicy, RetryPolicy
from thingbeam.io.writing.store import Refused, Store
from thingbeam.io.writing.throttle import Throttle
from thingbeam.io.writing.writer import BatchedWriter, Done
from thingbeam.schemas.coders import register_rows
from thingbeam.schemas.records import DeadLetter

__all__ = ["BatchedWrite", "WriteResult", "WriteResults"]

DEAD_LETTERS: Final = "dead_letters"
WRITTEN: Final = "written"
LATENCY_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000)
"""The upper bounds of the latency histogram's buckets."""
_KEPT_BYTES: Final = 64 << 10

R = TypeVar("R")


class WriteResult(NamedTuple):
    """What became of the rows of one element: they sum up to its rows."""

    stored: int
    superseded: int
    """Rows that a newer one of their key made needless."""
    refused: int
    """Rows that are dead letters now."""


register_rows(WriteResult)


class WriteResults(NamedTuple):
    """What a sink gives: two PCollections."""

    written: Any
    """Of (element, WriteResult): each element after all its rows are stored, superseded or refused, with its own time
    and window."""
    dead_letters: Any
    """Of DeadLetter: the rows that can never be stored, with the time and window of their element."""


class BatchedWrite(beam.PTransform[Any, Any], Generic[R]):
    """Writes elements into a store in batches; what sinks are made of.

    Guarantee: at least once, and each element's result comes after its rows are stored. A bundle ends only when each
    row of it is stored, a newer one of its key is, or it is a dead letter. What failed, and only that, is tried again
    with full jitter until the deadline; then the bundle fails and the runner tries it again. Where writes are
    idempotent by key, as they are in all our stores with keys, each row is there once.

    Metrics, in `namespace`: counters `rows_written`, `bytes_written`, `rows_superseded`, `dead_letters`, `calls`,
    `rows_retried`, `rows_throttled`, `throttled_millis`; the distribution `call_millis`; and as its histogram the
    counters `calls_within_1ms` to `calls_within_30000ms` and `calls_slower`, each call in one of them.

    Args:
        open_store: makes the store on a worker, once for the process; picklable. What is wrong with the table or our
            rights it raises as ConnectorError.
        to_rows: an element as rows. May raise Refused: the element is then a dead letter.
        source: the store's URI, without secrets, for dead letters.
        batch: how much in one call, how many calls at once.
        retry: how long what failed is tried again.
        redact: blanks secrets in the payloads of dead letters.
        payload: a row, or an element that is refused whole, as bytes for its dead letter; JSON if not given.
        position: where a row should have gone, for its dead letter; its key if not given.
        namespace: of the metrics.
        step: the name of the sink, for dead letters; its own label if not given.
    """

    def __init__(
        self,
        open_store: Callable[[], Store[R]],
        to_rows: Callable[[Any], Iterable[R]],
        source: str,
        *,
        batch: BatchPolicy | None = None,
        retry: RetryPolicy | None = None,
        redact: Callable[[bytes], bytes] | None = None,
        payload: Callable[[Any], bytes] = payload_of,
        position: Callable[[R], str] | None = None,
        namespace: str = "thingbeam.io.writing",
        step: str = "",
    ) -> None:
        super().__init__()
        self._step = step
        self._write = _Settings(
            uuid.uuid4().hex, open_store, to_rows, source, batch or BatchPolicy(), retry or RetryPolicy(), redact,
            payload, position, namespace,
        )  # fmt: skip

    def expand(self, elements: Any) -> WriteResults:
        """Write."""
        done = elements | "Write" >> beam.ParDo(_Write(self._step or self.label, self._write)).with_outputs(
            DEAD_LETTERS, main=WRITTEN
        )
        written, dead = done[WRITTEN], done[DEAD_LETTERS]
        written.element_type = beam.typehints.Tuple[elements.element_type or beam.typehints.Any, WriteResult]
        dead.element_type = DeadLetter
        return WriteResults(written, dead)


class _Settings(NamedTuple):
    key: str
    open_store: Callable[[], Store[Any]]
    to_rows: Callable[[Any], Iterable[Any]]
    source: str
    batch: BatchPolicy
    retry: RetryPolicy
    redact: Callable[[bytes], bytes] | None
    payload: Callable[[Any], bytes]
    position: Callable[[Any], str] | None
    namespace: str


class _Element:
    """An element whose rows are not all done yet."""

    __slots__ = ("left", "refused", "stored", "superseded", "windowed")

    def __init__(self, windowed: WindowedValue) -> None:
        self.windowed = windowed
        # One for the element itself, until all its rows are added.
        self.left = 1
        self.stored = self.superseded = self.refused = 0

    def take(self, done: Done[Any]) -> None:
        self.left -= 1
        if done.kind == "stored":
            self.stored += 1
        elif done.kind == "refused":
            self.refused += 1
        else:
            self.superseded += 1

    def result(self) -> WindowedValue:
        result = WriteResult(self.stored, self.superseded, self.refused)
        return self.windowed.with_value((self.windowed.value, result))


class _Write(beam.DoFn):
    def __init__(self, step: str, settings: _Settings) -> None:
        self._step = step
        self._settings = settings
        self._metrics = _Metrics(settings.namespace)

    def setup(self) -> None:
        """The store is shared by all copies in the process."""
        settings = self._settings
        self._store, throttle = _open(settings.key, settings.open_store)
        self._writer = BatchedWriter(self._store, settings.batch, settings.retry, throttle)
        self._ready: list[Any] = []

    def start_bundle(self) -> None:
        """Nothing is underway."""
        self._writer.abandon()
        self._ready.clear()

    def process(self, element: Any, windowed: Any = beam.DoFn.WindowedValueParam) -> Any:
        """Its rows into batches; gives what is done of it and of those before."""
        pending = _Element(windowed)
        add = self._writer.add
        try:
            for row in self._settings.to_rows(element):
                pending.left += 1
                add(row, pending)
        except Refused as refusal:
            pending.refused += 1
            self._ready.append(TaggedOutput(DEAD_LETTERS, windowed.with_value(self._letter(element, "", refusal))))
        self._finish(pending)
        self._collect()
        # Beam multiplies the windows of what is given while it works on an element of several.
        if self._ready and len(windowed.windows) == 1:
            ready, self._ready = self._ready, []
            return ready
        return ()

    def finish_bundle(self) -> Any:
        """Wait until all is stored."""
        self._writer.flush()
        self._collect()
        ready, self._ready = self._ready, []
        return ready

    def teardown(self) -> None:
        """Let the threads go, and with the last copy the connections."""
        if hasattr(self, "_writer"):
            self._writer.close()
            _close(self._settings.key)

    def _collect(self) -> None:
        superseded = refused = 0
        for done in self._writer.done():
            pending: _Element = done.tag
            if done.refusal is not None:
                refused += 1
                letter = self._letter(done.row, self._position(done.row), done.refusal)
                self._ready.append(TaggedOutput(DEAD_LETTERS, pending.windowed.with_value(letter)))
            superseded += done.kind == "superseded"
            pending.take(done)
            if not pending.left:
                self._ready.append(pending.result())
        self._metrics.update(self._writer.counts(), superseded, refused)

    def _finish(self, pending: _Element) -> None:
        pending.left -= 1
        if not pending.left:
            self._ready.append(pending.result())

    def _position(self, row: Any) -> str:
        if self._settings.position is not None:
            return self._settings.position(row)
        try:
            key = self._store.key(row)
        except (Refused, LookupError, TypeError, ValueError):
            # What is wrong with it may be its key.
            return ""
        return "" if key is None else str(key)

    def _letter(self, row: Any, position: str, refusal: Refused) -> DeadLetter:
        settings = self._settings
        payload = settings.payload(row)
        # Cut after the secrets are gone: half a secret is one still.
        kept = (payload if settings.redact is None else settings.redact(payload))[:_KEPT_BYTES]
        return DeadLetter(kept, settings.source, position, self._step, refusal.code, refusal.reason, Timestamp.now())


class _Metrics:
    def __init__(self, namespace: str) -> None:
        self._rows = Metrics.counter(namespace, "rows_written")
        self._bytes = Metrics.counter(namespace, "bytes_written")
        self._superseded = Metrics.counter(namespace, "rows_superseded")
        self._dead = Metrics.counter(namespace, "dead_letters")
        self._calls = Metrics.counter(namespace, "calls")
        self._retried = Metrics.counter(namespace, "rows_retried")
        self._throttled = Metrics.counter(namespace, "rows_throttled")
        self._waited = Metrics.counter(namespace, "throttled_millis")
        self._millis = Metrics.distribution(namespace, "call_millis")
        names = [f"calls_within_{bound}ms" for bound in LATENCY_MS] + ["calls_slower"]
        self._latency = [Metrics.counter(namespace, name) for name in names]

    def update(self, counts: Counts, superseded: int, refused: int) -> None:
        if superseded:
            self._superseded.inc(superseded)
        if refused:
            self._dead.inc(refused)
        if not counts.calls:
            return
        self._calls.inc(counts.calls)
        self._rows.inc(counts.rows)
        self._bytes.inc(counts.bytes)
        if counts.retried:
            self._retried.inc(counts.retried)
        if counts.throttled:
            self._throttled.inc(counts.throttled)
        if counts.waited:
            self._waited.inc(round(counts.waited * 1000))
        for seconds in counts.seconds:
            self._millis.update(round(seconds * 1000))
            self._latency[bisect.bisect_left(LATENCY_MS, seconds * 1000)].inc()


class _Shared(NamedTuple):
    store: Store[Any]
    throttle: Throttle
    users: list[None]


_stores: Final[dict[str, _Shared]] = {}
_lock: Final = threading.Lock()


def _open(key: str, open_store: Callable[[], Store[Any]]) -> tuple[Store[Any], Throttle]:
    with _lock:
        if key not in _stores:
            _stores[key] = _Shared(open_store(), Throttle(), [])
        _stores[key].users.append(None)
        return _stores[key].store, _stores[key].throttle


def _close(key: str) -> None:
    with _lock:
        shared = _stores[key]
        shared.users.pop()
        if not shared.users:
            del _stores[key]
            shared.store.close()
