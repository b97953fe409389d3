"""The rules are an independent truth: they import nothing that they are the truth for."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import thingbeam.transforms.rules

FILES = sorted(Path(thingbeam.transforms.rules.__file__).parent.glob("*.py"))
ALLOWED = ("thingbeam.schemas.records", "thingbeam.transforms.rules", "apache_beam.utils.timestamp")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_imports(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        for name in names:
            standard = name.split(".")[0] in sys.stdlib_module_names
            assert standard or any(name == one or name.startswith(f"{one}.") for one in ALLOWED), name
