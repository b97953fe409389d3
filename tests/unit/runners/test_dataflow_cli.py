"""thingbeam dataflow, against a server of Dataflow's protocol in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataflow_server import PROJECT, REGION, Dataflow, dataflow_server
from thingbeam.runners.cli import main

Shell = Callable[..., list[str]]


@pytest.fixture
def server() -> Iterator[tuple[Dataflow, str]]:
    with dataflow_server() as found:
        yield found


@pytest.fixture
def shell(server: tuple[Dataflow, str], capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs a command; gives its lines, of stderr where it ended with a status."""

    def run(*arguments: str, status: int = 0) -> list[str]:
        capsys.readouterr()
        given = ["dataflow", "--project", PROJECT, "--region", REGION, "--address", server[1], *arguments]
        with pytest.raises(SystemExit) as ending:
            main(given)
        out, err = capsys.readouterr()
        assert ending.value.code == status, err
        return (err if status else out).splitlines()

    return run


@pytest.fixture
def dataflow(server: tuple[Dataflow, str]) -> Dataflow:
    return server[0]


def test_a_jobs_life(shell: Shell, dataflow: Dataflow) -> None:
    dataflow.templates["gs://t/usage"] = "STREAMING"
    shell("launch", "gs://t/usage", "usage", "--validate")
    assert dataflow.jobs == {}
    (line,) = shell("launch", "gs://t/usage", "usage", "--parameter", "gap=5m", "--environment", '{"max_workers": 3}')
    first = line.split()[0]
    assert line.split()[1:4] == ["usage", "PENDING", "STREAMING"]
    assert dataflow.requests[-1].launch_parameters.environment.max_workers == 3
    (line,) = shell("update", "gs://t/usage", "usage", "--flex", "--renamed", "Old=New")
    second = line.split()[0]
    assert [line.split()[0] for line in shell("list")] == [second, first]
    assert [line.split()[0] for line in shell("list", "--active")] == [second]
    assert shell("show", first)[0].split()[2] == "UPDATED"
    assert shell("drain", "usage")[0].split()[2] == "DRAINING"
    assert shell("follow", first)[-1].split()[1:] == ["STATE", "UPDATED,", "replaced", "by", second]
    # No waiting: it is drained by the time it is asked for again.
    dataflow.plan(second, "DRAINED")
    assert shell("cancel", second, status=2) == [f"thingbeam: job {second}: it is DRAINED already"]


def test_follow_of_a_job_that_fails(shell: Shell, dataflow: Dataflow) -> None:
    job = dataflow.add("usage", state="FAILED")
    dataflow.say(job.id, "ERROR", "workers did not start")
    assert shell("follow", "usage", status=1) == ["thingbeam: job usage failed"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "none"], "job none: none of that name in project smart-homes, region europe-west1"),
        (["launch", "/t", "usage"], "/t: gs://BUCKET/TEMPLATE is expected"),
        (["launch", "gs://t/u", "usage", "--environment", "[]"], "--environment: an object is expected"),
        (["launch", "gs://t/u", "usage", "--environment", "{"], "--environment: it is no JSON"),
        (["launch", "gs://t/u", "usage", "--parameter", "x"], "--parameter x: NAME=VALUE is expected"),
        (["launch", "gs://t/u", "usage", "--renamed", "a=b"], "--renamed: it is for updates"),
        (["launch", "gs://t/u", "usage"], "job usage: not there (Unable to open template file: gs://t/u.)"),
        (["flex", "--to", "x", "--image", "a/b:1", "none"], "none: no such application; there are "),
    ],
)
def test_a_mistake_is_one_line(shell: Shell, arguments: list[str], said: str) -> None:
    (line,) = shell(*arguments, status=2)
    assert line.startswith(f"thingbeam: {said}")


def test_project_and_region_must_be_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    with pytest.raises(SystemExit):
        main(["dataflow", "list"])
    assert capsys.readouterr().err == (
        "thingbeam: thingbeam dataflow: say --project before the command, or set GOOGLE_CLOUD_PROJECT\n"
    )


def test_graph_and_templates_of_an_application(shell: Shell, tmp_path: Path, checkout: Path) -> None:
    home = ["home", "--input", str(checkout / "examples" / "home-week.jsonl.gz"), "--timezone", "Europe/Paris"]
    home += ["--output", str(tmp_path / "out")]
    lines = shell("graph", *home)
    assert lines[0].startswith("home: BATCH, ")
    assert "ParseEvents/Parse/ParDo(_Parse)  pardo" in lines
    document = json.loads("\n".join(shell("graph", "--json", *home)))
    assert document["job"]["type"] == "JOB_TYPE_BATCH"
    template = tmp_path / "template" / "home.json"
    options = ["--to", str(template), "--temp-location", "gs://jobs/temp", "--offline"]
    shell("template", *options, "--code", *home)
    assert "thingbeam-" in template.read_text()
    assert list(template.parent.glob("thingbeam-*.whl"))
    (line,) = shell("template", *options, *home, status=2)
    assert line.startswith("thingbeam: workers need thingbeam: ")
    assert not (tmp_path / "out").exists()
    flex = tmp_path / "flex.json"
    shell("flex", "--to", str(flex), "--image", "r.example/p/home:1", "--context", str(tmp_path / "image"), "home")
    assert json.loads(flex.read_text())["image"] == "r.example/p/home:1"
    assert (tmp_path / "image" / "Dockerfile").is_file()
