"""Lengths of time: see thingbeam.schemas.durations."""

from __future__ import annotations

from thingbeam.schemas.durations import Duration, micros_of_duration

__all__ = ["Duration", "micros_of_duration"]
