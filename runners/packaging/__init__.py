"""Pipelines as files: one jar for a Flink cluster, with or without the Python that it needs."""

from __future__ import annotations

from thingbeam.runners.packaging.capture import captured
from thingbeam.runners.packaging.flink_jar import JarSettings, write_jar

__all__ = ["JarSettings", "captured", "write_jar"]
