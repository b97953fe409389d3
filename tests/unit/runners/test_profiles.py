"""Runners by name, and Beam's options: every slip is one line that says how to mend it."""

from __future__ import annotations

from email.message import Message
from urllib.error import HTTPError, URLError

import pytest
from apache_beam.options.pipeline_options import DirectOptions, GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from thingbeam.runners.profiles import (
    RUNNERS,
    EngineError,
    check_beam_options,
    engine_error,
    reason_of,
    runner_of,
)


def test_direct_is_the_runner_that_is_meant_whatever_beam_would_pick() -> None:
    assert type(runner_of("direct")) is FnApiRunner


@pytest.mark.parametrize("name", sorted(RUNNERS))
def test_every_name_gives_the_runner_that_it_says(name: str) -> None:
    assert type(runner_of(name)).__name__ == RUNNERS[name].beam


@pytest.mark.parametrize(
    ("name", "words"),
    [("flnk", "did you mean flink?"), ("nothing", "it is one of direct, prism"), ("", "it is one of direct, prism")],
)
def test_no_such_runner(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        runner_of(name)


def test_a_runner_that_beam_cannot_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNNERS, "dataflow", RUNNERS["dataflow"]._replace(beam="no.such.module.Runner"))
    with pytest.raises(EngineError, match=r"^--runner dataflow: .* It needs pip install 'apache-beam\[gcp\]'"):
        runner_of("dataflow")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("one line"), "one line"),
        (RuntimeError("two\n  lines"), "two lines"),
        (RuntimeError("Traceback (most recent call last):\n  File\nValueError: it [while running 'X']"),
         "ValueError: it [while running 'X']"),
        (TimeoutError(), "TimeoutError"),
        (URLError(ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
        (URLError(TimeoutError("timed out")), "timed out"),
        (URLError("unknown url type: x"), "unknown url type: x"),
        (HTTPError("http://x/", 404, "Not Found", Message(), None), "HTTP Error 404: Not Found"),
        (RuntimeError("x" * 999), "x" * 400 + "…"),
    ],
)  # fmt: skip
def test_the_reason_of_an_error_is_one_line(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
    assert "\n" not in str(engine_error("flink", error))


@pytest.mark.parametrize("form", [["--job_name", "j"], ["--job_name=j"]])
def test_options_of_beam_with_a_space_or_an_equals_sign(form: list[str]) -> None:
    options = check_beam_options([*form, "--streaming", "--experiments=a", "--experiments", "b"])
    assert options.view_as(GoogleCloudOptions).job_name == "j"
    assert options.view_as(StandardOptions).streaming is True
    assert options.get_all_options()["experiments"] == ["a", "b"]


def test_a_number_is_a_number() -> None:
    assert check_beam_options(["--direct_num_workers", "3"]).view_as(DirectOptions).direct_num_workers == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--job_nam", "j"], "--job_nam: no such option, of ours or of Beam's; did you mean --job_name?"),
        (["--job_nam=j"], "--job_nam: no such option, of ours or of Beam's; did you mean --job_name?"),
        (["--streamin"], "--streamin: no such option, of ours or of Beam's; did you mean --streaming?"),
        (["--sesion-gap", "5m"], "--sesion-gap: no such option, of ours or of Beam's; did you mean --session-gap?"),
        (["--zzz"], "--zzz: no such option, of ours or of Beam's; see --help"),
        (["-x"], "-x: no such option, of ours or of Beam's; see --help"),
        (["in.jsonl"], "in.jsonl: not expected here; options begin with --"),
        (["--job_name"], "--job_name: expected one argument"),
        (["--direct_num_workers", "many"], "--direct_num_workers: invalid int value: 'many'"),
        (["--direct_num_workers=many"], "--direct_num_workers: invalid int value: 'many'"),
        (["--streaming=yes"], "--streaming: ignored explicit argument 'yes'"),
    ],
)
def test_a_slip(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        check_beam_options(arguments, ["--session-gap", "--input"])
    assert str(caught.value) == message
    assert capfd.readouterr() == ("", "")


def test_options_that_users_add_are_known() -> None:
    class Ours(PipelineOptions):
        @classmethod
        def _add_argparse_args(cls, parser: object) -> None:
            parser.add_argument("--colour_of_test")  # type: ignore[attr-defined]

    assert check_beam_options(["--colour_of_test", "red"]).view_as(Ours).colour_of_test == "red"
