"""The ids of topics, as far as it goes without a broker; tests/integration/test_kafka_faults.py makes topics anew."""

from __future__ import annotations

import threading
import time
import types
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from typing import Any

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


class Answers(TopicIds):
    """Answers that the test gives, when it wants to."""

    def __init__(self) -> None:
        super().__init__(dict)
        self.futures: list[Future[Any]] = []
        self.asked_again = threading.Event()

    def _describe(self, topics: Collection[str], timeout: float) -> Mapping[str, Future[Any]]:
        self.futures.append(Future())
        if len(self.futures) == 2:
            self.asked_again.set()
        return dict.fromkeys(topics, self.futures[-1])


def described(number: int) -> Any:
    def bits(value: int) -> Any:
        return lambda: value

    class Id:
        get_most_significant_bits = staticmethod(bits(number))
        get_least_significant_bits = staticmethod(bits(number))

        def __str__(self) -> str:
            return f"id-{number}"

    return types.SimpleNamespace(topic_id=Id(), partitions=[0])


def test_an_answer_that_comes_late_does_not_bring_an_old_topic_back() -> None:
    """A question in the background was asked before the topic was made anew, and is heard after."""
    ids = Answers()
    assert ids.last("events") is None
    asking = threading.Thread(target=ids.ask, args=(["events"],))
    asking.start()
    assert ids.asked_again.wait(10)
    ids.futures[1].set_result(described(2))
    asking.join()
    ids.futures[0].set_result(described(1))
    assert ids.last("events") == "id-2"
