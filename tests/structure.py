"""The shape of the source tree, as the structural tests read it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = CHECKOUT / "src" / "thingbeam"
PARTS = ("schemas", "transforms", "io", "pipelines", "runners")


@dataclass(frozen=True)
class Import:
    """One import statement's target, as a dotted name."""

    target: str
    line: int
    at_top: bool
    """Whether importing the module runs it; False inside functions and under TYPE_CHECKING."""


@dataclass(frozen=True)
class Module:
    """One module of the package."""

    name: str
    path: Path

    @property
    def part(self) -> str:
        """schemas, transforms, io, pipelines, runners, or thingbeam for the package itself."""
        return self.name.split(".")[1] if "." in self.name else self.name


def module_at(path: Path, base: Path, prefix: str = "thingbeam") -> Module:
    """The module of a file below `base`, which is the folder of the package `prefix`."""
    names = [prefix, *path.relative_to(base).with_suffix("").parts]
    return Module(".".join(names[:-1] if names[-1] == "__init__" else names), path)


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package, from the folders at the top."""
    found = [module_at(PACKAGE / "__init__.py", PACKAGE)]
    for part in PARTS:
        found += [module_at(path, CHECKOUT) for path in sorted((CHECKOUT / part).rglob("*.py"))]
    return tuple(found)


@cache
def imports_of(path: Path) -> tuple[Import, ...]:
    """Everything that a file imports, wherever in it the statement stands.

    `from a import b` counts as `a.b`, since b may be a module; relative imports keep their leading dots.
    """
    return tuple(_imports(ast.parse(path.read_text(encoding="utf-8")), at_top=True))


def _imports(node: ast.AST, *, at_top: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, at_top) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        yield from (Import(f"{base}.{alias.name}", node.lineno, at_top) for alias in node.names)
    elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func) and node.args:
        if isinstance(node.args[0], ast.Constant):
            yield Import(str(node.args[0].value), node.lineno, at_top)
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for statement in node.body:
            yield from _imports(statement, at_top=False)
        for statement in node.orelse:
            yield from _imports(statement, at_top=at_top)
        return
    inner = at_top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, at_top=inner)


@cache
def project() -> dict[str, object]:
    """pyproject.toml."""
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(extra: str | None = None) -> set[str]:
    """Names of the distributions that the package, or one of its extras, asks for."""
    table = project()["project"]
    assert isinstance(table, dict)
    lines = table["dependencies"] if extra is None else table["optional-dependencies"][extra]
    return {re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0] for line in lines}


def extras() -> set[str]:
    """Names of the extras."""
    table = project()["project"]
    assert isinstance(table, dict)
    return set(table["optional-dependencies"])


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs this interpreter on the checkout's package in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT / "src")}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )
