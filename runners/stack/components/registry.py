"""A schema registry that speaks Confluent's API: Apicurio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from thingbeam.runners.stack import maven, rest
from thingbeam.runners.stack.component import Command, Component, Place
from thingbeam.runners.stack.ports import LOOPBACK
from thingbeam.runners.stack.tools import java_options, tool

__all__ = ["VERSION", "Registry"]

VERSION: Final = "2.6.13.Final"
"""The newest line that runs on Java 17."""

_ARTIFACT: Final = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
_MAIN: Final = "io.quarkus.runner.GeneratedMain"
_ANSWER_SECONDS: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Registry(Component):
    """Schemas by subject and version, with compatibility checked where a rule asks for it.

    Its store is a file, each write on disk before it is acknowledged: ids and versions outlive a kill -9. Unlike
    Confluent's it has no compatibility rule at first: `PUT /config` sets one.
    """

    kind: ClassVar[str] = "registry"

    port: int | None = None
    """Of HTTP; any free one if None."""
    heap: str = "320m"
    """Limit of the JVM's heap."""

    def ports(self) -> Mapping[str, int | None]:
        """One, for HTTP."""
        return {"http": self.port}

    def install(self) -> None:
        """Downloads the server with Maven: 142 MB."""
        maven.unpacked("apicurio-registry", VERSION, _ARTIFACT)

    def prepare(self, place: Place) -> None:
        """Has nothing to prepare: the server makes its store."""

    def commands(self, place: Place) -> Mapping[str, Command]:
        """One process."""
        home = maven.unpacked("apicurio-registry", VERSION, _ARTIFACT)
        environment = {
            "QUARKUS_HTTP_HOST": LOOPBACK,
            "QUARKUS_HTTP_PORT": str(place.ports["http"]),
            "REGISTRY_DATASOURCE_URL": f"jdbc:h2:file:{place.directory / 'store'};WRITE_DELAY=0",
        }
        java = [tool("java"), *java_options(self.heap, place.temporary), "-cp", f"{home}/*:{home}/lib/*"]
        return {"": Command([*java, _MAIN], environment)}

    def ready(self, place: Place, process: str) -> None:
        """Asks for the subjects."""
        rest.call("GET", f"{self.uri(place, process)}/subjects", seconds=_ANSWER_SECONDS)

    def uri(self, place: Place, process: str) -> str:
        """`http://127.0.0.1:PORT/apis/ccompat/v7`, the base of Confluent's API."""
        return f"http://{place.address('http')}/apis/ccompat/v7"
