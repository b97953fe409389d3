"""Roles, taken on one after the other and renewed, as STS sees it: a server of its protocol that checks who asks.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from fault_proxy import Answer, Call, Forward, HttpProxy
from thingbeam.io.aws import AwsConfig, Role, WebIdentity
from thingbeam.io.aws.errors import AccessDeniedError, connector_error

FIRST, SECOND = (f"arn:aws:iam::123456789012:role/{name}" for name in ("first", "second"))


class Sts:
    """Gives keys named after their role to those that may take it on."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.may = {(FIRST, "BASE"), (SECOND, "KEY-first")}
        self.external = {SECOND: "farm-7"}
        self.seconds = 3600

    def __call__(self, call: Call, forward: Forward) -> Answer:
        given = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
        signed = re.search(r"Credential=([^/]+)/", call.headers.get("Authorization", ""))
        by = signed[1] if signed else given.get("WebIdentityToken", "")
        self.asked.append(given | {"By": by})
        role, action = given["RoleArn"], given["Action"]
        if (role, by) not in self.may or self.external.get(role) != given.get("ExternalId"):
            fault = "<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not you</Message></Error>"
            return Answer(403, f"<ErrorResponse>{fault}</ErrorResponse>".encode(), {"Content-Type": "text/xml"})
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.seconds)
        keys = (
            f"<AccessKeyId>KEY-{role.rpartition('/')[2]}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
            f"<SessionToken>TOKEN-{len(self.asked)}</SessionToken><Expiration>{until:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
        )
        body = (
            f"<{action}Response><{action}Result><Credentials>{keys}</Credentials></{action}Result></{action}Response>"
        )
        return Answer(200, body.encode(), {"Content-Type": "text/xml"})


@pytest.fixture
def sts() -> Sts:
    return Sts()


@pytest.fixture
def endpoint(sts: Sts) -> Iterator[str]:
    with HttpProxy("127.0.0.1:9", sts) as server:
        yield server.url


@pytest.fixture(autouse=True)
def base_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE_KEY_OF_TEST", "BASE")
    monkeypatch.setenv("BASE_SECRET_OF_TEST", "hunter2")


def config(endpoint: str, *roles: Role) -> AwsConfig:
    return AwsConfig(
        "eu-west-1",
        "http://127.0.0.1:9",
        access_key="env:BASE_KEY_OF_TEST",
        secret_key="env:BASE_SECRET_OF_TEST",
        roles=roles,
        sts_endpoint=endpoint,
    )


def keys_of(made: AwsConfig) -> tuple[str, str]:
    """The access key and token with which calls would be signed now."""
    credentials = made.client("kinesis")._request_signer._credentials.get_frozen_credentials()
    return credentials.access_key, credentials.token


def test_a_chain_with_an_external_id(sts: Sts, endpoint: str) -> None:
    made = config(endpoint, Role(FIRST), Role(SECOND, "farm-7", "reader", 900))
    assert sts.asked == []
    assert keys_of(made) == ("KEY-second", "TOKEN-2")
    assert [(asked["RoleArn"], asked["By"], asked["RoleSessionName"]) for asked in sts.asked] == [
        (FIRST, "BASE", "thingbeam"),
        (SECOND, "KEY-first", "reader"),
    ]
    assert sts.asked[1]["DurationSeconds"] == "900"
    # They last an hour, for whoever asks in this process.
    assert keys_of(made) == ("KEY-second", "TOKEN-2")
    assert made.client("dynamodb")._request_signer._credentials.get_frozen_credentials().token == "TOKEN-2"
    assert len(sts.asked) == 2


def test_renewed_before_they_run_out(sts: Sts, endpoint: str) -> None:
    made = config(endpoint, Role(FIRST))
    sts.seconds = 60
    assert keys_of(made)[1] == "TOKEN-1"
    sts.seconds = 3600
    assert keys_of(made)[1] == "TOKEN-2"
    assert keys_of(made)[1] == "TOKEN-2"


@pytest.mark.parametrize("role", [Role(SECOND, "farm-7"), Role("arn:aws:iam::123456789012:role/none")])
def test_a_role_that_is_not_ours(sts: Sts, endpoint: str, role: Role) -> None:
    made = config(endpoint, role)
    with pytest.raises(Exception, match="AccessDenied") as caught:
        keys_of(made)
    said = connector_error(caught.value, "stream events")
    assert isinstance(said, AccessDeniedError)
    assert "AssumeRole" in str(said)


def test_the_wrong_external_id(sts: Sts, endpoint: str) -> None:
    with pytest.raises(Exception, match="AccessDenied"):
        keys_of(config(endpoint, Role(FIRST), Role(SECOND, "other")))


def test_a_web_identity_reads_its_token_anew(sts: Sts, endpoint: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("token-one\n")
    sts.may = {(FIRST, "token-one"), (FIRST, "token-two"), (SECOND, "KEY-first")}
    made = AwsConfig(
        "eu-west-1",
        "http://127.0.0.1:9",
        web_identity=WebIdentity(Role(FIRST), str(token)),
        roles=(Role(SECOND, "farm-7"),),
        sts_endpoint=endpoint,
    )
    sts.seconds = 60
    assert keys_of(made)[0] == "KEY-second"
    token.write_text("token-two\n")
    assert keys_of(made)[0] == "KEY-second"
    assert [asked["By"] for asked in sts.asked] == ["token-one", "KEY-first", "token-two", "KEY-first"]
    assert {asked["Action"] for asked in sts.asked} == {"AssumeRoleWithWebIdentity", "AssumeRole"}


def test_two_accounts_at_once(sts: Sts, endpoint: str) -> None:
    one, two = config(endpoint, Role(FIRST)), config(endpoint, Role(FIRST), Role(SECOND, "farm-7"))
    assert (keys_of(one)[0], keys_of(two)[0]) == ("KEY-first", "KEY-second")
