"""Each mistake of tests/mutants.toml, made in a copy of the columnar rules, is noticed by their tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Final, NamedTuple

import pytest

from mutants import MUTANTS, Mutant
from structure import CHECKOUT, PARTS

pytestmark = pytest.mark.slow

TESTS: Final = CHECKOUT / "tests"
COLUMNS: Final = "tests/unit/transforms/columns"
HELPERS: Final = ("streams.py", "columnar.py", "comparison.py", "zones.py", "lines.py", "alike.py")
MODULES: Final = (
    "deduplicate", "rows", "sessions", "activities", "meters", "periods", "values", "liveness", "zones", "usage",
    "times", "form", "forms",
)  # fmt: skip
SEEDS: Final = (
    f"{COLUMNS}/test_history.py::test_waking_when_due_misses_nothing[220]",
    f"{COLUMNS}/test_history.py::test_bounded_input_at_once[3]",
    f"{COLUMNS}/test_history.py::test_slices_of_any_length_then_the_end[82]",
    f"{COLUMNS}/test_history.py::test_an_endless_stream_forgets_everything[160]",
)
"""Random streams, after the edges of each module."""
WORKERS: Final = 2

SERVER: Final = """
import json, os, signal, sys
import apache_beam, fastavro, msgspec, numpy, pyarrow.compute, pytest

for line in sys.stdin:
    folder, arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.alarm(300)
        os.chdir(folder)
        log = os.open("log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        status = int(pytest.main(arguments))
        sys.stdout.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

CONFTEST: Final = """
from hypothesis import Phase, settings

# The same examples every time; what fails need not be small.
settings.register_profile(
    "mutants", deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate], max_examples=40
)
settings.load_profile("mutants")
"""


class Verdict(NamedTuple):
    """What pytest said."""

    status: int
    output: str


def copy_of_the_project(folder: Path) -> None:
    package = folder / "src" / "thingbeam"
    package.mkdir(parents=True)
    shutil.copy2(CHECKOUT / "src" / "thingbeam" / "__init__.py", package)
    for part in PARTS:
        # Compiled files, too: they stay valid, for times are kept.
        shutil.copytree(CHECKOUT / part, package / part)
    shutil.copy2(CHECKOUT / "pyproject.toml", folder)
    shutil.copytree(CHECKOUT / COLUMNS, folder / COLUMNS, ignore=shutil.ignore_patterns("__pycache__"))
    for helper in HELPERS:
        shutil.copy2(TESTS / helper, folder / "tests")
    (folder / "tests" / "conftest.py").write_text(CONFTEST)


def apply(mutant: Mutant, folder: Path) -> None:
    path = folder / "src" / "thingbeam" / mutant.path
    path.write_text(mutant.made_in(path.read_text()))
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


class Interpreter:
    """A Python that has imported what takes long and is the same for all copies, and tests each in a fork of itself."""

    def __init__(self) -> None:
        # With CI pytest tells failures at any length, which of a mutant nobody reads and which takes long.
        left_out = ("PYTHONPATH", "PYTEST_ADDOPTS", "CI")
        environment = {name: value for name, value in os.environ.items() if name not in left_out}
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER], env=environment | {"PYTHONDONTWRITEBYTECODE": "1"}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def run_tests(self, folder: Path, first: str | None = None) -> Verdict:
        """Test a copy up to the first failure: the edges of one module, then those of the others, then streams."""
        modules = sorted(MODULES, key=lambda module: module != first)
        tests = [*(f"{COLUMNS}/test_{module}.py" for module in modules), *SEEDS]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(
            json.dumps([str(folder), ["-x", "-q", "-p", "no:cacheprovider", "--tb=short", *tests]]),
            file=self._process.stdin,
        )
        self._process.stdin.flush()
        status = self._process.stdout.readline()
        return Verdict(int(status), (folder / "log").read_text())

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def interpreters() -> Iterator[Queue[Interpreter]]:
    """Those that are free."""
    both = [Interpreter() for _ in range(WORKERS)]
    free: Queue[Interpreter] = Queue()
    for interpreter in both:
        free.put(interpreter)
    yield free
    for interpreter in both:
        interpreter.close()


def verdict(mutant: Mutant | None, folder: Path, interpreters: Queue[Interpreter]) -> Verdict:
    interpreter = interpreters.get()
    try:
        copy_of_the_project(folder)
        if mutant is not None:
            apply(mutant, folder)
        return interpreter.run_tests(folder, Path(mutant.file).stem if mutant else None)
    finally:
        interpreters.put(interpreter)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, interpreters: Queue[Interpreter]
) -> Iterator[dict[str, Future[Verdict]]]:
    """The verdicts on the mutants that were chosen, as they are worked out."""
    chosen = {item.callspec.params["mutant"].name for item in request.session.items if _mutant_of(item)}
    folder = tmp_path_factory.mktemp("mutants")
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        yield {
            mutant.name: pool.submit(verdict, mutant, folder / mutant.name, interpreters)
            for mutant in MUTANTS
            if mutant.name in chosen
        }
        pool.shutdown(cancel_futures=True)


def _mutant_of(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and hasattr(item, "callspec") and "mutant" in item.callspec.params


def test_the_copy_without_a_mistake_passes(tmp_path: Path, interpreters: Queue[Interpreter]) -> None:
    passed = verdict(None, tmp_path / "copy", interpreters)
    assert passed.status == pytest.ExitCode.OK, passed.output


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_killed(mutant: Mutant, verdicts: dict[str, Future[Verdict]]) -> None:
    found = verdicts[mutant.name].result()
    assert found.status != pytest.ExitCode.OK, f"{mutant.name} survived: {mutant.why}\n- {mutant.old}\n+ {mutant.new}"
    # Anything else is no failed test, but a copy that cannot be tested.
    assert found.status == pytest.ExitCode.TESTS_FAILED, found.output
    assert re.search(r"^1 failed", found.output, re.MULTILINE), found.output
