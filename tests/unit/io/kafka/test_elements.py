from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Message

from thingbeam.io.event_times import JsonTime
from thingbeam.io.kafka.elements import Elements, Form
from thingbeam.io.kafka.errors import WrongTimesError
from thingbeam.io.kafka.messages import Messages
from thingbeam.io.kafka.records import records_of

PLAIN = Form(batches=True, time="record", event_time=None, least_ms=None, limit_ms=None)


def messages(*millis: int, kind: int = TIMESTAMP_CREATE_TIME, **more: Any) -> Messages:
    found = Messages()
    found.add([
        Message(offset=10 + n, key=b"k", value=b'{"t": %d}' % (at + 5), timestamp=(kind, at), **more)
        for n, at in enumerate(millis)
    ])  # fmt: skip
    return found


def test_a_batch_holds_the_records_that_come_one_by_one() -> None:
    """With headers and times of its own kind."""
    form = PLAIN._replace(event_time=JsonTime("t"))
    some = messages(1000, 900, 1100, headers=[("trace", b"1")])
    together = Elements.of(form, "events", 3, some)
    apart = Elements.of(form._replace(batches=False), "events", 3, some)
    assert together is not None
    assert apart is not None
    [batch] = [output.value for output in together.outputs]
    one_by_one = list(apart.outputs)
    assert list(records_of(batch)) == [output.value for output in one_by_one]
    assert batch.times.tolist() == [output.timestamp.micros for output in one_by_one] == [1005000, 905000, 1105000]
    assert (together.records, together.nbytes, together.latest) == (apart.records, apart.nbytes, apart.latest)
    assert (together.records, together.latest) == (3, 1105000)


def test_a_batch_has_the_time_of_its_earliest() -> None:
    found = Elements.of(PLAIN, "events", 3, messages(1000, 900, 1100))
    assert found is not None
    [output] = found.outputs
    assert output.timestamp.micros == 900_000
    assert output.value.stamps is None


@pytest.mark.parametrize("batches", [True, False])
def test_records_out_of_the_span_of_time_are_passed_over(batches: bool) -> None:
    form = PLAIN._replace(batches=batches, least_ms=900, limit_ms=1100)
    found = Elements.of(form, "events", 3, messages(899, 900, 1099, 1100))
    assert found is not None
    assert found.records == 2
    assert Elements.of(form, "events", 3, messages(1, 2)) is None


def test_a_message_without_a_time_came_now() -> None:
    before = time.time_ns() // 1000
    found = Elements.of(PLAIN, "events", 3, messages(-1, 5))
    assert found is not None
    [output] = found.outputs
    assert before - 1000 <= output.value.times[0] <= time.time_ns() // 1000
    assert output.value.times[1] == 5000


def test_a_topic_with_the_other_sort_of_time_is_refused() -> None:
    form = PLAIN._replace(time="log_append")
    with pytest.raises(WrongTimesError, match="keeps create times"):
        Elements.of(form, "events", 3, messages(1))
    assert Elements.of(form, "events", 3, messages(1, kind=TIMESTAMP_LOG_APPEND_TIME)) is not None
    assert np.all(messages(1, 2).millis == [1, 2])
