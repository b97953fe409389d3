"""Where reading goes on in a shard, as a value that is kept: in the runner's checkpoint and in a checkpoint store."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.kinesis.records import PLAIN

__all__ = ["ENDED", "HORIZON", "Instant", "Position", "Start", "parse_sequences", "start_of", "stop_of"]

Instant = Timestamp | datetime.datetime | str
"""A time: Beam's, a datetime with a zone, or RFC 3339 text like 2026-01-31T12:00:00Z."""

_SEQUENCE: Final = re.compile(r"0|[1-9]\d{0,128}")
_SHARD: Final = re.compile(r"[\w.-]{1,128}")
_DIGITS: Final = 129
_SUB_DIGITS: Final = 10


class Position(NamedTuple):
    """A place in one shard.

    `horizon`: the oldest record that is kept. `time`: the first that arrived at `millis` or later. `at`: the record
    with this sequence number. `after`: what follows it; where `sub` is not -1, what follows that record of the
    aggregate. `ended`: the shard was closed and all of it is read.
    """

    kind: Literal["horizon", "time", "at", "after", "ended"]
    sequence: str = ""
    sub: int = PLAIN
    millis: int = 0
    """Since 1970."""

    @property
    def rank(self) -> str:
        """A text that is greater the further on the position is; of one shard, and of `after` and `ended` only.

        >>> Position("after", "99").rank < Position("after", "100").rank < ENDED.rank
        True
        """
        if self.kind == "ended":
            return "~"
        if self.kind != "after":
            return ""
        # The whole aggregate is further than any record of it.
        sub = 10**_SUB_DIGITS - 1 if self.sub == PLAIN else self.sub
        return f"{self.sequence:0>{_DIGITS}}.{sub:0>{_SUB_DIGITS}}"

    def encode(self) -> list[Any]:
        """As JSON has it; see `decode`."""
        if self.kind == "time":
            return ["time", self.millis]
        if self.kind == "at":
            return ["at", self.sequence]
        if self.kind == "after":
            return ["after", self.sequence, self.sub]
        return [self.kind]

    @classmethod
    def decode(cls, encoded: Any) -> Position:
        """What was encoded.

        Raises:
            ValueError: it is none.

        >>> Position.decode(Position("after", "4959", 3).encode())
        Position(kind='after', sequence='4959', sub=3, millis=0)
        """
        match encoded:
            case ["horizon"] | ["ended"]:
                return cls(encoded[0])
            case ["time", int(millis)]:
                return cls("time", millis=millis)
            case ["at", str(sequence)]:
                return cls("at", sequence)
            case ["after", str(sequence), int(sub)]:
                return cls("after", sequence, sub)
            case _:
                raise ValueError(f"{encoded!r} is no position of Kinesis")


HORIZON: Final = Position("horizon")
ENDED: Final = Position("ended")


class Start(NamedTuple):
    """Where a read begins."""

    kind: Literal["checkpoint", "horizon", "latest", "time", "sequences"]
    millis: int = 0
    sequences: Mapping[str, str] = {}
    """By shard: the first record to be read."""


def start_of(given: Instant | Mapping[str, str], what: str = "start") -> Start:
    """A word, a time, or a sequence number for each of some shards.

    Raises:
        ValueError: none of these; or a time without a zone.

    >>> start_of("2026-01-31T12:00:00Z").millis
    1769860800000
    >>> start_of("horizon").kind, start_of({"shardId-000000000000": "4959"}).kind
    ('horizon', 'sequences')
    """
    if isinstance(given, Mapping):
        return Start("sequences", sequences=_checked(given, what))
    if isinstance(given, str):
        if given in ("checkpoint", "horizon", "latest"):
            return Start(given)  # type: ignore[arg-type]  # narrowed by the line above
        if ":" in given and not given[:1].isdigit():
            return Start("sequences", sequences=parse_sequences(given, what))
        try:
            given = datetime.datetime.fromisoformat(given)
        except ValueError:
            raise ValueError(
                f"{what} {given!r}: horizon, latest, checkpoint, a time like 2026-01-31T12:00:00Z, or SHARD:SEQUENCE"
            ) from None
    if isinstance(given, datetime.datetime):
        if given.tzinfo is None:
            raise ValueError(f"{what} {given.isoformat()}: a time needs its zone; write Z for UTC")
        # Rounded up: a record of the earlier millisecond is before that time.
        since = given - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        return Start("time", -(-since // datetime.timedelta(milliseconds=1)))
    return Start("time", -(-given.micros // 1000))


def stop_of(given: Instant | None, now: Timestamp) -> Start | None:
    """Where a bounded read ends: at a time that is past, or at what is there when it begins.

    Raises:
        ValueError: no such place, or a time to come.
    """
    if given is None:
        return None
    stop = start_of(given, "stop")
    if stop.kind not in ("latest", "time"):
        raise ValueError(f"stop {stop.kind!r}: latest, or a time like 2026-01-31T12:00:00Z")
    if stop.kind == "time" and stop.millis * 1000 > now.micros:
        raise ValueError("stop: that time has not come yet; a read with an end reads what is there: stop='latest'")
    return stop


def parse_sequences(text: str, what: str = "start") -> dict[str, str]:
    """`SHARD:SEQUENCE`, several with commas, as a mapping.

    Raises:
        ValueError: something else, or a shard twice.

    >>> parse_sequences("shardId-000000000000:4959,shardId-000000000001:77")
    {'shardId-000000000000': '4959', 'shardId-000000000001': '77'}
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        shard, _, sequence = part.strip().partition(":")
        if shard in found:
            raise ValueError(f"{what}: shard {shard} is given twice")
        found[shard] = sequence
    return _checked(found, what)


def _checked(sequences: Mapping[str, str], what: str) -> dict[str, str]:
    if not sequences:
        raise ValueError(f"{what}: no shard is given")
    for shard, sequence in sequences.items():
        if not _SHARD.fullmatch(shard) or not _SEQUENCE.fullmatch(sequence):
            raise ValueError(f"{what} {shard}:{sequence}: SHARD:SEQUENCE is expected, the sequence number in digits")
    return dict(sequences)
