"""The log of the connector."""

from __future__ import annotations

import logging
from typing import Final

__all__ = ["LOGGER", "NAMESPACE"]

LOGGER: Final = logging.getLogger("thingbeam.kinesis")
NAMESPACE: Final = "thingbeam.io.kinesis"
"""Of its metrics."""
