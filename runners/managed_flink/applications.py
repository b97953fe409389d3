"""Applications of AWS Managed Service for Apache Flink: made, changed, started, stopped, saved and watched.

Every call returns when AWS has taken it; `wait` waits for what follows from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.aws.errors import code_of, connector_error
from thingbeam.io.errors import ConnectorError
from thingbeam.runners.managed_flink.rules import RUNTIME, check_name, check_package, check_parallelism, kpus

__all__ = ["Application", "Applications", "Place", "Settings", "Snapshot"]

_SERVICE: Final = "kinesisanalyticsv2"
_PAUSE_SECONDS: Final = 5.0
_MINUTE_MS: Final = 60_000
_FLINK: Final = (
    "autoscaling", "checkpoint_seconds", "log_level", "metrics", "parallelism", "pause_seconds", "per_kpu",
)  # fmt: skip
_STEADY: Final = frozenset({"READY", "RUNNING", "ROLLED_BACK"})
_HINTS: Final = {
    "ResourceNotFoundException": "`thingbeam managed-flink list` shows those that there are in this account and region",
    "ResourceInUseException": "it is in the middle of something; wait until it is READY or RUNNING (describe)",
    "ConcurrentModificationException": "it was changed by somebody else just now; describe it, and do it again",
    "InvalidApplicationConfigurationException": "AWS does not take this configuration",
    "LimitExceededException": "a quota is used up; delete what is not needed, or ask AWS for more",
    "CodeValidationException": "AWS does not take the package; it must be in the bucket, and the role must read it",
    "InvalidRequestException": "not in this state of the application (describe)",
}


class Place(NamedTuple):
    """An object of S3."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Place:
        """Of `s3://BUCKET/KEY`.

        Raises:
            ValueError: it is none.

        >>> Place.parse("s3://jobs/home.jar")
        Place(bucket='jobs', key='home.jar')
        """
        parts = urlsplit(uri)
        if parts.scheme != "s3" or not parts.netloc or not parts.path.strip("/") or parts.path.endswith("/"):
            raise ValueError(f"{uri}: s3://BUCKET/KEY is expected, the object of the package")
        return cls(parts.netloc, parts.path.removeprefix("/"))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How an application runs.

    Attributes:
        parallelism: tasks of each step at the start.
        per_kpu: tasks that share one KPU, 1 to 8.
        autoscaling: whether AWS changes the parallelism by load of the processors.
        checkpoint_seconds: between checkpoints; 0 for none.
        pause_seconds: at least, between the end of a checkpoint and the next.
        snapshots: whether a snapshot is made whenever it is stopped or updated.
        log_level: INFO, WARN, ERROR or DEBUG.
        metrics: APPLICATION, OPERATOR, TASK or PARALLELISM.
        log_stream: ARN of a CloudWatch log stream; None for no logs.
        properties: runtime properties, by group.
    """

    parallelism: int = 1
    per_kpu: int = 1
    autoscaling: bool = False
    checkpoint_seconds: float = 60.0
    pause_seconds: float = 5.0
    snapshots: bool = True
    log_level: str = "INFO"
    metrics: str = "APPLICATION"
    log_stream: str | None = None
    properties: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what AWS would refuse."""
        check_parallelism(self.parallelism, self.per_kpu)
        if self.checkpoint_seconds < 0 or 0 < self.checkpoint_seconds < 1:
            raise ValueError(f"--checkpoint-interval {self.checkpoint_seconds}: 0 for none, or at least 1 s")
        if self.log_level not in ("INFO", "WARN", "ERROR", "DEBUG"):
            raise ValueError(f"--log-level {self.log_level}: INFO, WARN, ERROR or DEBUG is expected")

    def configuration(self, bucket: str, key: str) -> dict[str, Any]:
        """ApplicationConfiguration of CreateApplication; `bucket` is an ARN."""
        found: dict[str, Any] = {
            "ApplicationCodeConfiguration": {
                "CodeContentType": "ZIPFILE",
                "CodeContent": {"S3ContentLocation": {"BucketARN": bucket, "FileKey": key}},
            },
            "FlinkApplicationConfiguration": self._flink(_FLINK),
            "ApplicationSnapshotConfiguration": {"SnapshotsEnabled": self.snapshots},
        }
        if self.properties:
            found["EnvironmentProperties"] = {"PropertyGroups": self._groups()}
        return found

    def update(self, only: Collection[str]) -> dict[str, Any]:
        """ApplicationConfigurationUpdate of some attributes, without the code.

        >>> Settings(parallelism=2).update(["parallelism"])["FlinkApplicationConfigurationUpdate"]
        {'ParallelismConfigurationUpdate': {'ConfigurationTypeUpdate': 'CUSTOM', 'ParallelismUpdate': 2}}
        """
        found: dict[str, Any] = {}
        flink = self._flink(only, "Update")
        if flink:
            found["FlinkApplicationConfigurationUpdate"] = flink
        if "snapshots" in only:
            found["ApplicationSnapshotConfigurationUpdate"] = {"SnapshotsEnabledUpdate": self.snapshots}
        if "properties" in only:
            found["EnvironmentPropertyUpdates"] = {"PropertyGroups": self._groups()}
        return found

    def _flink(self, only: Collection[str], suffix: str = "") -> dict[str, Any]:
        """FlinkApplicationConfiguration of some attributes; with the suffix, its update."""
        values: dict[str, tuple[str, dict[str, Any]]] = {
            "checkpoint_seconds": (
                "Checkpoint",
                {
                    "CheckpointingEnabled": self.checkpoint_seconds > 0,
                    "CheckpointInterval": int(self.checkpoint_seconds * 1000) or _MINUTE_MS,
                },
            ),
            "pause_seconds": ("Checkpoint", {"MinPauseBetweenCheckpoints": int(self.pause_seconds * 1000)}),
            "metrics": ("Monitoring", {"MetricsLevel": self.metrics}),
            "log_level": ("Monitoring", {"LogLevel": self.log_level}),
            "parallelism": ("Parallelism", {"Parallelism": self.parallelism}),
            "per_kpu": ("Parallelism", {"ParallelismPerKPU": self.per_kpu}),
            "autoscaling": ("Parallelism", {"AutoScalingEnabled": self.autoscaling}),
        }
        found: dict[str, Any] = {}
        for name, (section, settings) in values.items():
            if name in only:
                # With AWS's DEFAULT, what is set here or in the job would not count.
                part = found.setdefault(f"{section}Configuration{suffix}", {f"ConfigurationType{suffix}": "CUSTOM"})
                part |= {f"{key}{suffix}": value for key, value in settings.items()}
        return found

    def _groups(self) -> list[dict[str, Any]]:
        return [
            {"PropertyGroupId": group, "PropertyMap": dict(values)} for group, values in sorted(self.properties.items())
        ]


