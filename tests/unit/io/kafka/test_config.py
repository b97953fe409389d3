"""What is refused, and what clients are made with."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from thingbeam.io.kafka import KafkaConfig, MskIam, OAuth, Plain, Scram, Tls
from thingbeam.io.secrets import secret

SERVERS = "broker:9092"


@pytest.mark.parametrize("servers", ["", "broker", "broker:", ":9092", "a:1,b", "a:70000", "a:x", "a:0"])
def test_servers_need_host_and_port(servers: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        KafkaConfig(servers)


@pytest.mark.parametrize("servers", ["a:1", "a:1,b:2", "[::1]:9092", "a:1, b:2"])
def test_servers(servers: str) -> None:
    assert KafkaConfig(servers).client_settings()["bootstrap.servers"] == servers


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("enable.auto.commit", "not yet output"),
        ("auto.commit.enable", "not yet output"),
        ("enable.auto.offset.store", "not yet output"),
        ("auto.commit.interval.ms", "finalises"),
        ("auto.offset.reset", "without a word"),
        ("enable.partition.eof", "silent partition"),
        ("group.id", "argument group"),
        ("isolation.level", "read_committed="),
    ],
)
def test_settings_that_lose_data_in_reading(setting: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"setting {setting}: .*{reason}"):
        KafkaConfig(SERVERS, settings={setting: "x"}).check_reading()


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("enable.idempotence", False, "double"),
        ("acks", 1, "lost"),
        ("acks", "0", "lost"),
        ("request.required.acks", 0, "lost"),
        ("transactional.id", "x", "transactional="),
        ("delivery.report.only.error", False, "chooses"),
    ],
)
def test_settings_that_lose_data_in_writing(setting: str, value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=f"setting {setting}.*: .*{reason}"):
        KafkaConfig(SERVERS, settings={setting: value}).check_writing()


@pytest.mark.parametrize(("setting", "value"), [("enable.idempotence", True), ("acks", "all"), ("acks", -1)])
def test_the_same_settings_as_ours_are_no_fault(setting: str, value: Any) -> None:
    KafkaConfig(SERVERS, settings={setting: value}).check_writing()


@pytest.mark.parametrize("setting", ["sasl.password", "sasl.oauthbearer.client.secret", "ssl.key.password"])
def test_secrets_stay_out_of_settings(setting: str) -> None:
    with pytest.raises(ValueError, match=f"setting {setting}") as caught:
        KafkaConfig(SERVERS, settings={setting: "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_callback_is_no_setting() -> None:
    with pytest.raises(ValueError, match="setting error_cb: function"):
        KafkaConfig(SERVERS, settings={"error_cb": lambda error: None})  # type: ignore[dict-item]


def test_what_the_user_sets_comes_before_what_we_tune() -> None:
    config = KafkaConfig(SERVERS, settings={"linger.ms": 0, "fetch.wait.max.ms": 7})
    assert config.writing_settings()["linger.ms"] == 0
    assert config.reading_settings(None)["fetch.wait.max.ms"] == 7


def test_what_safety_needs_is_set() -> None:
    reading = KafkaConfig(SERVERS).reading_settings("g")
    assert reading["group.id"] == "g"
    assert reading["enable.auto.commit"] is False
    assert reading["auto.offset.reset"] == "error"
    assert reading["isolation.level"] == "read_committed"
    assert KafkaConfig(SERVERS).reading_settings("g", read_committed=False)["isolation.level"] == "read_uncommitted"
    writing = KafkaConfig(SERVERS).writing_settings()
    assert (writing["enable.idempotence"], writing["acks"]) == (True, "all")


@pytest.mark.parametrize("make", [lambda word: Scram("u", word), lambda word: Plain("u", word)])
def test_a_password_in_plain_text_is_refused_and_not_repeated(make: Any) -> None:
    with pytest.raises(ValueError, match="must be a reference") as caught:
        make("hunter2")
    assert "hunter2" not in str(caught.value)


def test_a_secret_is_read_when_a_client_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = KafkaConfig(SERVERS, tls=True, sasl=Scram("u", "env:SECRET_OF_TEST"))
    with pytest.raises(ValueError, match="no environment variable SECRET_OF_TEST"):
        config.client_settings()
    monkeypatch.setenv("SECRET_OF_TEST", "hunter2")
    made = config.client_settings()
    assert made["sasl.password"] == "hunter2"
    assert made["security.protocol"] == "SASL_SSL"
    assert b"hunter2" not in pickle.dumps(config)
    (tmp_path / "word").write_text("from a file\n")
    assert secret(f"file:{tmp_path}/word") == "from a file"
    with pytest.raises(ValueError, match="cannot read"):
        secret(f"file:{tmp_path}/none")


def test_plain_and_iam_need_encryption() -> None:
    with pytest.raises(ValueError, match="needs tls"):
        KafkaConfig(SERVERS, sasl=Plain("u", "env:X"))
    with pytest.raises(ValueError, match="TLS only"):
        KafkaConfig(SERVERS, sasl=MskIam("eu-west-1"))


def test_tls_settings() -> None:
    with pytest.raises(ValueError, match="needs its key"):
        Tls(certificate="/c.pem")
    made = KafkaConfig(SERVERS, tls=Tls(ca="/ca.pem", check_hostname=False)).client_settings()
    assert made["security.protocol"] == "SSL"
    assert made["ssl.ca.location"] == "/ca.pem"
    assert made["ssl.endpoint.identification.algorithm"] == "none"


def make_token() -> tuple[str, float]:
    return "token", 5.0


def test_tokens_come_from_the_function() -> None:
    config = pickle.loads(pickle.dumps(KafkaConfig(SERVERS, sasl=OAuth(make_token))))
    assert config.client_settings()["oauth_cb"]("") == ("token", 5.0)
    assert config.client_settings()["sasl.mechanisms"] == "OAUTHBEARER"
