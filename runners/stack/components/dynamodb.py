"""DynamoDB: Amazon's own DynamoDB Local."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from thingbeam.runners.stack import java, maven
from thingbeam.runners.stack.cache import installed
from thingbeam.runners.stack.component import Command, Component, Place
from thingbeam.runners.stack.tools import java_options, tool

__all__ = ["ACCESS_KEY", "REGION", "SECRET_KEY", "VERSION", "DynamoDb"]

VERSION: Final = "2.6.1"
"""The newest line that Maven has whole."""
REGION: Final = "us-east-1"
"""Where `client` looks. A table is only there in the region, and for the access key, that made it."""
ACCESS_KEY: Final = "thingbeam"
SECRET_KEY: Final = "thingbeam-secret"  # noqa: S105
"""Of a server that nothing but this machine reaches, and that looks at no signature."""

_POM: Final = "dynamodb.pom.xml"
_MAIN: Final = "LoopbackDynamoDb"
_ANSWER_SECONDS: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class DynamoDb(Component):
    """A DynamoDB of one process, with the real one's limits and errors. It never throttles.

    >>> DynamoDb().ports()
    {'http': None}
    """

    kind: ClassVar[str] = "dynamodb"

    port: int | None = None
    """Of HTTP; any free one if None."""
    memory: bool = False
    """Whether it forgets all when it ends; it then writes several times as fast. Else what it has acknowledged is on
    disk, and outlives a kill -9."""
    heap: str = "512m"
    """Limit of the JVM's heap."""

    def ports(self) -> Mapping[str, int | None]:
        """One, for HTTP."""
        return {"http": self.port}

    def install(self) -> None:
        """Downloads the server with Maven (51 MB), and compiles a small program that starts it."""
        _launcher()

    def prepare(self, place: Place) -> None:
        """Makes the folder of its data."""
        (place.directory / "data").mkdir(exist_ok=True)

    def commands(self, place: Place) -> Mapping[str, Command]:
        """One process."""
        jars = _jars()
        store = ["-inMemory"] if self.memory else ["-dbPath", str(place.directory / "data")]
        libraries = [f"-Djava.library.path={jars}", "-cp", f"{_launcher()}/*:{jars}/*"]
        options = [*java_options(self.heap, place.temporary), *libraries]
        arguments = ["-port", str(place.ports["http"]), "-disableTelemetry", *store]
        return {"": Command([tool("java"), *options, _MAIN, *arguments])}

    def ready(self, place: Place, process: str) -> None:
        """Asks for the tables."""
        self.client(place).list_tables()

    def uri(self, place: Place, process: str) -> str:
        """`http://127.0.0.1:PORT`, the endpoint."""
        return f"http://{place.address('http')}"

    def client(self, place: Place, region: str = REGION) -> Any:
        """A boto3 client of it.

        Raises:
            ModuleNotFoundError: boto3 is not installed.
        """
        try:
            import boto3
            from botocore.config import Config
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("DynamoDB's client is not installed: pip install 'thingbeam[aws]'") from error
        config = Config(
            connect_timeout=_ANSWER_SECONDS, read_timeout=10 * _ANSWER_SECONDS, retries={"total_max_attempts": 1}
        )
        return boto3.client(
            "dynamodb", region, endpoint_url=self.uri(place, ""), config=config,
            aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY,
        )  # fmt: skip


def _jars() -> Path:
    return maven.jars("dynamodb-local", VERSION, _POM)


def _launcher() -> Path:
    libraries, source = _jars(), f"{_MAIN}.java"

    def build(folder: Path, log: Path) -> None:
        java.compiled([source], f"{libraries}/*", {}, folder / "loopback-dynamodb.jar", log)

    return installed("loopback-dynamodb", VERSION, java.source_text(source), build)
