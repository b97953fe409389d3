"""Real servers for tests: started when the first test asks for one, gone when the session ends, however it ends.

Each is started once for the whole session, so a test takes names of its own in it, and mends what it breaks.
Where a server cannot be had, a person's tests are skipped and say why; with CI=true that is a failure.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar
from urllib.parse import urlencode

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from thingbeam.io.aws import AwsConfig
from thingbeam.runners.loopback import loopback_workers
from thingbeam.runners.stack import Component, MissingToolError, Stack, StackError, running
from thingbeam.runners.stack.components import dynamodb as dynamodb_component
from thingbeam.runners.stack.components.dynamodb import DynamoDb
from thingbeam.runners.stack.components.flink import Flink
from thingbeam.runners.stack.components.hbase import HBase
from thingbeam.runners.stack.components.kafka import Kafka
from thingbeam.runners.stack.components.kinesis import ACCESS_KEY, REGION, SECRET_KEY, Kinesis
from thingbeam.runners.stack.components.registry import Registry
from thingbeam.runners.stack.components.s3 import ACCESS_KEY as S3_ACCESS_KEY
from thingbeam.runners.stack.components.s3 import S3
from thingbeam.runners.stack.components.s3 import SECRET_KEY as S3_SECRET_KEY
from thingbeam.runners.stack.flink_cluster import FlinkCluster, beam_options, boot_script
from thingbeam.runners.stack.processes import members
from thingbeam.runners.stack.state import StateFile

T = TypeVar("T")


class Server:
    """One component of a stack of its own."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack = stack
        self.name = name

    @property
    def uri(self) -> str:
        """What a client is told to find it."""
        return self.stack.uri(self.name)

    @property
    def address(self) -> str:
        """HOST:PORT of that."""
        return self.uri.partition("://")[2].partition("/")[0]

    @property
    def directory(self) -> Path:
        """Its data and logs."""
        return self.stack.place(self.name).directory

    def pid(self, process: str = "") -> int | None:
        """The number of its process, or None while it does not run."""
        return self.stack.pid(self._target(process))

    def kill(self, process: str = "") -> None:
        """Ends it, or one of its processes, with SIGKILL."""
        self.stack.kill(self._target(process))

    def restart(self, process: str = "") -> None:
        """Starts it again, with its data and ports; killed before if it runs."""
        self.stack.restart(self._target(process))

    @contextmanager
    def killed(self, process: str = "") -> Iterator[None]:
        """It is not there for a while; it is ready again afterwards."""
        self.kill(process)
        try:
            yield
        finally:
            self.restart(process)

    def _target(self, process: str) -> str:
        return f"{self.name}/{process}" if process else self.name


class Broker(Server):
    """A Kafka broker."""

    def client(self, protocol: str = "PLAINTEXT", mechanism: str = "SCRAM-SHA-512", **more: Any) -> dict[str, Any]:
        """Settings of librdkafka for a client of one of its listeners (see Kafka.client), and more."""
        return self._component.client(self.stack.place(self.name), protocol, mechanism) | more

    def topic(self, name: str = "events", partitions: int = 1, config: dict[str, str] | None = None) -> str:
        """Makes a topic whose name begins as given and is nobody else's."""
        unique = f"{name}-{uuid.uuid4().hex[:8]}"
        self._component.make_topic(self.stack.place(self.name), unique, partitions, config)
        return unique

    @property
    def _component(self) -> Kafka:
        component = self.stack.component(self.name)
        assert isinstance(component, Kafka)
        return component


class Streams(Server):
    """A server of Kinesis."""

    def client(self) -> Any:
        """A boto3 client of it."""
        return self._component.client(self.stack.place(self.name))

    def stream(self, name: str = "events", shards: int = 1) -> str:
        """Makes a stream whose name begins as given and is nobody else's."""
        if self.pid() is None:
            # It was seen to die by itself once; what other tests had in it is on disk.
            self.restart()
        unique = f"{name}-{uuid.uuid4().hex[:8]}"
        self._component.make_stream(self.stack.place(self.name), unique, shards)
        return unique

    def config(self, endpoint: str | None = None, **more: Any) -> AwsConfig:
        """How a pipeline reaches it, or the endpoint of a proxy before it."""
        os.environ |= {"THINGBEAM_TEST_ACCESS_KEY": ACCESS_KEY, "THINGBEAM_TEST_SECRET_KEY": SECRET_KEY}
        keys = {"access_key": "env:THINGBEAM_TEST_ACCESS_KEY", "secret_key": "env:THINGBEAM_TEST_SECRET_KEY"}
        return AwsConfig(**({"region": REGION, "endpoint": endpoint or self.uri} | keys | more))

    @property
    def _component(self) -> Kinesis:
        component = self.stack.component(self.name)
        assert isinstance(component, Kinesis)
        return component


