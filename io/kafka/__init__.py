"""Kafka in and out, on confluent-kafka. Importing this imports no client."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from thingbeam.io.event_times import JsonTime
from thingbeam.io.kafka.config import KafkaConfig, MskIam, OAuth, Plain, Scram, Tls
from thingbeam.io.kafka.errors import (
    AuthenticationError,
    ConnectorError,
    GapError,
    SendError,
    TopicMissingError,
    UnreachableError,
    WrongTimesError,
)
from thingbeam.io.kafka.records import KafkaBatch, KafkaHeader, KafkaMessage, KafkaRecord, KafkaWritten

if TYPE_CHECKING:
    from thingbeam.io.kafka.sink import WriteToKafka, WrittenToKafka
    from thingbeam.io.kafka.source import ReadFromKafka

__all__ = [
    "AuthenticationError",
    "ConnectorError",
    "GapError",
    "JsonTime",
    "KafkaBatch",
    "KafkaConfig",
    "KafkaHeader",
    "KafkaMessage",
    "KafkaRecord",
    "KafkaWritten",
    "MskIam",
    "OAuth",
    "Plain",
    "ReadFromKafka",
    "Scram",
    "SendError",
    "Tls",
    "TopicMissingError",
    "UnreachableError",
    "WriteToKafka",
    "WrittenToKafka",
    "WrongTimesError",
]

_LAZY: Final = {"ReadFromKafka": "source", "WriteToKafka": "sink", "WrittenToKafka": "sink"}


def __getattr__(name: str) -> Any:
    """Import what needs the client when it is asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_LAZY[name]}")
    except ModuleNotFoundError as error:
        if error.name != "confluent_kafka":
            raise
        raise ModuleNotFoundError(
            f"{name} needs confluent-kafka: pip install 'thingbeam[kafka]'", name=error.name
        ) from error
    return getattr(module, name)
