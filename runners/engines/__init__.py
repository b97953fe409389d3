"""Engines made ready: what a profile adds to the options, refuses and starts, so that `--runner NAME` is enough."""

from __future__ import annotations

from thingbeam.runners.engines.flink_options import FlinkJobOptions, check_flink, flink_defaults
from thingbeam.runners.engines.opening import Engine, opened

__all__ = ["Engine", "FlinkJobOptions", "check_flink", "flink_defaults", "opened"]
