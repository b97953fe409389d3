"""Kinesis as an application's input and output, by URI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from thingbeam.io.endpoints import Kind, Reading, Redact
from thingbeam.io.event_times import JsonTime
from thingbeam.io.kinesis.results import ResultRows
from thingbeam.io.kinesis.shards import Stream
from thingbeam.io.kinesis.sink import WriteToKinesis
from thingbeam.io.kinesis.source import ReadFromKinesis
from thingbeam.io.kinesis.uris import parse_kinesis_uri
from thingbeam.io.writing.endpoint import WritingSink
from thingbeam.schemas.records import DeadLetter

__all__ = ["KinesisSink", "KinesisSource"]

_ARRIVAL: Final = "arrival"


class KinesisSource:
    """`kinesis://STREAM?…`: records of one payload each, as `KinesisBatch`.

    Every option of ReadFromKinesis' by its name, and `event_time=FIELD`: the field of a JSON record that says when it
    happened (default `eventTime`; a record without it, or that is no JSON, has its arrival), or `arrival` for that of
    all.

    Args:
        uri: see parse_kinesis_uri.

    Raises:
        ValueError: what it says cannot be.
    """

    def __init__(self, uri: str) -> None:
        self._parsed = parse_kinesis_uri(uri)
        options = dict(self._parsed.options)
        field = options.pop("event_time", "eventTime")
        try:
            self._read = ReadFromKinesis(
                self._parsed.stream,
                self._parsed.config,
                batches=True,
                event_time=None if field == _ARRIVAL else JsonTime(field),
                **options,
            )
        except ValueError as error:
            raise ValueError(f"{self.shown}: {error}") from error

    @property
    def shown(self) -> str:
        """The URI without its options."""
        return self._parsed.shown

    @property
    def endless(self) -> bool:
        """Unless there is a `stop=`."""
        return "stop" not in self._parsed.options

    @property
    def commits(self) -> bool:
        """Where there are checkpoints."""
        return "checkpoints" in self._parsed.options

    def check(self) -> None:
        """Ask for the stream's shards, and make the checkpoint store ready.

        Raises:
            ConnectorError: no answer, a refusal, or no such stream.
        """
        self._read.check()

    def read(self, pipeline: Any, label: str, redact: Redact) -> list[Reading]:
        """One PCollection of KinesisBatch; a record that cannot be understood is the parser's to tell."""
        return [Reading(pipeline | f"ReadKinesis{label}" >> self._read)]


class KinesisSink(WritingSink):
    """`kinesis://STREAM?…`: every kind of record into one stream, as JSON that says which kind and key it is.

    See `thingbeam.io.kinesis.results`. Every option of WriteToKinesis' by its name. At least once, and once in effect
    where a reader keeps, of each kind and key, the highest revision.

    Args:
        uri: see parse_kinesis_uri.

    Raises:
        ValueError: what it says cannot be.
    """

    def __init__(self, uri: str) -> None:
        self._parsed = parse_kinesis_uri(uri, write=True)
        try:
            self.writer(Kind("dead-letters", DeadLetter))
        except ValueError as error:
            raise ValueError(f"{self.shown}: {error}") from error

    @property
    def shown(self) -> str:
        """The URI without its options."""
        return self._parsed.shown

    def check(self, kinds: Sequence[Kind]) -> None:
        """See that the stream is there.

        Raises:
            ConnectorError: it is not, is not ours to use, or does not answer.
        """
        Stream(self._parsed.stream, self._parsed.config).check()

    def writer(self, kind: Kind) -> WriteToKinesis:
        """Into the stream, as that kind."""
        return WriteToKinesis(
            self._parsed.stream, self._parsed.config, rows=ResultRows(kind), check=False, **self._parsed.options
        )
