"""ReadFromDynamoDB: the whole of a table, in segments that are read side by side."""

from __future__ import annotations

import json
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.coders import Coder
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.aws.errors import connector_error, kind_of, message_of
from thingbeam.io.dynamodb.items import ItemReader
from thingbeam.io.dynamodb.layout import TableLayout
from thingbeam.io.dynamodb.tables import check_table, shown
from thingbeam.io.dynamodb.values import Item, from_wire
from thingbeam.io.errors import UnreachableError
from thingbeam.io.writing import Refused, RetryPolicy
from thingbeam.io.writing.payloads import payload_of
from thingbeam.schemas.records import DeadLetter

__all__ = ["ReadFromDynamoDB", "ReadResults", "ScanPart", "ScanPartCoder", "ScanTracker"]

NAMESPACE: Final = "thingbeam.io.dynamodb"
DEAD_LETTERS: Final = "dead_letters"
RECORDS: Final = "records"
_MOST_SEGMENTS: Final = 1_000_000
_VERSION: Final = 1


class ScanPart(NamedTuple):
    """What is left to read of one segment."""

    segment: int
    segments: int
    after: Item | None = None
    """The last key that was read; None at the beginning."""
    done: bool = False


class ScanPartCoder(Coder):
    """A ScanPart as JSON, which outlives releases: `{"v": 1, "segment": 0, "segments": 8, "after": …, "done": false}`.

    >>> coder = ScanPartCoder()
    >>> coder.decode(coder.encode(ScanPart(1, 8, {"id": {"S": "a"}}))).after
    {'id': {'S': 'a'}}
    """

    def encode(self, value: ScanPart) -> bytes:
        """As JSON; bytes of a key are base64."""
        after = value.after and {
            name: {kind: b64encode(one).decode() if kind == "B" else one for kind, one in wire.items()}
            for name, wire in value.after.items()
        }
        return json.dumps({"v": _VERSION, **value._asdict(), "after": after}, sort_keys=True).encode()

    def decode(self, encoded: bytes) -> ScanPart:
        """What `encode` made, in this or an earlier release.

        Raises:
            ValueError: that of a later one.
        """
        fields: dict[str, Any] = json.loads(encoded)
        if fields.pop("v") != _VERSION:
            raise ValueError("a checkpoint of a DynamoDB scan by a newer release of thingbeam")
        if fields["after"] is not None:
            fields["after"] = {
                name: {kind: b64decode(one) if kind == "B" else one for kind, one in wire.items()}
                for name, wire in fields["after"].items()
            }
        return ScanPart(**fields)

    def is_deterministic(self) -> bool:
        """The same part, the same bytes."""
        return True

    def to_type_hint(self) -> type[ScanPart]:
        """What it encodes."""
        return ScanPart


class ScanTracker(RestrictionTracker):
    """Pages are claimed by the key at which the next one begins, once they are read and before they are given out.

    A part can be split where it stands, not further on: nobody knows the keys that are still to come.
    """

    def __init__(self, part: ScanPart) -> None:
        self._part = part

    def current_restriction(self) -> ScanPart:
        """What is left."""
        return self._part

    def try_claim(self, position: Item | None) -> bool:
        """Whether the page that ends at a key, or with None at the segment's end, is still ours."""
        if self._part.done:
            return False
        self._part = self._part._replace(after=position, done=position is None)
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[ScanPart, ScanPart] | None:
        """All that is left to another."""
        if self._part.done:
            return None
        rest, self._part = self._part, self._part._replace(done=True)
        return self._part, rest

    def check_done(self) -> None:
        """Whether nothing was forgotten."""
        if not self._part.done:
            raise ValueError(f"segment {self._part.segment} was not read to its end")

    def current_progress(self) -> RestrictionProgress:
        """All or nothing."""
        # As a fraction: of two amounts Beam's worker puts a mean of bytes, at first NaN, for the one that is done.
        return RestrictionProgress(fraction=float(self._part.done))

    def is_bounded(self) -> bool:
        """A table has an end."""
        return True


class _Parts(RestrictionProvider):
    def initial_restriction(self, element: tuple[int, int]) -> ScanPart:
        segment, segments = element
        return ScanPart(segment, segments)

    def create_tracker(self, restriction: ScanPart) -> ScanTracker:
        return ScanTracker(restriction)

    def restriction_size(self, element: tuple[int, int], restriction: ScanPart) -> float:
        return float(not restriction.done)

    def restriction_coder(self) -> Coder:
        return ScanPartCoder()


class ReadResults(NamedTuple):
    """What ReadFromDynamoDB gives: two PCollections."""

    records: Any
    """Of the layout's record, or of dicts."""
    dead_letters: Any
    """Of DeadLetter: items that are no such record."""


