"""ReadFromHBase: a table, or a range of it, as records; each region by itself, and split within where that helps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.hbase.client import require_client
from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.hbase.encoding import Fault, RowDecoder
from thingbeam.io.hbase.layout import TableLayout
from thingbeam.io.hbase.ranges import KeyRange, KeyRangeProvider
from thingbeam.io.hbase.rows import HBaseRow
from thingbeam.io.hbase.selection import Selection
from thingbeam.io.hbase.sink import NAMESPACE
from thingbeam.io.writing.payloads import payload_of
from thingbeam.io.writing.policies import RetryPolicy
from thingbeam.schemas.coders import register_rows
from thingbeam.schemas.durations import Duration
from thingbeam.schemas.records import DeadLetter

if TYPE_CHECKING:
    from thingbeam.io.hbase.reading import HBaseReader

__all__ = ["ReadFromHBase", "RecordsFromHBase"]

DEAD_LETTERS: Final = "dead_letters"
_TRACKER: Final[Any] = beam.DoFn.RestrictionParam(KeyRangeProvider())
_KEPT_BYTES: Final = 64 << 10

register_rows(KeyRange)


class RecordsFromHBase(NamedTuple):
    """What ReadFromHBase gives with a layout: two PCollections."""

    records: Any
    """Of the layout's record; dicts where it names none, or where columns were chosen."""
    dead_letters: Any
    """Of DeadLetter: rows that are no record of the layout."""


class _How(NamedTuple):
    config: HBaseConfig
    table: str
    layout: TableLayout | None
    fields: frozenset[str] | None
    selection: Selection
    retry: RetryPolicy
    connect_timeout: Duration
    event_time: str | None
    step: str


class ReadFromHBase(beam.PTransform[Any, Any]):
    """A table of HBase, or a range of its rows; bounded.

    Guarantee: each row that is there during all of the read is given once. Each region is read by itself, and is split
    by row key while it is read where the runner asks; a connection that breaks, a region that moves, a gateway that is
    restarted are waited for (`retry`), and the read goes on behind the last row. It sees no snapshot of the table: a
    row that changes meanwhile is given as it was or as it is, never as a mix of both.

    Gives with a layout `RecordsFromHBase`: `records` and `dead_letters`. Without one a PCollection of `HBaseRow`.

    Args:
        address: `host:port` of the Thrift gateway; or an `HBaseConfig`.
        table: its name, `namespace:name` or `name`.
        layout: how rows become records.
        columns: fields to read, besides those of the key; rows are dicts of them then. None for all. Without a layout,
            `family` or `family:qualifier`.
        where: a filter in HBase's filter language, run by the servers: see
            https://hbase.apache.org/book.html#thrift.filter_language
        fields: a range: values of the first parts of the layout's key, such as one device's id.
        since: with `fields`: only from then, by the time that is the next part of the key.
        until: with `fields`: only before then.
        start: instead, the first row key.
        stop: and the first one beyond.
        limit: at most so many rows, the first by key; read by one worker. With a key that is newest first, the last of
            a device.
        event_time: the field of the record that is its element's timestamp.
        batch_rows: how many rows come with one call.
        retry: how long a call that fails is tried again.
        connect_timeout: how long the first answer of HBase is waited for.

    Raises:
        ValueError: settings that cannot be.
        ModuleNotFoundError: happybase is not installed.

    In the pipeline: `UnreachableError`, `MissingError`, `AuthenticationError`, and for a filter that HBase does not
    understand `ConnectorError`, of thingbeam.io.errors.
    """

    def __init__(
        self,
        address: str | HBaseConfig,
        table: str,
        layout: TableLayout | None = None,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        fields: Mapping[str, Any] | None = None,
        since: Timestamp | None = None,
        until: Timestamp | None = None,
        start: bytes = b"",
        stop: bytes = b"",
        limit: int | None = None,
        event_time: str | None = None,
        batch_rows: int = 1_000,
        retry: RetryPolicy | None = None,
        connect_timeout: Duration = "60s",
    ) -> None:
        super().__init__()
        require_client("ReadFromHBase")
        config = address if isinstance(address, HBaseConfig) else HBaseConfig(address)
        if not table:
            raise ValueError("name the table")
        if limit is not None and limit < 1:
            raise ValueError(f"limit {limit}: at least 1")
        if batch_rows < 1:
            raise ValueError(f"batch_rows {batch_rows}: at least 1")
        if event_time is not None and layout is None:
            raise ValueError("event_time is a field of a record: it needs a layout")
        if fields is None and (since is not None or until is not None):
            raise ValueError("since and until go with fields, the first parts of the row key")
        keys = KeyRange(start, stop)
        if fields is not None:
            if layout is None or start or stop:
                raise ValueError("fields need a layout, and stand instead of start and stop")
            keys = KeyRange(*layout.key.range(fields, since, until))
        if keys.stop and keys.start >= keys.stop:
            raise ValueError("nothing is between start and stop, or since and until")
        wire: tuple[bytes, ...] = ()
        if columns is not None:
            wire = tuple(name.encode() for name in columns) if layout is None else tuple(layout.wire_names(columns))
        self._range = keys
        self._limit = limit
        self._how = _How(
            config, table, layout, None if columns is None else frozenset(columns),
            Selection(wire, where, min(batch_rows, limit or batch_rows)), retry or RetryPolicy(), connect_timeout,
            event_time, "",
        )  # fmt: skip

    def expand(self, begin: Any) -> Any:
        """Read."""
        how = self._how._replace(step=self.label)
        ranges = begin.pipeline | "Range" >> beam.Create([self._range], reshuffle=False).with_output_types(KeyRange)
        if self._limit is None:
            ranges = ranges | "Regions" >> beam.ParDo(_Regions(how)).with_output_types(KeyRange)
            reading: beam.DoFn = _ReadRegion(how)
            ranges = ranges | "Share" >> beam.Reshuffle()
        else:
            reading = _ReadFirst(how, self._limit)
        done = ranges | "Read" >> beam.ParDo(reading).with_outputs(DEAD_LETTERS, main="records")
        records, dead = done["records"], done[DEAD_LETTERS]
        dead.element_type = DeadLetter
        if how.layout is None:
            records.element_type = HBaseRow
            return records
        records.element_type = (how.layout.record if how.fields is None else None) or dict[str, Any]
        return RecordsFromHBase(records, dead)


