"""Flex templates: what Dataflow reads, and what runs in their container."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest
from google.cloud import dataflow_v1beta3 as api
from google.protobuf import json_format

from thingbeam.runners.cli import run
from thingbeam.runners.dataflow.flex import name_of, parameters_of, spec_of, write_context, write_spec
from thingbeam.runners.dataflow.launched import arguments_of
from thingbeam.runners.dataflow.wheel import write_wheel

IMAGE = "europe-docker.pkg.example/smart-homes/jobs/usage:3"
HOME = run.commands["home"]


def test_the_file_is_a_container_spec(tmp_path: Path) -> None:
    path = tmp_path / "made" / "home.json"
    write_spec(path, spec_of(IMAGE, HOME, streaming=True, environment={"numWorkers": 2}))
    spec = api.ContainerSpec()
    document = json.loads(path.read_text())
    # Of the protocol's own definition; newer ones say of a template whether it streams.
    assert document["metadata"].pop("streaming") is True
    json_format.ParseDict(document, api.ContainerSpec.pb(spec))
    assert (spec.image, spec.sdk_info.language) == (IMAGE, api.SDKInfo.Language.PYTHON)
    assert spec.default_environment.num_workers == 2
    assert spec.metadata.name == "thingbeam home"


def test_parameters_are_the_applications_options() -> None:
    found = {one["name"]: one for one in parameters_of(HOME)}
    assert "isOptional" not in found["timezone"]
    assert found["session_gap"]["isOptional"]
    assert found["overwrite"]["regexes"] == ["true|false"]
    assert found["format"]["regexes"] == ["jsonl|avro|parquet"]
    assert "runner" not in found
    assert all(one["helpText"] for one in found.values())
    assert set(found) == {name_of(option) for option in HOME.params if isinstance(option, click.Option)} - {"runner"}


def test_parameters_become_the_command_line() -> None:
    given = [
        "--input=gs://b/x.jsonl",
        "--session_gap=5m",
        "--overwrite=false",
        "--runner=DataflowRunner",
        "--project=p",
    ]
    ours, beams = arguments_of(HOME, given)
    assert ours == ["--input", "gs://b/x.jsonl", "--session-gap", "5m"]
    assert beams == ["--project=p"]


def test_image_must_be_a_name() -> None:
    with pytest.raises(ValueError, match="--image Usage: a name like"):
        spec_of("Usage", HOME)


def test_context(tmp_path: Path) -> None:
    dockerfile, main, wheel = write_context(tmp_path / "image", IMAGE, "home", ["kafka"])
    text = dockerfile.read_text()
    assert f"COPY {wheel.name} main.py /template/" in text
    assert "[dataflow,kafka]" in text
    compile(main.read_text(), "main.py", "exec")
    assert "{" not in text.replace("${LAUNCHER}", "")


def test_wheel_installs(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            f"--target={tmp_path / 'to'}",
            wheel,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "to" / "thingbeam" / "schemas" / "records.py").is_file()
    with zipfile.ZipFile(wheel) as file:
        metadata = next(file.read(name).decode() for name in file.namelist() if name.endswith("METADATA"))
    assert "Requires-Dist: apache-beam" in metadata


def test_launched_makes_a_template_of_the_parameters(tmp_path: Path, checkout: Path) -> None:
    """As the launcher of Dataflow starts it, but for the places, which are local."""
    (tmp_path / "staged").mkdir()
    given = [
        f"--input={checkout / 'examples' / 'home-week.jsonl.gz'}",
        f"--output={tmp_path / 'out'}",
        "--timezone=Europe/Paris",
        "--runner=DataflowRunner",
        "--project=smart-homes",
        "--region=europe-west1",
        "--job_name=home-1",
        "--no_auth",
        f"--temp_location={tmp_path / 'staged'}",
        f"--staging_location={tmp_path / 'staged'}",
        f"--template_location={tmp_path / 'staged' / 'home.json'}",
        "--sdk_container_image=registry.example/thingbeam:1",
    ]
    script = "from thingbeam.runners.dataflow.launched import main; main('home')"
    path = ":".join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", script, *given], capture_output=True, text=True, check=False, env={"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "staged" / "home.json").read_text())["name"] == "home-1"
    wrong = subprocess.run(
        [sys.executable, "-c", script, *given, "--period=7m"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": path},
    )
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-1].startswith("thingbeam: --period")
