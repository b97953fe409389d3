"""S3: versitygw, a server of the S3 API over a folder, that checks signatures, regions and conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from thingbeam.runners.stack.cache import installed
from thingbeam.runners.stack.component import Command, Component, Place
from thingbeam.runners.stack.tools import run, tool

__all__ = ["ACCESS_KEY", "S3", "SECRET_KEY", "VERSION"]

VERSION: Final = "v1.8.0"
ACCESS_KEY: Final = "thingbeam"
"""Of the user who may do everything."""
SECRET_KEY: Final = "thingbeam-secret"  # noqa: S105
"""Of that user, on a server that nothing but this machine reaches."""

_PROGRAM: Final = "github.com/versity/versitygw/cmd/versitygw"
_BUILD_SECONDS: Final = 900.0
_ANSWER_SECONDS: Final = 2.0


def binary() -> Path:
    """The path of the server's binary; built with Go where it is not there (about two minutes).

    Raises:
        StackError: the build failed; one line with the log's path.
        MissingToolError: there is no Go to build it with.
    """
    return installed("versitygw", VERSION, _PROGRAM, _build) / "versitygw"


def _build(folder: Path, log: Path) -> None:
    # GOBIN is where `go install` puts what it built; its module cache stays Go's own.
    environment = {"GOFLAGS": "", "GOBIN": str(folder)}
    what = f"building versitygw {VERSION}"
    run(what, [tool("go"), "install", f"{_PROGRAM}@{VERSION}"], log, environment=environment, seconds=_BUILD_SECONDS)


@dataclass(frozen=True, kw_only=True)
class S3(Component):
    """One endpoint of one region. Objects are files, renamed into place, so that a kill -9 loses no acknowledged one.

    Two of them with two regions are a test across regions: each refuses what is signed for the other.

    >>> S3(region="eu-west-1", buckets="events,results").ports()
    {'http': None}
    """

    kind: ClassVar[str] = "s3"

    port: int | None = None
    """Of HTTP; any free one if None."""
    region: str = "us-east-1"
    """What requests must be signed for."""
    buckets: str = ""
    """Buckets that are made when it starts, where they are not there: `NAME,…`."""

    def ports(self) -> Mapping[str, int | None]:
        """One, for HTTP."""
        return {"http": self.port}

    def install(self) -> None:
        """Builds the server with Go: 84 MB, about two minutes."""
        binary()

    def prepare(self, place: Place) -> None:
        """Makes the folders."""
        for name in ("data", "metadata", "users"):
            (place.directory / name).mkdir(exist_ok=True)

    def commands(self, place: Place) -> Mapping[str, Command]:
        """One process."""
        argv = [str(binary()), "--port", place.address("http"), "--region", self.region, "--quiet"]
        argv += ["--iam-dir", str(place.directory / "users")]
        # Metadata in files of their own: not every filesystem keeps a user's extended attributes.
        argv += ["posix", "--sidecar", str(place.directory / "metadata"), str(place.directory / "data")]
        return {"": Command(argv, {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY})}

    def ready(self, place: Place, process: str) -> None:
        """Asks for the buckets, signed."""
        self.client(place).list_buckets()

    def uri(self, place: Place, process: str) -> str:
        """`http://127.0.0.1:PORT`, the endpoint."""
        return f"http://{place.address('http')}"

    def started(self, place: Place) -> None:
        """Makes the buckets that were asked for."""
        client = self.client(place)
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for name in filter(None, (name.strip() for name in self.buckets.split(","))):
            if name not in there:
                client.create_bucket(Bucket=name)

    def client(self, place: Place, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> Any:
        """A boto3 client for the server, of one of its users."""
        try:
            import boto3
            from botocore.config import Config
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("AWS needs boto3: pip install 'thingbeam[aws]'", name=error.name) from error
        settings = Config(
            connect_timeout=_ANSWER_SECONDS,
            read_timeout=_ANSWER_SECONDS,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        )
        return boto3.client(
            "s3",
            endpoint_url=self.uri(place, ""),
            region_name=self.region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=settings,
        )

    def add_user(self, place: Place, access_key: str, secret_key: str) -> None:
        """Makes a user who may do nothing but what a bucket's policy or its owner lets him.

        Raises:
            StackError: the server refused.
        """
        argv = [str(binary()), "admin", "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region", self.region]
        argv += ["--endpoint-url", self.uri(place, ""), "create-user", "--access", access_key, "--secret", secret_key]
        run(f"making user {access_key}", [*argv, "--role", "user"], place.directory / "logs" / "admin.log")
