"""HBase: master, region server and ZooKeeper in one process, with both of its Thrift gateways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final
from xml.sax.saxutils import escape

from thingbeam.runners.stack import java, maven
from thingbeam.runners.stack.cache import installed
from thingbeam.runners.stack.component import Command, Component, Place
from thingbeam.runners.stack.ports import LOOPBACK
from thingbeam.runners.stack.tools import java_options, tool

__all__ = ["FORBIDDEN", "USER", "VERSION", "HBase"]

VERSION: Final = "2.6.1"
"""Of HBase: the newest whose gateways Maven has."""
USER: Final = "thingbeam"
"""The user that the gateways of a secured HBase are."""
FORBIDDEN: Final = "forbidden"
"""A table of a secured HBase that USER may not touch. Its family is `d`."""

_POM: Final = "hbase.pom.xml"
_MAIN: Final = "LocalHBase"
_ANSWER: Final = "2s"
_OPENED: Final = (
    "java.lang", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util", "java.util.concurrent",
    "sun.nio.ch", "jdk.internal.ref",
)  # fmt: skip
_EXPORTED: Final = ("jdk.internal.misc", "sun.net.dns", "sun.net.util")
_LOGGING: Final = {
    "log4j.rootLogger": "WARN,console",
    "log4j.appender.console": "org.apache.log4j.ConsoleAppender",
    "log4j.appender.console.layout": "org.apache.log4j.PatternLayout",
    "log4j.appender.console.layout.ConversionPattern": "%d{ISO8601} %p %m (%c{1})%n",
    # Every refused write would be told with its trace.
    "log4j.logger.org.apache.hadoop.hbase.thrift": "ERROR",
    "log4j.logger.org.apache.hadoop.hbase.thrift2": "ERROR",
    # While it starts, parts of it ask for others that are not there yet.
    "log4j.logger.org.apache.hadoop.hbase.client": "ERROR",
    "log4j.logger.org.apache.hadoop.hbase.zookeeper": "ERROR",
    "log4j.logger.org.apache.hadoop.hbase.shaded": "ERROR",
}


@dataclass(frozen=True, kw_only=True)
class HBase(Component):
    """A whole HBase of one process. What it acknowledged it keeps over a kill -9.

    >>> sorted(HBase().ports())
    ['master', 'region', 'thrift', 'thrift2', 'zookeeper']
    """

    kind: ClassVar[str] = "hbase"
    start_seconds: ClassVar[float] = 120.0

    port: int | None = None
    """Of the Thrift gateway that happybase speaks to; any free one if None."""
    port2: int | None = None
    """Of the gateway of the second Thrift interface; any free one if None."""
    secured: bool = False
    """Whether permissions are asked for. The gateways are then the user `thingbeam`, who may make tables and own them,
    and there is a table `forbidden` that is not theirs."""
    retries: int = 15
    """How often the gateways try again by themselves before they answer with an error; 15 is HBase's own."""
    heap: str = "640m"
    """Limit of the JVM's heap."""

    def ports(self) -> Mapping[str, int | None]:
        """Those of both gateways, and what the parts need among themselves."""
        return {"thrift": self.port, "thrift2": self.port2, "master": None, "region": None, "zookeeper": None}

    def install(self) -> None:
        """Downloads HBase with Maven (108 MB), and compiles a small program that starts it."""
        _launcher()

    def prepare(self, place: Place) -> None:
        """Writes the configuration."""
        conf = place.directory / "conf"
        conf.mkdir(exist_ok=True)
        properties = "".join(
            f"<property><name>{name}</name><value>{escape(str(value))}</value></property>\n"
            for name, value in self._properties(place).items()
        )
        (conf / "hbase-site.xml").write_text(
            f'<?xml version="1.0"?>\n<configuration>\n{properties}</configuration>\n', encoding="utf-8"
        )
        lines = (f"{name}={value}\n" for name, value in _LOGGING.items())
        (conf / "log4j.properties").write_text("".join(lines), encoding="utf-8")

    def commands(self, place: Place) -> Mapping[str, Command]:
        """One process."""
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
        exported = [f"--add-exports=java.base/{package}=ALL-UNNAMED" for package in _EXPORTED]
        netty = "-Dorg.apache.hbase.thirdparty.io.netty.tryReflectionSetAccessible=true"
        classes = f"{place.directory / 'conf'}:{_launcher()}/*:{_jars()}/*"
        network = [netty, "-Djava.net.preferIPv4Stack=true"]
        options = [*java_options(self.heap, place.temporary), *opened, *exported, *network]
        arguments = [str(place.ports["thrift"]), str(place.ports["thrift2"])]
        secured = [USER, FORBIDDEN] if self.secured else []
        return {"": Command([tool("java"), *options, "-cp", classes, _MAIN, *arguments, *secured])}

    def ready(self, place: Place, process: str) -> None:
        """Asks for the tables, and whether the second gateway answers too."""
        try:
            from thingbeam.io.hbase import HBaseConfig
            from thingbeam.io.hbase.pool import open_gateway
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("HBase's client is not installed: pip install 'thingbeam[hbase]'") from error
        for interface, port in ((1, "thrift"), (2, "thrift2")):
            gateway = open_gateway(HBaseConfig(place.address(port), 1 if interface == 1 else 2, timeout=_ANSWER))
            try:
                gateway.exists("hbase:meta")
                gateway.regions("hbase:namespace")
            finally:
                gateway.close()

    def uri(self, place: Place, process: str) -> str:
        """`hbase://127.0.0.1:PORT`, of the gateway that happybase speaks to."""
        return f"hbase://{place.address('thrift')}"

    def _properties(self, place: Place) -> dict[str, object]:
        properties: dict[str, object] = {
            "hbase.cluster.distributed": "false",
            "hbase.rootdir": (place.directory / "data").as_uri(),
            "hbase.tmp.dir": place.directory / "tmp",
            "hbase.unsafe.stream.capability.enforce": "false",
            "hbase.localcluster.assign.random.ports": "false",
            "hbase.zookeeper.quorum": LOOPBACK,
            "hbase.zookeeper.property.dataDir": place.directory / "zookeeper",
            "hbase.zookeeper.property.clientPort": place.ports["zookeeper"],
            "hbase.zookeeper.property.clientPortAddress": LOOPBACK,
            "hbase.zookeeper.property.tickTime": 1000,
            "zookeeper.session.timeout": 4000,
            "zookeeper.admin.enableServer": "false",
            "hbase.master.port": place.ports["master"],
            "hbase.regionserver.port": place.ports["region"],
            "hbase.master.info.port": -1,
            "hbase.regionserver.info.port": -1,
            "hbase.thrift.info.port": -1,
            "hbase.wal.provider": "filesystem",
            "hbase.procedure.store.wal.use.hsync": "false",
            "hbase.master.wait.on.regionservers.mintostart": 1,
            "hbase.master.wait.on.regionservers.interval": 200,
            "hbase.master.wait.on.regionservers.timeout": 500,
            "hbase.regionserver.handler.count": 10,
            # A region server that comes before the master is ready waits this long.
            "hbase.regionserver.msginterval": 300,
            "hbase.hregion.memstore.flush.size": 64 << 20,
            "hbase.client.retries.number": self.retries,
            "hbase.client.pause": 50,
        }
        for part in ("master", "regionserver"):
            properties |= {
                f"hbase.{part}.ipc.address": LOOPBACK,
                f"hbase.{part}.hostname": "localhost",
                f"hbase.unsafe.{part}.hostname": "localhost",
            }
        if self.secured:
            controller = "org.apache.hadoop.hbase.security.access.AccessController"
            properties |= {"hbase.security.authorization": "true", "hbase.security.exec.permission.checks": "true"}
            for where in ("master", "region", "regionserver"):
                properties[f"hbase.coprocessor.{where}.classes"] = controller
        return properties


def _jars() -> Path:
    return maven.jars("hbase", VERSION, _POM)


def _launcher() -> Path:
    """The folder of the program that starts it all."""
    source, libraries = f"{_MAIN}.java", _jars()

    def build(folder: Path, log: Path) -> None:
        java.compiled([source], f"{libraries}/*", {}, folder / "local-hbase.jar", log)

    return installed("hbase-launcher", VERSION, java.source_text(source), build)
