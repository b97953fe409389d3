"""What no local server of Kinesis does with a subscription: it ends, breaks, and says that a shard is over."""

from __future__ import annotations

import datetime
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.httpsession import ProtocolError

from thingbeam.io.aws import AwsConfig
from thingbeam.io.aws.errors import AccessDeniedError
from thingbeam.io.kinesis.fan_out import FanOutFeed
from thingbeam.io.kinesis.feeds import Chunk
from thingbeam.io.kinesis.positions import HORIZON
from thingbeam.io.kinesis.shards import Stream


def event(*numbers: int, more: bool = True) -> dict[str, Any]:
    """An event with records of these sequence numbers."""
    arrival = datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC)
    records = [
        {"Data": b"x", "PartitionKey": "k", "SequenceNumber": str(n), "ApproximateArrivalTimestamp": arrival}
        for n in numbers
    ]
    said: dict[str, Any] = {"Records": records, "MillisBehindLatest": 0}
    return {"SubscribeToShardEvent": said | ({"ContinuationSequenceNumber": "999"} if more else {})}


class Events(list[Any]):
    """One subscription: its events, of which an exception is raised in its turn."""

    def __iter__(self) -> Any:
        for one in list.__iter__(self):
            if isinstance(one, Exception):
                raise one
            yield one

    def close(self) -> None:
        """Nothing to end."""


class Service(Stream):
    """A stream with the subscriptions it will give."""

    subscriptions: list[Any]
    asked: list[Any]

    def client(self, *, attempts: int | None = None) -> Any:
        return self

    def subscribe_to_shard(self, **arguments: Any) -> dict[str, Any]:
        self.asked.append(arguments["StartingPosition"])
        given = self.subscriptions.pop(0)
        if isinstance(given, Exception):
            raise given
        return {"EventStream": Events(given)}


def feed_of(*subscriptions: Any) -> tuple[FanOutFeed, Service]:
    service = Service("events", AwsConfig("eu-west-1"))
    service.subscriptions, service.asked = list(subscriptions), []
    return FanOutFeed(service, "arn:consumer", "s", HORIZON), service


def chunks(feed: FanOutFeed) -> list[Chunk]:
    """All of them, up to the end of the shard."""
    found: list[Chunk] = []
    until = time.monotonic() + 20
    while not (found and found[-1].ended):
        assert time.monotonic() < until
        chunk = feed.take()
        if chunk is None:
            feed.wait(0.1)
        else:
            found.append(chunk)
    return found


def test_it_goes_on_where_a_subscription_ended_or_broke() -> None:
    feed, service = feed_of(
        [event(1, 2), event()], [event(3), ProtocolError("ended prematurely")], [event(4), event(more=False)]
    )
    found = chunks(feed)
    assert [row.sequence for chunk in found for row in chunk.rows] == ["1", "2", "3", "4"]
    assert service.asked == [
        {"Type": "TRIM_HORIZON"},
        {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "2"},
        {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "3"},
    ]
    assert not feed.busy
    assert feed.take() is None


def test_what_passes_and_what_does_not() -> None:
    def error(code: str) -> ClientError:
        return ClientError({"Error": {"Code": code, "Message": "no"}}, "SubscribeToShard")

    feed, _ = feed_of(error("ResourceInUseException"), error("LimitExceededException"), [event(1, more=False)])
    found = chunks(feed)
    assert [chunk.throttled for chunk in found] == [False, True, False]
    denied, _ = feed_of(error("AccessDeniedException"))
    with pytest.raises(AccessDeniedError, match="kinesis:SubscribeToShard"):
        chunks(denied)
    feed.close()
