"""What is in a jar, beside the classes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from google.protobuf import json_format

from thingbeam.runners.packaging import flink_jar
from thingbeam.runners.packaging.classes import REGISTRARS, is_wanted
from thingbeam.runners.packaging.flink_jar import ENTRY, JarSettings, write_jar

Made = Callable[..., zipfile.ZipFile]


@pytest.fixture
def jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Makes a jar on two classes instead of Beam's twenty thousand; gives it opened."""
    classes = tmp_path / "classes.jar"
    with zipfile.ZipFile(classes, "w") as file:
        file.writestr("org/apache/beam/Runner.class", b"class")
    monkeypatch.setattr(flink_jar, "runner_classes", lambda: classes)
    monkeypatch.setattr(flink_jar, "registrars", lambda: b"org.apache.beam.Options\n")

    def made(pipeline: beam.Pipeline, settings: JarSettings, **more: Any) -> zipfile.ZipFile:
        write_jar(pipeline, tmp_path / "made" / "job.jar", settings, **more)
        assert [path.name for path in (tmp_path / "made").iterdir()] == ["job.jar"]
        return zipfile.ZipFile(tmp_path / "made" / "job.jar")

    return made


def numbers(endless: bool = False, *options: str) -> beam.Pipeline:
    """A pipeline."""
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=PortableRunner", "--job_endpoint=none", *options]))
    source = PeriodicImpulse(fire_interval=1.0) if endless else beam.Create([1, 2])
    _ = pipeline | "Numbers" >> source | "Double" >> beam.Map(lambda number: number * 2)
    return pipeline


def options_of(file: zipfile.ZipFile) -> dict[str, Any]:
    """The job's options, by Beam's names."""
    found = json.loads(file.read("BEAM-PIPELINE/pipeline/pipeline-options.json"))
    return {name.split(":")[2]: value for name, value in found.items()}


def test_layout(jar: Made) -> None:
    with jar(numbers(), JarSettings(boot="/opt/boot", name="numbers")) as file:
        names = file.namelist()
        assert len(names) == len(set(names))
        assert f"Main-Class: {ENTRY}\r\n" in file.read("META-INF/MANIFEST.MF").decode()
        assert json.loads(file.read("BEAM-PIPELINE/pipeline-manifest.json")) == {"defaultJobName": "pipeline"}
        assert file.read("org/apache/beam/Runner.class") == b"class"
        assert file.read(REGISTRARS) == b"org.apache.beam.Options\n"
        text = file.read("BEAM-PIPELINE/pipeline/pipeline.json").decode()
        pipeline = json_format.Parse(text, beam_runner_api_pb2.Pipeline())
    (environment,) = (one for one in pipeline.components.environments.values() if one.urn == "beam:env:process:v1")
    payload = beam_runner_api_pb2.ProcessPayload.FromString(environment.payload)
    assert payload.command == "/opt/boot"
    assert any(one.unique_name.endswith("Double") for one in pipeline.components.transforms.values())


def test_the_cluster_decides_what_is_not_said(jar: Made) -> None:
    with jar(numbers(), JarSettings(boot="/opt/boot", name="numbers")) as file:
        found = options_of(file)
    assert found["flink_master"] == "[auto]"
    assert found["job_name"] == "numbers"
    assert found["streaming"] is False
    assert not {"runner", "job_endpoint", "checkpointing_interval", "finish_bundle_before_checkpointing"} & set(found)


def test_what_is_said(jar: Made) -> None:
    settings = JarSettings(boot="/opt/boot", name="n", parallelism=4, max_parallelism=12, checkpoint_ms=1000)
    with jar(numbers(True, "--flink_master=elsewhere:8081", "--flink_job_server_jar=/x"), settings) as file:
        found = options_of(file)
    assert (found["parallelism"], found["max_parallelism"]) == ("4", "12")
    assert found["checkpointing_interval"] == "1000"
    assert found["flink_master"] == "[auto]"
    assert "flink_job_server_jar" not in found


def test_a_stream_finishes_bundles_before_checkpoints_whoever_makes_them(jar: Made) -> None:
    with jar(numbers(endless=True), JarSettings(boot="/opt/boot", name="n")) as file:
        found = options_of(file)
    assert found["streaming"] is True
    assert found["finish_bundle_before_checkpointing"] is True
    assert found["max_bundle_time_mills"] == "100"
    assert "data_buffer_size_limit=0" in found["experiments"]
    with jar(numbers(), JarSettings(boot="/opt/boot", name="n", streaming=True)) as file:
        assert options_of(file)["finish_bundle_before_checkpointing"] is True


def test_extras_and_replacement(jar: Made, tmp_path: Path) -> None:
    packed = tmp_path / "packages.zip"
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("x", "y")
    extras = {"THINGBEAM-PYTHON/packages.zip": packed, REGISTRARS: b"ours\n"}
    for _ in range(2):
        with jar(numbers(), JarSettings(boot="/opt/boot", name="n"), extras=extras) as file:
            assert file.getinfo("THINGBEAM-PYTHON/packages.zip").compress_type == zipfile.ZIP_STORED
            assert file.read(REGISTRARS) == b"ours\n"


def test_files_that_workers_would_install_are_refused(jar: Made, tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("")
    with pytest.raises(ValueError, match="would be staged, which a worker of a jar does not install"):
        jar(numbers(False, "--save_main_session"), JarSettings(boot="/opt/boot", name="n"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"boot": "boot"}, "--boot boot: an absolute path is expected"),
        ({"name": " "}, "--name: it is empty"),
        ({"parallelism": -1}, "--parallelism: it must not be below 0"),
        ({"parallelism": 4, "max_parallelism": 2}, "--parallelism 4: it is above --max-parallelism 2"),
    ],
)
def test_settings_refuse(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        JarSettings(**{"boot": "/opt/boot", "name": "n"} | wrong)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("org/apache/beam/runners/flink/FlinkPipelineRunner.class", True),
        ("org/apache/flink/core/fs/Path.class", False),
        ("org/apache/flink/streaming/runtime/operators/X.class", True),
        ("META-INF/services/org.apache.flink.core.execution.PipelineExecutorFactory", False),
        ("META-INF/services/org.apache.beam.sdk.io.FileSystemRegistrar", True),
        (REGISTRARS, False),
        ("META-INF/native/lib_tcnative_linux_x86_64.so", True),
        ("META-INF/native/lib_tcnative_linux_aarch_64.so", False),
        ("org/slf4j/Logger.class", False),
        ("META-INF/", False),
    ],
)
def test_classes_that_go_in(name: str, wanted: bool) -> None:
    assert is_wanted(name) is wanted
