"""Importing the connectors imports no client, and without one the message says what to install."""

from __future__ import annotations

import pytest

import thingbeam.io
import thingbeam.io.kafka
from structure import python

WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "confluent_kafka":
            raise ModuleNotFoundError(f"No module named {name!r}", name="confluent_kafka")
sys.meta_path.insert(0, Blocked())
import thingbeam.io
from thingbeam.io import KafkaRecord
from thingbeam.io.kafka.uris import parse_kafka_uri
parse_kafka_uri("kafka://b:1/t")
try:
    from thingbeam.io import ReadFromKafka
except ModuleNotFoundError as error:
    print(error)
"""


def test_without_the_client_it_says_what_to_install() -> None:
    done = python("-c", WITHOUT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "ReadFromKafka needs confluent-kafka: pip install 'thingbeam[kafka]'"


def test_importing_imports_no_client() -> None:
    done = python("-c", "import sys, thingbeam.io, thingbeam.io.kafka; print('confluent_kafka' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize("module", [thingbeam.io, thingbeam.io.kafka])
def test_every_public_name_is_there(module: object) -> None:
    for name in module.__all__:  # type: ignore[attr-defined]
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = module.nothing  # type: ignore[attr-defined]
