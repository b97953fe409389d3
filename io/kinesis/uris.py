"""kinesis:// URIs: a stream, where it is and who we are, and the arguments of the transforms by their names.

    kinesis://STREAM?region=eu-west-1&start=horizon&checkpoints=dynamodb:TABLE&application=NAME

A secret is only ever a reference: `access_key=env:NAME&secret_key=env:NAME`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.kinesis.checkpoints import CheckpointStore, DynamoDbCheckpoints, FileCheckpoints
from thingbeam.io.kinesis.positions import start_of
from thingbeam.io.query import Readers, boolean, count, number, read_options

__all__ = ["KinesisUri", "parse_kinesis_uri"]

_STORES: Final = ("checkpoints", "application", "checkpoints_endpoint")


class KinesisUri(NamedTuple):
    """A `kinesis://` URI, taken apart."""

    shown: str
    """The URI without what is after the `?`: for a person."""
    config: AwsConfig
    stream: str
    options: dict[str, Any]
    """The arguments of ReadFromKinesis or WriteToKinesis that it gives, and `event_time` of an application."""


def _start(text: str) -> str | Mapping[str, str]:
    found = start_of(text)
    return found.sequences if found.kind == "sequences" else text


_READ: Final[Readers] = {
    "start": _start, "otherwise": str, "stop": str, "ordered": boolean, "batch_records": count, "consumer": str,
    "out_of_orderness": str, "idle_after": str, "max_delay": str, "fetch_records": count, "fetch_interval": str,
    "poll_interval": str, "bundle_time": str, "max_rate": number, "on_gap": str, "commit_margin": str,
    "event_time": str,
}  # fmt: skip
_WRITE: Final[Readers] = {"max_record_bytes": count}


def parse_kinesis_uri(uri: str, *, write: bool = False) -> KinesisUri:
    """A `kinesis://` URI as configuration, stream and arguments.

    What a query can say: the arguments of `ReadFromKinesis` (or, with `write`, of `WriteToKinesis`) by their names,
    `start=` also as SHARD:SEQUENCE, several with commas; what `AwsConfig.parse` takes; for an input
    `checkpoints=file:PATH`, or `checkpoints=dynamodb:TABLE&application=NAME` with the same account and region, and
    `checkpoints_endpoint=` where that is not AWS's own.

    Args:
        uri: percent-encoded where needed; the stream's name or ARN stands where a host does.
        write: whether it is an output.

    Raises:
        ValueError: one line that says what is wrong, without any secret.

    >>> parsed = parse_kinesis_uri("kinesis://events?region=eu-west-1&start=latest")
    >>> parsed.stream, parsed.config.region, parsed.options
    ('events', 'eu-west-1', {'start': 'latest'})
    """
    parts = urlsplit(uri)
    stream = unquote(parts.netloc + parts.path).rstrip("/")
    where = f"{parts.scheme}://{stream.rpartition('@')[2]}"
    if parts.scheme.lower() != "kinesis" or not stream:
        raise ValueError(f"{where}: kinesis://STREAM is expected")
    if "@" in stream:
        raise ValueError(f"{where}: no key before the @: use access_key=env:NAME&secret_key=env:NAME")
    if parts.fragment:
        raise ValueError(f"{where}: what is after the # means nothing; write %23 for a #")
    if "/" in stream and not stream.startswith("arn:"):
        raise ValueError(f"{where}: a stream's name has no slash")
    try:
        config, query = AwsConfig.parse(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    known = _WRITE if write else _READ
    stores = () if write else _STORES
    unknown = sorted(query.keys() - known.keys() - set(stores))
    if unknown:
        raise ValueError(
            f"{where}: {', '.join(unknown)}: no such option; there are {', '.join(sorted({*known, *stores}))}, "
            "and those of docs/aws.md"
        )
    options = read_options(where, query, known)
    try:
        store = _store(query, config)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return KinesisUri(where, config, stream, options if store is None else options | {"checkpoints": store})


def _store(query: Mapping[str, str], config: AwsConfig) -> CheckpointStore | None:
    kind, _, name = query.get("checkpoints", "").partition(":")
    application, endpoint = query.get("application"), query.get("checkpoints_endpoint")
    if kind == "dynamodb" and name:
        if not application:
            raise ValueError("checkpoints=dynamodb:TABLE needs application=, which keeps readers of one stream apart")
        return DynamoDbCheckpoints(name, application, dataclasses.replace(config, endpoint=endpoint))
    if application is not None or endpoint is not None:
        raise ValueError("application= and checkpoints_endpoint= go with checkpoints=dynamodb:TABLE")
    if kind == "file" and name:
        return FileCheckpoints(name)
    if "checkpoints" in query:
        raise ValueError("checkpoints: dynamodb:TABLE or file:PATH is expected")
    return None
