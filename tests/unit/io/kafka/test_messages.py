from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, Message

from thingbeam.io.kafka.messages import Messages


def made(number: int, **more: Any) -> Message:
    given: dict[str, Any] = {
        "offset": number, "key": b"k%d" % number, "value": b"v" * (number % 5),
        "timestamp": (TIMESTAMP_CREATE_TIME, number),
    }  # fmt: skip
    return Message(**given | more)


def rows(found: Messages) -> list[Any]:
    headers = found.headers or [()] * len(found)
    return list(
        zip(found.offsets.tolist(), found.keys, found.payloads, found.millis.tolist(), map(tuple, headers), strict=True)
    )


def expected(message: Message) -> Any:
    return (
        message.offset(), message.key(), message.value(), message.timestamp()[1], tuple(message.headers() or ())
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_columns_hold_what_the_messages_held(seed: int) -> None:
    """In pieces of any size; with gaps in the offsets, tombstones, messages without key, some with headers."""
    chance = random.Random(seed)
    offset, messages = 0, []
    for _ in range(chance.randrange(1, 60)):
        offset += chance.choice((1, 1, 1, 7))
        more: dict[str, Any] = {}
        if chance.random() < 0.1:
            more["value"] = None
        if chance.random() < 0.1:
            more["key"] = None
        if seed % 2 and chance.random() < 0.2:
            more["headers"] = [("a", b"1"), ("a", None)]
        messages.append(made(offset, **more))
    found, at = Messages(), 0
    while at < len(messages):
        size = chance.randrange(0, 9)
        found.add(messages[at : at + size])
        at += size
    assert rows(found) == [expected(message) for message in messages]
    assert found.nbytes == sum(map(len, messages))
    assert found.time_type == TIMESTAMP_CREATE_TIME
    wanted = np.array([chance.random() < 0.5 for _ in messages], bool)
    some = found.only(wanted)
    assert rows(some) == [expected(message) for message, good in zip(messages, wanted, strict=True) if good]
    assert some.nbytes == found.nbytes


def test_without_messages_there_is_nothing() -> None:
    found = Messages()
    found.add([])
    assert (len(found), found.offsets.tolist(), found.millis.tolist(), found.time_type) == (0, [], [], -1)


def test_headers_are_none_where_no_message_has_any() -> None:
    found = Messages()
    found.add([made(1), made(2)])
    assert found.headers == []
    found.add([made(3, headers=[("a", b"1")])])
    assert found.headers == [(), (), (("a", b"1"),)]
