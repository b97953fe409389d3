"""Where a read goes on after a restart without a runner's checkpoint, and how one worker hears that another is done.

Kinesis keeps no offsets for its readers. So a store does, if one is given: for each shard the position up to which all
is finalised by the runner. Positions only go forward, whoever writes them and in whatever order.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.aws.errors import code_of, connector_error
from thingbeam.io.errors import ConnectorError
from thingbeam.io.kinesis.positions import Position

__all__ = ["CheckpointStore", "DynamoDbCheckpoints", "FileCheckpoints"]

_VERSION: Final = 1


class CheckpointStore(Protocol):
    """Positions by shard. Travels in the job's graph, so it holds no secret; used by several threads at once."""

    def prepare(self) -> None:
        """Make what is needed, where it is not there.

        Raises:
            ConnectorError: that is not possible; one line.
        """
        ...

    def read(self, stream: str) -> dict[str, Position]:
        """The positions of a stream's shards, in no more than a few calls.

        Raises:
            ConnectorError: they cannot be read; one line.
        """
        ...

    def write(self, stream: str, positions: Mapping[str, Position]) -> None:
        """Keep these, where they are further than what is kept.

        Raises:
            ConnectorError: they cannot be written; one line. To be tried again.
        """
        ...


@dataclass(frozen=True)
class FileCheckpoints:
    """A small file for each shard in a folder that all workers share.

    Attributes:
        directory: of one application; made where it is not there.
    """

    directory: str

    def prepare(self) -> None:
        """Make the folder."""
        try:
            Path(self.directory).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConnectorError(f"checkpoints: {self.directory} cannot be made: {error.strerror}") from error

    def read(self, stream: str) -> dict[str, Position]:
        """All files of the stream."""
        found: dict[str, Position] = {}
        for path in self._folder(stream).glob("*.json"):
            try:
                shard, position = _decode(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ConnectorError(f"checkpoints: {path} cannot be read: {error}") from error
            found[shard] = position
        return found

    def write(self, stream: str, positions: Mapping[str, Position]) -> None:
        """Each file is replaced whole, so that a crash leaves the old one or the new one."""
        folder = self._folder(stream)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            kept = self.read(stream)
            for shard, position in positions.items():
                if shard in kept and position.rank <= kept[shard].rank:
                    continue
                with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".tmp", delete=False) as file:
                    file.write(_encode(shard, position))
                    file.flush()
                    os.fsync(file.fileno())
                Path(file.name).rename(folder / f"{quote(shard, safe='')}.json")
        except OSError as error:
            raise ConnectorError(f"checkpoints: {folder} cannot be written: {error.strerror}") from error

    def _folder(self, stream: str) -> Path:
        return Path(self.directory) / quote(stream, safe="")


@dataclass(frozen=True)
class DynamoDbCheckpoints:
    """A table of DynamoDB with an item for each shard, as the Kinesis Client Library keeps its leases.

    Needs dynamodb:Query and dynamodb:PutItem on the table; and dynamodb:CreateTable and dynamodb:DescribeTable to make
    it where it is not there: key `stream` (hash) and `shard` (range), paid by request.

    Attributes:
        table: its name.
        application: keeps applications that read the same stream apart.
        config: where it is.
    """

    table: str
    application: str
    config: AwsConfig = field(default_factory=AwsConfig)

    def prepare(self) -> None:
        """Make the table."""
        client = self._client()
        try:
            try:
                client.describe_table(TableName=self.table)
            except Exception as error:
                # botocore makes classes of errors as it reads the service's model: there is no list to name.
                if code_of(error) != "ResourceNotFoundException":
                    raise
                self._make(client)
            client.get_waiter("table_exists").wait(TableName=self.table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        except Exception as error:
            raise self._error(error, "dynamodb:DescribeTable and dynamodb:CreateTable") from error

    def read(self, stream: str) -> dict[str, Position]:
        """All items of the stream, read consistently."""
        found: dict[str, Position] = {}
        arguments: dict[str, Any] = {
            "TableName": self.table,
            "ConsistentRead": True,
            "KeyConditionExpression": "#s = :s",
            "ExpressionAttributeNames": {"#s": "stream"},
            "ExpressionAttributeValues": {":s": {"S": self._key(stream)}},
        }
        try:
            for page in self._client().get_paginator("query").paginate(**arguments):
                for item in page["Items"]:
                    shard, position = _decode(item["checkpoint"]["S"])
                    found[shard] = position
        except Exception as error:
            raise self._error(error, "dynamodb:Query") from error
        return found

    def write(self, stream: str, positions: Mapping[str, Position]) -> None:
        """An item each, on the condition that it is further than what is there."""
        client = self._client()
        for shard, position in positions.items():
            item = {
                "stream": {"S": self._key(stream)},
                "shard": {"S": shard},
                "rank": {"S": position.rank or " "},
                "checkpoint": {"S": _encode(shard, position)},
            }
            try:
                client.put_item(
                    TableName=self.table,
                    Item=item,
                    ConditionExpression="attribute_not_exists(#s) OR #r < :r",
                    ExpressionAttributeNames={"#s": "stream", "#r": "rank"},
                    ExpressionAttributeValues={":r": item["rank"]},
                )
            except Exception as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise self._error(error, "dynamodb:PutItem") from error

    def _key(self, stream: str) -> str:
        return f"{self.application}/{stream}"

    def _client(self) -> Any:
        return self.config.client("dynamodb")

    def _make(self, client: Any) -> None:
        try:
            client.create_table(
                TableName=self.table,
                AttributeDefinitions=[
                    {"AttributeName": "stream", "AttributeType": "S"},
                    {"AttributeName": "shard", "AttributeType": "S"},
                ],
                KeySchema=[
                    {"AttributeName": "stream", "KeyType": "HASH"},
                    {"AttributeName": "shard", "KeyType": "RANGE"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        except Exception as error:
            if code_of(error) != "ResourceInUseException":
                raise

    def _error(self, error: Exception, needs: str) -> ConnectorError:
        return connector_error(error, f"checkpoints, table {self.table} ({self.config.describe()})", needs)


def _encode(shard: str, position: Position) -> str:
    return json.dumps([_VERSION, shard, position.encode()], separators=(",", ":"))


def _decode(text: str) -> tuple[str, Position]:
    version, shard, position = json.loads(text)
    if version != _VERSION:
        raise ValueError(f"a checkpoint of version {version}: this release knows {_VERSION}")
    return shard, Position.decode(position)
