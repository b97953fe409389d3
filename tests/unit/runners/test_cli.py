"""The command line as a person meets it: in this process where it can be, as a process where it matters."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import lines
import thingbeam
from thingbeam.runners.cli import main
from thingbeam.runners.home_cli import home

SOURCE = Path(thingbeam.__file__).resolve().parents[1]


class Said(NamedTuple):
    """How a command ended."""

    status: int | str | None
    out: str
    err: str


class Shell:
    """Runs thingbeam in this process, in a directory of its own."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory, self._capsys = directory, capsys

    def __call__(self, *arguments: str) -> Said:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return Said(ended.value.code, *self._capsys.readouterr())

    def home(self, *more: str, **changes: str | None) -> Said:
        """`thingbeam run home` with what is needed, but for the changes; None leaves an option out."""
        given = {"input": "in.jsonl", "output": "out", "timezone": "Europe/Paris"} | changes
        named = [part for name, value in given.items() if value is not None for part in (f"--{name}", value)]
        return self("run", "home", *named, *more)

    def files(self) -> list[str]:
        """All files and directories, by path."""
        return sorted(str(path.relative_to(self.directory)) for path in self.directory.rglob("*"))


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_bytes(b"\n".join(lines.event(number) for number in range(5)))
    return Shell(tmp_path, capsys)


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(SOURCE), "TERM": "xterm", "COLUMNS": "80"} | more


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "thingbeam.runners.cli", *arguments]


NO_OPTION = "no such option, of ours or of Beam's"
NO_LENGTH = "is no length of time; write it like 90s, 10m, 1h30m or 1d"
LENGTHS = "is none of 1, 3, 5, 15, 30 minutes, 1, 2, 3, 4, 6, 8, 12 hours, 1 day"
SEE = "See thingbeam run home --help"


