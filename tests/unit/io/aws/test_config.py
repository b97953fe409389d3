"""Where AWS is and who we are there."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, ParamValidationError

from thingbeam import __version__
from thingbeam.io.aws import AwsConfig, Role, WebIdentity
from thingbeam.io.aws.errors import AwsConfigurationError
from thingbeam.io.errors import ConnectorError

ARN = "arn:aws:iam::123456789012:role/reader"
KEYS = {"access_key": "env:KEY_OF_TEST", "secret_key": "env:SECRET_OF_TEST"}


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that knows nothing of AWS but two keys."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("KEY_OF_TEST", "AKIDEXAMPLE")
    monkeypatch.setenv("SECRET_OF_TEST", "hunter2")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"region": "EU West"}, "name like eu-central-1"),
        ({"endpoint": "127.0.0.1:4567"}, "http://HOST:PORT"),
        ({"endpoint": "http://user:hunter2@host"}, "without user"),
        ({"endpoint": "http://host:port"}, "http://HOST:PORT"),
        ({"sts_endpoint": "sts"}, "sts_endpoint"),
        ({"access_key": "env:A"}, "go together"),
        ({"access_key": "env:A", "secret_key": "hunter2"}, "must be a reference"),
        ({"session_token": "env:T"}, "needs access_key"),
        (KEYS | {"profile": "p"}, "in one way"),
        ({"profile": "p", "web_identity": WebIdentity(Role(ARN), "/token")}, "in one way"),
        ({"connect_timeout": 0}, "above 0"),
        ({"read_timeout": -1.0}, "above 0"),
        ({"attempts": 0}, "at least 1"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        AwsConfig(**given)
    assert "\n" not in str(caught.value)
    if "endpoint" not in given:
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("given", [{"arn": "reader"}, {"arn": ARN, "session_name": "a b"}, {"arn": ARN, "seconds": 60}])
def test_a_role_that_sts_would_refuse(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"ARN|session_name|900 to 43200"):
        Role(**given)


def test_it_travels_without_secret_or_client() -> None:
    config = AwsConfig("eu-west-1", "http://127.0.0.1:9", **KEYS, roles=(Role(ARN, "x"),))
    config.client("kinesis")
    packed = pickle.dumps(config)
    assert pickle.loads(packed) == config
    assert b"hunter2" not in packed
    assert b"AKIDEXAMPLE" not in packed


def test_one_client_for_each_resource() -> None:
    here, there = (AwsConfig(region, "http://127.0.0.1:9", **KEYS) for region in ("eu-west-1", "us-east-1"))
    assert here.client("kinesis") is AwsConfig("eu-west-1", "http://127.0.0.1:9", **KEYS).client("kinesis")
    assert here.client("kinesis") is not here.client("kinesis", attempts=1)
    assert here.client("kinesis").meta.region_name == "eu-west-1"
    assert there.client("kinesis").meta.region_name == "us-east-1"
    assert here.client("s3").meta.endpoint_url == "http://127.0.0.1:9"


def test_settings_are_made_once_for_all() -> None:
    config = AwsConfig("eu-west-1", **KEYS, connect_timeout=2, read_timeout=7, attempts=3)
    for service in ("kinesis", "dynamodb", "s3"):
        made = config.client(service).meta.config
        assert (made.connect_timeout, made.read_timeout) == (2, 7)
        assert made.retries["total_max_attempts"] == 3
        assert f"thingbeam/{__version__}" in made.user_agent_extra
    assert config.client("kinesis", attempts=1).meta.config.retries["total_max_attempts"] == 1


def test_arguments_are_looked_at_unless_they_are_known_to_be_right() -> None:
    config = AwsConfig("eu-west-1", "http://127.0.0.1:9", **KEYS, attempts=1)
    with pytest.raises(ParamValidationError):
        config.client("kinesis").put_records(StreamName=5, Records=[])
    with pytest.raises(EndpointConnectionError):
        config.client("kinesis", checked=False).put_records(StreamName=5, Records=[])


def test_no_region_is_said_in_one_line() -> None:
    with pytest.raises(AwsConfigurationError, match="no AWS region: say region="):
        AwsConfig(**KEYS).client("kinesis")


def test_the_region_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    config = AwsConfig(**KEYS, read_timeout=31)
    assert config.client("kinesis").meta.region_name == "ap-south-1"


def test_a_profile_and_the_lack_of_it(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[profile farm]\nregion = eu-north-1\n")
    (tmp_path / "credentials").write_text("[farm]\naws_access_key_id = AK\naws_secret_access_key = SK\n")
    config = AwsConfig(profile="farm")
    assert config.client("kinesis").meta.region_name == "eu-north-1"
    with pytest.raises(ConnectorError, match="no AWS credentials") as caught:
        AwsConfig("eu-west-1", profile="none").client("kinesis")
    assert "none" in str(caught.value)


def test_a_secret_that_the_worker_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET_OF_TEST")
    with pytest.raises(AwsConfigurationError, match="no environment variable SECRET_OF_TEST"):
        AwsConfig("eu-west-1", **KEYS, read_timeout=32).client("kinesis")


def test_a_role_without_credentials_to_take_it_on() -> None:
    with pytest.raises(AwsConfigurationError, match="no AWS credentials on this worker"):
        AwsConfig("eu-west-1", roles=(Role(ARN),)).client("kinesis")


def test_parsed_from_a_uri() -> None:
    query = [
        ("region", "eu-west-1"),
        ("endpoint", "http://127.0.0.1:9"),
        ("access_key", "env:A"),
        ("secret_key", "file:/b"),
        ("session_token", "env:T"),
        ("role", ARN),
        ("role", f"{ARN}2"),
        ("external_id", "x"),
        ("sts_endpoint", "http://127.0.0.1:8"),
        ("connect_timeout", "1.5"),
        ("attempts", "2"),
        ("start", "latest"),
    ]
    config, rest = AwsConfig.parse(query)
    assert rest == {"start": "latest"}
    assert config == AwsConfig(
        "eu-west-1",
        "http://127.0.0.1:9",
        access_key="env:A",
        secret_key="file:/b",
        session_token="env:T",
        roles=(Role(ARN), Role(f"{ARN}2", "x")),
        sts_endpoint="http://127.0.0.1:8",
        connect_timeout=1.5,
        attempts=2,
    )
    identity, _ = AwsConfig.parse([("web_identity_role", ARN), ("web_identity_token", "/token")])
    assert identity.web_identity == WebIdentity(Role(ARN), "/token")
    each, _ = AwsConfig.parse([("role", ARN), ("role", ARN), ("external_id", "x"), ("external_id", "")])
    assert [role.external_id for role in each.roles] == ["x", None]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ([("region", "a"), ("region", "b")], "region is given twice"),
        ([("start", "a"), ("start", "b")], "start is given twice"),
        ([("attempts", "many")], "attempts=many: a number"),
        ([("external_id", "x")], "1 external_id for 0 role"),
        ([("role", ARN), ("external_id", "x"), ("external_id", "y")], "2 external_id for 1 role"),
        ([("web_identity_role", ARN)], "go together"),
        ([("secret_key", "hunter2"), ("access_key", "env:A")], "must be a reference"),
    ],
)
def test_a_uri_that_says_it_wrong(query: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        AwsConfig.parse(query)
    assert "hunter2" not in str(caught.value)