class ReadFromDynamoDB(beam.PTransform[Any, ReadResults]):
    """All items of a table, by a parallel scan: bounded, for backfills and checks.

    Gives `ReadResults`: `records`, of the layout's record type, or dicts with exact numbers (`Decimal`) where it has
    none; and `dead_letters`, items that are no such record. Tombstones and items whose time is over are passed over.

    Guarantee: each item that is there from beginning to end is read once, however often the runner has to begin a
    segment again: it goes on at the last key. What changes meanwhile is read as it was or as it is.

    Args:
        layout: of the table.
        config: where, and who we are; by default what boto3 finds on the worker.
        segments: how many parts are read side by side. AWS advises one for every 2 GB; each costs at least one call.
        consistent: whether each page holds all that was written before it was asked for; costs twice the read units.
        page: most items in one answer, which never has more than 1 MB.
        tombstones: whether to give them, too.
        retry: how long a call that failed is tried again.
        redact: blanks secrets in the payloads of dead letters.
        check: whether the table is looked at as the pipeline is built; needs dynamodb:DescribeTable.

    Raises:
        ValueError: what cannot be, as the pipeline is built.
        ConnectorError: with `check`, the table is not there, has another key, is not ours to use, or does not answer.
    """

    def __init__(
        self,
        layout: TableLayout,
        config: AwsConfig | None = None,
        *,
        segments: int = 8,
        consistent: bool = False,
        page: int | None = None,
        tombstones: bool = False,
        retry: RetryPolicy | None = None,
        redact: Callable[[bytes], bytes] | None = None,
        check: bool = True,
    ) -> None:
        super().__init__()
        if not 1 <= segments <= _MOST_SEGMENTS:
            raise ValueError(f"segments {segments}: 1 to {_MOST_SEGMENTS}")
        if page is not None and page < 1:
            raise ValueError(f"page {page}: at least 1")
        self._layout = layout
        self._config = config or AwsConfig()
        self._segments = segments
        self._arguments: dict[str, Any] = {"TableName": layout.name, "ConsistentRead": consistent}
        if page is not None:
            self._arguments["Limit"] = page
        self._tombstones = tombstones
        self._retry = retry or RetryPolicy()
        self._redact = redact
        if check:
            check_table(self._config, layout)

    def expand(self, pbegin: Any) -> ReadResults:
        """Scan."""
        read = _Scan(
            self.label, self._config, self._layout, self._arguments, self._tombstones, self._retry, self._redact
        )
        done = (
            pbegin
            | "Segments" >> beam.Create([(segment, self._segments) for segment in range(self._segments)])
            | "Scan" >> beam.ParDo(read).with_outputs(DEAD_LETTERS, main=RECORDS)
        )
        records, dead = done[RECORDS], done[DEAD_LETTERS]
        records.element_type = self._layout.record or dict[str, Any]
        dead.element_type = DeadLetter
        return ReadResults(records, dead)


class _Scan(beam.DoFn):
    def __init__(
        self,
        step: str,
        config: AwsConfig,
        layout: TableLayout,
        arguments: dict[str, Any],
        tombstones: bool,
        retry: RetryPolicy,
        redact: Callable[[bytes], bytes] | None,
    ) -> None:
        self._step = step
        self._config = config
        self._layout = layout
        self._arguments = arguments
        self._tombstones = tombstones
        self._retry = retry
        self._redact = redact
        self._read = Metrics.counter(NAMESPACE, "items_read")
        self._passed = Metrics.counter(NAMESPACE, "items_passed_over")
        self._dead = Metrics.counter(NAMESPACE, "dead_letters")
        self._again = Metrics.counter(NAMESPACE, "scans_again")

    def setup(self) -> None:
        """One client for the process."""
        self._client = self._config.client("dynamodb", attempts=1)
        self._reader = ItemReader(self._layout, tombstones=self._tombstones)

    def process(self, element: tuple[int, int], tracker: Any = beam.DoFn.RestrictionParam(_Parts())) -> Iterator[Any]:  # noqa: B008
        """Page after page."""
        part: ScanPart = tracker.current_restriction()
        if part.done:
            return
        after = part.after
        while True:
            start = {} if after is None else {"ExclusiveStartKey": after}
            page = self._page(Segment=part.segment, TotalSegments=part.segments, **start)
            after = page.get("LastEvaluatedKey")
            if not tracker.try_claim(after):
                return
            yield from self._given(page["Items"])
            if after is None:
                return

    def _given(self, items: list[Item]) -> Iterator[Any]:
        now = time.time()
        for item in items:
            try:
                record = self._reader.read(item, now)
            except Refused as refusal:
                self._dead.inc()
                yield TaggedOutput(DEAD_LETTERS, self._letter(item, refusal))
                continue
            if record is None:
                self._passed.inc()
                continue
            self._read.inc()
            yield record

    def _page(self, **where: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        until, failures = time.monotonic() + self._retry.deadline_seconds, 0
        while True:
            try:
                return self._client.scan(**self._arguments, **where)
            except (ClientError, BotoCoreError) as error:
                place = shown(self._config, self._layout.name)
                if kind_of(error) not in ("throttled", "again"):
                    raise connector_error(error, place, "dynamodb:Scan") from error
                failures += 1
                self._again.inc()
                pause = self._retry.pause(failures)
                if time.monotonic() + pause > until:
                    raise UnreachableError(
                        f"{place}: not read within {self._retry.deadline_seconds:g} s: {message_of(error)}"
                    ) from error
                time.sleep(pause)

    def _letter(self, item: Item, refusal: Refused) -> DeadLetter:
        payload = payload_of({name: from_wire(wire) for name, wire in item.items()})
        kept = payload if self._redact is None else self._redact(payload)
        position = "#".join(str(next(iter(item[key.name].values()))) for key in self._layout.keys if key.name in item)
        source = f"dynamodb://{self._layout.name}"
        return DeadLetter(kept, source, position, self._step, refusal.code, refusal.reason, Timestamp.now())
