"""kafka:// URIs: servers, topics, and the arguments of ReadFromKafka or WriteToKafka by their names.

    kafka://HOST:PORT[,HOST:PORT…]/TOPIC[,TOPIC…]?group=…&start=earliest

A secret is only ever a reference: `password=env:NAME` or `password=file:PATH`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from thingbeam.io.kafka.config import KafkaConfig, MskIam, Plain, Scram, Tls
from thingbeam.io.query import Readers, boolean, count, number, one_of, read_options

__all__ = ["KafkaUri", "parse_kafka_uri"]

KAFKA: Final = "kafka"


class KafkaUri(NamedTuple):
    """A `kafka://` URI, taken apart."""

    shown: str
    """The URI without what is after the `?`: for a person."""
    config: KafkaConfig
    topics: tuple[str, ...]
    """Empty where `pattern` says."""
    options: dict[str, Any]
    """The arguments of ReadFromKafka or WriteToKafka that it gives, and those of the applications."""


_COMMON: Final = frozenset(
    {"tls", "ca", "certificate", "key", "key_password", "auth", "username", "password", "region", "profile", "role_arn",
     "connect_timeout"}
)  # fmt: skip


def _never(text: str) -> str | None:
    return None if text == "never" else text


_READ: Final[Readers] = {
    "pattern": str, "group": str, "start": str, "otherwise": str, "stop": str, "batch_records": count, "time": str,
    "out_of_orderness": str, "idle_after": str, "max_delay": str, "read_committed": boolean, "discover_every": _never,
    "poll_interval": str, "bundle_time": str, "max_rate": number, "on_gap": str, "on_deleted": str,
    "commit_margin": str, "commit_behind": str, "warm_up": str, "event_time": str,
}  # fmt: skip
_WRITE: Final[Readers] = {
    "transactional": str, "timeout": str, "attempts": count, "format": one_of("json", "avro"), "registry": str,
    "registry_username": str, "registry_password": str, "registry_ca": str,
}  # fmt: skip


def parse_kafka_uri(uri: str, *, write: bool = False) -> KafkaUri:
    """A `kafka://` URI as configuration, topics and arguments.

    What a query can say: the arguments of `ReadFromKafka` (or, with `write`, of `WriteToKafka`) by their names;
    `event_time=` of an input, `format=` and `registry=` of an output (see KafkaSource and KafkaSink); `tls=true`,
    `ca=`, `certificate=`, `key=`, `key_password=`; `auth=scram-sha-512`, `scram-sha-256` or `plain` with `username=`
    and `password=`; `auth=msk-iam` with `region=`; and with a dot in its name any setting of librdkafka's.

    Args:
        uri: percent-encoded where needed.
        write: whether it is an output.

    Raises:
        ValueError: one line that says what is wrong, without any secret.

    >>> parsed = parse_kafka_uri("kafka://127.0.0.1:9092/events?group=g&start=earliest")
    >>> parsed.config.servers, parsed.topics, parsed.options
    ('127.0.0.1:9092', ('events',), {'group': 'g', 'start': 'earliest'})
    """
    parts = urlsplit(uri)
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if parts.scheme.lower() != KAFKA:
        raise ValueError(f"{where}: kafka://HOST:PORT/TOPIC is expected")
    if "@" in parts.netloc:
        raise ValueError(f"{where}: no user or password before the @: use username=NAME&password=env:NAME")
    if parts.fragment:
        raise ValueError(f"{where}: what is after the # means nothing; write %23 for a #")
    query: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in query:
            raise ValueError(f"{where}: {name} is given twice")
        query[name] = value
    topics = tuple(filter(None, unquote(parts.path).strip("/").split(",")))
    if any("/" in topic for topic in topics):
        raise ValueError(f"{where}: a topic's name has no slash")
    known = _WRITE if write else _READ
    settings = {name: value for name, value in query.items() if "." in name}
    unknown = sorted(name for name in query.keys() - settings.keys() if name not in known and name not in _COMMON)
    if unknown:
        raise ValueError(
            f"{where}: {', '.join(unknown)}: no such option; there are {', '.join(sorted({*known, *_COMMON}))}"
        )
    options = read_options(where, query, known)
    if write and len(topics) != 1:
        raise ValueError(f"{where}: an output is one topic, or what the names of its topics begin with")
    if not write and bool(topics) == ("pattern" in options):
        raise ValueError(f"{where}: name topics, as in kafka://HOST:PORT/TOPIC, or give pattern=")
    try:
        config = _config(parts.netloc, query, settings)
        config.check_writing() if write else config.check_reading()
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return KafkaUri(where, config, topics, options)


def _config(servers: str, query: Mapping[str, str], settings: Mapping[str, str]) -> KafkaConfig:
    auth = query.get("auth")
    sasl: Scram | Plain | MskIam | None = None
    if auth in ("scram-sha-256", "scram-sha-512", "plain"):
        if "username" not in query or "password" not in query:
            raise ValueError(f"auth={auth} needs username= and password=")
        who = query["username"], query["password"]
        sasl = Plain(*who) if auth == "plain" else Scram(*who, auth.upper())  # type: ignore[arg-type]
    elif auth == "msk-iam":
        if "region" not in query:
            raise ValueError("auth=msk-iam needs region=")
        sasl = MskIam(query["region"], query.get("profile"), query.get("role_arn"))
    elif auth is not None:
        raise ValueError(f"auth={auth}: scram-sha-512, scram-sha-256, plain or msk-iam")
    elif "username" in query or "password" in query:
        raise ValueError("username= and password= need auth=, for instance auth=scram-sha-512")
    try:
        tls: Tls | bool = boolean(query.get("tls", "false"))
    except ValueError as error:
        raise ValueError(f"tls={query['tls']}: {error}") from None
    files = {name: query[name] for name in ("ca", "certificate", "key", "key_password") if name in query}
    if files:
        tls = Tls(files.get("ca"), files.get("certificate"), files.get("key"), files.get("key_password"))
    try:
        timeout = number(query.get("connect_timeout", "30"))
    except ValueError as error:
        raise ValueError(f"connect_timeout={query['connect_timeout']}: {error} of seconds, as 30") from None
    return KafkaConfig(servers, tls, sasl, settings, timeout)
