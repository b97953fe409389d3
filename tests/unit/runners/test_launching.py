"""What goes wrong on an engine, as one line, and whether another try may do."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions
from apache_beam.runners.portability import portable_runner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from thingbeam.io.kafka.errors import GapError, SendError, TopicMissingError
from thingbeam.runners.failures import RunFailedError
from thingbeam.runners.launching import EndedError, connect, follow, has_endpoint, is_lasting, on_prism, told
from thingbeam.runners.profiles import EngineError


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (GapError("gone"), True),
        (TopicMissingError("no topic"), True),
        (SendError("2 messages"), False),
        (KeyError("x"), False),
    ],
)
def test_failures_of_a_run(error: Exception, lasting: bool) -> None:
    text = f"Traceback (most recent call last):\n  File x\n{type(error).__module__}.{type(error).__name__}: {error}"
    with pytest.raises(EndedError, match="the run failed: ") as caught, told("prism", started=True):
        raise RuntimeError(text)
    assert caught.value.lasting is lasting
    assert "\n" not in str(caught.value)


def test_an_engines_words_around_a_traceback() -> None:
    text = "bundle inst-7 failed: Traceback (most recent call last):\n  File x\nthingbeam.io.kafka.errors.GapError: "
    text += "events[3]: gone [while running 'Read']\n\n"
    with pytest.raises(EndedError) as caught, told("prism", started=True):
        raise RuntimeError(text)
    assert caught.value.lasting
    assert str(caught.value).endswith("kafka.errors.GapError: events[3]: gone [while running 'Read']")


def test_a_word_that_only_looks_like_a_failure() -> None:
    assert not is_lasting("ValueError: topic NoGapErrorHere: is odd")


def test_an_engine_that_is_not_there() -> None:
    with pytest.raises(EngineError, match="--runner prism: no answer"), told("prism", started=False):
        raise RuntimeError("no answer")


def test_a_failure_that_is_told_already_stays() -> None:
    with pytest.raises(RunFailedError, match=r"^as it is$"), told("prism", started=True):
        raise RunFailedError("as it is")


def test_whose_engine_it_is() -> None:
    assert not has_endpoint(PipelineOptions([]))
    assert has_endpoint(PipelineOptions(["--job_endpoint=localhost:1"]))
    assert has_endpoint(PipelineOptions(["--prism_location=/prism"]))


def test_options_for_a_prism_of_ones_own() -> None:
    _, options = on_prism("127.0.0.1:7", ["--job_name=mine"], endless=True)
    assert options.view_as(PortableOptions).job_endpoint == "127.0.0.1:7"
    assert options.view_as(PortableOptions).environment_type == "LOOPBACK"
    assert options.view_as(StandardOptions).streaming


def test_the_service_that_was_found_first_is_the_one_that_a_pipeline_goes_to() -> None:
    runner, options = on_prism("embed", [], endless=False)
    connect(runner, options)
    service = runner.create_job_service(options).job_service
    assert runner.create_job_service(PipelineOptions(["--job_endpoint=localhost:1"])).job_service is service
    runner, options = on_prism("localhost:1", ["--job_server_timeout=1"], endless=False)
    with pytest.raises(EngineError, match="--runner prism: "), told("prism", started=False):
        connect(runner, options)
    connect(FnApiRunner(), options)


class Result:
    """A run with the states that it goes through."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)
        self.cancelled = self.waited = False
        self._metrics = "stale"

    @property
    def state(self) -> str:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def metrics(self) -> Any:
        return self._metrics or "fresh"

    def cancel(self) -> None:
        self.cancelled = True

    def wait_until_finish(self) -> None:
        self.waited = True


def test_a_run_that_ends_by_itself() -> None:
    result, seen = Result("RUNNING", "DONE"), list[str]()
    assert not follow(result, threading.Event(), seen.append)
    assert result.waited
    assert seen == ["fresh", "fresh"]


def test_a_run_that_is_stopped() -> None:
    result, stop = Result("RUNNING"), threading.Event()
    stop.set()
    assert follow(result, stop, lambda _: None)
    assert result.cancelled
    assert not result.waited


def test_what_a_run_says_on_the_way_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    """What a job server says of its failure is said again in one line; what a sink or source says is not."""
    with told("flink", started=True):
        logging.getLogger("thingbeam.kafka").error("offsets are gone")
        logging.error("of a user's step")
        root = logging.getLogger()
        root.handle(root.makeRecord("root", logging.ERROR, portable_runner.__file__, 1, "a trace of Java", (), None))
    assert [record.message for record in caplog.records] == ["offsets are gone", "of a user's step"]
