"""DynamoDB as an application's output, by URI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thingbeam.io.dynamodb.layout import TableLayout
from thingbeam.io.dynamodb.sink import WriteToDynamoDB
from thingbeam.io.dynamodb.tables import check_table, create_table
from thingbeam.io.dynamodb.uris import parse_dynamodb_uri
from thingbeam.io.endpoints import Kind
from thingbeam.io.writing.endpoint import WritingSink
from thingbeam.schemas.records import DeadLetter

__all__ = ["DynamoDbSink"]


class DynamoDbSink(WritingSink):
    """`dynamodb://PREFIX?region=…`: each kind of record to the table `PREFIX-KIND`, by the record's own key.

    Every option of parse_dynamodb_uri's. At least once; each row of a result there once and in its newest revision.

    Args:
        uri: see parse_dynamodb_uri.

    Raises:
        ValueError: what it says cannot be.
    """

    def __init__(self, uri: str) -> None:
        self._parsed = parse_dynamodb_uri(uri, write=True)
        try:
            # What it says together may not go.
            self.writer(Kind("dead-letters", DeadLetter))
        except ValueError as error:
            raise ValueError(f"{self.shown}: {error}") from None

    @property
    def shown(self) -> str:
        """The URI without its options."""
        return f"dynamodb://{self._parsed.table}"

    def layouts(self, kinds: Sequence[Kind]) -> list[TableLayout]:
        """The tables of some kinds of records.

        >>> from thingbeam.schemas import Session
        >>> [one.name for one in DynamoDbSink("dynamodb://home").layouts([Kind("sessions", Session)])]
        ['home-sessions']
        """
        return [TableLayout.of(kind.record, f"{self._parsed.table}-{kind.name}") for kind in kinds]

    def create(self, kinds: Sequence[Kind]) -> list[str]:
        """Make the tables that are not there yet.

        Returns:
            The names of those that were made.

        Raises:
            ConnectorError: one could not be made, or is there with another key.
        """
        return [layout.name for layout in self.layouts(kinds) if create_table(self._parsed.config, layout)]

    def check(self, kinds: Sequence[Kind]) -> None:
        """See that all tables are there and have their keys.

        Raises:
            ConnectorError: one is not, is not ours to use, or does not answer.
        """
        for layout in self.layouts(kinds):
            check_table(self._parsed.config, layout)

    def writer(self, kind: Kind) -> WriteToDynamoDB:
        """Into the kind's table."""
        options: dict[str, Any] = dict(self._parsed.options)
        (layout,) = self.layouts([kind])
        if layout.revision is None:
            # Events and dead letters are written once, always with the same content.
            options = {"mode": "replace"} | {name: options[name] for name in ("tombstones",) if name in options}
        return WriteToDynamoDB(layout, self._parsed.config, check=False, **options)