class ObjectStore(Server):
    """An endpoint of S3, of one region."""

    @property
    def region(self) -> str:
        """What its requests are signed for."""
        return self._component.region

    def client(self, *keys: str) -> Any:
        """A boto3 client of it, of its root or of another user."""
        return self._component.client(self.stack.place(self.name), *keys)

    def bucket(self, name: str = "events") -> str:
        """Makes a bucket whose name begins as given and is nobody else's."""
        unique = f"{name}-{uuid.uuid4().hex[:8]}"
        self.client().create_bucket(Bucket=unique)
        return unique

    def user(self, name: str = "user") -> tuple[str, str]:
        """Makes a user who may do nothing yet: access key and secret key."""
        unique = f"{name}-{uuid.uuid4().hex[:8]}"
        self._component.add_user(self.stack.place(self.name), unique, f"{unique}-secret")
        return unique, f"{unique}-secret"

    def prefix(self, bucket: str, key: str = "", endpoint: str | None = None, **more: str) -> str:
        """The URI of a prefix, with all that a pipeline needs to reach it, or the endpoint of a proxy before it."""
        os.environ |= {"THINGBEAM_TEST_S3_ACCESS_KEY": S3_ACCESS_KEY, "THINGBEAM_TEST_S3_SECRET_KEY": S3_SECRET_KEY}
        query = {
            "region": self.region,
            "endpoint": endpoint or self.uri,
            "access_key": "env:THINGBEAM_TEST_S3_ACCESS_KEY",
            "secret_key": "env:THINGBEAM_TEST_S3_SECRET_KEY",
        }
        return f"s3://{bucket}/{key}?{urlencode(query | more, safe=':/')}"

    @property
    def _component(self) -> S3:
        component = self.stack.component(self.name)
        assert isinstance(component, S3)
        return component


class DynamoTables(Server):
    """A DynamoDB."""

    def config(self, endpoint: str | None = None, **more: Any) -> AwsConfig:
        """How a pipeline reaches it, or the endpoint of a proxy before it."""
        os.environ |= {
            "THINGBEAM_TEST_ACCESS_KEY": dynamodb_component.ACCESS_KEY,
            "THINGBEAM_TEST_SECRET_KEY": dynamodb_component.SECRET_KEY,
        }
        keys = {"access_key": "env:THINGBEAM_TEST_ACCESS_KEY", "secret_key": "env:THINGBEAM_TEST_SECRET_KEY"}
        return AwsConfig(**({"region": dynamodb_component.REGION, "endpoint": endpoint or self.uri} | keys | more))

    def items(self, table: str, segments: int = 1) -> list[dict[str, Any]]:
        """All items of a table, as the API has them, by the client alone.

        On disk DynamoDB Local sorts a whole segment for each page: of a million items one segment would take an hour.
        """
        scan = self.config().client("dynamodb").get_paginator("scan").paginate
        return [
            item
            for segment in range(segments)
            for page in scan(TableName=table, Segment=segment, TotalSegments=segments)
            for item in page["Items"]
        ]


class Cluster(Server):
    """A Flink session cluster with Beam's job server."""

    @property
    def rest(self) -> FlinkCluster:
        """Its REST API."""
        return FlinkCluster(self.stack.uri(f"{self.name}/jobmanager"))

    def __init__(self, stack: Stack, name: str, pool: str) -> None:
        super().__init__(stack, name)
        self._pool = pool

    def options(self, environment: Literal["EXTERNAL", "PROCESS"] = "EXTERNAL", **more: Any) -> list[str]:
        """Options that send it a pipeline (see beam_options).

        EXTERNAL workers are threads of this process; PROCESS workers can import what it can.
        """
        boot, jobs = boot_script(self.stack.place(self.name)), self.stack.uri(f"{self.name}/jobserver")
        return beam_options(jobs, environment=environment, boot=boot, pool=self._pool, **more)

    def workers(self) -> list[int]:
        """Numbers of the processes that its TaskManagers have started."""
        state = StateFile(self.stack.directory).read().components[self.name].processes
        managers = [identity for name, identity in state.items() if identity and name.startswith("taskmanager")]
        return [pid for identity in managers for pid in members(identity) if pid != identity.pid]


