"""How to reach Kafka: servers, encryption, who we are, and librdkafka's settings but for those that would lose data.

A configuration travels in the job's graph, which many can read. So a secret is a reference, `env:NAME` or `file:PATH`,
read on the worker when a client is made.

Settings: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from thingbeam.io.secrets import check_reference, secret

__all__ = ["KafkaConfig", "MskIam", "OAuth", "Plain", "Scram", "Setting", "Tls", "check_version"]

Setting = str | int | float | bool
Settings = dict[str, Any]

_WHO: Final = "say who you are with sasl=, so that the secret stays out of the job's graph"
_TLS: Final = "say it with tls="
_REFUSED: Final[dict[str, str]] = {
    "bootstrap.servers": "it is the argument servers",
    "metadata.broker.list": "it is the argument servers",
    "security.protocol": "it follows from tls= and sasl=",
    "sasl.mechanism": _WHO,
    "sasl.mechanisms": _WHO,
    "sasl.username": _WHO,
    "sasl.password": _WHO,
    "sasl.oauthbearer.client.secret": _WHO,
    "ssl.key.pem": _TLS,
    "ssl.key.password": _TLS,
    "ssl.keystore.password": _TLS,
    "builtin.features": "it is read only",
    "log.queue": "the connector takes the log",
}
_OLDEST_CLIENT: Final = 0x02050000
_READ_REFUSED: Final[dict[str, str]] = {
    "group.id": "it is the argument group",
    "enable.auto.commit": "it would commit what is not yet output, and a crash would lose it; offsets are committed "
    "when the runner finalises a bundle",
    "auto.commit.interval.ms": "nothing is committed by time; offsets are committed when the runner finalises a bundle",
    "auto.commit.enable": "it would commit what is not yet output, and a crash would lose it",
    "enable.auto.offset.store": "it would mark as done what is not yet output, and a crash would lose it",
    "offset.store.method": "offsets are kept by the runner's checkpoint",
    "auto.offset.reset": "where offsets are gone it would jump over what is lost without a word; say start= for where "
    "to begin, and on_gap= for what to do then",
    "enable.partition.eof": "the connector needs it to know a silent partition from a broken one",
    "isolation.level": "say it with read_committed=",
    "group.instance.id": "partitions are given out by Beam, not by the group",
    "partition.assignment.strategy": "partitions are given out by Beam, not by the group",
}
_WRITE_REFUSED: Final[dict[str, str]] = {
    "delivery.report.only.error": "the connector chooses which reports it needs",
    "transactional.id": "say it with transactional=",
}
# What may be said as long as it says this.
_ACKS: Final = (
    frozenset({"all", "-1"}),
    "a record that not all in-sync replicas have can be lost after it was acknowledged",
)
_WRITE_FIXED: Final[dict[str, tuple[frozenset[str], str]]] = {
    "enable.idempotence": (frozenset({"true"}), "without it a retry can double records and change their order"),
    "acks": _ACKS,
    "request.required.acks": _ACKS,
}


def check_version(library: tuple[str, int]) -> None:
    """Refuse a librdkafka that is too old, as `confluent_kafka.libversion()` names it.

    Raises:
        ValueError: older than 2.5.

    >>> check_version(("2.5.0", 0x020500FF))
    """
    if library[1] < _OLDEST_CLIENT:
        raise ValueError(f"librdkafka {library[0]} is too old: 2.5 or newer")


@dataclass(frozen=True)
class Tls:
    """Encryption, and with a certificate of one's own also who we are. Paths are on the workers."""

    ca: str | None = None
    """A PEM file of authorities; None for the system's."""
    certificate: str | None = None
    key: str | None = None
    key_password: str | None = None
    """A reference: see `thingbeam.io.secrets`."""
    check_hostname: bool = True

    def __post_init__(self) -> None:
        """Refuse half a pair."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError("tls: a certificate needs its key, and a key its certificate")
        if self.key_password is not None:
            check_reference(self.key_password, "tls key_password")

    def settings(self) -> Settings:
        """As librdkafka has them."""
        given: Settings = {
            "ssl.ca.location": self.ca,
            "ssl.certificate.location": self.certificate,
            "ssl.key.location": self.key,
            "ssl.key.password": None if self.key_password is None else secret(self.key_password, "tls key_password"),
            "ssl.endpoint.identification.algorithm": "https" if self.check_hostname else "none",
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Scram:
    """SASL/SCRAM (RFC 5802): a user and a password that never crosses the wire."""

    username: str
    password: str
    """A reference: see `thingbeam.io.secrets`."""
    mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"

    def __post_init__(self) -> None:
        """Refuse a password in plain text."""
        check_reference(self.password, "password")
        if self.mechanism not in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            raise ValueError(f"mechanism {self.mechanism!r}: SCRAM-SHA-256 or SCRAM-SHA-512")

    def settings(self) -> Settings:
        """As librdkafka has them."""
        return {
            "sasl.mechanisms": self.mechanism,
            "sasl.username": self.username,
            "sasl.password": secret(self.password, "password"),
        }


@dataclass(frozen=True)
class Plain:
    """SASL/PLAIN: a user and a password, sent as they are, hence with TLS only."""

    username: str
    password: str
    """A reference: see `thingbeam.io.secrets`."""

    def __post_init__(self) -> None:
        """Refuse a password in plain text."""
        check_reference(self.password, "password")

    def settings(self) -> Settings:
        """As librdkafka has them."""
        return {
            "sasl.mechanisms": "PLAIN",
            "sasl.username": self.username,
            "sasl.password": secret(self.password, "password"),
        }


@dataclass(frozen=True)
class OAuth:
    """SASL/OAUTHBEARER (RFC 7628) with tokens from a function, asked again before each runs out.

    Attributes:
        token: gives a token and when it runs out, in seconds since 1970. It travels to the workers pickled: a function
            of a module.
    """

    token: Callable[[], tuple[str, float]]

    def settings(self) -> Settings:
        """As confluent-kafka has them."""

        def refresh(_: str) -> tuple[str, float]:
            return self.token()

        return {"sasl.mechanisms": "OAUTHBEARER", "oauth_cb": refresh}


@dataclass(frozen=True)
class MskIam:
    """AWS IAM on Amazon MSK: tokens signed with the credentials that the worker has. Needs boto3.

    https://docs.aws.amazon.com/msk/latest/developerguide/iam-access-control.html
    """

    region: str
    profile: str | None = None
    """A profile of the worker's AWS configuration; None for what boto3 finds by itself (role, variables, file)."""
    role_arn: str | None = None
    """A role to take on first."""

    def settings(self) -> Settings:
        """As confluent-kafka has them."""
        from thingbeam.io.kafka.msk import msk_token

        def refresh(_: str) -> tuple[str, float]:
            return msk_token(self.region, self.profile, self.role_arn)

        return {"sasl.mechanisms": "OAUTHBEARER", "oauth_cb": refresh}


