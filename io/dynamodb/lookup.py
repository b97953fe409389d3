"""Looks up items for Beam's Enrichment transform: what a device registry in DynamoDB says."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.aws.errors import connector_error, kind_of, message_of
from thingbeam.io.dynamodb.items import ItemReader
from thingbeam.io.dynamodb.layout import TableLayout
from thingbeam.io.dynamodb.tables import check_table, shown
from thingbeam.io.dynamodb.values import to_wire
from thingbeam.io.enriching import CachedLookup
from thingbeam.io.writing.store import Again, Refused, Throttled
from thingbeam.schemas.durations import Duration

__all__ = ["DynamoDbLookup"]


class DynamoDbLookup(CachedLookup):
    """For `Enrichment(DynamoDbLookup(…))`: adds fields of a table's item to each element. See `CachedLookup`.

    Args:
        layout: of the table.
        key: the field that has the partition key, or a function of the element that gives it, or with a sort key the
            pair of both.
        add: the fields to add; with a mapping, by the names that they get. Numbers are Decimals.
        config: where, and who we are; by default what boto3 finds on the worker.
        consistent: whether what was just written is found; costs twice the read units.
        keep: how long what was found is taken for true.
        keep_absent: how long it is taken for true that there is nothing.
        most: entries of the cache.
        check: whether the table is looked at as the pipeline is built; needs dynamodb:DescribeTable.

    Raises:
        ValueError: what cannot be, as the pipeline is built.
        ConnectorError: with `check`, the table is not there, has another key, is not ours to use, or does not answer.
    """

    def __init__(
        self,
        layout: TableLayout,
        key: str | Callable[[Any], Hashable | None],
        add: Sequence[str] | Mapping[str, str],
        config: AwsConfig | None = None,
        *,
        consistent: bool = False,
        keep: Duration = "5m",
        keep_absent: Duration = "30s",
        most: int = 10_000,
        check: bool = True,
    ) -> None:
        super().__init__(key, add, keep=keep, keep_absent=keep_absent, most=most)
        self._layout = TableLayout(
            layout.name, layout.partition, layout.sort, None, layout.revision, layout.deleted, layout.ttl
        )
        self._config = config or AwsConfig()
        self._consistent = consistent
        if check:
            check_table(self._config, layout)

    def open(self) -> None:
        """One client for the process."""
        self._client = self._config.client("dynamodb", attempts=1)
        self._reader = ItemReader(self._layout)

    def find(self, key: Any) -> Mapping[str, Any] | None:
        """The item of a key, by GetItem; None for tombstones and for what has expired, too."""
        from botocore.exceptions import BotoCoreError, ClientError

        parts = key if isinstance(key, tuple) else (key,)
        names = [one.name for one in self._layout.keys]
        if len(parts) != len(names):
            raise ValueError(f"table {self._layout.name}: its key has {len(names)} parts, {', '.join(names)}")
        try:
            wires = {name: to_wire(part) for name, part in zip(names, parts, strict=True)}
        except Refused:
            return None
        if any(part in ("", b"") for part in parts):
            return None
        where = shown(self._config, self._layout.name)
        try:
            item = self._client.get_item(TableName=self._layout.name, Key=wires, ConsistentRead=self._consistent).get(
                "Item"
            )
        except (ClientError, BotoCoreError) as error:
            kind = kind_of(error)
            if kind == "throttled":
                raise Throttled(f"{where}: {message_of(error)}") from error
            if kind == "again":
                raise Again(f"{where}: {message_of(error)}") from error
            raise connector_error(error, where, "dynamodb:GetItem") from error
        found: Mapping[str, Any] | None = None if item is None else self._reader.read(item, time.time())
        return found
