"""Questions about one stream: is it there, which shards has it, what time is it there."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.aws.errors import connector_error
from thingbeam.io.errors import MissingError
from thingbeam.io.kinesis.family import Shard

__all__ = ["Listing", "Stream", "server_millis"]

_PAGE: Final = 1000


class Listing(NamedTuple):
    """What ListShards says."""

    shards: Mapping[str, Shard]
    """By id. Those whose last record has expired are no more in it."""
    at_ms: int
    """When that was, by the server's clock, in milliseconds since 1970, rounded down to a second."""


class Stream(NamedTuple):
    """A stream and how to reach it."""

    name: str
    """Its name, or its ARN, which another account's stream needs."""
    config: AwsConfig

    @property
    def argument(self) -> dict[str, str]:
        """How a call names it.

        >>> Stream("events", AwsConfig("eu-west-1")).argument
        {'StreamName': 'events'}
        """
        return {"StreamARN" if self.name.startswith("arn:") else "StreamName": self.name}

    @property
    def described(self) -> str:
        """As messages name it."""
        return f"stream {self.name} ({self.config.describe()})"

    def client(self, *, attempts: int | None = None, checked: bool = True) -> Any:
        """A boto3 client: see AwsConfig.client."""
        return self.config.client("kinesis", attempts=attempts, checked=checked)

    def ask(self, operation: str, **arguments: Any) -> Any:
        """Call an operation of boto3's by its name, as `describe_stream_summary`, tried again by botocore.

        Raises:
            ConnectorError: it failed; one line.
        """
        client = self.client()
        try:
            return getattr(client, operation)(**arguments)
        except Exception as error:
            # botocore makes classes of errors as it reads the service's model: there is no list to name.
            needs = f"kinesis:{''.join(word.capitalize() for word in operation.split('_'))}"
            raise connector_error(error, self.described, needs) from error

    def check(self) -> str:
        """See that it is there; gives its ARN.

        Raises:
            ConnectorError: it is not there, or being deleted, or may not be seen.
        """
        said = self.ask("describe_stream_summary", **self.argument)["StreamDescriptionSummary"]
        if said["StreamStatus"] == "DELETING":
            raise MissingError(f"{self.described}: it is being deleted")
        return str(said["StreamARN"])

    def list(self) -> Listing:
        """Its shards, open and closed.

        Raises:
            ConnectorError: it is not there, or may not be seen.
        """
        shards: dict[str, Shard] = {}
        arguments: dict[str, Any] = {**self.argument, "MaxResults": _PAGE}
        at_ms: int | None = None
        while True:
            answer = self.ask("list_shards", **arguments)
            at_ms = server_millis(answer) if at_ms is None else at_ms
            for said in answer["Shards"]:
                parents = (said.get("ParentShardId"), said.get("AdjacentParentShardId"))
                shards[said["ShardId"]] = Shard(said["ShardId"], tuple(p for p in parents if p))
            token = answer.get("NextToken")
            if not token:
                return Listing(shards, at_ms)
            # The token says the stream.
            arguments = {"NextToken": token, "MaxResults": _PAGE}


def server_millis(answer: Mapping[str, Any]) -> int:
    """The time of an answer by the server's clock, in whole seconds; by ours where it does not say.

    >>> server_millis({"ResponseMetadata": {"HTTPHeaders": {"date": "Thu, 01 Jan 1970 00:00:07 GMT"}}})
    7000
    """
    said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if said:
        try:
            return int(email.utils.parsedate_to_datetime(said).timestamp()) * 1000
        except ValueError:
            pass
    return int(time.time()) * 1000