class _Regions(beam.DoFn):
    """A range to what each region has of it."""

    def __init__(self, how: _How) -> None:
        self._how = how

    def process(self, keys: KeyRange) -> Iterator[KeyRange]:
        """Ask HBase."""
        how = self._how
        _check(how)
        reader = _reader(how)
        try:
            regions = reader.regions()
        finally:
            reader.close()
        for start, stop in regions:
            part = KeyRange(start, stop).within(keys)
            if part is not None:
                yield part


class _Read(beam.DoFn):
    def __init__(self, how: _How) -> None:
        self._how = how
        self._read = Metrics.counter(NAMESPACE, "rows_read")
        self._dead = Metrics.counter(NAMESPACE, "dead_letters")

    def setup(self) -> None:
        """Connections are this copy's own."""
        how = self._how
        self._reader = _reader(how)
        self._decoder = None if how.layout is None else RowDecoder(how.layout, how.fields)

    def teardown(self) -> None:
        """Let the connections go."""
        if hasattr(self, "_reader"):
            self._reader.close()

    def _output(self, row: HBaseRow) -> Any:
        self._read.inc()
        if self._decoder is None:
            return row
        how = self._how
        record = self._decoder.record(row)
        if isinstance(record, Fault):
            self._dead.inc()
            letter = DeadLetter(
                payload_of(row)[:_KEPT_BYTES], f"hbase://{how.config.address}/{how.table}", f"row={row.key.hex()}",
                how.step, record.code, record.reason, Timestamp.now(),
            )  # fmt: skip
            return TaggedOutput(DEAD_LETTERS, letter)
        if how.event_time is None:
            return record
        at = record[how.event_time] if isinstance(record, dict) else getattr(record, how.event_time)
        return record if at is None else TimestampedValue(record, at)


class _ReadRegion(_Read):
    """A range as far as the runner lets it; the rest is another bundle's."""

    def process(self, keys: KeyRange, tracker: Any = _TRACKER) -> Iterator[Any]:
        """Read it in order."""
        start, stop = tracker.current_restriction()
        with contextlib.closing(self._reader.rows(start, stop)) as rows:
            for row in rows:
                if not tracker.try_claim(row.key):
                    return
                yield self._output(row)
        tracker.try_claim(None)


class _ReadFirst(_Read):
    """The first rows of a range."""

    def __init__(self, how: _How, limit: int) -> None:
        super().__init__(how)
        self._limit = limit

    def process(self, keys: KeyRange) -> Iterator[Any]:
        """Read them in order."""
        _check(self._how)
        for row in self._reader.rows(keys.start, keys.stop, self._limit):
            yield self._output(row)


def _check(how: _How) -> None:
    from thingbeam.io.hbase.tables import check_table

    check_table(how.config, how.table, patience=how.connect_timeout)


def _reader(how: _How) -> HBaseReader:
    from thingbeam.io.hbase.reading import HBaseReader

    return HBaseReader(how.config, how.table, how.selection, how.retry)
