"""Google Dataflow in this process: the same protocol, jobs whose states go on by themselves, pages, refusals.

Its rules are those of https://cloud.google.com/dataflow/docs/reference/rpc/google.dataflow.v1beta3: a name is that of
one running job, an update replaces the running job of its name, only streams drain, what is over stays so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from google.cloud import dataflow_v1beta3 as api

PROJECT = "smart-homes"
REGION = "europe-west1"
START = datetime(2026, 11, 1, tzinfo=UTC)
OVER = {api.JobState[f"JOB_STATE_{name}"] for name in ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED")}


class RefusedError(Exception):
    """A status and what is said with it."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class Dataflow:
    """What the service knows."""

    def __init__(self) -> None:
        self.jobs: dict[str, Any] = {}
        self.messages: dict[str, list[Any]] = {}
        self.plans: dict[str, list[str]] = {}
        self.templates: dict[str, str] = {}
        self.requests: list[Any] = []
        self.refusals: list[RefusedError] = []
        self.page = 2
        self._clock = itertools.count()

    def now(self) -> datetime:
        """A second later each time."""
        return START + timedelta(seconds=next(self._clock))

    def add(self, name: str, kind: str = "BATCH", state: str = "RUNNING", **more: Any) -> Any:
        """A job."""
        number = len(self.jobs)
        job = api.Job(
            id=f"2026-11-01_00_00_{number:02d}-{1000 + number}",
            name=name,
            type_=api.JobType[f"JOB_TYPE_{kind}"],
            current_state=api.JobState[f"JOB_STATE_{state}"],
            create_time=self.now(),
            project_id=PROJECT,
            location=REGION,
            **more,
        )
        self.jobs[job.id] = job
        self.messages[job.id] = []
        self.say(job.id, "BASIC", f"{name} is created")
        return job

    def say(self, job: str, importance: str, text: str, *, time: datetime | None = None) -> None:
        """A message of a job."""
        kind = api.JobMessageImportance[f"JOB_MESSAGE_{importance}"]
        number = sum(len(found) for found in self.messages.values())
        message = api.JobMessage(id=f"m{number}", time=time or self.now(), message_text=text, message_importance=kind)
        self.messages[job].append(message)

    def plan(self, job: str, *states: str) -> None:
        """The states that the job goes through, one each time that it is asked for."""
        self.plans[job] = list(states)

    # The services' methods.

    def create_job(self, request: Any) -> Any:
        """CreateJob."""
        return self.add(request.job.name, api.JobType(request.job.type_).name.removeprefix("JOB_TYPE_"))

    def get_job(self, request: Any) -> Any:
        """GetJob: each call is a moment later."""
        job = self._job(request)
        plan = self.plans.get(job.id)
        if plan:
            state = plan.pop(0)
            job.current_state = api.JobState[f"JOB_STATE_{state}"]
            self.say(job.id, "DETAILED", f"now {state}")
        return job

    def list_jobs(self, request: Any) -> Any:
        """ListJobs: the newest first, in pages."""
        self._check(request)
        found = sorted(self.jobs.values(), key=lambda job: job.create_time, reverse=True)
        if request.filter == api.ListJobsRequest.Filter.ACTIVE:
            found = [job for job in found if job.current_state not in OVER]
        start = int(request.page_token or 0)
        more = str(start + self.page) if start + self.page < len(found) else ""
        return api.ListJobsResponse(jobs=found[start : start + self.page], next_page_token=more)

    def update_job(self, request: Any) -> Any:
        """UpdateJob: only to cancel or drain."""
        job = self._job(request)
        wanted = api.JobState(request.job.requested_state).name.removeprefix("JOB_STATE_")
        if job.current_state in OVER:
            raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, f"Job {job.id} is in a terminal state.")
        if wanted == "DRAINED" and job.type_ != api.JobType.JOB_TYPE_STREAMING:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "Only streaming jobs can be drained.")
        passing = {"DRAINED": "DRAINING", "CANCELLED": "CANCELLING"}[wanted]
        job.current_state = api.JobState[f"JOB_STATE_{passing}"]
        job.requested_state = request.job.requested_state
        self.plan(job.id, passing, wanted)
        return job

    def list_job_messages(self, request: Any) -> Any:
        """ListJobMessages: from a time on, of an importance, in pages."""
        job = self._job(request)
        since = request.start_time
        found = [
            message
            for message in self.messages[job.id]
            if message.message_importance >= request.minimum_importance and (not since or message.time >= since)
        ]
        start = int(request.page_token or 0)
        more = str(start + self.page) if start + self.page < len(found) else ""
        return api.ListJobMessagesResponse(job_messages=found[start : start + self.page], next_page_token=more)

    def launch_template(self, request: Any) -> Any:
        """LaunchTemplate."""
        given = request.launch_parameters
        made = self._launch(request, request.gcs_path, given)
        return api.LaunchTemplateResponse(job=made)

    def launch_flex_template(self, request: Any) -> Any:
        """LaunchFlexTemplate."""
        given = request.launch_parameter
        made = self._launch(request, given.container_spec_gcs_path, given)
        return api.LaunchFlexTemplateResponse(job=made)

    def _launch(self, request: Any, path: str, given: Any) -> Any:
        self._check(request)
        if path not in self.templates:
            raise RefusedError(grpc.StatusCode.NOT_FOUND, f"Unable to open template file: {path}.")
        running = [job for job in self.jobs.values() if job.name == given.job_name and job.current_state not in OVER]
        if running and not given.update:
            raise RefusedError(
                grpc.StatusCode.ALREADY_EXISTS, f"There is already an active job named {given.job_name}."
            )
        if given.update and not running:
            raise RefusedError(grpc.StatusCode.NOT_FOUND, f"There is no active job named {given.job_name} to update.")
        if request.validate_only:
            return None
        made = self.add(given.job_name, self.templates[path], "PENDING")
        if given.update:
            (old,) = running
            old.current_state, old.replaced_by_job_id = api.JobState.JOB_STATE_UPDATED, made.id
            made.replace_job_id = old.id
        return made

    def _job(self, request: Any) -> Any:
        self._check(request)
        if request.job_id not in self.jobs:
            raise RefusedError(grpc.StatusCode.NOT_FOUND, f"Information about job {request.job_id} could not be found.")
        return self.jobs[request.job_id]

    def _check(self, request: Any) -> None:
        if request.project_id != PROJECT or request.location != REGION:
            raise RefusedError(grpc.StatusCode.PERMISSION_DENIED, f"Caller has no access to {request.project_id}.")


