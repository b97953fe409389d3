"""Kinesis: kinesalite, which is fast and durable, or kinesis-local, which knows more of the API."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from thingbeam.runners.stack.cache import installed
from thingbeam.runners.stack.component import Command, Component, Place
from thingbeam.runners.stack.errors import StackError
from thingbeam.runners.stack.ports import LOOPBACK
from thingbeam.runners.stack.tools import run, tool

__all__ = ["ACCESS_KEY", "REGION", "SECRET_KEY", "VERSIONS", "Kinesis"]

VERSIONS: Final = {"kinesalite": "3.3.3", "kinesis-local": "0.6.2"}
REGION: Final = "us-east-1"
"""What kinesalite takes any for; kinesis-local keeps streams apart by it."""
ACCESS_KEY: Final = "thingbeam"
SECRET_KEY: Final = "thingbeam-secret"  # noqa: S105
"""Of a server that nothing but this machine reaches, and that looks at no signature."""

_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104
_BIND: Final = "bind-loopback.js"
_ANSWER_SECONDS: Final = 2.0
_STREAM_SECONDS: Final = 15.0
_STEP_MS: Final = 50
"""How long a change of a stream takes; on AWS it is seconds."""


@dataclass(frozen=True, kw_only=True)
class Kinesis(Component):
    """A server of the Kinesis API. Neither throttles, and neither checks who is asking.

    `kinesalite` writes each record to disk before it is acknowledged, and a kill -9 loses none. It does not say how far
    behind a reader is (always 0), nor which shards follow one that ended, and has no UpdateShardCount and no enhanced
    fan-out. `kinesis-local` has these, several regions, and an account for each access key of twelve digits; it is ten
    times slower and keeps all in memory.

    >>> Kinesis(streams="events:4").ports()
    {'http': None}
    """

    kind: ClassVar[str] = "kinesis"

    port: int | None = None
    """Of HTTP; any free one if None."""
    server: Literal["kinesalite", "kinesis-local"] = "kinesalite"
    """Which of the two."""
    streams: str = ""
    """Streams that are made when it starts, where they are not there: `NAME[:SHARDS],…`."""

    def ports(self) -> Mapping[str, int | None]:
        """One for HTTP; kinesis-local wants one for TLS, too."""
        return {"http": self.port} if self.server == "kinesalite" else {"http": self.port, "tls": None}

    def install(self) -> None:
        """Downloads the server with npm: 15 MB."""
        self._home()

    def prepare(self, place: Place) -> None:
        """Writes what keeps the server to this machine."""
        script = resources.files(__package__ or "").joinpath(_BIND).read_text(encoding="utf-8")
        (place.directory / _BIND).write_text(script, encoding="utf-8")
        (place.directory / "data").mkdir(exist_ok=True)

    def commands(self, place: Place) -> Mapping[str, Command]:
        """One process."""
        home, port = self._home(), place.ports["http"]
        node = [tool("node"), "-r", str(place.directory / _BIND)]
        here = {"THINGBEAM_LOOPBACK": LOOPBACK}
        if self.server == "kinesalite":
            steps = [f"--{change}StreamMs={_STEP_MS}" for change in ("create", "delete", "update")]
            data = place.directory / "data"
            program = str(home / "node_modules" / "kinesalite" / "cli.js")
            return {"": Command([*node, program, f"--port={port}", f"--path={data}", "--shardLimit=500", *steps], here)}
        names = (
            "CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "UPDATE_SHARD_COUNT",
            "REGISTER_STREAM_CONSUMER", "DEREGISTER_STREAM_CONSUMER",
        )  # fmt: skip
        environment = here | {f"{name}_DURATION": f"{_STEP_MS}ms" for name in names} | {
            "KINESIS_MOCK_PLAIN_PORT": str(port),
            "KINESIS_MOCK_TLS_PORT": str(place.ports["tls"]),
            "KINESIS_MOCK_CERT_PATH": str(home / "server.json"),
            "SHARD_LIMIT": "500",
            "LOG_LEVEL": "ERROR",
        }  # fmt: skip
        return {"": Command([*node, str(home / "main.js")], environment)}

    def ready(self, place: Place, process: str) -> None:
        """Asks for the streams."""
        self.client(place).list_streams()

    def uri(self, place: Place, process: str) -> str:
        """`http://127.0.0.1:PORT`, the endpoint."""
        return f"http://{place.address('http')}"

    def started(self, place: Place) -> None:
        """Makes the streams that were asked for."""
        wanted = [stream.strip().partition(":") for stream in self.streams.split(",") if stream.strip()]
        for name, _, shards in wanted:
            self.make_stream(place, name, int(shards or 1))

    def make_stream(self, place: Place, name: str, shards: int = 1) -> None:
        """Makes a stream where it is not there, and waits until it can be written.

        Raises:
            StackError: it is not ready after a while.
        """
        client = self.client(place)
        if name not in client.list_streams()["StreamNames"]:
            client.create_stream(StreamName=name, ShardCount=shards)
        until = time.monotonic() + _STREAM_SECONDS
        while client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
            if time.monotonic() > until:
                raise StackError(f"stream {name} is not active after {_STREAM_SECONDS:.0f} s")
            time.sleep(0.02)

    def client(self, place: Place) -> Any:
        """A boto3 client of this server that answers soon or not at all."""
        try:
            import boto3
            from botocore.config import Config
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("the client of Kinesis is not installed: pip install 'thingbeam[aws]'") from error
        return boto3.client(
            "kinesis",
            region_name=REGION,
            endpoint_url=f"http://{place.address('http')}",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(
                connect_timeout=_ANSWER_SECONDS,
                read_timeout=_STREAM_SECONDS,
                retries={"mode": "standard", "total_max_attempts": 1},
            ),
        )

    def _home(self) -> Path:
        """The server, in the cache."""
        package, version = self.server, VERSIONS[self.server]

        def build(folder: Path, log: Path) -> None:
            argv = [tool("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
            run(f"downloading {package} {version}", [*argv, f"{package}@{version}"], log)
            if package == "kinesis-local":
                _keep_here(folder)

        return installed(package, version, "npm install, main.js listens on the loopback", build)


def _keep_here(folder: Path) -> None:
    # It gives the address to the system itself, past what bind-loopback.js sees.
    package = folder / "node_modules" / "kinesis-local"
    text = (package / "main.js").read_text(encoding="utf-8")
    if text.count(f'"{_EVERYWHERE}"') != 1:
        raise StackError("kinesis-local listens in another way than is known")
    (folder / "main.js").write_text(text.replace(f'"{_EVERYWHERE}"', f'"{LOOPBACK}"'), encoding="utf-8")
    shutil.copyfile(package / "server.json", folder / "server.json")
    shutil.rmtree(folder / "node_modules")
