"""A Flink session cluster with Beam's job server, each of its parts a process that can be killed by itself."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar, Final, Literal

from thingbeam.runners.stack import rest
from thingbeam.runners.stack.component import Command, Component, Place
from thingbeam.runners.stack.components import flink_install
from thingbeam.runners.stack.components.flink_jobs import job_server_arguments, opened_packages
from thingbeam.runners.stack.errors import StackError
from thingbeam.runners.stack.jobs import ask_job_service
from thingbeam.runners.stack.ports import LOOPBACK
from thingbeam.runners.stack.tools import java_options, tool

__all__ = ["Flink"]

_ANSWER_SECONDS: Final = 2.0
_MAINS: Final = {
    "zookeeper": "org.apache.flink.runtime.zookeeper.FlinkZooKeeperQuorumPeer",
    "jobmanager": "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
    "taskmanager": "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
    "jobserver": "org.apache.beam.runners.flink.FlinkJobServerDriver",
}
_FRAMEWORK_MB: Final = 128
# The main job, at parallelism 2, takes over 64 MB.
_NETWORK_MB: Final = 192
_METASPACE_MB: Final = 384
_OVERHEAD_MB: Final = 192


@dataclass(frozen=True, kw_only=True)
class Flink(Component):
    """JobManager, TaskManagers, Beam's job server and, so that a JobManager takes up its jobs again, ZooKeeper.

    Its processes are `flink/jobmanager`, `flink/taskmanager-1`…, `flink/jobserver`, `flink/zookeeper`. Checkpoints are
    files in its folder and stay when a job is cancelled. Heartbeats and restarts are set for recovery in seconds. A job
    that fails ten times without half a minute of peace between is given up.

    >>> sorted(Flink(taskmanagers=2).ports())
    ['artifacts', 'blobs', 'jobs', 'rest', 'rpc', 'zookeeper']
    """

    kind: ClassVar[str] = "flink"
    start_seconds: ClassVar[float] = 120.0

    port: int | None = None
    """Of Flink's REST API and web page; any free one if None."""
    taskmanagers: int = 1
    """How many TaskManagers."""
    slots: int = 2
    """Parallel tasks of each TaskManager."""
    heap: int = 512
    """MB of each TaskManager's heap for tasks: hash map state lives there."""
    managed: int = 128
    """MB of each TaskManager for RocksDB."""
    backend: Literal["hashmap", "rocksdb"] = "hashmap"
    """Where state lives between checkpoints."""
    ha: bool = True
    """Whether jobs outlive their JobManager. Without it a killed one forgets them, and there is no ZooKeeper."""

    def ports(self) -> Mapping[str, int | None]:
        """For REST, the parts of the cluster among themselves, the job service and its artifacts."""
        names = ["rpc", "blobs", "jobs", "artifacts", *(["zookeeper"] if self.ha else [])]
        return {"rest": self.port} | dict.fromkeys(names)

    def install(self) -> None:
        """Downloads Flink with pip (230 MB) and has the job server's jar (163 MB) from Maven."""
        flink_install.flink()
        flink_install.job_server()

    def prepare(self, place: Place) -> None:
        """Writes the configuration."""
        conf = place.directory / "conf"
        for folder in (conf, place.directory / "tmp"):
            folder.mkdir(exist_ok=True)
        lines = [f"{key}: {value}\n" for key, value in self._configuration(place).items()]
        (conf / "config.yaml").write_text("".join(lines), encoding="utf-8")
        source = resources.files(__package__ or "").joinpath("log4j2.xml")
        (conf / "log4j2.xml").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
        if self.ha:
            zookeeper = {
                "tickTime": 500,
                "dataDir": place.directory / "zookeeper",
                "clientPort": place.ports["zookeeper"],
                "clientPortAddress": LOOPBACK,
                "admin.enableServer": "false",
            }
            (conf / "zoo.cfg").write_text("".join(f"{key}={value}\n" for key, value in zookeeper.items()))

    def commands(self, place: Place) -> Mapping[str, Command]:
        """JobManager, TaskManagers, job server, ZooKeeper."""
        conf, beam = place.directory / "conf", flink_install.job_server()
        libraries = f"{flink_install.flink()}/lib"
        # The job server's jar is on the cluster's own path, so that no submission has to bring it.
        classes = f"{libraries}/*:{beam}/job-server.jar"
        options = ["--configDir", str(conf)]
        heap = self.heap + _FRAMEWORK_MB
        task = [f"-XX:MaxDirectMemorySize={_FRAMEWORK_MB + _NETWORK_MB}m", f"-XX:MaxMetaspaceSize={_METASPACE_MB}m"]
        commands = {"jobmanager": self._java(place, "jobmanager", "512m", classes, options)}
        for number in range(1, self.taskmanagers + 1):
            name = f"taskmanager-{number}"
            own = [*options, "-D", f"taskmanager.resource-id={name}"]
            agent = f"-javaagent:{beam}/loopback.jar"
            commands[name] = self._java(place, "taskmanager", f"{heap}m", classes, own, [*task, agent])
        arguments = job_server_arguments(place, place.address("rest"), conf)
        agent = f"-javaagent:{beam}/loopback.jar={beam}/job-server.jar"
        logging = ":".join(str(jar) for jar in sorted(Path(libraries).glob("log4j-*.jar")))
        commands["jobserver"] = self._java(place, "jobserver", "512m", logging, arguments, [agent])
        if self.ha:
            zookeeper = ["--zkConfigFile", str(conf / "zoo.cfg"), "--peerId", "1"]
            commands["zookeeper"] = self._java(place, "zookeeper", "128m", classes, zookeeper)
        return commands

    def ready(self, place: Place, process: str) -> None:
        """Asks each for what it serves: the REST API for the cluster or the TaskManager, the job service, ZooKeeper."""
        if process == "jobmanager":
            rest.call("GET", f"{self.uri(place, process)}/overview", seconds=_ANSWER_SECONDS)
        elif process == "jobserver":
            ask_job_service(place.address("jobs"))
        elif process == "zookeeper":
            with socket.create_connection((LOOPBACK, place.ports["zookeeper"]), _ANSWER_SECONDS) as connection:
                connection.sendall(b"srvr")
                if not connection.recv(64).startswith(b"Zookeeper version"):
                    raise StackError("ZooKeeper does not serve yet")
        else:
            self._find(place, process)

    def uri(self, place: Place, process: str) -> str:
        """The JobManager's is `http://127.0.0.1:PORT`, of REST and the web page; the job server's is its address."""
        return {"jobmanager": f"http://{place.address('rest')}", "jobserver": place.address("jobs")}.get(process, "")

    def _find(self, place: Place, process: str) -> None:
        found = rest.call("GET", f"http://{place.address('rest')}/taskmanagers", seconds=_ANSWER_SECONDS)
        for manager in found["taskmanagers"]:
            if manager["id"] == process:
                # The JobManager lists one that was killed until it misses its heartbeats.
                host, _, port = manager["path"].partition("@")[2].partition("/")[0].partition(":")
                with socket.create_connection((host, int(port)), _ANSWER_SECONDS):
                    return
        raise StackError("the JobManager does not know it yet")

    def _java(
        self, place: Place, role: str, heap: str, classes: str, arguments: list[str], more: list[str] | None = None
    ) -> Command:
        logging = [f"-Dlog4j.configurationFile={place.directory / 'conf' / 'log4j2.xml'}", "-Dthingbeam.level=INFO"]
        options = [*java_options(heap, place.temporary), *(more or []), *opened_packages(), *logging]
        # The workers that a TaskManager starts are this interpreter's.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return Command([tool("java"), *options, "-cp", classes, _MAINS[role], *arguments], {"PATH": path})

    def _configuration(self, place: Place) -> dict[str, object]:
        here = place.directory.as_uri()
        configuration: dict[str, object] = {
            "jobmanager.rpc.address": LOOPBACK,
            "jobmanager.rpc.port": place.ports["rpc"],
            "jobmanager.bind-host": LOOPBACK,
            "rest.address": LOOPBACK,
            "rest.bind-address": LOOPBACK,
            "rest.port": place.ports["rest"],
            "blob.server.port": place.ports["blobs"],
            "taskmanager.host": LOOPBACK,
            "taskmanager.bind-host": LOOPBACK,
            "taskmanager.numberOfTaskSlots": self.slots,
            "io.tmp.dirs": place.directory / "tmp",
            "classloader.resolve-order": "parent-first",
            # Each task holds on to the loader of its job's classes; these are all on the cluster's own path.
            "classloader.check-leaked-classloader": "false",
            # What Flink's shell scripts would work out from the size of the process.
            "taskmanager.cpu.cores": float(self.slots),
            "taskmanager.memory.task.heap.size": f"{self.heap}m",
            "taskmanager.memory.task.off-heap.size": "0m",
            "taskmanager.memory.framework.heap.size": f"{_FRAMEWORK_MB}m",
            "taskmanager.memory.framework.off-heap.size": f"{_FRAMEWORK_MB}m",
            "taskmanager.memory.network.min": f"{_NETWORK_MB}m",
            "taskmanager.memory.network.max": f"{_NETWORK_MB}m",
            "taskmanager.memory.managed.size": f"{self.managed}m",
            "taskmanager.memory.jvm-metaspace.size": f"{_METASPACE_MB}m",
            "taskmanager.memory.jvm-overhead.min": f"{_OVERHEAD_MB}m",
            "taskmanager.memory.jvm-overhead.max": f"{_OVERHEAD_MB}m",
            "state.backend.type": self.backend,
            # RocksDB would copy all that it holds at every checkpoint; a hash map does.
            "state.backend.incremental": "true",
            # The JobManager's own memory holds 5 MB of state: past that a job restarts for ever.
            "state.checkpoint-storage": "filesystem",
            "state.checkpoints.dir": f"{here}/checkpoints",
            "state.savepoints.dir": f"{here}/savepoints",
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
            "restart-strategy.type": "exponential-delay",
            "restart-strategy.exponential-delay.initial-backoff": "200 ms",
            "restart-strategy.exponential-delay.max-backoff": "3 s",
            "restart-strategy.exponential-delay.backoff-multiplier": 1.5,
            "restart-strategy.exponential-delay.reset-backoff-threshold": "30 s",
            "restart-strategy.exponential-delay.attempts-before-reset-backoff": 10,
            # Tasks that a failure leaves running keep the dead Python worker of their TaskManager for all the others.
            "jobmanager.execution.failover-strategy": "full",
            # With Flink's own 50 s, a crash is seen a minute late.
            "heartbeat.interval": 1000,
            "heartbeat.timeout": 10_000,
            "pekko.ask.timeout": "30 s",
            "taskmanager.load-balance.mode": "SLOTS",
            "metrics.latency.interval": 0,
        }
        if self.ha:
            configuration |= {
                "high-availability.type": "zookeeper",
                "high-availability.zookeeper.quorum": place.address("zookeeper"),
                "high-availability.storageDir": f"{here}/ha",
                "high-availability.jobmanager.port": place.ports["rpc"],
                # On a busy machine who lives is silent for seconds: at 4 s, leaders were lost without a crash.
                "high-availability.zookeeper.client.session-timeout": 10_000,
                "high-availability.zookeeper.client.tolerate-suspended-connections": "true",
                "high-availability.zookeeper.client.connection-timeout": 15_000,
                "high-availability.zookeeper.client.retry-wait": 500,
                "high-availability.zookeeper.client.max-retry-attempts": 20,
            }
        return configuration
