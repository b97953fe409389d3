"""AWS, for all of its services alike: who we are and where, and what its errors mean."""

from __future__ import annotations

from thingbeam.io.aws.config import AwsConfig, Role, WebIdentity

__all__ = ["AwsConfig", "Role", "WebIdentity"]
