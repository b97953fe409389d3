"""The components there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from thingbeam.runners.stack.component import Component
from thingbeam.runners.stack.components.dynamodb import DynamoDb
from thingbeam.runners.stack.components.flink import Flink
from thingbeam.runners.stack.components.hbase import HBase
from thingbeam.runners.stack.components.kafka import Kafka
from thingbeam.runners.stack.components.kinesis import Kinesis
from thingbeam.runners.stack.components.prism import Prism
from thingbeam.runners.stack.components.registry import Registry
from thingbeam.runners.stack.components.s3 import S3
from thingbeam.runners.stack.components.spark import Spark

__all__ = ["KINDS"]

KINDS: Final[Mapping[str, type[Component]]] = {
    component.kind: component for component in (Kafka, Registry, Flink, Prism, Kinesis, S3, HBase, Spark, DynamoDb)
}
"""Every component by its kind."""
