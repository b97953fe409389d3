"""Dataflow's jobs: launched from templates, listed, followed, drained, updated, cancelled.

By Google's own client of the API (https://cloud.google.com/dataflow/docs/reference/rpc), over gRPC.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from thingbeam.io.errors import AuthenticationError, ConnectorError, MissingError, UnreachableError
from thingbeam.runners.dataflow.templates import INSTALL, check_project

__all__ = ["ENDED", "Connection", "DataflowJobs", "Job", "Line"]

ENDED: Final = frozenset({"DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED"})
"""States that no job leaves."""

_IMPORTANCES: Final = ("DEBUG", "DETAILED", "BASIC", "WARNING", "ERROR")
_PAGE: Final = 100
_PAUSE_SECONDS: Final = 5.0
_SECONDS: Final = 60.0
_ID: Final = re.compile(r"\d{4}-\d{2}-\d{2}_\d{2}_\d{2}_\d{2}-\d+")
_LONGEST: Final = 400
_PERMISSIONS: Final = "roles/dataflow.developer"


class Job(NamedTuple):
    """A job as Dataflow describes it."""

    id: str
    name: str
    state: str
    """QUEUED, PENDING, RUNNING, DRAINING, DRAINED, CANCELLING, CANCELLED, DONE, FAILED, UPDATED…"""
    kind: str
    """BATCH or STREAMING."""
    created: str
    """In UTC; "" where it is not said."""
    replaces: str = ""
    """Id of the job that it is an update of."""
    replaced_by: str = ""
    """Id of the job that took over from it."""

    @property
    def is_over(self) -> bool:
        """Whether it does nothing more."""
        return self.state in ENDED


class Line(NamedTuple):
    """Something that happened to a job: a message, or a new state."""

    time: str
    """In UTC."""
    importance: str
    """DEBUG, DETAILED, BASIC, WARNING, ERROR; STATE for a new state."""
    text: str


class Connection:
    """How Dataflow is reached.

    Args:
        project: Google's id of it.
        region: of the jobs.
        address: HOST:PORT of a server without TLS that speaks Dataflow's protocol; None for Google's.

    Raises:
        ValueError: no such project or region can be.
        ModuleNotFoundError: Google's clients are not installed.
        ConnectorError: there are no credentials; one line.
    """

    def __init__(self, project: str, region: str, address: str | None = None) -> None:
        check_project(project, region)
        self.project = project
        self.region = region
        try:
            from google.cloud import dataflow_v1beta3 as api
        except ImportError as error:
            raise ModuleNotFoundError(INSTALL, name=error.name) from error
        self.api: Any = api
        self._channel: Any = None
        self._credentials: Any = None
        if address is None:
            self._credentials = _credentials()
        else:
            from apache_beam.runners.worker.channel_factory import GRPCChannelFactory

            self._channel = GRPCChannelFactory.insecure_channel(address)

    def client(self, name: str) -> Any:
        """A client of one of its services: JobsV1Beta3, MessagesV1Beta3, TemplatesService, FlexTemplatesService."""
        kind = getattr(self.api, f"{name}Client")
        if self._channel is None:
            return kind(credentials=self._credentials)
        return kind(transport=kind.get_transport_class("grpc")(channel=self._channel))

    def close(self) -> None:
        """Closes the connection to a server of one's own."""
        if self._channel is not None:
            self._channel.close()


def _credentials() -> Any:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        found, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except DefaultCredentialsError as error:
        raise AuthenticationError(
            "Dataflow: no Google credentials: run `gcloud auth application-default login`, or set "
            "GOOGLE_APPLICATION_CREDENTIALS to the file of a service account's key"
        ) from error
    return found


