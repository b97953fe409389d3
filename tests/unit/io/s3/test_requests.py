"""Calls that are tried again, and what is said when that does not help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.aws.errors import AccessDeniedError
from thingbeam.io.errors import UnreachableError
from thingbeam.io.s3.location import S3Location
from thingbeam.io.s3.requests import ObjectMissingError, PreconditionError, Requests
from thingbeam.io.writing.policies import RetryPolicy


class Clock:
    """Time that passes by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Lets it pass."""
        self.pauses.append(seconds)
        self.now += seconds


def failing(*errors: Exception) -> Callable[[Any], str]:
    """What reads an answer fails so, and then does not: an answer that breaks off is a failed call."""
    left = list(errors)

    def read(_: Any) -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return read


def client_error(code: str, status: int = 400) -> ClientError:
    """An error of S3's."""
    answer: Any = {"Error": {"Code": code, "Message": "it says"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")


@pytest.fixture
def clock() -> Clock:
    """Of a test."""
    return Clock()


@pytest.fixture
def requests(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Requests:
    """To a bucket that nobody asks: the URL of an object is made without a call."""
    monkeypatch.setenv("S3_TEST_KEY", "x")
    aws = AwsConfig("eu-west-1", "http://127.0.0.1:1", access_key="env:S3_TEST_KEY", secret_key="env:S3_TEST_KEY")
    return Requests(S3Location("bucket", "", aws), RetryPolicy(deadline="30s"), clock, clock.sleep)


def call(requests: Requests, *errors: Exception) -> Any:
    """A call that asks nobody."""
    location = requests.location
    client = location.aws.client("s3", attempts=1)
    client.meta.events.register("before-call.s3.GetObject", lambda **_: (Answered(), {}), unique_id="test")
    return requests.call("get_object", "s3:GetObject", failing(*errors), Key="key")


class Answered:
    """An answer of HTTP, that botocore takes for success."""

    status_code = 200


def test_what_passes_is_tried_again(requests: Requests, clock: Clock) -> None:
    errors = [
        client_error("SlowDown", 503),
        client_error("InternalError", 500),
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        client_error("ServiceUnavailable", 503),
    ]
    assert call(requests, *errors) == "answer"
    assert requests.tally.take() == (4, 1)
    assert requests.tally.take() == (0, 0)
    bounds = [0.05, 0.1, 0.2, 0.4]
    assert all(0 <= pause <= bound for pause, bound in zip(clock.pauses, bounds, strict=True))


def test_it_ends_with_the_deadline(requests: Requests, clock: Clock) -> None:
    with pytest.raises(UnreachableError, match=r"get_object failed for 30s, \d+ times, last with SlowDown"):
        call(requests, *[client_error("SlowDown", 503)] * 100_000)
    assert clock.now <= 30


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (client_error("NoSuchKey", 404), ObjectMissingError),
        (client_error("404", 404), ObjectMissingError),
        (client_error("NoSuchUpload", 404), ObjectMissingError),
        (client_error("PreconditionFailed", 412), PreconditionError),
        (client_error("ConditionalRequestConflict", 409), PreconditionError),
        (client_error("AccessDenied", 403), AccessDeniedError),
        (KeyError("a mistake of ours"), KeyError),
    ],
)
def test_what_does_not_pass_is_said_at_once(
    requests: Requests, clock: Clock, error: Exception, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        call(requests, error)
    assert clock.pauses == []