@dataclass(frozen=True)
class KafkaConfig:
    """A cluster and how to talk to it. Plain values only, so it travels in the job's graph.

    Attributes:
        servers: `host:port`, several with commas.
        tls: True for encryption by the system's authorities, or `Tls(…)`.
        sasl: `Scram(…)`, `Plain(…)`, `OAuth(…)` or `MskIam(…)`.
        settings: any of librdkafka's, for all clients or for those of the side that uses it.
        connect_timeout: how long the first answer of the cluster is waited for, in seconds.

    Raises:
        ValueError: no servers, a setting that would lose data or let a secret out, with the reason.

    >>> KafkaConfig("broker:9092", settings={"sasl.password": "x"})
    Traceback (most recent call last):
    ...
    ValueError: setting sasl.password: say who you are with sasl=, so that the secret stays out of the job's graph
    """

    servers: str
    tls: Tls | bool = False
    sasl: Scram | Plain | OAuth | MskIam | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    connect_timeout: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not self.servers or not all(_is_server(server) for server in self.servers.split(",")):
            raise ValueError(f"servers {self.servers!r}: write them as host:port, several with commas")
        if isinstance(self.sasl, Plain) and not self.tls:
            raise ValueError("SASL/PLAIN sends the password as it is: it needs tls=")
        if isinstance(self.sasl, MskIam) and not self.tls:
            raise ValueError("MSK takes IAM over TLS only: it needs tls=True")
        self._check(_REFUSED)
        for name, value in dict[str, object](self.settings).items():
            # A callback would be pickled, and might be one of those that the connector needs for itself.
            if not isinstance(value, (str, int, float, bool)):
                raise ValueError(f"setting {name}: {type(value).__name__} is no plain value")

    def check_reading(self) -> None:
        """Refuse settings with which reading could lose data.

        Raises:
            ValueError: one of them, with the reason.
        """
        self._check(_READ_REFUSED)

    def check_writing(self) -> None:
        """Refuse settings with which writing could lose data.

        Raises:
            ValueError: one of them, with the reason.
        """
        self._check(_WRITE_REFUSED)
        for name, (allowed, reason) in _WRITE_FIXED.items():
            if name in self.settings and str(self.settings[name]).lower() not in allowed:
                raise ValueError(f"setting {name}={self.settings[name]}: {reason}")

    def client_settings(self) -> Settings:
        """What every client of this cluster is made with. Reads the secrets: on the worker only."""
        found: Settings = {"bootstrap.servers": self.servers, "client.id": "thingbeam", "socket.nagle.disable": True}
        found["security.protocol"] = ("SASL_" if self.sasl else "") + ("SSL" if self.tls else "PLAINTEXT")
        if self.tls:
            found |= (self.tls if isinstance(self.tls, Tls) else Tls()).settings()
        if self.sasl:
            found |= self.sasl.settings()
        return found | dict(self.settings)

    def reading_settings(self, group: str | None, *, read_committed: bool = True) -> Settings:
        """What a consumer is made with."""
        tuned: Settings = {
            # A consumer reads one partition; the defaults are for one that reads them all.
            "queued.max.messages.kbytes": 16 << 10,
            # Waiting a second for room is longer than reading what fills it.
            "fetch.queue.backoff.ms": 10,
            "fetch.wait.max.ms": 100,
        }
        return tuned | self.client_settings() | {
            # librdkafka will have a group even where none is used. Nothing is committed without one of the user's.
            "group.id": group or "thingbeam-reads-without-a-group",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "isolation.level": "read_committed" if read_committed else "read_uncommitted",
        }  # fmt: skip

    def writing_settings(self) -> Settings:
        """What a producer is made with."""
        tuned: Settings = {"linger.ms": 20, "batch.size": 512 << 10, "compression.type": "lz4"}
        return tuned | self.client_settings() | {
            "enable.idempotence": True,
            "acks": "all",
            # An acknowledged record needs no word: flush() says when all are.
            "delivery.report.only.error": True,
        }  # fmt: skip

    def _check(self, refused: Mapping[str, str]) -> None:
        for name in self.settings:
            if name in refused:
                raise ValueError(f"setting {name}: {refused[name]}")


def _is_server(text: str) -> bool:
    host, _, port = text.strip().rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) < 1 << 16
