from __future__ import annotations

from typing import Any

import pytest

from thingbeam.io.errors import ConnectorError, UnreachableError
from thingbeam.io.kafka.errors import TopicRecreatedError
from thingbeam.io.kafka.reader import PartitionReader
from thingbeam.io.kafka.topics import TopicIds


class Ids(TopicIds):
    """What was told some seconds ago, and what is told when asked."""

    def __init__(self, told: str | None, asked: str | ConnectorError) -> None:
        super().__init__(dict)
        self._told, self._answer = told, asked

    def last(self, topic: str, wait: float = 0.0) -> str | None:
        return self._told

    def ask(self, topics: Any, timeout: float = 0.0) -> dict[str, str]:
        if isinstance(self._answer, ConnectorError):
            raise self._answer
        return dict.fromkeys(topics, self._answer)


def reader(topic_id: str, ids: Ids) -> PartitionReader:
    nothing: Any = None
    return PartitionReader(nothing, nothing, ids, "events", 0, topic_id, "fail")


def test_a_new_topic_is_not_ended_by_what_was_told_of_the_one_before() -> None:
    assert reader("new", Ids("old", "new")).recognise()


def test_another_topic_is_said() -> None:
    with pytest.raises(TopicRecreatedError, match="its id is new and was old"):
        reader("old", Ids("new", "new")).recognise()


def test_while_nobody_answers_nothing_is_read() -> None:
    assert not reader("new", Ids(None, "new")).recognise()
    assert not reader("new", Ids("old", UnreachableError("no answer"))).recognise()


def test_an_id_that_is_not_known_is_taken_over() -> None:
    found = reader("", Ids("new", "new"))
    assert found.recognise()
    assert found.topic_id == "new"
