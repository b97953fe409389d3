"""Graphs and templates as Beam makes them here, without an account and without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms.periodicsequence import PeriodicImpulse

from thingbeam.runners.dataflow.templates import Target, graph_of, write_template

TARGET: dict[str, Any] = {
    "project": "smart-homes",
    "region": "europe-west1",
    "temp": "gs://jobs/temp",
    "staging": "gs://jobs/staging",
    "name": "usage",
    "image": "registry.example/thingbeam:1",
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks for credentials or opens a connection fails."""
    import socket

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr("google.auth.default", refused)


def pipeline(endless: bool = False, *options: str) -> beam.Pipeline:
    """Numbers, doubled."""
    made = beam.Pipeline(options=PipelineOptions([*options, "--runner=PortableRunner", "--job_endpoint=none"]))
    numbers = PeriodicImpulse(fire_interval=1.0) if endless else beam.Create([1, 2])
    _ = made | "Numbers" >> numbers | "Double" >> beam.Map(lambda number: number * 2)
    return made


def test_graph() -> None:
    found = graph_of(pipeline(False, "--max_num_workers=3"), "usage")
    assert (found.job["name"], found.job["type"]) == ("usage", "JOB_TYPE_BATCH")
    assert found.job["environment"]["workerPools"][0]["autoscalingSettings"] == {"maxNumWorkers": 3}
    (double,) = (step for step in found.steps if step.name == "Double")
    assert double.kind == "beam:transform:pardo:v1"
    # Its input is some step's output.
    assert double.inputs[0] in {output for step in found.steps for output in step.outputs}


def test_an_endless_input_makes_a_stream() -> None:
    assert graph_of(pipeline(endless=True)).job["type"] == "JOB_TYPE_STREAMING"
    assert graph_of(pipeline(), streaming=True).job["type"] == "JOB_TYPE_STREAMING"


def test_template_offline(tmp_path: Path) -> None:
    path = tmp_path / "made" / "usage.json"
    write_template(pipeline(), str(path), Target(**TARGET, labels=["team=homes", "env=test"]), offline=True)
    job = json.loads(path.read_text())
    assert job["labels"] == {"team": "homes", "env": "test"}
    assert job["environment"]["tempStoragePrefix"] == "storage.googleapis.com/jobs/temp"
    options = job["environment"]["sdkPipelineOptions"]["options"]
    assert (options["project"], options["region"]) == ("smart-homes", "europe-west1")
    # The job's files are beside it, and the template says where they will be.
    assert options["pipelineUrl"] == "gs://jobs/staging/pipeline.pb"
    assert str(tmp_path) not in path.read_text()
    staged = beam_runner_api_pb2.Pipeline.FromString((path.parent / "pipeline.pb").read_bytes())
    (environment,) = staged.components.environments.values()
    assert b"registry.example/thingbeam:1" in environment.payload


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    target = Target(**TARGET)
    with pytest.raises(ValueError, match="gs://BUCKET/TEMPLATE is expected; for a local file say --offline"):
        write_template(pipeline(), str(tmp_path / "usage"), target)
    with pytest.raises(ValueError, match=r"^workers need thingbeam: give --image"):
        write_template(pipeline(), "gs://jobs/usage", Target(**TARGET | {"image": None}))
    assert FileSystems.match([str(tmp_path / "*")])[0].metadata_list == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"temp": "/tmp/x"}, "--temp-location /tmp/x: gs://BUCKET/PATH is expected"),
        ({"staging": "gs://x"}, "--staging-location gs://x"),
        ({"name": "Usage"}, "--job-name Usage: a letter, then small letters"),
        ({"project": "x"}, "--project x"),
        ({"region": "europe"}, "--region europe"),
        ({"labels": ["Team=x"]}, "--label Team=x"),
    ],
)
def test_target_refuses(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Target(**TARGET | wrong)


def test_without_googles_clients_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "google.cloud.storage", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'thingbeam\[dataflow\]'"):
        graph_of(pipeline())