class Snapshot(NamedTuple):
    """State that an application was saved with."""

    name: str
    status: str
    """CREATING, READY, DELETING or FAILED."""
    version: int
    """Of the application."""
    made: str
    """When, in UTC; "" while it is made."""


class Application(NamedTuple):
    """An application as AWS describes it."""

    name: str
    status: str
    """READY (stopped), STARTING, RUNNING, STOPPING, UPDATING, AUTOSCALING, FORCE_STOPPING, ROLLING_BACK…"""
    version: int
    """Counts up with each update."""
    runtime: str
    arn: str
    parallelism: int = 0
    per_kpu: int = 0
    code: str = ""
    """Where its package is."""

    @property
    def kpus(self) -> int:
        """That its tasks take; one more is charged for its JobManager. 0 where it was only listed."""
        return kpus(self.parallelism, self.per_kpu) if self.per_kpu else 0


class Applications:
    """The applications of one account and region.

    Args:
        config: how AWS is reached.

    The calls need kinesisanalytics:CreateApplication, UpdateApplication, StartApplication, StopApplication,
    DescribeApplication, ListApplications, DeleteApplication, CreateApplicationSnapshot, ListApplicationSnapshots,
    DeleteApplicationSnapshot, iam:PassRole on the application's role, and s3:PutObject for `upload`.
    """

    def __init__(self, config: AwsConfig) -> None:
        self._config = config
        self._client: Any = config.client(_SERVICE)
        self._region: str | None = self._client.meta.region_name

    def upload(self, package: Path, place: Place) -> None:
        """Puts a package where applications find it.

        Raises:
            ValueError: it is no package that AWS takes.
            ConnectorError: S3 did not take it; one line.
        """
        check_package(package)
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._config.client("s3").upload_file(str(package), place.bucket, place.key)
        except (Boto3Error, BotoCoreError, ClientError) as error:
            what = f"s3://{place.bucket}/{place.key} ({self._config.describe()})"
            raise connector_error(error, what, "s3:PutObject") from error

    def create(self, name: str, place: Place, role: str, settings: Settings) -> Application:
        """Makes an application; it does not run yet.

        Args:
            name: new in this account and region.
            place: of its package.
            role: ARN of the IAM role that it runs as; it must read the package.
            settings: how it runs.

        Raises:
            ValueError: a name or ARN that AWS does not take.
            ConnectorError: AWS refused; one line.
        """
        check_name(name)
        if not role.startswith("arn:"):
            raise ValueError(f"--role {role}: an ARN is expected, arn:aws:iam::ACCOUNT:role/NAME")
        request: dict[str, Any] = {
            "ApplicationName": name,
            "RuntimeEnvironment": RUNTIME,
            "ServiceExecutionRole": role,
            "ApplicationConfiguration": settings.configuration(_arn(place, self._region), place.key),
            "ApplicationMode": "STREAMING",
        }
        if settings.log_stream:
            request["CloudWatchLoggingOptions"] = [{"LogStreamARN": settings.log_stream}]
        answer = self._call("create_application", name, request)
        return _application(answer["ApplicationDetail"])

    def update(
        self, name: str, *, place: Place | None = None, settings: Mapping[str, Any] | None = None
    ) -> Application:
        """Changes the package, settings or both. A running application is restarted, from a snapshot.

        Args:
            name: which.
            place: of its new package.
            settings: attributes of `Settings` by name; the others stay as they are.

        Raises:
            ValueError: there is nothing to change, or a setting that AWS would refuse.
            ConnectorError: AWS refused, or somebody else changed it in between; one line.
        """
        if place is None and not settings:
            raise ValueError(f"{name}: nothing to change; give a package or settings")
        if settings and "log_stream" in settings:
            raise ValueError("--log-stream: it is set when an application is made, and changed in AWS's console")
        change = Settings(**settings).update(settings) if settings else {}
        if place is not None:
            location = {"BucketARNUpdate": _arn(place, self._region), "FileKeyUpdate": place.key}
            change["ApplicationCodeConfigurationUpdate"] = {"CodeContentUpdate": {"S3ContentLocationUpdate": location}}
        request = {
            "ApplicationName": name,
            "CurrentApplicationVersionId": self.describe(name).version,
            "ApplicationConfigurationUpdate": change,
        }
        answer = self._call("update_application", name, request)
        return _application(answer["ApplicationDetail"])

    def start(self, name: str, *, snapshot: str | None = None, fresh: bool = False, drop_state: bool = False) -> None:
        """Starts an application that is READY.

        Args:
            name: which.
            snapshot: to start from; None: the newest, if there is one.
            fresh: whether to start without state.
            drop_state: whether state of steps that are no longer in the job may be left behind.

        Raises:
            ValueError: both a snapshot and a fresh start are asked for.
            ConnectorError: AWS refused; one line.
        """
        if snapshot is not None and fresh:
            raise ValueError("--snapshot and --fresh: one of them")
        restore: dict[str, Any] = {"ApplicationRestoreType": "RESTORE_FROM_LATEST_SNAPSHOT"}
        if fresh:
            restore = {"ApplicationRestoreType": "SKIP_RESTORE_FROM_SNAPSHOT"}
        elif snapshot is not None:
            restore = {"ApplicationRestoreType": "RESTORE_FROM_CUSTOM_SNAPSHOT", "SnapshotName": snapshot}
        run = {
            "FlinkRunConfiguration": {"AllowNonRestoredState": drop_state},
            "ApplicationRestoreConfiguration": restore,
        }
        self._call("start_application", name, {"ApplicationName": name, "RunConfiguration": run})

    def stop(self, name: str, *, force: bool = False) -> None:
        """Stops an application, with a snapshot where its settings say so.

        Args:
            name: which.
            force: whether it is stopped without one, in whatever state it is: what came since the last is lost.

        Raises:
            ConnectorError: AWS refused; one line.
        """
        self._call("stop_application", name, {"ApplicationName": name, "Force": force})

    def delete(self, name: str) -> None:
        """Deletes an application with its snapshots.

        Raises:
            ConnectorError: AWS refused; one line.
        """
        answer = self._call("describe_application", name, {"ApplicationName": name})
        made = answer["ApplicationDetail"]["CreateTimestamp"]
        self._call("delete_application", name, {"ApplicationName": name, "CreateTimestamp": made})

    def describe(self, name: str) -> Application:
        """How an application is.

        Raises:
            ConnectorError: there is none; one line.
        """
        answer = self._call("describe_application", name, {"ApplicationName": name})
        return _application(answer["ApplicationDetail"])

    def all(self) -> list[Application]:
        """All of them, by name, without what only `describe` tells.

        Raises:
            ConnectorError: AWS refused; one line.
        """
        found = self._pages("list_applications", "applications", {}, "ApplicationSummaries")
        return sorted(_application(one) for one in found)

    def snapshot(self, name: str, snapshot: str) -> None:
        """Begins to save an application's state, while it runs.

        Raises:
            ValueError: AWS does not take the name.
            ConnectorError: AWS refused; one line.
        """
        request = {"ApplicationName": name, "SnapshotName": check_name(snapshot, "snapshot")}
        self._call("create_application_snapshot", name, request)

    def snapshots(self, name: str) -> list[Snapshot]:
        """An application's snapshots, the newest first. AWS deletes none by itself.

        Raises:
            ConnectorError: AWS refused; one line.
        """
        found = self._pages("list_application_snapshots", name, {"ApplicationName": name}, "SnapshotSummaries")
        found.sort(key=lambda one: str(one.get("SnapshotCreationTimestamp", "~")), reverse=True)
        return [
            Snapshot(
                one["SnapshotName"],
                one["SnapshotStatus"],
                int(one["ApplicationVersionId"]),
                _time(one.get("SnapshotCreationTimestamp")),
            )
            for one in found
        ]

    def wait(
        self,
        name: str,
        *statuses: str,
        seconds: float = 900.0,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> Application:
        """Waits until an application is in one of the states, or in a steady one if none is named.

        Raises:
            ConnectorError: it is in another steady state, or not there in time; one line.
        """
        wanted = frozenset(statuses) or _STEADY
        until = clock() + seconds
        while True:
            found = self.describe(name)
            if found.status in wanted:
                return found
            if found.status in _STEADY:
                shown = " or ".join(sorted(wanted))
                raise ConnectorError(
                    f"{name}: it is {found.status}, not {shown}: it did not hold; its log in CloudWatch says why"
                )
            if clock() > until:
                raise ConnectorError(f"{name}: still {found.status} after {seconds:.0f} s")
            pause(_PAUSE_SECONDS)

    def _pages(self, call: str, what: str, request: dict[str, Any], key: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        asked = dict(request)
        while True:
            answer = self._call(call, what, asked)
            found += answer.get(key, [])
            token = answer.get("NextToken")
            if not token:
                return found
            asked["NextToken"] = token

    def _call(self, call: str, name: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: Mapping[str, Any] = getattr(self._client, call)(**request)
        except (BotoCoreError, ClientError) as error:
            action = "kinesisanalytics:" + "".join(word.capitalize() for word in call.split("_"))
            said = connector_error(error, f"{name} ({self._config.describe()})", action)
            hint = _HINTS.get(code_of(error))
            raise type(said)(f"{said}; {hint}" if hint else str(said)) from error
        return answer


def _arn(place: Place, region: str | None) -> str:
    # China and the government's cloud are partitions of their own.
    starts = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
    partition = next((name for start, name in starts.items() if (region or "").startswith(start)), "aws")
    return f"arn:{partition}:s3:::{place.bucket}"


def _application(detail: Mapping[str, Any]) -> Application:
    about = detail.get("ApplicationConfigurationDescription", {})
    flink = about.get("FlinkApplicationConfigurationDescription", {}).get("ParallelismConfigurationDescription", {})
    code = about.get("ApplicationCodeConfigurationDescription", {}).get("CodeContentDescription", {})
    place = code.get("S3ApplicationCodeLocationDescription", {})
    bucket = str(place.get("BucketARN", "")).rpartition(":")[2]
    return Application(
        detail["ApplicationName"],
        detail["ApplicationStatus"],
        int(detail["ApplicationVersionId"]),
        detail["RuntimeEnvironment"],
        detail["ApplicationARN"],
        int(flink.get("CurrentParallelism", flink.get("Parallelism", 0))),
        int(flink.get("ParallelismPerKPU", 0)),
        f"s3://{bucket}/{place['FileKey']}" if bucket else "",
    )


def _time(moment: Any) -> str:
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
