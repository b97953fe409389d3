"""Kafka: one broker that is its own controller (KRaft)."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Final

from thingbeam.runners.stack import maven
from thingbeam.runners.stack.component import Command, Component, Place
from thingbeam.runners.stack.errors import StackError
from thingbeam.runners.stack.ports import LOOPBACK
from thingbeam.runners.stack.tools import java_options, run, tool

__all__ = ["PASSWORD", "PROTOCOLS", "USER", "VERSION", "Kafka"]

VERSION: Final = "4.3.1"
USER: Final = "thingbeam"
"""The user that a secured broker knows, by SCRAM and PLAIN."""
PASSWORD: Final = "thingbeam-secret"  # noqa: S105
"""Of USER, on a broker that nothing but this machine reaches."""
PROTOCOLS: Final = ("PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL")
"""The listeners of a secured broker; others have the first only."""

_SCRAM: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_ANSWER_SECONDS: Final = 2.0
_TOPIC_SECONDS: Final = 15.0


@dataclass(frozen=True, kw_only=True)
class Kafka(Component):
    """A broker of one node, with settings under which it is back seconds after a kill -9.

    Topics keep what they are given for ever (`retention.ms=-1`), whatever its timestamps say; they are not created by
    being asked for.

    >>> Kafka(topics="events:8,results").ports()
    {'kafka': None, 'controller': None}
    """

    kind: ClassVar[str] = "kafka"

    port: int | None = None
    """Of the plaintext listener; any free one if None."""
    secured: bool = False
    """Whether it listens with SASL (SCRAM-SHA-256, SCRAM-SHA-512, PLAIN and OAUTHBEARER with unsigned tokens), with TLS
    and with both, too."""
    topics: str = ""
    """Topics that are made when it starts, where they are not there: `NAME[:PARTITIONS],…`."""
    heap: str = "512m"
    """Limit of the JVM's heap."""

    def ports(self) -> Mapping[str, int | None]:
        """One for clients, one for the controller, and one for each further listener."""
        extra = PROTOCOLS[1:] if self.secured else ()
        return {"kafka": self.port, "controller": None} | {protocol.lower(): None for protocol in extra}

    def install(self) -> None:
        """Downloads the broker's jars with Maven: 44 MB."""
        maven.jars("kafka", VERSION, "kafka.pom.xml")

    def prepare(self, place: Place) -> None:
        """Writes the configuration and certificates, and formats the storage before the first start."""
        if self.secured and not self.authority(place).exists():
            _certify(place.directory)
        source = resources.files(__package__ or "").joinpath("log4j2.xml")
        (place.directory / "log4j2.xml").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
        lines = (f"{key}={value}\n" for key, value in self._properties(place).items())
        (place.directory / "server.properties").write_text("".join(lines), encoding="utf-8")
        if not (place.directory / "data" / "meta.properties").exists():
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            users = [f"--add-scram={scram}=[name={USER},password={PASSWORD}]" for scram in _SCRAM if self.secured]
            # A cluster id that begins with a hyphen would be taken for an option.
            format_it = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", *users]
            argv = [*self._java(place), *format_it, "--config=server.properties"]
            run("formatting Kafka's storage", argv, place.directory / "logs" / "format.log", directory=place.directory)

    def commands(self, place: Place) -> Mapping[str, Command]:
        """One process: broker and controller."""
        return {"": Command([*self._java(place), "kafka.Kafka", "server.properties"])}

    def ready(self, place: Place, process: str) -> None:
        """Asks for the cluster's brokers."""
        cluster = self._admin(place).list_topics(timeout=_ANSWER_SECONDS)
        if not cluster.brokers:
            raise StackError("no broker has registered")

    def uri(self, place: Place, process: str) -> str:
        """`kafka://127.0.0.1:PORT`, of the plaintext listener."""
        return f"kafka://{place.address('kafka')}"

    def started(self, place: Place) -> None:
        """Makes the topics that were asked for."""
        wanted = [topic.strip().partition(":") for topic in self.topics.split(",") if topic.strip()]
        for name, _, partitions in wanted:
            self.make_topic(place, name, int(partitions or 1))

    def make_topic(self, place: Place, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Makes a topic where it is not there, and waits until it can be written.

        Args:
            place: of the broker.
            name: of the topic.
            partitions: how many.
            config: settings of the topic's own.

        Raises:
            StackError: it could not be made.
        """
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

        admin = self._admin(place)
        until = time.monotonic() + _TOPIC_SECONDS
        try:
            if name not in admin.list_topics(timeout=_TOPIC_SECONDS).topics:
                new = NewTopic(name, partitions, 1, config=dict(config or {}))
                admin.create_topics([new])[name].result(_TOPIC_SECONDS)
            # The controller answers before its broker has heard of the topic.
            while True:
                found = admin.list_topics(timeout=_TOPIC_SECONDS).topics.get(name)
                if found is not None and found.partitions and all(p.leader > 0 for p in found.partitions.values()):
                    return
                if time.monotonic() > until:
                    raise StackError(f"topic {name} has no leader after {_TOPIC_SECONDS:.0f} s")
                time.sleep(0.02)
        except KafkaException as error:
            raise StackError(f"topic {name} could not be made: {error}") from error

    def authority(self, place: Place) -> Path:
        """The certificate, in PEM, by which clients know a secured broker."""
        return place.directory / "certificate.pem"

    def client(self, place: Place, protocol: str = "PLAINTEXT", mechanism: str = "SCRAM-SHA-512") -> dict[str, Any]:
        """Settings of librdkafka for a client of one of the listeners.

        Args:
            place: of the broker.
            protocol: one of PROTOCOLS.
            mechanism: of SASL: SCRAM-SHA-256, SCRAM-SHA-512 or PLAIN; OAUTHBEARER, where the caller adds `oauth_cb`
                with unsigned tokens.

        Raises:
            ValueError: no such listener.
        """
        port = "kafka" if protocol == "PLAINTEXT" else protocol.lower()
        if protocol not in PROTOCOLS or port not in place.ports:
            raise ValueError(f"{protocol}: this broker has no such listener; secured=true gives it {PROTOCOLS}")
        settings = {"bootstrap.servers": place.address(port), "security.protocol": protocol}
        if "SASL" in protocol:
            settings["sasl.mechanism"] = mechanism
            if mechanism != "OAUTHBEARER":
                settings |= {"sasl.username": USER, "sasl.password": PASSWORD}
        if "SSL" in protocol:
            settings["ssl.ca.location"] = str(self.authority(place))
        return settings

    def _java(self, place: Place) -> list[str]:
        jars = maven.jars("kafka", VERSION, "kafka.pom.xml")
        logging = f"-Dlog4j2.configurationFile={place.directory / 'log4j2.xml'}"
        return [tool("java"), *java_options(self.heap, place.temporary), logging, "-cp", f"{jars}/*"]

    def _admin(self, place: Place) -> Any:
        try:
            from confluent_kafka.admin import AdminClient
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("Kafka's client is not installed: pip install 'thingbeam[kafka]'") from error
        # What librdkafka logs while nobody answers would go to standard error.
        settings: dict[str, Any] = {"bootstrap.servers": place.address("kafka"), "log_level": 0}
        settings["error_cb"] = lambda error: None
        return AdminClient(settings)

    def _properties(self, place: Place) -> dict[str, object]:
        extra = PROTOCOLS[1:] if self.secured else ()
        ports = {"PLAINTEXT": place.ports["kafka"]} | {protocol: place.ports[protocol.lower()] for protocol in extra}
        listeners = [f"{protocol}://{LOOPBACK}:{port}" for protocol, port in ports.items()]
        controller = f"{LOOPBACK}:{place.ports['controller']}"
        properties: dict[str, object] = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": ",".join([*listeners, f"CONTROLLER://{controller}"]),
            "advertised.listeners": ",".join(listeners),
            "listener.security.protocol.map": ",".join([*(f"{p}:{p}" for p in ports), "CONTROLLER:PLAINTEXT"]),
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": place.directory / "data",
            "num.network.threads": 2,
            "num.io.threads": 2,
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # Events of any time are taken and kept: a topic with old create times would be emptied at once.
            "log.retention.ms": -1,
            "log.message.timestamp.after.max.ms": (1 << 63) - 1,
            # With the default session of 9 s, a broker that comes back after kill -9 waits for its old one to expire.
            "broker.session.timeout.ms": 1000,
            "broker.heartbeat.interval.ms": 250,
            "controller.quorum.election.timeout.ms": 500,
            "controller.quorum.fetch.timeout.ms": 1000,
            "log.flush.offset.checkpoint.interval.ms": 10_000,
            "num.recovery.threads.per.data.dir": 2,
        }
        return properties | (_security(place.directory) if self.secured else {})


def _security(directory: Path) -> dict[str, object]:
    login = "org.apache.kafka.common.security"
    properties: dict[str, object] = {
        "sasl.enabled.mechanisms": ",".join([*_SCRAM, "PLAIN", "OAUTHBEARER"]),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": directory / "keystore.pem",
    }
    modules = dict.fromkeys((scram.lower() for scram in _SCRAM), f"{login}.scram.ScramLoginModule required;")
    modules["plain"] = f'{login}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    # The module wants a token of the broker's own, though it speaks to itself without one.
    modules["oauthbearer"] = (
        f'{login}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="{USER}";'
    )
    for listener in ("sasl_plaintext", "sasl_ssl"):
        for mechanism, module in modules.items():
            properties[f"listener.name.{listener}.{mechanism}.sasl.jaas.config"] = module
    return properties


def _certify(directory: Path) -> None:
    """Makes a certificate that signs itself, for a hundred days, and the broker's key store of it."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "100", "-subj", "/CN=localhost"]
    names = ["-addext", f"subjectAltName=DNS:localhost,IP:{LOOPBACK}"]
    argv = [tool("openssl"), *request, *names, "-keyout", str(key), "-out", str(certificate)]
    run("making a certificate", argv, directory / "logs" / "openssl.log")
    store = directory / "keystore.pem"
    store.touch(0o600)
    store.write_text(key.read_text() + certificate.read_text())
