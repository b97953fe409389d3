"""thingbeam: Apache Beam transforms, connectors and applications for smart-home event streams."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
