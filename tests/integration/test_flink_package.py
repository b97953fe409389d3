"""Jars of the main job run on a real cluster, and give what the embedded runner gives."""

from __future__ import annotations

import json
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from packaged import direct_results, home, results, thingbeam
from stack_fixtures import stack_of, unavailable
from stack_pipelines import counted_impulses
from thingbeam.runners.managed_flink.kpu import KPU_BYTES, Kpu
from thingbeam.runners.managed_flink.rehearsal import rehearse_on
from thingbeam.runners.managed_flink.rules import LARGEST, PYTHON, check_package
from thingbeam.runners.packaging.flink_jar import JarSettings, write_jar
from thingbeam.runners.packaging.submit import run_jar
from thingbeam.runners.stack import Stack, StackError
from thingbeam.runners.stack.flink_cluster import FlinkCluster, boot_script

pytestmark = pytest.mark.slow

SECONDS = 900.0
"""At most, on a busy machine: a job of a KPU has one core at best."""


@pytest.fixture(scope="module")
def kpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A cluster of one KPU, without Beam on it."""
    with stack_of(tmp_path_factory, Kpu()) as stack:
        yield stack


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The results of the embedded runner."""
    found = direct_results(tmp_path_factory.mktemp("direct") / "out")
    assert len(found["usage"]) > 1000
    return found


def test_the_package_of_an_application(kpu: Stack, expected: dict[str, list[str]], tmp_path: Path) -> None:
    """One core, 4 GB, and of Python the interpreter alone: all else is in the one file."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" != PYTHON:
        unavailable(f"a package for AWS is made with Python {PYTHON}")
    package, out, place = tmp_path / "home.jar", tmp_path / "out", tmp_path / "unpacked"
    thingbeam("managed-flink", "package", "--to", str(package), "--unpack-to", str(place), *home(out))
    check_package(package)
    assert package.stat().st_size < LARGEST
    found = rehearse_on(kpu, package, seconds=SECONDS)
    print(f"{package.stat().st_size / 1e6:.0f} MB, {found.seconds:.0f} s, at most {found.peak / 1e6:,.0f} MB")
    assert found.state == "FINISHED"
    assert results(out) == expected
    assert 0 < found.peak < KPU_BYTES
    # Workers see no packages but those that were unpacked.
    workers = [worker for worker in found.workers if "sdk_worker_main" in worker]
    assert workers
    assert all(worker.split()[1:3] == ["-P", "-S"] for worker in workers)
    (unpacked,) = (path for path in place.iterdir() if path.is_dir())
    assert (unpacked / "boot").stat().st_mode & 0o100
    with zipfile.ZipFile(package) as file:
        told = json.loads(file.read("BEAM-PIPELINE/pipeline/pipeline-options.json"))
    assert json.loads(told["beam:option:environment_config:v1"]) == {"command": f"{unpacked}/boot"}


def test_a_jar_where_thingbeam_is_installed(kpu: Stack, expected: dict[str, list[str]], tmp_path: Path) -> None:
    jar, out = tmp_path / "home.jar", tmp_path / "out"
    boot = boot_script(kpu.place(Kpu.kind))
    thingbeam("package", "--jar", str(jar), "--boot", str(boot), "--name", "packaged", *home(out))
    url = kpu.uri("kpu/jobmanager")
    job = run_jar(url, jar)
    cluster = FlinkCluster(url, SECONDS)
    cluster.wait(job, "FINISHED")
    assert {one.id: one.name for one in cluster.jobs()}[job].startswith("packaged")
    assert results(out) == expected


def test_a_stream_with_checkpoints(kpu: Stack, tmp_path: Path) -> None:
    """A jar of an endless job: numbers come while checkpoints are made, each once."""
    jar, path, total = tmp_path / "numbers.jar", tmp_path / "numbers", 60
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=PortableRunner", "--job_endpoint=none"]))
    counted_impulses(pipeline, float(int(time.time()) + 5), total, 0.1, str(path))
    boot = boot_script(kpu.place(Kpu.kind))
    write_jar(pipeline, jar, JarSettings(boot=str(boot), name="numbers", checkpoint_ms=1000))
    url = kpu.uri("kpu/jobmanager")
    cluster, job = FlinkCluster(url, SECONDS), run_jar(url, jar)
    try:
        until = time.monotonic() + SECONDS
        numbers: list[int] = []
        while len(numbers) < total and time.monotonic() < until:
            time.sleep(0.2)
            numbers = [int(line.split()[1]) for line in path.read_text().splitlines()] if path.exists() else []
        cluster.wait_for_checkpoints(job, 1)
    finally:
        cluster.cancel(job)
    assert sorted(numbers) == list(range(total))


def test_what_cannot_run_is_one_line(kpu: Stack, tmp_path: Path) -> None:
    jar = tmp_path / "none.jar"
    with zipfile.ZipFile(jar, "w") as file:
        file.writestr("x", "")
    with pytest.raises(
        StackError, match=r"none.jar: the cluster at http://.* did not start it: .*FlinkPipelineRunner"
    ) as error:
        run_jar(kpu.uri("kpu/jobmanager"), jar)
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(StackError, match=r"did not take it: "):
        run_jar("http://127.0.0.1:1", jar)
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=PortableRunner", "--job_endpoint=none"]))
    _ = pipeline | beam.Create([1]) | beam.Map(print)
    write_jar(pipeline, jar, JarSettings(boot="/none/boot", name="home"))
    with pytest.raises(StackError, match=r"^job \w+ failed: .*/none/boot") as error:
        rehearse_on(kpu, jar, seconds=SECONDS)
    assert len(str(error.value).splitlines()) == 1
