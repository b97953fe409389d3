"""Watermark estimators of the endless sources, whose state outlives releases."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam.coders import Coder
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import WatermarkEstimatorProvider
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

__all__ = ["TimestampEstimatorProvider"]


class TimestampEstimatorProvider(WatermarkEstimatorProvider):
    """A watermark that is set by hand, kept as a timestamp and not pickled."""

    def initial_estimator_state(self, element: Any, restriction: Any) -> Timestamp:
        """Nothing is known yet."""
        return MIN_TIMESTAMP

    def create_watermark_estimator(self, estimator_state: Timestamp) -> ManualWatermarkEstimator:
        """Where it stood."""
        return ManualWatermarkEstimator(estimator_state)

    def estimator_state_coder(self) -> Coder:
        """Eight bytes."""
        return beam.coders.TimestampCoder()
