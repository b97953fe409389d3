"""Who may import whom."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from structure import CHECKOUT, PARTS, Import, Module, extras, imports_of, module_at, modules, python, requirements

MAY_IMPORT = {
    "thingbeam": set[str](),
    "schemas": {"schemas"},
    "transforms": {"transforms", "schemas"},
    "io": {"io", "schemas"},
    "pipelines": {"pipelines", "transforms", "io", "schemas"},
    "runners": {"runners", "pipelines", "transforms", "io", "schemas"},
}
DEVELOPMENT = {"all", "test", "dev"}
# Import names of what the connectors' extras will bring, whether or not it is installed here.
CLIENTS = {
    "boto3",
    "botocore",
    "confluent_kafka",
    "google.api_core",
    "google.auth",
    "google.cloud",
    "happybase",
    "plotly",
    "selenium",
    "thriftpy2",
}
UNIMPORTED = {"tzdata": "the zones that zoneinfo reads where the system has none"}


def is_within(target: str, names: Iterable[str]) -> bool:
    """Whether a dotted name is one of the names or inside one."""
    return any(target == name or target.startswith(f"{name}.") for name in names)


def wrong_directions(module: Module) -> list[str]:
    """The imports by which a module breaks the direction of dependencies."""
    wrong: list[str] = []
    for imported in imports_of(module.path):
        names = imported.target.split(".")
        ours = names[0] == "thingbeam" and len(names) > 1 and names[1] in PARTS
        if ours and names[1] not in MAY_IMPORT[module.part]:
            wrong.append(f"{module.path}:{imported.line}: {module.part} imports {imported.target}")
    return wrong


def test_dependencies_point_one_way() -> None:
    assert [line for module in modules() for line in wrong_directions(module)] == []


@pytest.mark.parametrize(
    ("part", "statement"),
    [
        ("schemas", "from thingbeam.transforms import rules"),
        ("transforms", "import thingbeam.io.files"),
        ("io", "from thingbeam import transforms"),
        ("pipelines", "def lazily():\n    from thingbeam.runners import direct"),
        ("transforms", "importlib.import_module('thingbeam.pipelines.home')"),
    ],
)
def test_the_check_sees_a_wrong_direction(tmp_path: Path, part: str, statement: str) -> None:
    path = tmp_path / part / "module.py"
    path.parent.mkdir()
    path.write_text(statement)
    assert len(wrong_directions(module_at(path, tmp_path))) == 1


def test_imports_are_absolute() -> None:
    relative = [f"{m.path}:{i.line}" for m in modules() for i in imports_of(m.path) if i.target.startswith(".")]
    assert relative == []


def test_the_rules_are_plain() -> None:
    """The oracle shares nothing with what it judges: records, the standard library and itself, no columns."""
    rules = [module for module in modules() if module.name.startswith("thingbeam.transforms.rules")]
    assert rules
    allowed = ("thingbeam.schemas.records", "thingbeam.transforms.rules", "apache_beam.utils.timestamp")
    strange = [
        f"{module.path}:{imported.line}: {imported.target}"
        for module in rules
        for imported in imports_of(module.path)
        if imported.target.split(".")[0] not in sys.stdlib_module_names and not is_within(imported.target, allowed)
    ]
    assert strange == []


@cache
def import_names(*distributions: str) -> set[str]:
    """The top-level names that installed distributions provide."""
    wanted = {name.lower().replace("_", "-") for name in distributions}
    return {
        name
        for name, providers in packages_distributions().items()
        if wanted & {provider.lower().replace("_", "-") for provider in providers}
    }


def optional_names() -> set[str]:
    """Import names that the base installation may lack."""
    brought = import_names(*(name for extra in extras() - DEVELOPMENT for name in requirements(extra)))
    return CLIENTS | (brought - {"google"})  # a namespace that Beam's own dependencies share


def third_party(path: Path) -> list[Import]:
    """What a file imports that is neither ours nor the standard library's."""
    folders = ("tests", "benchmarks")
    ours = {"thingbeam", *folders, *(path.stem for name in folders for path in (CHECKOUT / name).rglob("*.py"))}
    return [i for i in imports_of(path) if i.target.split(".")[0] not in sys.stdlib_module_names | ours]


def test_every_import_is_a_declared_dependency() -> None:
    declared = import_names(*requirements())
    undeclared = [
        f"{module.path}:{imported.line}: {imported.target}"
        for module in modules()
        for imported in third_party(module.path)
        if imported.target.split(".")[0] not in declared and not is_within(imported.target, optional_names())
    ]
    assert undeclared == []


def test_every_dependency_is_imported() -> None:
    imported = {i.target.split(".")[0] for module in modules() for i in third_party(module.path)}
    unused = {name for name in requirements() - UNIMPORTED.keys() if not import_names(name) & imported}
    assert unused == set()


def test_what_the_tests_import_is_in_the_test_extra() -> None:
    # The test extra asks for all others but those of development.
    brought = (name for extra in extras() - DEVELOPMENT for name in requirements(extra))
    declared = import_names(*requirements(), *requirements("test"), *brought)
    undeclared = [
        f"{path}:{imported.line}: {imported.target}"
        for path in sorted((CHECKOUT / "tests").rglob("*.py"))
        for imported in third_party(path)
        if imported.at_top and imported.target.split(".")[0] not in declared
    ]
    assert undeclared == []


def modules_that_need_an_extra() -> set[str]:
    """The modules that cannot be imported in a base installation.

    They import an extra at their top, or a module of their own package that does.
    """
    needing = {
        module.name
        for module in modules()
        if any(i.at_top and is_within(i.target, optional_names()) for i in third_party(module.path))
    }
    while more := {
        module.name
        for module in modules()
        if module.name not in needing
        and any(
            name in needing and name.rpartition(".")[0] == module.name.rpartition(".")[0]
            for i in imports_of(module.path)
            if i.at_top
            for name in (i.target, i.target.rpartition(".")[0])
        )
    }:
        needing |= more
    return needing


def test_what_needs_an_extra_is_imported_lazily() -> None:
    needing = modules_that_need_an_extra()
    eager = [
        f"{module.path}:{imported.line}: {imported.target}"
        for module in modules()
        if module.name not in needing
        for imported in imports_of(module.path)
        if imported.at_top and {imported.target, imported.target.rpartition(".")[0]} & needing
    ]
    assert eager == []
    assert not {name for name in needing if importlib.util.find_spec(name).submodule_search_locations}  # type: ignore[union-attr]


def test_the_base_installation_imports_without_any_extra() -> None:
    """Blocks what the extras bring, in a process of its own, and imports all the rest."""
    names = sorted({module.name for module in modules()} - modules_that_need_an_extra() - {"thingbeam.__main__"})
    script = f"""
import importlib, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name in {optional_names()!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
for name in {names!r}:
    importlib.import_module(name)
"""
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