class DataflowJobs:
    """The jobs of one project and region.

    Launching needs `roles/dataflow.developer`, and to act as the workers' service account.

    Args:
        connection: how Dataflow is reached.
        pause: how `follow` and `wait` wait; for tests.
        clock: seconds; for tests.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._api = connection.api
        self._pause = pause
        self._clock = clock
        self._jobs = connection.client("JobsV1Beta3")
        self._messages = connection.client("MessagesV1Beta3")

    def launch(
        self,
        template: str,
        name: str,
        parameters: Mapping[str, str] | None = None,
        environment: Mapping[str, Any] | None = None,
        *,
        update: bool = False,
        renamed: Mapping[str, str] | None = None,
        validate: bool = False,
    ) -> Job:
        """Starts a job from a classic template.

        Args:
            template: `gs://BUCKET/TEMPLATE`.
            name: of the job; one with `update`, else a new one.
            parameters: that the template has.
            environment: attributes of RuntimeEnvironment, as `{"num_workers": 2}`.
            update: whether it takes over from the running job of that name, with its state.
            renamed: of an update, new names of steps by their old ones.
            validate: whether the request is only checked.

        Raises:
            ValueError: what is given cannot be.
            ConnectorError: Dataflow refused; one line.
        """
        _check_path(template)
        request = _made(
            self._api.LaunchTemplateRequest,
            project_id=self._connection.project,
            location=self._connection.region,
            gcs_path=template,
            validate_only=validate,
            launch_parameters={
                "job_name": name,
                "parameters": dict(parameters or {}),
                "environment": dict(environment or {}),
                "update": update,
                "transform_name_mapping": dict(renamed or {}),
            },
        )
        with _asked(f"job {name}"):
            client = self._connection.client("TemplatesService")
            return _job(client.launch_template(request=request, timeout=_SECONDS).job)

    def launch_flex(
        self,
        template: str,
        name: str,
        parameters: Mapping[str, str] | None = None,
        environment: Mapping[str, Any] | None = None,
        *,
        update: bool = False,
        renamed: Mapping[str, str] | None = None,
        validate: bool = False,
    ) -> Job:
        """Starts a job from a flex template.

        Args:
            template: `gs://BUCKET/TEMPLATE.json`.
            name: of the job; one with `update`, else a new one.
            parameters: options of the application, `{"session_gap": "5m"}`.
            environment: attributes of FlexTemplateRuntimeEnvironment, as `{"num_workers": 2}`.
            update: whether it takes over from the running job of that name, with its state.
            renamed: of an update, new names of steps by their old ones.
            validate: whether the request is only checked.

        Raises:
            ValueError: what is given cannot be.
            ConnectorError: Dataflow refused; one line.
        """
        _check_path(template)
        request = _made(
            self._api.LaunchFlexTemplateRequest,
            project_id=self._connection.project,
            location=self._connection.region,
            validate_only=validate,
            launch_parameter={
                "job_name": name,
                "container_spec_gcs_path": template,
                "parameters": dict(parameters or {}),
                "environment": dict(environment or {}),
                "update": update,
                "transform_name_mappings": dict(renamed or {}),
            },
        )
        with _asked(f"job {name}"):
            client = self._connection.client("FlexTemplatesService")
            return _job(client.launch_flex_template(request=request, timeout=_SECONDS).job)

    def all(self, *, active: bool = False) -> Iterator[Job]:
        """The jobs of the project in this region, as Dataflow gives them: the newest first.

        Args:
            active: only those that are not over.

        Raises:
            ConnectorError: Dataflow refused; one line.
        """
        kinds = self._api.ListJobsRequest.Filter
        request = self._api.ListJobsRequest(
            project_id=self._connection.project,
            location=self._connection.region,
            filter=kinds.ACTIVE if active else kinds.ALL,
            page_size=_PAGE,
        )
        with _asked(f"project {self._connection.project}"):
            for one in self._jobs.list_jobs(request=request, retry=_again(), timeout=_SECONDS):
                yield _job(one)

    def job(self, job: str) -> Job:
        """A job by its id, or the newest by its name.

        Raises:
            MissingError: there is none.
            ConnectorError: Dataflow refused; one line.
        """
        if not _ID.fullmatch(job):
            named = [one for one in self.all() if one.name == job]
            if not named:
                raise MissingError(
                    f"job {job}: none of that name in project {self._connection.project}, region "
                    f"{self._connection.region}; `thingbeam dataflow list` shows those there are"
                )
            return max(named, key=lambda one: (not one.is_over, one.created))
        request = self._api.GetJobRequest(
            project_id=self._connection.project, location=self._connection.region, job_id=job
        )
        with _asked(f"job {job}"):
            return _job(self._jobs.get_job(request=request, retry=_again(), timeout=_SECONDS))

    def follow(self, job: str, importance: str = "BASIC") -> Generator[Line]:
        """What happens to a job, from its beginning to its end; each message and each new state once.

        Args:
            job: id, or name.
            importance: of messages, at least: DEBUG, DETAILED, BASIC, WARNING or ERROR.

        Raises:
            ValueError: no such importance.
            ConnectorError: there is no such job, or Dataflow refused; one line.
        """
        if importance not in _IMPORTANCES:
            raise ValueError(f"--importance {importance}: {', '.join(_IMPORTANCES)} are expected")
        found = self.job(job)
        seen: set[str] = set()
        newest: Any = None
        state = ""
        while True:
            # The state first: what is said until then is read afterwards, so nothing is missed at the end.
            found = self.job(found.id)
            for message in self._said(found.id, importance, newest):
                if message.id not in seen:
                    seen.add(message.id)
                    newest = message.time if newest is None else max(newest, message.time)
                    yield Line(_utc(message.time), _short(message.message_importance), message.message_text)
            if found.state != state:
                state = found.state
                after = f", replaced by {found.replaced_by}" if found.replaced_by else ""
                yield Line(_utc(datetime.now(UTC)), "STATE", f"{state}{after}")
            if found.is_over:
                return
            self._pause(_PAUSE_SECONDS)

    def _said(self, job: str, importance: str, since: Any) -> list[Any]:
        request = self._api.ListJobMessagesRequest(
            project_id=self._connection.project,
            location=self._connection.region,
            job_id=job,
            minimum_importance=getattr(self._api.JobMessageImportance, f"JOB_MESSAGE_{importance}"),
            page_size=_PAGE,
        )
        if since is not None:
            request.start_time = since
        with _asked(f"job {job}"):
            found = list(self._messages.list_job_messages(request=request, retry=_again(), timeout=_SECONDS))
        return sorted(found, key=lambda message: (message.time, message.id))

    def drain(self, job: str) -> Job:
        """Lets a streaming job finish what it has read, and end.

        Raises:
            ConnectorError: there is none, it is a batch, or over; one line.
        """
        found = self._running(job)
        if found.kind != "STREAMING":
            raise ConnectorError(f"job {job}: it is a batch, and only streams are drained; wait for it, or cancel it")
        return self._request(found, "DRAINED")

    def cancel(self, job: str) -> Job:
        """Ends a job as it is; what it holds is lost.

        Raises:
            ConnectorError: there is none, or it is over; one line.
        """
        return self._request(self._running(job), "CANCELLED")

    def _running(self, job: str) -> Job:
        found = self.job(job)
        if found.is_over:
            raise ConnectorError(f"job {job}: it is {found.state} already")
        return found

    def _request(self, job: Job, state: str) -> Job:
        request = self._api.UpdateJobRequest(
            project_id=self._connection.project,
            location=self._connection.region,
            job_id=job.id,
            job={"requested_state": getattr(self._api.JobState, f"JOB_STATE_{state}")},
        )
        with _asked(f"job {job.name}"):
            return _job(self._jobs.update_job(request=request, timeout=_SECONDS))

    def wait(self, job: str, *states: str, seconds: float = 900.0) -> Job:
        """Waits until a job is in one of the states, or over if none is named.

        Raises:
            ConnectorError: it is over in another one, or not there in time; one line.
        """
        wanted = frozenset(states) or ENDED
        until = self._clock() + seconds
        found = self.job(job)
        while found.state not in wanted:
            if found.is_over:
                raise ConnectorError(f"job {job}: it is {found.state}, not {' or '.join(sorted(wanted))}")
            if self._clock() > until:
                raise ConnectorError(f"job {job}: still {found.state} after {seconds:.0f} s")
            self._pause(_PAUSE_SECONDS)
            found = self.job(found.id)
        return found


def _check_path(template: str) -> None:
    if not re.fullmatch(r"gs://[^/]+/.+", template):
        raise ValueError(f"{template}: gs://BUCKET/TEMPLATE is expected, where Dataflow finds it")


def _made(kind: Any, **values: Any) -> Any:
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"Dataflow knows no such setting: {error}") from error


def _again() -> Any:
    """How a question is asked again: of a service that is away, for a minute."""
    from google.api_core.exceptions import ServiceUnavailable
    from google.api_core.retry import Retry, if_exception_type

    return Retry(predicate=if_exception_type(ServiceUnavailable), initial=0.2, maximum=5.0, timeout=_SECONDS)


@contextmanager
def _asked(what: str) -> Generator[None]:
    """Google's errors in our words, on one line."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except exceptions.NotFound as error:
        raise MissingError(f"{what}: not there ({_said(error)}): are name, project and region right?") from error
    except (exceptions.PermissionDenied, exceptions.Forbidden) as error:
        raise AuthenticationError(f"{what}: no permission ({_said(error)}): {_PERMISSIONS} has it") from error
    except (exceptions.Unauthenticated, GoogleAuthError) as error:
        said = _said(error)
        raise AuthenticationError(
            f"{what}: Google does not take the credentials ({said}): run `gcloud auth application-default login`"
        ) from error
    except (exceptions.AlreadyExists, exceptions.Aborted) as error:
        raise ConnectorError(
            f"{what}: there is one of that name that runs ({_said(error)}): --update takes over from it"
        ) from error
    except exceptions.ResourceExhausted as error:
        raise ConnectorError(f"{what}: a quota is used up ({_said(error)}): wait, or ask for more") from error
    except (exceptions.ServiceUnavailable, exceptions.DeadlineExceeded, exceptions.RetryError) as error:
        raise UnreachableError(f"{what}: Dataflow does not answer ({_said(error)})") from error
    except exceptions.GoogleAPICallError as error:
        raise ConnectorError(f"{what}: Dataflow refused: {_said(error)}") from error


def _said(error: BaseException) -> str:
    text = " ".join(str(getattr(error, "message", None) or error).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _job(one: Any) -> Job:
    return Job(
        one.id,
        one.name,
        _short(one.current_state),
        _short(one.type_),
        _utc(one.create_time) if one.create_time else "",
        one.replace_job_id,
        one.replaced_by_job_id,
    )


def _short(value: Any) -> str:
    """A name of an enumeration without what all of its names begin with."""
    name = str(getattr(value, "name", value))
    prefixes: Iterable[str] = ("JOB_STATE_", "JOB_TYPE_", "JOB_MESSAGE_")
    return next((name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)), name)


def _utc(moment: Any) -> str:
    text: str = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return text
