"""The components there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from thingbeam.runners.stack.component import Component
from thingbeam.runners.stack.components.flink import Flink
from thingbeam.runners.stack.components.kafka import Kafka
from thingbeam.runners.stack.components.prism import Prism
from thingbeam.runners.stack.components.registry import Registry

__all__ = ["KINDS"]

KINDS: Final[Mapping[str, type[Component]]] = {
    component.kind: component for component in (Kafka, Registry, Flink, Prism)
}
"""Every component by its kind."""
