"""kafka:// URIs."""

from __future__ import annotations

import pytest

from thingbeam.io.kafka import MskIam, Plain, ReadFromKafka, Scram, Tls, WriteToKafka
from thingbeam.io.kafka.uris import parse_kafka_uri


def test_the_plain_case() -> None:
    parsed = parse_kafka_uri("kafka://127.0.0.1:9092/events?group=g&start=earliest")
    assert parsed.config.servers == "127.0.0.1:9092"
    assert parsed.topics == ("events",)
    assert parsed.options == {"group": "g", "start": "earliest"}
    ReadFromKafka(parsed.config, parsed.topics, **parsed.options)


def test_everything() -> None:
    parsed = parse_kafka_uri(
        "kafka://a:1,b:2/one,two%2Bthree?group=g&start=2026-01-31T12:00:00%2B01:00&stop=latest&batch_records=50"
        "&max_rate=10.5&read_committed=false&discover_every=never&idle_after=3s&fetch.min.bytes=5"
        "&auth=scram-sha-256&username=u&password=env:WORD&ca=/ca.pem&connect_timeout=5"
    )
    assert parsed.config.servers == "a:1,b:2"
    assert parsed.topics == ("one", "two+three")
    assert parsed.config.sasl == Scram("u", "env:WORD", "SCRAM-SHA-256")
    assert parsed.config.tls == Tls(ca="/ca.pem")
    assert parsed.config.settings == {"fetch.min.bytes": "5"}
    assert parsed.config.connect_timeout == 5
    assert parsed.options["max_rate"] == 10.5
    assert parsed.options["read_committed"] is False
    assert parsed.options["discover_every"] is None
    ReadFromKafka(parsed.config, parsed.topics, **parsed.options)


def test_logins() -> None:
    iam = parse_kafka_uri("kafka://b:9098/t?tls=true&auth=msk-iam&region=eu-west-1&role_arn=arn:x").config
    assert iam.sasl == MskIam("eu-west-1", None, "arn:x")
    plain = parse_kafka_uri("kafka://b:1/t?tls=true&auth=plain&username=u&password=file:/x").config
    assert plain.sasl == Plain("u", "file:/x")


def test_an_output() -> None:
    parsed = parse_kafka_uri("kafka://b:1/results?transactional=tx&attempts=2", write=True)
    assert parsed.shown == "kafka://b:1/results"
    WriteToKafka(parsed.config, *parsed.topics, **parsed.options)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("kafka://b:1", "name topics"),
        ("kafka://b:1/t?pattern=x", "name topics"),
        ("kafka:///t", "host:port"),
        ("kafka://b/t", "host:port"),
        ("http://b:1/t", "is expected"),
        ("kafka://u:word@b:1/t", "no user or password"),
        ("kafka://b:1/t#x", "%23"),
        ("kafka://b:1/a/b", "no slash"),
        ("kafka://b:1/t?grup=g", "grup: no such option; there are .*group"),
        ("kafka://b:1/t?group=a&group=b", "group is given twice"),
        ("kafka://b:1/t?batch_records=x", "batch_records=x: a whole number"),
        ("kafka://b:1/t?max_rate=x", "max_rate=x: a number"),
        ("kafka://b:1/t?read_committed=maybe", "true or false"),
        ("kafka://b:1/t?tls=maybe", "tls=maybe: true or false"),
        ("kafka://b:1/t?auth=kerberos", "auth=kerberos"),
        ("kafka://b:1/t?auth=scram-sha-512", "needs username= and password="),
        ("kafka://b:1/t?username=u", "need auth="),
        ("kafka://b:1/t?auth=msk-iam&tls=true", "needs region="),
        ("kafka://b:1/t?auth=plain&username=u&password=env:X", "needs tls"),
        ("kafka://b:1/t?enable.auto.commit=true", "not yet output"),
    ],
)
def test_mistakes_in_an_input(uri: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_kafka_uri(uri)
    assert "\n" not in str(caught.value)
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("kafka://b:1/a,b", "one topic"),
        ("kafka://b:1", "one topic"),
        ("kafka://b:1/t?start=earliest", "start: no such option"),
        ("kafka://b:1/t?acks=1&x.y=1", "acks: no such option"),
        ("kafka://b:1/t?transactional.id=x", "transactional="),
        ("kafka://b:1/t?format=xml", "format=xml: json or avro"),
    ],
)
def test_mistakes_in_an_output(uri: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_kafka_uri(uri, write=True)


def test_a_password_is_never_repeated() -> None:
    with pytest.raises(ValueError, match="must be a reference") as caught:
        parse_kafka_uri("kafka://b:1/t?auth=scram-sha-512&username=u&password=hunter2")
    assert "hunter2" not in str(caught.value)
