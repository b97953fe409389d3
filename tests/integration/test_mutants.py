"""Each mistake of tests/mutants.toml, made in a copy of the columnar rules, is noticed by their tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from structure import CHECKOUT, PARTS

pytestmark = pytest.mark.slow

TESTS: Final = CHECKOUT / "tests"
COLUMNS: Final = "tests/unit/transforms/columns"
HELPERS: Final = ("streams.py", "columnar.py", "comparison.py")
MODULES: Final = (
    "deduplicate", "rows", "sessions", "activities", "meters", "periods", "values", "liveness", "zones", "usage",
)  # fmt: skip
SEEDS: Final = (
    f"{COLUMNS}/test_history.py::test_waking_when_due_misses_nothing[220]",
    f"{COLUMNS}/test_history.py::test_bounded_input_at_once[3]",
    f"{COLUMNS}/test_history.py::test_slices_of_any_length_then_the_end[82]",
    f"{COLUMNS}/test_history.py::test_an_endless_stream_forgets_everything[160]",
)
"""Random streams, after the edges of each module."""
TIMEOUT_S: Final = 300

CONFTEST: Final = '''
from hypothesis import Phase, settings

# The same examples every time; what fails need not be small.
settings.register_profile(
    "mutants", deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("mutants")
'''


class Mutant(NamedTuple):
    """One mistake: `old` becomes `new` in a file of transforms/columns."""

    name: str
    file: str
    old: str
    new: str
    why: str


class Verdict(NamedTuple):
    """What pytest said."""

    status: int
    output: str


MUTANTS: Final = [Mutant(**entry) for entry in tomllib.loads((TESTS / "mutants.toml").read_text())["mutant"]]


def mutated(text: str, mutant: Mutant) -> str:
    found = text.count(mutant.old)
    assert found == 1, f"{mutant.name}: {mutant.old!r} stands {found} times in {mutant.file}; bring tests/mutants.toml up to date"
    assert mutant.old != mutant.new
    return text.replace(mutant.old, mutant.new)


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
    path = folder / "src" / "thingbeam" / "transforms" / "columns" / mutant.file
    path.write_text(mutated(path.read_text(), mutant))
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


def run_tests(folder: Path, first: str | None = None) -> Verdict:
    """Test the copy up to the first failure: the edges of one module first, then those of the others, then streams."""
    modules = sorted(MODULES, key=lambda module: module != first)
    command = [
        sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=short",
        *(f"{COLUMNS}/test_{module}.py" for module in modules), *SEEDS,
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
    done = subprocess.run(
        command, cwd=folder, env=environment | {"PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    return Verdict(done.returncode, done.stdout + done.stderr)


def verdict(mutant: Mutant | None, folder: Path) -> Verdict:
    copy_of_the_project(folder)
    try:
        if mutant is not None:
            apply(mutant, folder)
        return run_tests(folder, Path(mutant.file).stem if mutant else None)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Verdict]]]:
    """The verdicts on the mutants that were chosen, two worked out at a time."""
    chosen = {item.callspec.params["mutant"].name for item in request.session.items if _mutant_of(item)}
    folder = tmp_path_factory.mktemp("mutants")
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield {
            mutant.name: pool.submit(verdict, mutant, folder / mutant.name) for mutant in MUTANTS if mutant.name in chosen
        }
        pool.shutdown(cancel_futures=True)


def _mutant_of(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and hasattr(item, "callspec") and "mutant" in item.callspec.params


def test_the_copy_without_a_mistake_passes(tmp_path: Path) -> None:
    passed = verdict(None, tmp_path / "copy")
    assert passed.status == pytest.ExitCode.OK, passed.output


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_killed(mutant: Mutant, verdicts: dict[str, Future[Verdict]]) -> None:
    found = verdicts[mutant.name].result()
    assert found.status != pytest.ExitCode.OK, f"{mutant.name} survived: {mutant.why}\n- {mutant.old}\n+ {mutant.new}"
    # Another status than this is no failed test, but a copy that cannot be tested.
    assert found.status == pytest.ExitCode.TESTS_FAILED, found.output
