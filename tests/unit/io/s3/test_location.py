"""URIs of S3."""

from __future__ import annotations

import pickle

import pytest

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.s3.location import S3Location, Storage, parse_s3_uri


def test_a_uri_says_bucket_key_account_and_storage() -> None:
    uri = (
        "s3://home-events/raw/a b+c%20?region=eu-west-1&endpoint=http://127.0.0.1:7070&access_key=env:A&secret_key=env:B"
        "&encryption=aws:kms&kms_key=alias/events&storage_class=STANDARD_IA&checksum=SHA256&owner=123456789012"
    )
    location = parse_s3_uri(uri)
    assert (location.bucket, location.key) == ("home-events", "raw/a b+c%20")
    assert location.aws == AwsConfig("eu-west-1", "http://127.0.0.1:7070", access_key="env:A", secret_key="env:B")
    assert location.storage.of_object() == {
        "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/events", "StorageClass": "STANDARD_IA",
    }  # fmt: skip
    assert location.storage.of_request() == {"ExpectedBucketOwner": "123456789012"}
    assert location.uri == uri
    assert parse_s3_uri(location.join("x.avro").uri) == S3Location(
        "home-events", "raw/a b+c%20/x.avro", location.aws, location.storage, location.query
    )
    assert location.plain == "s3://home-events/raw/a b+c%20"


def test_a_location_travels() -> None:
    location = parse_s3_uri("s3://bucket/key?region=eu-west-1&role=arn:aws:iam::123456789012:role/writer")
    assert pickle.loads(pickle.dumps(location)) == location


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("gs://bucket/key", "s3://BUCKET/KEY is expected"),
        ("s3://", "no bucket's name"),
        ("s3://Bucket/key", "no bucket's name"),
        ("s3://a:b@bucket/key", "no user or password before an @"),
        ("s3://bucket/key?region=eu-west-1&regoin=x", "regoin: no such option; there are encryption"),
        ("s3://bucket/key?region=eu west", "region 'eu west'"),
        ("s3://bucket/key?access_key=AKIA&secret_key=very-secret", "access_key must be a reference"),
        ("s3://bucket/key?access_key=env:A&secret_key=very-secret", "secret_key must be a reference"),
        ("s3://bucket/key?encryption=rot13", "encryption 'rot13': one of AES256"),
        ("s3://bucket/key?kms_key=k", "kms_key needs encryption"),
        ("s3://bucket/key?storage_class=cold", "storage_class 'cold'"),
        ("s3://bucket/key?checksum=MD5", "checksum 'MD5'"),
        ("s3://bucket/key?owner=me", "12 digits"),
        ("s3://bucket/key?region=a&region=b", "region is given twice"),
        ("s3://bucket/" + "k" * 1025, "at most 1024 bytes"),
    ],
)
def test_what_cannot_be_is_said_on_one_line_without_secrets(uri: str, said: str) -> None:
    with pytest.raises(ValueError, match="s3:") as error:
        parse_s3_uri(uri)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert "very-secret" not in str(error.value)
    assert "a:b" not in str(error.value)


def test_nothing_is_said_of_what_was_not_asked() -> None:
    assert Storage().of_object() == Storage().of_request() == {}
