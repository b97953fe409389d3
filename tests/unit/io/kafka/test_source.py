"""What ReadFromKafka refuses, before anything runs."""

from __future__ import annotations

import pickle
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.kafka import KafkaBatch, KafkaConfig, KafkaRecord, ReadFromKafka, WriteToKafka

SERVERS = "broker:9092"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "name topics, or give a pattern"),
        ({"topics": "a", "pattern": "b"}, "name topics, or give a pattern"),
        ({"pattern": "("}, "pattern"),
        ({"topics": "a", "start": "committed"}, "needs a group"),
        ({"topics": "a", "group": "g", "otherwise": "committed"}, "otherwise"),
        ({"topics": "a", "start": "soon"}, "start 'soon'"),
        ({"topics": "a", "stop": "2999-01-01T00:00:00Z"}, "has not come yet"),
        ({"topics": "a", "start": Timestamp(10), "stop": Timestamp(10)}, "nothing is between"),
        ({"topics": "a", "warm_up": "1h"}, "warm_up"),
        ({"topics": "a", "batch_records": 0}, "batch_records"),
        ({"topics": "a", "max_rate": 0}, "max_rate"),
        ({"topics": "a", "on_gap": "jump"}, "on_gap 'jump': fail or skip"),
        ({"topics": "a", "on_deleted": "x"}, "on_deleted"),
        ({"topics": "a", "time": "x"}, "time 'x'"),
        ({"topics": "a", "idle_after": "soon"}, "idle_after"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReadFromKafka(SERVERS, **arguments)


@pytest.mark.parametrize("setting", ["enable.auto.commit", "auto.offset.reset"])
def test_settings_that_lose_data(setting: str) -> None:
    with pytest.raises(ValueError, match=setting):
        ReadFromKafka(KafkaConfig(SERVERS, settings={setting: "true"}), "a")
    with pytest.raises(ValueError, match="acks"):
        WriteToKafka(KafkaConfig(SERVERS, settings={"acks": 0}), "a")


@pytest.mark.parametrize(
    ("arguments", "bounded", "of"),
    [
        ({"stop": "latest"}, True, KafkaRecord),
        ({"stop": Timestamp(5), "batches": True}, True, KafkaBatch),
        ({}, False, KafkaRecord),
        ({"batches": True, "discover_every": None}, False, KafkaBatch),
    ],
)
def test_what_it_gives(arguments: dict[str, Any], bounded: bool, of: type) -> None:
    """Building asks no broker."""
    read = beam.Pipeline() | ReadFromKafka(SERVERS, "a", **arguments)
    assert read.is_bounded is bounded
    assert read.element_type is of


@pytest.mark.parametrize("stop", [None, "latest"])
@pytest.mark.parametrize("group", [None, "g"])
def test_who_commits_nothing_asks_nothing_of_the_engine(group: str | None, stop: str | None) -> None:
    """Not every engine can say when a bundle is safe."""
    pipeline = beam.Pipeline()
    _ = pipeline | ReadFromKafka(SERVERS, "a", group=group, stop=stop)
    asked = [
        beam_runner_api_pb2.ParDoPayload.FromString(step.spec.payload).requests_finalization
        for step in pipeline.to_runner_api().components.transforms.values()
        if step.spec.urn == common_urns.primitives.PAR_DO.urn
    ]
    assert any(asked) == (group is not None)


def test_its_coders_pickle_nothing() -> None:
    registry = beam.coders.registry
    assert isinstance(registry.get_coder(KafkaRecord), beam.coders.RowCoder)
    assert type(registry.get_coder(KafkaBatch)).__name__ == "PayloadBatchCoder"


def test_a_config_travels() -> None:
    config = KafkaConfig(SERVERS, settings={"linger.ms": 5})
    assert pickle.loads(pickle.dumps(config)) == config
