"""Calls of AWS Managed Flink, as botocore's Stubber checks them against the service's own model."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.aws.errors import AccessDeniedError
from thingbeam.io.errors import ConnectorError, MissingError
from thingbeam.runners.managed_flink.applications import Application, Applications, Place, Settings, Snapshot

ARN = "arn:aws:kinesisanalytics:eu-west-1:123456789012:application/usage"
ROLE = "arn:aws:iam::123456789012:role/jobs"
MADE = datetime(2026, 11, 1, 2, tzinfo=timezone(timedelta(hours=2)))


def detail(status: str = "READY", version: int = 1, **more: Any) -> dict[str, Any]:
    """An ApplicationDetail."""
    return {
        "ApplicationARN": ARN,
        "ApplicationName": "usage",
        "RuntimeEnvironment": "FLINK-1_19",
        "ApplicationStatus": status,
        "ApplicationVersionId": version,
        "CreateTimestamp": MADE,
        **more,
    }


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> AwsConfig:
    monkeypatch.setenv("TEST_KEY", "AKIDEXAMPLE")
    monkeypatch.setenv("TEST_SECRET", "not-a-secret")
    # A port that nothing listens on: what is not stubbed goes nowhere.
    return AwsConfig(
        "eu-west-1", "http://127.0.0.1:1", access_key="env:TEST_KEY", secret_key="env:TEST_SECRET", attempts=1
    )


@pytest.fixture
def stubber(config: AwsConfig) -> Iterator[Stubber]:
    with Stubber(config.client("kinesisanalyticsv2")) as found:
        yield found
        found.assert_no_pending_responses()


@pytest.fixture
def applications(config: AwsConfig, stubber: Stubber) -> Applications:
    return Applications(config)


def test_create(stubber: Stubber, applications: Applications) -> None:
    expected = {
        "ApplicationName": "usage",
        "RuntimeEnvironment": "FLINK-1_19",
        "ServiceExecutionRole": ROLE,
        "ApplicationMode": "STREAMING",
        "CloudWatchLoggingOptions": [{"LogStreamARN": "arn:aws:logs:eu-west-1:123456789012:log-group:g:log-stream:s"}],
        "ApplicationConfiguration": {
            "ApplicationCodeConfiguration": {
                "CodeContentType": "ZIPFILE",
                "CodeContent": {"S3ContentLocation": {"BucketARN": "arn:aws:s3:::jobs", "FileKey": "usage/home.jar"}},
            },
            "FlinkApplicationConfiguration": {
                "CheckpointConfiguration": {
                    "ConfigurationType": "CUSTOM",
                    "CheckpointingEnabled": True,
                    "CheckpointInterval": 30_000,
                    "MinPauseBetweenCheckpoints": 5_000,
                },
                "MonitoringConfiguration": {
                    "ConfigurationType": "CUSTOM",
                    "MetricsLevel": "APPLICATION",
                    "LogLevel": "INFO",
                },
                "ParallelismConfiguration": {
                    "ConfigurationType": "CUSTOM",
                    "Parallelism": 4,
                    "ParallelismPerKPU": 2,
                    "AutoScalingEnabled": False,
                },
            },
            "ApplicationSnapshotConfiguration": {"SnapshotsEnabled": True},
            "EnvironmentProperties": {"PropertyGroups": [{"PropertyGroupId": "kafka", "PropertyMap": {"topic": "e"}}]},
        },
    }
    stubber.add_response("create_application", {"ApplicationDetail": detail()}, expected)
    settings = Settings(
        parallelism=4,
        per_kpu=2,
        checkpoint_seconds=30,
        log_stream="arn:aws:logs:eu-west-1:123456789012:log-group:g:log-stream:s",
        properties={"kafka": {"topic": "e"}},
    )
    made = applications.create("usage", Place("jobs", "usage/home.jar"), ROLE, settings)
    assert made == Application("usage", "READY", 1, "FLINK-1_19", ARN)


def test_update_changes_only_what_is_given(stubber: Stubber, applications: Applications) -> None:
    stubber.add_response("describe_application", {"ApplicationDetail": detail(version=7)}, {"ApplicationName": "usage"})
    expected = {
        "ApplicationName": "usage",
        "CurrentApplicationVersionId": 7,
        "ApplicationConfigurationUpdate": {
            "FlinkApplicationConfigurationUpdate": {
                "ParallelismConfigurationUpdate": {"ConfigurationTypeUpdate": "CUSTOM", "ParallelismUpdate": 3}
            },
            "ApplicationCodeConfigurationUpdate": {
                "CodeContentUpdate": {
                    "S3ContentLocationUpdate": {"BucketARNUpdate": "arn:aws:s3:::jobs", "FileKeyUpdate": "new.jar"}
                }
            },
        },
    }
    stubber.add_response("update_application", {"ApplicationDetail": detail("UPDATING", 8)}, expected)
    found = applications.update("usage", place=Place("jobs", "new.jar"), settings={"parallelism": 3})
    assert (found.status, found.version) == ("UPDATING", 8)
    with pytest.raises(ValueError, match=r"^usage: nothing to change"):
        applications.update("usage")
    with pytest.raises(ValueError, match="--log-stream: it is set when an application is made"):
        applications.update("usage", settings={"log_stream": "arn:x"})


@pytest.mark.parametrize(
    ("given", "restore"),
    [
        ({}, {"ApplicationRestoreType": "RESTORE_FROM_LATEST_SNAPSHOT"}),
        ({"fresh": True}, {"ApplicationRestoreType": "SKIP_RESTORE_FROM_SNAPSHOT"}),
        (
            {"snapshot": "monday", "drop_state": True},
            {"ApplicationRestoreType": "RESTORE_FROM_CUSTOM_SNAPSHOT", "SnapshotName": "monday"},
        ),
    ],
)
def test_start(stubber: Stubber, applications: Applications, given: dict[str, Any], restore: dict[str, Any]) -> None:
    run = {
        "FlinkRunConfiguration": {"AllowNonRestoredState": given.get("drop_state", False)},
        "ApplicationRestoreConfiguration": restore,
    }
    stubber.add_response("start_application", {}, {"ApplicationName": "usage", "RunConfiguration": run})
    applications.start("usage", **given)


def test_start_from_two_places(applications: Applications) -> None:
    with pytest.raises(ValueError, match="--snapshot and --fresh: one of them"):
        applications.start("usage", snapshot="a", fresh=True)


def test_stop_snapshot_delete(stubber: Stubber, applications: Applications) -> None:
    stubber.add_response("stop_application", {}, {"ApplicationName": "usage", "Force": True})
    applications.stop("usage", force=True)
    request = {"ApplicationName": "usage", "SnapshotName": "monday"}
    stubber.add_response("create_application_snapshot", {}, request)
    applications.snapshot("usage", "monday")
    stubber.add_response("describe_application", {"ApplicationDetail": detail()}, {"ApplicationName": "usage"})
    stubber.add_response("delete_application", {}, {"ApplicationName": "usage", "CreateTimestamp": MADE})
    applications.delete("usage")
    with pytest.raises(ValueError, match="snapshot 'on monday': 1 to 128 letters"):
        applications.snapshot("usage", "on monday")


def test_snapshots_of_all_pages_the_newest_first(stubber: Stubber, applications: Applications) -> None:
    def one(name: str, hours: int) -> dict[str, Any]:
        return {
            "SnapshotName": name,
            "SnapshotStatus": "READY",
            "ApplicationVersionId": 1,
            "SnapshotCreationTimestamp": MADE + timedelta(hours=hours),
        }

    first = {"SnapshotSummaries": [one("a", 0), one("b", 2)], "NextToken": "more"}
    stubber.add_response("list_application_snapshots", first, {"ApplicationName": "usage"})
    making = {"SnapshotName": "c", "SnapshotStatus": "CREATING", "ApplicationVersionId": 2}
    rest = {"SnapshotSummaries": [one("d", 1), making]}
    stubber.add_response("list_application_snapshots", rest, {"ApplicationName": "usage", "NextToken": "more"})
    found = applications.snapshots("usage")
    assert [snapshot.name for snapshot in found] == ["c", "b", "d", "a"]
    assert found[-1] == Snapshot("a", "READY", 1, "2026-11-01T00:00:00Z")


def test_describe_and_list(stubber: Stubber, applications: Applications) -> None:
    about = {
        "ApplicationCodeConfigurationDescription": {
            "CodeContentType": "ZIPFILE",
            "CodeContentDescription": {
                "S3ApplicationCodeLocationDescription": {"BucketARN": "arn:aws:s3:::jobs", "FileKey": "home.jar"}
            },
        },
        "FlinkApplicationConfigurationDescription": {
            "ParallelismConfigurationDescription": {"Parallelism": 2, "CurrentParallelism": 6, "ParallelismPerKPU": 4}
        },
    }
    described = {"ApplicationDetail": detail("RUNNING", 3, ApplicationConfigurationDescription=about)}
    stubber.add_response("describe_application", described, {"ApplicationName": "usage"})
    found = applications.describe("usage")
    assert (found.parallelism, found.per_kpu, found.kpus, found.code) == (6, 4, 2, "s3://jobs/home.jar")
    summary = {key: value for key, value in detail().items() if key != "CreateTimestamp"}
    stubber.add_response("list_applications", {"ApplicationSummaries": [summary], "NextToken": "x"}, {})
    other = {"ApplicationSummaries": [{**summary, "ApplicationName": "a"}]}
    stubber.add_response("list_applications", other, {"NextToken": "x"})
    assert [one.name for one in applications.all()] == ["a", "usage"]


def test_wait(stubber: Stubber, applications: Applications) -> None:
    waits: list[float] = []

    def say(*statuses: str) -> None:
        for status in statuses:
            stubber.add_response("describe_application", {"ApplicationDetail": detail(status)}, ANY_REQUEST)

    say("STARTING", "STARTING", "RUNNING")
    assert applications.wait("usage", "RUNNING", pause=waits.append).status == "RUNNING"
    assert len(waits) == 2
    # Its code failed: AWS puts it back.
    say("STARTING", "READY")
    with pytest.raises(ConnectorError, match=r"^usage: it is READY, not RUNNING: it did not hold; its log"):
        applications.wait("usage", "RUNNING", pause=waits.append)
    say("STOPPING", "STOPPING")
    ticks = iter([0.0, 1.0, 100.0])
    with pytest.raises(ConnectorError, match=r"^usage: still STOPPING after 60 s"):
        applications.wait("usage", seconds=60, pause=waits.append, clock=lambda: next(ticks))


ANY_REQUEST = {"ApplicationName": ANY}


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("ResourceNotFoundException", MissingError, "not there .*`thingbeam managed-flink list` shows"),
        ("ResourceInUseException", ConnectorError, "it is in the middle of something"),
        ("ConcurrentModificationException", ConnectorError, "it was changed by somebody else"),
        ("CodeValidationException", ConnectorError, "AWS does not take the package"),
        ("LimitExceededException", ConnectorError, "a quota is used up"),
        ("AccessDeniedException", AccessDeniedError, "no permission for kinesisanalytics:StopApplication"),
        ("InternalFailure", ConnectorError, "usage .region eu-west-1"),
    ],
)
def test_errors_are_one_line(stubber: Stubber, applications: Applications, code: str, kind: type, said: str) -> None:
    stubber.add_client_error("stop_application", code, "because\nof this", 400)
    with pytest.raises(kind, match=said) as error:
        applications.stop("usage")
    assert len(str(error.value).splitlines()) == 1
    assert "because of this" in str(error.value)


def test_no_answer(config: AwsConfig) -> None:
    with pytest.raises(ConnectorError, match=r"^applications .*: no answer"):
        Applications(config).all()


def test_upload_checks_the_package_first(applications: Applications, tmp_path: Path) -> None:
    package = tmp_path / "home.jar"
    package.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"home.jar: it is no jar"):
        applications.upload(package, Place("jobs", "home.jar"))


@pytest.mark.parametrize("uri", ["jobs/home.jar", "s3://jobs", "s3://jobs/", "s3:///home.jar", "s3://jobs/a/"])
def test_place_must_be_an_object(uri: str) -> None:
    with pytest.raises(ValueError, match="s3://BUCKET/KEY is expected"):
        Place.parse(uri)


@pytest.mark.parametrize(("region", "arn"), [("cn-north-1", "arn:aws-cn"), ("us-gov-west-1", "arn:aws-us-gov")])
def test_buckets_of_other_partitions(config: AwsConfig, region: str, arn: str) -> None:
    there = AwsConfig(region, config.endpoint, access_key=config.access_key, secret_key=config.secret_key)
    with Stubber(there.client("kinesisanalyticsv2")) as stubber:
        stubber.add_response("create_application", {"ApplicationDetail": detail()}, None)
        sent: list[Any] = []
        client = there.client("kinesisanalyticsv2")
        client.meta.events.register(
            "provide-client-params.*.CreateApplication", lambda params, **_: sent.append(params)
        )
        Applications(there).create("usage", Place("jobs", "k"), ROLE, Settings())
    code = sent[0]["ApplicationConfiguration"]["ApplicationCodeConfiguration"]["CodeContent"]
    assert code["S3ContentLocation"]["BucketARN"] == f"{arn}:s3:::jobs"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"parallelism": 0}, "--parallelism 0: at least 1"),
        ({"per_kpu": 9}, "--parallelism-per-kpu 9: 1 to 8 tasks share a KPU"),
        ({"parallelism": 65}, "that is 65 KPUs, and an application has 64"),
        ({"checkpoint_seconds": 0.5}, "--checkpoint-interval 0.5: 0 for none"),
        ({"log_level": "LOUD"}, "--log-level LOUD"),
    ],
)
def test_settings_refuse(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings(**wrong)
