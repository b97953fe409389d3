"""Paths of S3: URIs with a query that says where the bucket is. Beside the files, which know no client of S3."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["SCHEME", "is_s3", "split_s3_uri"]

SCHEME: Final = "s3://"
# A question mark alone may be of a pattern or a key; a query has names.
_QUERY: Final = re.compile(r"\?(?=[a-z][a-z_]*=)")


def is_s3(path: str) -> bool:
    """Whether a path is of S3.

    >>> is_s3("s3://bucket/a.avro"), is_s3("/data/a.avro")
    (True, False)
    """
    return path[: len(SCHEME)].lower() == SCHEME


def split_s3_uri(uri: str) -> tuple[str, str]:
    """What comes before the query, and the query.

    >>> split_s3_uri("s3://b/a?.avro?region=eu-west-1&endpoint=http://127.0.0.1:7070")
    ('s3://b/a?.avro', 'region=eu-west-1&endpoint=http://127.0.0.1:7070')
    """
    found = _QUERY.search(uri)
    return (uri, "") if found is None else (uri[: found.start()], uri[found.end() :])
