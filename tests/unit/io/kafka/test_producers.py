"""Copies of a DoFn share producers, one for each bundle that is at work."""

from __future__ import annotations

import uuid

import pytest

from thingbeam.io.kafka.config import KafkaConfig
from thingbeam.io.kafka.producers import Producers
from thingbeam.io.kafka.producing import BundleProducer


class Recorded(BundleProducer):
    """Never speaks to a broker; says when it is let go."""

    def __init__(self) -> None:
        super().__init__(KafkaConfig("127.0.0.1:1"), None, 1.0, 1)
        self.abandoned = 0

    def abandon(self) -> None:
        self.abandoned += 1
        super().abandon()


class Maker:
    """Makes them, and knows them all."""

    def __init__(self) -> None:
        self.made: list[Recorded] = []

    def __call__(self) -> BundleProducer:
        self.made.append(Recorded())
        return self.made[-1]


def test_bundles_of_many_copies_one_after_the_other_need_one() -> None:
    make, token = Maker(), uuid.uuid4().hex
    copies = [Producers(token, make) for _ in range(50)]
    for copy in copies:
        copy.put_back(copy.take())
    assert len(make.made) == 1
    for copy in copies:
        assert not make.made[0].abandoned
        copy.close()
    assert make.made[0].abandoned == 1


def test_bundles_at_the_same_time_have_one_each() -> None:
    make, token = Maker(), uuid.uuid4().hex
    copies = [Producers(token, make) for _ in range(3)]
    taken = [copy.take() for copy in copies]
    assert len(set(map(id, taken))) == 3
    for copy, producer in zip(copies, taken, strict=True):
        copy.put_back(producer)
        copy.close()
    assert [producer.abandoned for producer in make.made] == [1, 1, 1]


def test_sinks_share_nothing() -> None:
    make = Maker()
    one, other = Producers(uuid.uuid4().hex, make), Producers(uuid.uuid4().hex, make)
    one.put_back(one.take())
    assert other.take() is not make.made[0]
    one.close()
    other.close()


@pytest.mark.parametrize("transactional", [None, "tx"])
def test_a_bundle_without_messages_needs_no_client(transactional: str | None) -> None:
    """Nobody listens where it would go."""
    producer = BundleProducer(KafkaConfig("127.0.0.1:1"), transactional, 1.0, 1)
    producer.begin()
    assert producer.finish() == []
    assert vars(producer)["_producer"] is None
