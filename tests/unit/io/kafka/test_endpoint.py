"""Kafka as input and output of an application, as far as it goes without a broker."""

from __future__ import annotations

from typing import Any

import pytest

from thingbeam.io.endpoints import Kind
from thingbeam.io.kafka.endpoint import KafkaSink, KafkaSource
from thingbeam.schemas import Usage

HOUR = 3_600_000_000


def options_of(source: KafkaSource) -> dict[str, Any]:
    return source._parsed.options


def test_a_read_that_goes_on_is_given_what_it_needs() -> None:
    found = options_of(KafkaSource("kafka://b:1/t?group=g").restartable(2 * HOUR))
    assert found == {"group": "g", "commit_margin": "10m", "commit_behind": 7200.0, "warm_up": 7200.0}


def test_a_read_that_begins_at_the_beginning_needs_no_warm_up() -> None:
    found = options_of(KafkaSource("kafka://b:1/t?group=g&start=earliest&commit_margin=2s").restartable(HOUR))
    assert found == {"group": "g", "start": "earliest", "commit_margin": "2s", "commit_behind": 3600.0}
    assert options_of(KafkaSource("kafka://b:1/t").restartable(HOUR)) == {}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("warm_up=30m", "warm_up=30m: a result may take 3600s, so that after a restart partial results"),
        ("warm_up=2h&commit_behind=59m", "commit_behind=59m: a result may take 3600s, so that results that were open"),
    ],
)
def test_what_would_lose_results_is_refused(query: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        KafkaSource(f"kafka://b:1/t?group=g&{query}").restartable(HOUR)
    assert str(caught.value).startswith("kafka://b:1/t: ")


def test_more_than_is_needed_is_taken() -> None:
    found = options_of(KafkaSource("kafka://b:1/t?group=g&warm_up=3h").restartable(HOUR))
    assert (found["warm_up"], found["commit_behind"]) == ("3h", 3600.0)


def test_latest_is_what_it_was_at_the_first_launch() -> None:
    source = KafkaSource("kafka://b:1/t?start=latest").restart('{"t": {"0": 7, "1": 9}}')
    assert source.complete_from is None
    assert isinstance(source.source, KafkaSource)
    assert options_of(source.source)["offsets"] == {("t", 0): 7, ("t", 1): 9}
    assert KafkaSource("kafka://b:1/t?group=g").pinned() == "{}"


def test_with_a_stop_it_ends() -> None:
    assert not KafkaSource("kafka://b:1/t?stop=latest").endless
    assert KafkaSource("kafka://b:1/t").endless


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("kafka://b:1/t?start=committed", "kafka://b:1/t: start='committed' needs a group"),
        ("kafka://b:1/t?warm_up=1h", "kafka://b:1/t: warm_up goes before the committed offset"),
        ("kafka://b:1/t?start=soon", "kafka://b:1/t: start 'soon': earliest, latest, committed, or a time"),
    ],
)
def test_mistakes_of_an_input(uri: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KafkaSource(uri)


def test_an_output_in_avro_needs_its_registry() -> None:
    sink = KafkaSink("kafka://b:1/results?format=avro&registry=http://127.0.0.1:8081")
    assert sink.topic(Kind("usage", Usage)) == "results-usage"
    for query in ("format=avro", "registry=http://127.0.0.1:8081"):
        with pytest.raises(ValueError, match="Avro needs a registry"):
            KafkaSink(f"kafka://b:1/results?{query}")
    with pytest.raises(ValueError, match="must be a reference"):
        KafkaSink("kafka://b:1/r?format=avro&registry=http://h:1&registry_username=u&registry_password=hunter2")
