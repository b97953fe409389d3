"""The restriction of one partition: a span of offsets, with the next offset as its checkpoint."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from apache_beam.coders import Coder
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.transforms.core import RestrictionProvider

from thingbeam.io.kafka.records import ENDLESS, KafkaPartition
from thingbeam.schemas.encoding import EncodingError

__all__ = ["OfTopic", "Span", "SpanCoder", "SpanProvider", "SpanTracker"]

_SPAN: Final = struct.Struct(">qq")
_WITH_ID: Final = b"\x01"


class Span(NamedTuple):
    """Offsets from `start` up to but without `stop`."""

    start: int
    stop: int
    topic_id: str = ""
    """Of the topic in which these offsets mean something; empty where it is not known."""


class OfTopic(NamedTuple):
    """A claim of no offset: it says which topic the span's offsets are of."""

    topic_id: str


class SpanCoder(Coder):
    """Sixteen bytes, big-endian; then, where the topic's id is known, a byte 1 and the id.

    What was written before ids were kept has the sixteen bytes only.
    """

    def encode(self, value: Span) -> bytes:
        """The span as bytes."""
        offsets = _SPAN.pack(value.start, value.stop)
        return offsets + _WITH_ID + value.topic_id.encode() if value.topic_id else offsets

    def decode(self, encoded: bytes) -> Span:
        """The span of these bytes.

        Raises:
            EncodingError: of a later release than this, or none of ours.
        """
        form, rest = encoded[_SPAN.size : _SPAN.size + 1], encoded[_SPAN.size + 1 :]
        if len(encoded) < _SPAN.size or form not in (b"", _WITH_ID):
            raise EncodingError(f"{len(encoded)} bytes are no span of offsets that this release knows")
        start, stop = _SPAN.unpack_from(encoded)
        return Span(start, stop, rest.decode())

    def is_deterministic(self) -> bool:
        """Equal spans have equal bytes."""
        return True


class SpanTracker(RestrictionTracker):
    """Claims many offsets at a time: `try_claim(n)` claims all that are not yet claimed before n.

    A partition is read in order by one reader, so it is never shared out: a split only ever cuts off what was not
    claimed, for a later bundle.

    >>> tracker = SpanTracker(Span(5, 100))
    >>> tracker.try_claim(20), tracker.try_split(0.5), tracker.try_split(0), tracker.try_claim(30)
    (True, None, (Span(start=5, stop=20, topic_id=''), Span(start=20, stop=100, topic_id='')), False)
    """

    def __init__(self, span: Span) -> None:
        self._span = span
        self._next = span.start

    def current_restriction(self) -> Span:
        """The span that this bundle answers for."""
        return self._span

    def try_claim(self, position: int | OfTopic) -> bool:
        """Whether the offsets before `position` are this bundle's to output."""
        if isinstance(position, OfTopic):
            self._span = self._span._replace(topic_id=position.topic_id)
            return True
        if position > self._span.stop:
            return False
        self._next = max(self._next, position)
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Span, Span] | None:
        """Cut off what was not claimed, where a checkpoint (0) is asked."""
        if fraction_of_remainder or self._next >= self._span.stop:
            return None
        rest = self._span._replace(start=self._next)
        self._span = self._span._replace(stop=self._next)
        return self._span, rest

    def check_done(self) -> bool:
        """Beam asks at the end of a bundle.

        Raises:
            ValueError: neither all was claimed nor the rest cut off.
        """
        if self._next < self._span.stop:
            raise ValueError(f"offsets {self._next} to {self._span.stop} were neither read nor left for later")
        return True

    def current_progress(self) -> RestrictionProgress:
        """Offsets done and to do; of an endless span one is always to do."""
        done = self._next - self._span.start
        left = 1 if self._span.stop == ENDLESS else self._span.stop - self._next
        # Beam's worker puts a mean of bytes, at first NaN, for what is done; a fraction it leaves as it is.
        fraction = done / max(1, done + left)
        return RestrictionProgress(fraction=fraction, completed=float(done), remaining=float(left))

    def is_bounded(self) -> bool:
        """Whether it ends."""
        return self._span.stop != ENDLESS


class SpanProvider(RestrictionProvider):
    """A partition's span is what the partition's element says."""

    def initial_restriction(self, element: KafkaPartition) -> Span:
        """All of it."""
        return Span(element.start, element.stop, element.topic_id or "")

    def create_tracker(self, restriction: Span) -> SpanTracker:
        """A tracker of the span."""
        return SpanTracker(restriction)

    def restriction_size(self, element: KafkaPartition, restriction: Span) -> int:
        """Offsets; for an endless span 1, since asking the broker here would be too dear."""
        return 1 if restriction.stop == ENDLESS else restriction.stop - restriction.start

    def restriction_coder(self) -> Coder:
        """Of the spans."""
        return SpanCoder()

    def truncate(self, element: KafkaPartition, restriction: Span) -> Span | None:
        """A drain ends what is endless and lets finish what is not."""
        return None if restriction.stop == ENDLESS else restriction
