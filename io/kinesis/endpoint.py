"""Kinesis as an application's input, by URI."""

from __future__ import annotations

from typing import Any, Final

from thingbeam.io.endpoints import Reading, Redact
from thingbeam.io.event_times import JsonTime
from thingbeam.io.kinesis.source import ReadFromKinesis
from thingbeam.io.kinesis.uris import parse_kinesis_uri

__all__ = ["KinesisSource"]

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

    def check(self) -> None:
        """Ask for the stream's shards, and make the checkpoint store ready.

        Raises:
            ConnectorError: no answer, a refusal, or no such stream.
        """
        self._read.check()

    def read(self, pipeline: Any, label: str, redact: Redact) -> list[Reading]:
        """One PCollection of KinesisBatch; a record that cannot be understood is the parser's to tell."""
        return [Reading(pipeline | f"ReadKinesis{label}" >> self._read)]