@pytest.mark.parametrize(
    ("changes", "more", "line"),
    [
        ({"input": None}, [], f"Missing option '--input'. {SEE}"),
        ({"output": None}, [], f"Missing option '--output'. {SEE}"),
        ({"timezone": None}, [], f"Missing option '--timezone'. {SEE}"),
        ({"timezone": None, "timezon": "UTC"}, [], f"No such option '--timezon'. Did you mean '--timezone'? {SEE}"),
        ({"timezone": None, "job_name": "a"}, [], f"Missing option '--timezone'. {SEE}"),
        ({}, ["--overwrit"], f"--overwrit: {NO_OPTION}; did you mean --overwrite?"),
        ({}, ["--outptu", "x"], f"--outptu: {NO_OPTION}; did you mean --output?"),
        ({}, ["--outptu=x"], f"--outptu: {NO_OPTION}; did you mean --output?"),
        ({}, ["--job_nam", "x"], f"--job_nam: {NO_OPTION}; did you mean --job_name?"),
        ({}, ["--job_nam=x"], f"--job_nam: {NO_OPTION}; did you mean --job_name?"),
        ({}, ["--job_name", "x", "--streamin"], f"--streamin: {NO_OPTION}; did you mean --streaming?"),
        ({}, ["--direct_num_workers", "many"], "--direct_num_workers: invalid int value: 'many'"),
        ({}, ["more.jsonl"], "more.jsonl: not expected here; options begin with --"),
        ({"input": ""}, [], "--input: it is empty"),
        ({"input": "no.jsonl"}, [], "--input: no such file: 'no.jsonl'"),
        ({"input": "no/*.jsonl"}, [], "--input: no file matches 'no/*.jsonl'"),
        ({"input": "."}, [], "--input: '.' is a directory: name its files, as in './*.jsonl'"),
        ({"input": "notes"}, [], "--input: 'notes': what is in it cannot be told; name it .jsonl, .jsonl.gz, "
         ".jsonl.zst, .avro or .parquet"),
        ({"input": "in.jsonl.bz2"}, [], "--input: 'in.jsonl.bz2': .bz2 files are not read; unpack it, or compress with "
         "gzip or zstd"),
        ({"input": "sqs://u:hunter2@queue"}, [], "re:--input: sqs:// is none of the schemes that there are: "
         "azfs://, .*hdfs://, kafka://, kinesis://, .*s3://; or give a path\n$"),
        ({"output": ""}, [], "--output: it is empty"),
        ({"output": "notes"}, [], "--output: 'notes' is a file, not a directory"),
        ({"output": "notes/out"}, [], "re:--output: cannot make 'notes/out': "),
        ({"output": "full"}, [], "--output: 'full' already holds results (usage-1.jsonl): give --overwrite to replace "
         "them"),
        ({"output": "sqs://u:hunter2@queue"}, [], "re:--output: sqs:// is none of the schemes that there are: "
         "azfs://, dynamodb://, .*hbase://, hdfs://, kafka://, kinesis://, .*s3://; or give a path\n$"),
        ({"timezone": ""}, [], "--timezone: it is empty"),
        ({"timezone": "Mars/Olympus"}, [], "--timezone: the default time zone, 'Mars/Olympus', is no IANA time zone "
         "such as Europe/Paris"),
        ({"timezone": "../notes"}, [], "--timezone: the default time zone, '../notes', is no IANA time zone such as "
         "Europe/Paris"),
        ({"timezones": "no.csv"}, [], "re:--timezones: cannot read the time zones in no.csv: .*No such file"),
        ({"timezones": "notes"}, [], "--timezones: notes has no column 'home_id'; it needs home_id,timezone in its "
         "first line"),
        ({"timezones": "mars.csv"}, [], "--timezones mars.csv: the time zone of home h1, 'Mars', is no IANA time zone "
         "such as Europe/Paris"),
        ({"session-gap": "10x"}, [], f"--session-gap: '10x' {NO_LENGTH}"),
        ({"session-gap": "-10m"}, [], f"--session-gap: '-10m' {NO_LENGTH}"),
        ({"session-gap": ""}, [], f"--session-gap: '' {NO_LENGTH}"),
        ({"session-gap": "0s"}, [], "--session-gap: it must be above 0"),
        ({"provisional-every": "0s"}, [], "--provisional-every: it must be above 0"),
        ({"provisional-within": "0s"}, [], "--provisional-within: it must be above 0"),
        ({"allowed-lateness": "soon"}, [], f"--allowed-lateness: 'soon' {NO_LENGTH}"),
        ({"dedupe-horizon": "1 year"}, [], f"--dedupe-horizon: '1 year' {NO_LENGTH}"),
        ({"hold": "1"}, [], f"--hold: '1' {NO_LENGTH}"),
        ({"period": "7m"}, [], f"--period 7m: a period of 420 s {LENGTHS}"),
        ({"period": "hour"}, [], "--period: 'hour' is no period; write it like 15m, 1h, 1d, or PT15M, PT1H, P1D"),
        ({"format": "csv"}, [], f"Invalid value for '--format': 'csv' is not one of 'jsonl', 'avro', 'parquet'. {SEE}"),
        ({"compression": "bz2"}, [], "Invalid value for '--compression': 'bz2' is not one of 'none', 'gzip', 'zstd'. "
         f"{SEE}"),
        ({"revisions": "some"}, [], f"Invalid value for '--revisions': 'some' is not one of 'final', 'all'. {SEE}"),
        ({"shards": "0"}, [], f"Invalid value for '--shards': 0 is not in the range 1<=x<=32768. {SEE}"),
        ({"capabilities": "no.toml"}, [], "--capabilities: no.toml: cannot read the capability table: No such file or "
         "directory; give a TOML file"),
        ({"capabilities": "mars.csv"}, [], "re:--capabilities: mars.csv: not TOML"),
        ({"capabilities": "odd.toml"}, [], "re:--capabilities: odd.toml: .*role is 'nope'"),
        ({"until": "tomorrow"}, [], "--until tomorrow: not an RFC 3339 time; write it like 2007-05-01T00:00:00Z"),
        ({"until": "2007-05-01"}, [], "--until 2007-05-01: not an RFC 3339 time; write it like 2007-05-01T00:00:00Z"),
        ({"until": "2007-02-30T00:00:00Z"}, [], "re:--until 2007-02-30T00:00:00Z: day is out of range for month;"),
        ({"runner": "nothing"}, [], "--runner nothing: no such runner; it is one of direct, prism, flink, spark, "
         "dataflow, portable"),
        ({"runner": "Flink"}, [], "--runner Flink: no such runner; did you mean flink?"),
        ({"input": "kafka://127.0.0.1:1/t", "output": "kafka://127.0.0.1:1/r"}, [], "re:--runner direct: it runs input "
         "that ends"),
        ({"input": "kafka://127.0.0.1:1/t", "runner": "prism"}, [], "re:/.*/out: a directory takes what ends, and "
         r"the input does not: give it a stop= \(stop=latest is what is there now\), or write to kafka://HOST:PORT/PREFIX"),
        ({"input": "kafka://127.0.0.1:1/t?group=g&warm_up=1h", "output": "kafka://127.0.0.1:1/r", "runner": "prism"},
         [],
         "re:kafka://127.0.0.1:1/t: warm_up=1h: a result may take 605460s, so that after a restart partial results"),
        ({"input": "kafka://127.0.0.1:1/t?stop=latest&connect_timeout=1"}, [],
         "re:127.0.0.1:1: no answer in 1 s: .*Connection refused"),
        ({"input": "kafka://127.0.0.1:1/t?start=soon"}, [],
         "re:--input: kafka://127.0.0.1:1/t: start 'soon': earliest"),
        ({"input": "kafka://u:hunter2@127.0.0.1:1/t"}, [], "--input: kafka://127.0.0.1:1/t: no user or password before "
         "the @: use username=NAME&password=env:NAME"),
        ({"output": "kafka://127.0.0.1:1/r?connect_timeout=1"}, [], "re:127.0.0.1:1: no answer in 1 s: "),
        ({"account": "no/account.json"}, [], "--account no/account.json: there is no directory 'no'"),
        # Engines that are not there: nothing is fetched for these, and no port is open.
        ({"runner": "portable"}, [], "re:--runner portable: .*It needs --job_endpoint HOST:PORT of a job server"),
        ({"runner": "portable"}, ["--job_endpoint", "localhost:1", "--job_server_timeout=1"],
         "re:--runner portable: .*It needs --job_endpoint HOST:PORT"),
        ({"runner": "flink"}, ["--flink_master", "127.0.0.1:1"], "re:--runner flink: no Flink answers at 127.0.0.1:1 "),
        ({"runner": "spark", "input": "kafka://127.0.0.1:1/t?stop=latest&group=g"}, [],
         "--runner spark: it never says when what was read is safe, so that nothing could be committed; leave group= "
         "or checkpoints= out of the input"),
        ({"runner": "spark"}, ["--spark_job_server_jar=no.jar"], "re:--runner spark: .*It needs a Spark master"),
        ({"runner": "prism"}, ["--prism_location", "no/prism"], "re:--runner prism: .*It needs Prism's binary"),
        ({"runner": "dataflow"}, [], "re:--runner dataflow: .*project.* It needs pip install 'apache-beam"),
        # Nor are old results removed for them.
        ({"runner": "portable", "output": "full"}, ["--overwrite", "--job_endpoint=localhost:1",
         "--job_server_timeout=1"], "re:--runner portable: .*It needs --job_endpoint HOST:PORT"),
        ({"runner": "spark", "output": "full"}, ["--overwrite", "--spark_job_server_jar=no.jar"],
         "re:--runner spark: .*It needs a Spark master"),
        ({"runner": "prism", "output": "full"}, ["--overwrite", "--prism_location=no/prism"],
         "re:--runner prism: .*It needs Prism's binary"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    shell: Shell, changes: dict[str, str | None], more: list[str], line: str
) -> None:
    Path("notes").write_text("just notes\n")
    Path("in.jsonl.bz2").write_text("")
    Path("mars.csv").write_text("home_id,timezone\nh1,Mars\n")
    Path("odd.toml").write_text("[switch]\nswitch = { role = 'nope' }\n")
    Path("full").mkdir()
    Path("full/usage-1.jsonl").write_text("")
    before = shell.files()
    said = shell.home(*more, **changes)
    assert (said.status, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert "hunter2" not in said.err
    if line.startswith("re:"):
        assert re.match(f"thingbeam: ({line[3:]})", said.err), said.err
    else:
        assert said.err == f"thingbeam: {line}\n"
    assert shell.files() == before


@pytest.fixture
def somebody(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Become somebody whom permissions hold for, which they do not for root; to be called once all is imported."""
    above = [tmp_path, *(folder for folder in tmp_path.parents if folder.stat().st_uid == os.getuid())]
    modes = {folder: folder.stat().st_mode for folder in above}
    access, root = os.access, os.geteuid() == 0
    with pytest.MonkeyPatch.context() as patch:

        def become() -> None:
            if root:
                for folder in above:
                    folder.chmod(modes[folder] | 0o011)
                tmp_path.chmod(0o777)
                # It asks for the real user, whom a process cannot change back.
                patch.setattr(os, "access", lambda path, mode: access(path, mode, effective_ids=True))
                os.seteuid(65534)

        yield become
        if root:
            os.seteuid(0)
            for folder, mode in modes.items():
                folder.chmod(mode)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"input": "locked.jsonl"}, "--input: 'locked.jsonl' cannot be read: Permission denied"),
        ({"output": "locked"}, "--output: 'locked' may not be written to"),
    ],
)
def test_what_may_not_be_read_or_written(
    shell: Shell, changes: dict[str, str], line: str, somebody: Callable[[], None]
) -> None:
    Path("locked.jsonl").write_text("")
    Path("locked.jsonl").chmod(0)
    Path("locked").mkdir(mode=0o555)
    assert shell.home(output="warm").status == 0
    before = shell.files()
    somebody()
    assert shell.home(**changes) == Said(2, "", f"thingbeam: {line}\n")
    assert shell.files() == before


def test_a_run(shell: Shell) -> None:
    said = shell.home("--job_name", "mine", "--session-gap=30s")
    assert said.status == 0, said.err
    assert said.err == ""
    first, second = said.out.splitlines()
    assert re.fullmatch(
        r"5 events in \d+\.\d s \([\d,]+/s\): 5 counted, 0 duplicates, 0 late, 0 ignored, 0 dead letters", first
    )
    assert second == "out: 0 activities, 1 sessions, 1 usage rows"
    account = json.loads(Path("out/account.json").read_text())
    assert (account["lines"], account["events"], account["input"]) == (5, 5, "in.jsonl")


def test_results_are_replaced_only_when_asked(shell: Shell) -> None:
    assert shell.home().status == 0
    before = Path("out/account.json").read_bytes()
    assert shell.home().status == 2
    assert Path("out/account.json").read_bytes() == before
    Path("out/mine.txt").write_text("kept")
    assert shell.home("--overwrite").status == 0
    assert Path("out/mine.txt").read_text() == "kept"


@pytest.mark.parametrize("content", [b"", b"\n\r\n  \n"])
@pytest.mark.parametrize("file_format", ["jsonl", "avro", "parquet"])
def test_an_empty_input_has_empty_results(shell: Shell, content: bytes, file_format: str) -> None:
    Path("in.jsonl").write_bytes(content)
    said = shell.home(format=file_format)
    assert said.status == 0, said.err
    assert said.out.startswith("0 events in ")
    assert sorted(path.name for path in Path("out").iterdir()) == ["account.json", "manifest.json"]


def test_a_run_that_breaks_off_is_one_line_and_status_1(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from thingbeam.io.files import sink

    def no_room(path: str, data: bytes) -> None:
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(sink, "write_file", no_room)
    said = shell.home()
    assert (said.status, said.out) == (1, "")
    [line] = [line for line in said.err.splitlines() if line.startswith("thingbeam:")]
    assert line.startswith("thingbeam: the run failed: ")
    assert "No space left on device" in line
    assert not Path("out/manifest.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["run", "home", "-h"], ["report", "--help"], ["stack", "--help"]],
    ids=" ".join,
)
def test_help_is_80_columns_wide_and_takes_the_name_of_the_program(
    shell: Shell, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = shell(*arguments)
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith(f"Usage: thingbeam {' '.join(arguments[:-1])}".rstrip())
    assert max(map(len, said.out.splitlines())) <= 80


def test_help_of_home_names_every_option_under_a_heading(shell: Shell) -> None:
    said = shell("run", "home", "--help").out
    names = {"input", "output", "overwrite", "format", "compression", "timezone", "timezones", "home-id", "session-gap"}
    names |= {"period", "capabilities", "hold", "until", "allowed-lateness", "dedupe-horizon", "revisions", "runner"}
    names |= {"provisional-every", "provisional-within", "shards", "account", "relaunch"}
    assert set(re.findall(r"^  --([\w-]+)", said, re.MULTILINE)) == names
    assert [line for line in said.splitlines() if re.fullmatch(r"[A-Z][\w ]+:", line)] == [
        "Input and output:", "Homes:", "Results:", "Running:", "Help:",
    ]  # fmt: skip
    assert "embedded, for streams too" in " ".join(said.split())
    assert "Exit status: 0, done; 1, the run failed; 2, a mistake" in " ".join(said.split())


def test_the_documentation_has_the_options_and_defaults_that_there_are(checkout: Path) -> None:
    page = (checkout / "docs" / "command-line.md").read_text()
    rows = dict(re.findall(r"^\| `(--[\w-]+)[^|]*\| ([^|]*)\|", page, re.MULTILINE))
    told = [option for option in home.params if isinstance(option, click.Option) and not option.hidden]
    options = {option.opts[0]: option.default for option in told}
    assert list(rows) == list(options)
    for name, default in options.items():
        if isinstance(default, str | int) and not isinstance(default, bool):
            assert rows[name].strip() == f"`{default}`"


def test_version(shell: Shell) -> None:
    assert shell("--version") == Said(0, f"thingbeam, version {thingbeam.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], r"No such command 'fly'\..* See thingbeam --help"),
        (["--fly"], r"No such option:? '?--fly'?\.? See thingbeam --help"),
        (["run", "house"], r"No such command 'house'\..* See thingbeam run --help"),
        (["report"], r"Missing argument 'DIR'\. See thingbeam report --help"),
        (["report", "nowhere"], "'nowhere' holds no .*"),
    ],
)
def test_slips_in_commands(shell: Shell, arguments: list[str], words: str) -> None:
    said = shell(*arguments)
    assert (said.status, said.out) == (2, "")
    assert re.fullmatch(f"thingbeam: {words}\n", said.err), said.err


def test_the_report_without_its_extra(tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['plotly'] = None; from thingbeam.runners.cli import main; main(['report', 'x'])"
    ended = subprocess.run(
        [sys.executable, "-c", blocked], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "thingbeam: the report needs plotly: pip install 'thingbeam[report]'\n"


def test_a_process_that_nobody_watches_says_only_how_it_ended(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(lines.event(1) + b"\nno JSON\n")
    ended = subprocess.run(
        command("run", "home", "--input", "in.jsonl", "--output", "out", "--timezone", "UTC"),
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("1 events in ")


def test_a_person_at_a_terminal_sees_a_bar_that_goes_when_it_is_over(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines.event(number) for number in range(3000)))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("run", "home", "--input", "in.jsonl", "--output", "out", "--timezone", "UTC"),
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    # Once the other side is closed it is an error to read.
    with contextlib.suppress(OSError):
        while some := os.read(ours, 65536):
            shown += some
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.startswith(b"3,000 events in ")
    assert "reading" in shown.decode()
    assert "━" in shown.decode()
    left = shown.decode().rpartition("\x1b[2K")[2]
    assert re.sub(r"\x1b\[[?\d;]*[a-zA-Z]|[\r\n]", "", left) == ""


def test_an_interrupt_ends_it_with_status_130_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines.event(number) for number in range(60_000)))
    process = subprocess.Popen(
        command("run", "home", "--input", "in.jsonl", "--output", "out", "--timezone", "UTC"),
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not (tmp_path / "out").exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == "thingbeam: interrupted"
    assert not (tmp_path / "out" / "manifest.json").exists()
