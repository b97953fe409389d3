"""The ids of topics, as far as it goes without a broker; tests/integration/test_kafka_faults.py makes topics anew."""

from __future__ import annotations

import time

import pytest

from thingbeam.io.kafka import KafkaConfig, UnreachableError
from thingbeam.io.kafka.errors import TopicMissingError
from thingbeam.io.kafka.topics import TopicIds, recreated


def test_another_id_is_another_topic() -> None:
    found = recreated("events", "old-id", "new-id")
    assert isinstance(found, TopicMissingError), "it is dealt with like one that is gone"
    assert "\n" not in str(found)
    assert str(found).startswith("topic events was deleted and made again (its id is new-id and was old-id)")
    assert 'on_deleted="end"' in str(found)


@pytest.mark.parametrize(("was", "now"), [("a", "a"), ("", "a"), ("a", ""), ("", "")])
def test_what_is_not_known_says_nothing(was: str, now: str) -> None:
    assert recreated("events", was, now) is None


def test_a_broker_that_does_not_answer_holds_nobody_up() -> None:
    ids = TopicIds(lambda: KafkaConfig("127.0.0.1:1").reading_settings("g"))
    assert ids.ask([]) == {}
    began = time.monotonic()
    assert ids.last("events") is None
    assert ids.last("events", wait=0.1) is None
    assert time.monotonic() - began < 2
    with pytest.raises(UnreachableError, match="asking for the id of topic events"):
        ids.ask(["events"], timeout=0.2)
