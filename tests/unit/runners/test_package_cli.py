"""thingbeam package and thingbeam managed-flink: what they refuse, and calls without a package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.stub import Stubber

from thingbeam.io.aws.config import AwsConfig
from thingbeam.runners.cli import main

Shell = Callable[..., list[str]]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Runs a command; gives its lines, of stderr where it ended with a status."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")

    def run(*arguments: str, status: int = 0) -> list[str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main(arguments)
        out, err = capsys.readouterr()
        assert ending.value.code == status, err
        return (err if status else out).splitlines()

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["package", "--jar", "x.jar", "--boot", "boot", "HOME"], "--boot boot: an absolute path is expected"),
        (
            ["package", "--jar", "x.jar", "--boot", "/b", "--client", "kafka", "HOME"],
            "--boot: then no Python environment",
        ),
        (
            ["package", "--jar", "x.jar", "home", "--input", "/none", "--output", "o", "--timezone", "UTC"],
            "--input: no such",
        ),
        (["managed-flink", "package", "--to", "x.jar", "--client", "no", "HOME"], "--client no: no such client"),
        (
            ["managed-flink", "package", "--to", "x.jar", "--unpack-to", "tmp", "HOME"],
            "--unpack-to tmp: an absolute path",
        ),
        (["managed-flink", "try", "none.jar"], "[Errno 2] No such file or directory: 'none.jar'"),
        (["managed-flink", "create", "a", "--code", "s3://b/k", "--role", "admin"], "--role admin: an ARN is expected"),
        (
            ["managed-flink", "create", "a", "--code", "s3://b", "--role", "arn:x"],
            "s3://b: s3://BUCKET/KEY is expected",
        ),
        (["managed-flink", "update", "a"], "a: nothing to change"),
        (["managed-flink", "update", "a", "--property", "x=1"], "--property x=1: write GROUP.KEY=VALUE"),
        (["managed-flink", "start", "a", "--fresh", "--snapshot", "b"], "--snapshot and --fresh: one of them"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(
    shell: Shell, arguments: list[str], said: str, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    home = [
        "home",
        "--input",
        str(checkout / "examples" / "home-week.jsonl.gz"),
        "--output",
        "out",
        "--timezone",
        "UTC",
    ]
    given = [part for argument in arguments for part in (home if argument == "HOME" else [argument])]
    (line,) = shell(*given, status=2)
    assert line.startswith(f"thingbeam: {said}")
    assert list(tmp_path.iterdir()) == []


def test_an_applications_calls(shell: Shell) -> None:
    client = AwsConfig("eu-north-1").client("kinesisanalyticsv2")
    one = {
        "ApplicationARN": "arn:aws:kinesisanalytics:eu-north-1:1:application/usage",
        "ApplicationName": "usage",
        "RuntimeEnvironment": "FLINK-1_19",
        "ApplicationStatus": "RUNNING",
        "ApplicationVersionId": 3,
    }
    with Stubber(client) as stubber:
        stubber.add_response("list_applications", {"ApplicationSummaries": [one]}, {})
        assert shell("managed-flink", "--region", "eu-north-1", "list") == ["usage  RUNNING  FLINK-1_19  version 3"]
        stubber.add_response("stop_application", {}, {"ApplicationName": "usage", "Force": False})
        stubber.add_response(
            "describe_application",
            {"ApplicationDetail": {**one, "ApplicationStatus": "READY"}},
            {"ApplicationName": "usage"},
        )
        lines = shell("managed-flink", "--region", "eu-north-1", "stop", "usage", "--wait")
        assert lines == ["usage: READY, FLINK-1_19, version 3"]
        stubber.add_client_error("start_application", "ResourceInUseException", "busy")
        (line,) = shell("managed-flink", "--region", "eu-north-1", "start", "usage", status=2)
        assert line.endswith("it is in the middle of something; wait until it is READY or RUNNING (describe)")
