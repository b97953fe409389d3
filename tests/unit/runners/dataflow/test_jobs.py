"""Jobs by Google's own client, against a server of the same protocol in this process."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from dataflow_server import PROJECT, REGION, Dataflow, RefusedError, dataflow_server
from thingbeam.io.errors import AuthenticationError, ConnectorError, MissingError, UnreachableError
from thingbeam.runners.dataflow.jobs import Connection, DataflowJobs


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits = 0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.waits += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service() -> Iterator[tuple[Dataflow, Connection]]:
    with dataflow_server() as (found, address):
        connection = Connection(PROJECT, REGION, address)
        yield found, connection
        connection.close()


@pytest.fixture
def dataflow(service: tuple[Dataflow, Connection]) -> Dataflow:
    return service[0]


@pytest.fixture
def jobs(service: tuple[Dataflow, Connection], clock: Clock) -> DataflowJobs:
    return DataflowJobs(service[1], pause=clock.pause, clock=clock)


def test_lists_every_page_the_newest_first(dataflow: Dataflow, jobs: DataflowJobs) -> None:
    for number in range(5):
        dataflow.add(f"job-{number}", state="DONE" if number % 2 else "RUNNING")
    assert [job.name for job in jobs.all()] == [f"job-{number}" for number in (4, 3, 2, 1, 0)]
    assert [job.name for job in jobs.all(active=True)] == ["job-4", "job-2", "job-0"]
    found = next(jobs.all())
    assert (found.kind, found.state, found.is_over) == ("BATCH", "RUNNING", False)
    assert found.created == "2026-11-01T00:00:08Z"


def test_a_job_by_id_or_name(dataflow: Dataflow, jobs: DataflowJobs) -> None:
    dataflow.add("usage", state="CANCELLED")
    running = dataflow.add("usage")
    dataflow.add("usage", state="FAILED")
    assert jobs.job("usage").id == running.id
    assert jobs.job(running.id).name == "usage"
    with pytest.raises(MissingError, match=r"^job other: none of that name in project smart-homes"):
        jobs.job("other")
    with pytest.raises(MissingError, match=r"could not be found.*are name, project and region right"):
        jobs.job("2026-11-01_00_00_59-77")


@pytest.mark.parametrize("flex", [False, True])
def test_launch_update_and_what_they_ask_for(dataflow: Dataflow, jobs: DataflowJobs, flex: bool) -> None:
    start = jobs.launch_flex if flex else jobs.launch
    dataflow.templates["gs://t/usage"] = "STREAMING"
    first = start("gs://t/usage", "usage", {"session_gap": "5m"}, {"num_workers": 2})
    assert (first.state, first.kind) == ("PENDING", "STREAMING")
    request = dataflow.requests[-1]
    given = request.launch_parameter if flex else request.launch_parameters
    assert (given.parameters, given.environment.num_workers) == ({"session_gap": "5m"}, 2)
    with pytest.raises(ConnectorError, match=r"there is one of that name that runs.*--update takes over"):
        start("gs://t/usage", "usage")
    second = start("gs://t/usage", "usage", update=True, renamed={"Old": "New"})
    assert second.replaces == first.id
    assert jobs.job(first.id).replaced_by == second.id
    assert jobs.job(first.id).state == "UPDATED"
    given = dataflow.requests[-3].launch_parameter if flex else dataflow.requests[-3].launch_parameters
    assert dict(given.transform_name_mappings if flex else given.transform_name_mapping) == {"Old": "New"}
    with pytest.raises(MissingError, match="no active job named other"):
        start("gs://t/usage", "other", update=True)
    with pytest.raises(MissingError, match="Unable to open template"):
        start("gs://t/none", "another")
    count = len(dataflow.jobs)
    start("gs://t/usage", "checked", validate=True)
    assert len(dataflow.jobs) == count


def test_launch_refuses_what_cannot_be(jobs: DataflowJobs) -> None:
    with pytest.raises(ValueError, match="gs://BUCKET/TEMPLATE is expected"):
        jobs.launch("/tmp/t", "name")
    with pytest.raises(ValueError, match=r"no such setting: .*num_wrokers"):
        jobs.launch("gs://t/t", "name", environment={"num_wrokers": 2})


def test_follow_gives_each_message_and_state_once(dataflow: Dataflow, jobs: DataflowJobs, clock: Clock) -> None:
    job = dataflow.add("usage", "STREAMING", "PENDING")
    dataflow.say(job.id, "DEBUG", "not for us")
    same = dataflow.now()
    for text in "abc":
        dataflow.say(job.id, "WARNING", text, time=same)
    # `follow` asks once by name, then once a turn.
    dataflow.plan(job.id, "PENDING", "RUNNING", "RUNNING", "DONE")
    lines = [(line.importance, line.text) for line in jobs.follow(job.id, "DETAILED")]
    assert lines == [
        ("BASIC", "usage is created"),
        ("WARNING", "a"),
        ("WARNING", "b"),
        ("WARNING", "c"),
        ("DETAILED", "now PENDING"),
        ("DETAILED", "now RUNNING"),
        ("STATE", "RUNNING"),
        ("DETAILED", "now RUNNING"),
        ("DETAILED", "now DONE"),
        ("STATE", "DONE"),
    ]
    assert clock.waits == 2
    with pytest.raises(ValueError, match="--importance LOUD: DEBUG, DETAILED, BASIC, WARNING, ERROR are expected"):
        next(jobs.follow(job.id, "LOUD"))


def test_follow_ends_when_another_takes_over(dataflow: Dataflow, jobs: DataflowJobs) -> None:
    dataflow.templates["gs://t/usage"] = "STREAMING"
    first = jobs.launch("gs://t/usage", "usage")
    second = jobs.launch("gs://t/usage", "usage", update=True)
    assert [line.text for line in jobs.follow(first.id)][-1] == f"UPDATED, replaced by {second.id}"


def test_drain_and_cancel(dataflow: Dataflow, jobs: DataflowJobs) -> None:
    stream, batch = dataflow.add("stream", "STREAMING"), dataflow.add("batch")
    assert jobs.drain("stream").state == "DRAINING"
    assert jobs.wait(stream.id, "DRAINED").state == "DRAINED"
    with pytest.raises(ConnectorError, match=r"^job batch: it is a batch, and only streams are drained"):
        jobs.drain("batch")
    assert jobs.cancel(batch.id).state == "CANCELLING"
    assert jobs.wait("batch").state == "CANCELLED"
    with pytest.raises(ConnectorError, match=r"^job batch: it is CANCELLED already"):
        jobs.cancel("batch")


def test_wait_ends(dataflow: Dataflow, jobs: DataflowJobs, clock: Clock) -> None:
    dataflow.add("done", state="FAILED")
    with pytest.raises(ConnectorError, match=r"^job done: it is FAILED, not RUNNING"):
        jobs.wait("done", "RUNNING")
    dataflow.add("slow")
    with pytest.raises(ConnectorError, match=r"^job slow: still RUNNING after 60 s"):
        jobs.wait("slow", seconds=60)
    assert clock.now == 65


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, AuthenticationError, "no permission .*dataflow.developer"),
        (grpc.StatusCode.UNAUTHENTICATED, AuthenticationError, "does not take the credentials.*gcloud auth"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ConnectorError, "a quota is used up"),
        (grpc.StatusCode.INVALID_ARGUMENT, ConnectorError, "Dataflow refused"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, UnreachableError, "does not answer"),
        (grpc.StatusCode.INTERNAL, ConnectorError, "Dataflow refused"),
    ],
)
def test_refusals_are_one_line(
    dataflow: Dataflow, jobs: DataflowJobs, code: grpc.StatusCode, kind: type, said: str
) -> None:
    job = dataflow.add("usage")
    dataflow.refusals = [RefusedError(code, "because\nof this")]
    with pytest.raises(kind, match=said) as error:
        jobs.job(job.id)
    assert "because of this" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_question_is_asked_again_where_the_service_is_away(dataflow: Dataflow, jobs: DataflowJobs) -> None:
    job = dataflow.add("usage")
    dataflow.refusals = [RefusedError(grpc.StatusCode.UNAVAILABLE, "away")] * 2
    assert jobs.job(job.id).name == "usage"
    # What changes something is not: it may have happened.
    dataflow.refusals = [RefusedError(grpc.StatusCode.UNAVAILABLE, "away")]
    dataflow.templates["gs://t/usage"] = "BATCH"
    with pytest.raises(UnreachableError, match="does not answer"):
        jobs.launch("gs://t/usage", "new")


def test_no_server(clock: Clock) -> None:
    connection = Connection(PROJECT, REGION, "127.0.0.1:1")
    jobs = DataflowJobs(connection, pause=clock.pause, clock=clock)
    with pytest.raises(UnreachableError, match=r"^job usage: Dataflow does not answer"):
        jobs.launch("gs://t/usage", "usage")
    connection.close()


@pytest.mark.parametrize(
    ("project", "region", "said"), [("Big", "europe-west1", "--project Big"), ("my-project", "europe", "--region")]
)
def test_connection_refuses_what_cannot_be(project: str, region: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Connection(project, region, "127.0.0.1:1")


def test_no_credentials_are_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(AuthenticationError, match=r"^Dataflow: no Google credentials: run `gcloud auth"):
        Connection("my-project", "europe-west1")
