"""`dynamodb://` URIs."""

from __future__ import annotations

import pytest

from thingbeam.io.aws import AwsConfig
from thingbeam.io.dynamodb import parse_dynamodb_uri


def test_what_a_uri_says() -> None:
    parsed = parse_dynamodb_uri(
        "dynamodb://home.usage?region=eu-west-1&endpoint=http://127.0.0.1:1&segments=4&consistent=true"
    )
    assert parsed.table == "home.usage"
    assert parsed.config == AwsConfig("eu-west-1", "http://127.0.0.1:1")
    assert parsed.options == {"segments": 4, "consistent": True}
    parsed = parse_dynamodb_uri(
        "dynamodb://usage?profile=p&mode=upsert&rows_per_transaction=25&tombstones=keep", write=True
    )
    assert parsed.options == {"mode": "upsert", "rows_per_transaction": 25, "tombstones": "keep"}


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("dynamodb://", "dynamodb://TABLE"),
        ("dynamodb:///table", "dynamodb://TABLE"),
        ("dynamodb://table/index", "dynamodb://TABLE"),
        ("s3://table", "dynamodb://TABLE"),
        ("dynamodb://key:secret@table", "no user or password"),
        ("dynamodb://table#x", "after the #"),
        ("dynamodb://table?mode=upsert", "mode: no such option"),
        ("dynamodb://table?segments=0", "segments=0: a whole number from 1"),
        ("dynamodb://table?access_key=AKID&secret_key=x", "must be a reference"),
    ],
)
def test_what_it_cannot_say(uri: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        parse_dynamodb_uri(uri)
    assert "secret@" not in str(error.value)
    assert "AKID" not in str(error.value)


def test_a_wrong_mode_is_said() -> None:
    with pytest.raises(ValueError, match="mode=append: upsert or replace"):
        parse_dynamodb_uri("dynamodb://table?mode=append", write=True)
