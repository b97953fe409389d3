"""Where in S3, and how what is stored there is kept: `s3://BUCKET/KEY?region=…&endpoint=…` taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args
from urllib.parse import parse_qsl

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.files.s3_paths import SCHEME, is_s3, split_s3_uri

__all__ = ["Encryption", "S3Location", "Storage", "parse_s3_uri"]

Encryption = Literal["AES256", "aws:kms", "aws:kms:dsse"]
Checksum = Literal["CRC32", "SHA1", "SHA256"]

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CLASS: Final = re.compile(r"[A-Z][A-Z_]*")
_ACCOUNT: Final = re.compile(r"\d{12}")
_LONGEST_KEY: Final = 1024


@dataclass(frozen=True)
class Storage:
    """How objects are kept.

    Attributes:
        encryption: by the service: AES256 (its own keys), aws:kms or aws:kms:dsse; None for the bucket's default.
        kms_key: id or ARN of the KMS key; None for the account's own.
        storage_class: STANDARD_IA, INTELLIGENT_TIERING, GLACIER_IR, …; None for STANDARD.
        checksum: computed here for each request and checked by the service, which keeps it.
        owner: the account that the bucket must belong to, 12 digits; a bucket of anybody else's is refused.

    Raises:
        ValueError: what S3 would refuse.

    >>> Storage(kms_key="alias/events")
    Traceback (most recent call last):
    ...
    ValueError: kms_key needs encryption aws:kms or aws:kms:dsse
    """

    encryption: Encryption | None = None
    kms_key: str | None = None
    storage_class: str | None = None
    checksum: Checksum = "CRC32"
    owner: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.encryption is not None and self.encryption not in get_args(Encryption):
            raise ValueError(f"encryption {self.encryption!r}: one of {', '.join(get_args(Encryption))}")
        if self.kms_key is not None and self.encryption not in ("aws:kms", "aws:kms:dsse"):
            raise ValueError("kms_key needs encryption aws:kms or aws:kms:dsse")
        if self.storage_class is not None and not _CLASS.fullmatch(self.storage_class):
            raise ValueError(f"storage_class {self.storage_class!r}: a name like STANDARD_IA is expected")
        if self.checksum not in get_args(Checksum):
            raise ValueError(f"checksum {self.checksum!r}: one of {', '.join(get_args(Checksum))}")
        if self.owner is not None and not _ACCOUNT.fullmatch(self.owner):
            raise ValueError(f"owner {self.owner!r}: the 12 digits of an account are expected")

    def of_request(self) -> dict[str, Any]:
        """What any request is told."""
        return {} if self.owner is None else {"ExpectedBucketOwner": self.owner}

    def of_object(self) -> dict[str, Any]:
        """What a new object is told."""
        given = {
            "ServerSideEncryption": self.encryption,
            "SSEKMSKeyId": self.kms_key,
            "StorageClass": self.storage_class,
        }
        return {name: value for name, value in given.items() if value is not None}


_DEFAULT_AWS: Final = AwsConfig()
_DEFAULT_STORAGE: Final = Storage()


@dataclass(frozen=True)
class S3Location:
    """A place in a bucket: of one object, or of all whose keys begin with it.

    Attributes:
        bucket: its name.
        key: of an object, or what keys begin with; no slash in front.
        aws: region, endpoint and account.
        storage: how objects are kept.
        query: what the URI says of the last two, so that the URIs of objects do too. Holds no secret.
    """

    bucket: str
    key: str
    aws: AwsConfig = _DEFAULT_AWS
    storage: Storage = _DEFAULT_STORAGE
    query: str = ""

    def at(self, key: str) -> S3Location:
        """The same bucket, at another key."""
        return S3Location(self.bucket, key, self.aws, self.storage, self.query)

    def join(self, name: str) -> S3Location:
        """A name below this one.

        >>> S3Location("b", "raw/").join("a.avro").uri, S3Location("b", "").join("a.avro").key
        ('s3://b/raw/a.avro', 'a.avro')
        """
        return self.at(f"{self.key}{'' if not self.key or self.key.endswith('/') else '/'}{name}")

    @property
    def uri(self) -> str:
        """As parse_s3_uri takes it."""
        return f"{SCHEME}{self.bucket}/{self.key}{'?' + self.query if self.query else ''}"

    @property
    def plain(self) -> str:
        """Without the query, for messages."""
        return f"{SCHEME}{self.bucket}/{self.key}"

    def describe(self) -> str:
        """The bucket and where it is, for messages.

        >>> S3Location("b", "raw/", AwsConfig("eu-west-1")).describe()
        's3://b (region eu-west-1)'
        """
        return f"{SCHEME}{self.bucket} ({self.aws.describe()})"


def parse_s3_uri(uri: str) -> S3Location:
    """An `s3://BUCKET/KEY?…` URI as a location.

    What its query can say: what AwsConfig.parse takes (`region`, `endpoint`, `profile`, `access_key`, `role`, …), and
    of Storage `encryption`, `kms_key`, `storage_class`, `checksum`, `owner`. Keys stand as they are, not
    percent-encoded; a value of the query may be.

    Raises:
        ValueError: one line that says what is wrong, without any secret.

    >>> parse_s3_uri("s3://home-events/raw?region=eu-west-1&storage_class=STANDARD_IA").storage.storage_class
    'STANDARD_IA'
    """
    where, query = split_s3_uri(uri)
    if not is_s3(where):
        raise ValueError(f"{where}: s3://BUCKET/KEY is expected")
    bucket, _, key = where[len(SCHEME) :].partition("/")
    if "@" in bucket:
        raise ValueError("s3://: no user or password before an @: use access_key=env:NAME&secret_key=env:NAME")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{where}: {bucket!r} is no bucket's name: 3 to 63 of a-z, 0-9, dot and hyphen")
    if len(key.encode()) > _LONGEST_KEY:
        raise ValueError(f"{where[:80]}…: a key has at most {_LONGEST_KEY} bytes")
    try:
        aws, rest = AwsConfig.parse(parse_qsl(query, keep_blank_values=True))
        unknown = sorted(rest.keys() - Storage.__dataclass_fields__.keys())
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: no such option; there are {', '.join(_OPTIONS)}")
        given: dict[str, Any] = dict(rest)
        return S3Location(bucket, key.lstrip("/"), aws, Storage(**given), query)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


_OPTIONS: Final = (*Storage.__dataclass_fields__, "region", "endpoint", "profile", "role and others of AWS")
