"""`dynamodb://TABLE?region=…`: a table as a URI."""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.query import Readers, boolean, count, one_of, read_options

__all__ = ["DynamoDbUri", "parse_dynamodb_uri"]


class DynamoDbUri(NamedTuple):
    """A `dynamodb://` URI, taken apart."""

    config: AwsConfig
    table: str
    options: dict[str, Any]
    """The arguments of ReadFromDynamoDB or WriteToDynamoDB that it gives."""


_READ: Final[Readers] = {"segments": count, "consistent": boolean, "page": count}
_WRITE: Final[Readers] = {
    "mode": one_of("upsert", "replace"),
    "rows_per_transaction": count,
    "tombstones": one_of("keep", "delete"),
    "keep_tombstones": str,
}


def parse_dynamodb_uri(uri: str, *, write: bool = False) -> DynamoDbUri:
    """A `dynamodb://` URI as configuration, table and arguments.

    What a query can say: what `AwsConfig.parse` takes (region, endpoint, profile, keys by reference, roles), and
    `segments`, `consistent`, `page` to read, `mode`, `rows_per_transaction`, `tombstones`, `keep_tombstones` to write.

    Args:
        uri: percent-encoded where needed.
        write: whether it is an output.

    Raises:
        ValueError: one line that says what is wrong, without any secret.

    >>> parsed = parse_dynamodb_uri("dynamodb://usage?region=eu-west-1&mode=replace", write=True)
    >>> parsed.table, parsed.config.region, parsed.options
    ('usage', 'eu-west-1', {'mode': 'replace'})
    """
    parts = urlsplit(uri)
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if parts.scheme.lower() != "dynamodb" or not parts.netloc or parts.path.strip("/"):
        raise ValueError(f"{where}: dynamodb://TABLE?region=… is expected")
    if "@" in parts.netloc:
        raise ValueError(f"{where}: no user or password before the @: use access_key=env:NAME&secret_key=env:NAME")
    if parts.fragment:
        raise ValueError(f"{where}: what is after the # means nothing; write %23 for a #")
    known = _WRITE if write else _READ
    try:
        config, rest = AwsConfig.parse(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    unknown = sorted(rest.keys() - known.keys())
    if unknown:
        raise ValueError(
            f"{where}: {', '.join(unknown)}: no such option; there are {', '.join(sorted(known))}, region, endpoint, "
            "profile and what else AWS needs"
        )
    return DynamoDbUri(config, unquote(parts.netloc), read_options(where, rest, known))