SERVICES: dict[str, dict[str, tuple[str, type, type]]] = {
    "JobsV1Beta3": {
        "CreateJob": ("create_job", api.CreateJobRequest, api.Job),
        "GetJob": ("get_job", api.GetJobRequest, api.Job),
        "ListJobs": ("list_jobs", api.ListJobsRequest, api.ListJobsResponse),
        "UpdateJob": ("update_job", api.UpdateJobRequest, api.Job),
    },
    "MessagesV1Beta3": {
        "ListJobMessages": ("list_job_messages", api.ListJobMessagesRequest, api.ListJobMessagesResponse)
    },
    "TemplatesService": {"LaunchTemplate": ("launch_template", api.LaunchTemplateRequest, api.LaunchTemplateResponse)},
    "FlexTemplatesService": {
        "LaunchFlexTemplate": ("launch_flex_template", api.LaunchFlexTemplateRequest, api.LaunchFlexTemplateResponse)
    },
}


def _method(service: Dataflow, name: str) -> Callable[[Any, grpc.ServicerContext], Any]:
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        service.requests.append(request)
        if service.refusals:
            refused = service.refusals.pop(0)
            context.abort(refused.code, str(refused))
        try:
            return getattr(service, name)(request)
        except RefusedError as refused:
            context.abort(refused.code, str(refused))

    return call


@contextmanager
def dataflow_server() -> Iterator[tuple[Dataflow, str]]:
    """The service, and its HOST:PORT on this machine."""
    service = Dataflow()
    server = grpc.server(ThreadPoolExecutor(4))
    for name, methods in SERVICES.items():
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                _method(service, function),
                request_deserializer=request.deserialize,  # type: ignore[attr-defined]
                response_serializer=response.serialize,  # type: ignore[attr-defined]
            )
            for method, (function, request, response) in methods.items()
        }
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(f"google.dataflow.v1beta3.{name}", handlers),)
        )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield service, f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