class Tables(Server):
    """An HBase with both of its gateways."""

    def config(self, interface: Literal[1, 2] = 1, address: str | None = None, **more: Any) -> Any:
        """An HBaseConfig of one of its gateways, or of a proxy before it."""
        from thingbeam.io.hbase import HBaseConfig

        port = "thrift" if interface == 1 else "thrift2"
        return HBaseConfig(address or self.stack.place(self.name).address(port), interface, **more)

    def table(self, layout: Any, name: str = "rows") -> str:
        """Makes a table whose name begins as given and is nobody else's."""
        from thingbeam.io.hbase import create_table

        unique = f"{name}-{uuid.uuid4().hex[:8]}"
        create_table(self.config(2), unique, layout)
        return unique


def or_skip(started: AbstractContextManager[T]) -> T:
    """Enters what starts a server; where that fails, a person's test is skipped and CI's fails."""
    try:
        return started.__enter__()
    except (MissingToolError, StackError, ImportError) as error:
        unavailable(str(error))


def unavailable(reason: str) -> NoReturn:
    """Skips the test, or fails it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def stack_of(factory: pytest.TempPathFactory, *components: Component) -> Iterator[Stack]:
    """A stack in a folder of the session's."""
    started = running(factory.mktemp("stack"), *components)
    stack = or_skip(started)
    try:
        yield stack
    finally:
        started.__exit__(None, None, None)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with a plaintext listener."""
    with stack_of(tmp_path_factory, Kafka()) as stack:
        yield Broker(stack, "kafka")


@pytest.fixture(scope="session")
def secured_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that also listens with SASL, with TLS and with both."""
    with stack_of(tmp_path_factory, Kafka(secured=True)) as stack:
        yield Broker(stack, "kafka")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A schema registry; its `uri` is the base of Confluent's API."""
    with stack_of(tmp_path_factory, Registry()) as stack:
        yield Server(stack, "registry")


@pytest.fixture(scope="session")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A session cluster of two TaskManagers with two slots each."""
    with stack_of(tmp_path_factory, Flink(taskmanagers=2)) as stack, loopback_workers(PipelineOptions([])) as pool:
        yield Cluster(stack, "flink", pool)


@pytest.fixture
def flink_rocksdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The same with state in RocksDB, whose checkpoints hold what changed since the last."""
    component = Flink(taskmanagers=2, backend="rocksdb")
    with stack_of(tmp_path_factory, component) as stack, loopback_workers(PipelineOptions([])) as pool:
        yield Cluster(stack, "flink", pool)


@pytest.fixture(scope="session")
def kinesis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streams]:
    """Kinesis by kinesalite: what is acknowledged is on disk."""
    with stack_of(tmp_path_factory, Kinesis()) as stack:
        yield Streams(stack, "kinesis")


@pytest.fixture(scope="session")
def kinesis_local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streams]:
    """Kinesis by kinesis-local: with enhanced fan-out, UpdateShardCount and a lag, in memory."""
    with stack_of(tmp_path_factory, Kinesis(server="kinesis-local")) as stack:
        yield Streams(stack, "kinesis")


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An endpoint of S3 in one region."""
    with stack_of(tmp_path_factory, S3(region="eu-west-1")) as stack:
        yield ObjectStore(stack, "s3")


@pytest.fixture(scope="session")
def s3_far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """Another, in another region."""
    with stack_of(tmp_path_factory, S3(region="us-west-2")) as stack:
        yield ObjectStore(stack, "s3")


@pytest.fixture(scope="session")
def hbase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tables]:
    """A whole HBase of one process, whose gateways try again only once by themselves."""
    with stack_of(tmp_path_factory, HBase(retries=2)) as stack:
        yield Tables(stack, "hbase")


@pytest.fixture(scope="session")
def secured_hbase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tables]:
    """An HBase that asks for permissions; see HBase.secured."""
    with stack_of(tmp_path_factory, HBase(secured=True)) as stack:
        yield Tables(stack, "hbase")


@pytest.fixture(scope="session")
def dynamodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamoTables]:
    """A DynamoDB in memory."""
    with stack_of(tmp_path_factory, DynamoDb(memory=True)) as stack:
        yield DynamoTables(stack, "dynamodb")


@pytest.fixture(scope="session")
def dynamodb_on_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamoTables]:
    """A DynamoDB that keeps what it acknowledged over a kill -9."""
    with stack_of(tmp_path_factory, DynamoDb()) as stack:
        yield DynamoTables(stack, "dynamodb")
