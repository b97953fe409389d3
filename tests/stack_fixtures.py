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

import pytest

from thingbeam.runners.stack import Component, MissingToolError, Stack, StackError, running
from thingbeam.runners.stack.components.flink import Flink
from thingbeam.runners.stack.components.kafka import Kafka
from thingbeam.runners.stack.components.registry import Registry
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


class Cluster(Server):
    """A Flink session cluster with Beam's job server."""

    @property
    def rest(self) -> FlinkCluster:
        """Its REST API."""
        return FlinkCluster(self.stack.uri(f"{self.name}/jobmanager"))

    def options(self, environment: Literal["LOOPBACK", "PROCESS"] = "LOOPBACK", **more: Any) -> list[str]:
        """Options that send it a pipeline (see beam_options); PROCESS workers can import what this process can."""
        boot = boot_script(self.stack.place(self.name))
        return beam_options(self.stack.uri(f"{self.name}/jobserver"), environment=environment, boot=boot, **more)

    def workers(self) -> list[int]:
        """Numbers of the processes that its TaskManagers have started."""
        state = StateFile(self.stack.directory).read().components[self.name].processes
        managers = [identity for name, identity in state.items() if identity and name.startswith("taskmanager")]
        return [pid for identity in managers for pid in members(identity) if pid != identity.pid]


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
    with stack_of(tmp_path_factory, Flink(taskmanagers=2)) as stack:
        yield Cluster(stack, "flink")
