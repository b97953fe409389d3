"""What the documentation shows is run, and what it points at is there."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

from structure import CHECKOUT, Module, modules, python

PAGES = (CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md")))
FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)[^)]*\)|(?:src|href)=\"(?P<attribute>[^\"]+)\"")
COMMAND = re.compile(r"^(?:\$ )?(?P<script>scripts/\w+)", re.MULTILINE)


def blocks(text: str, language: str) -> list[tuple[int, str]]:
    """The fenced blocks of a language, each with the line before its first."""
    found = (match for match in FENCE.finditer(text) if match["language"] == language)
    return [(text.count("\n", 0, match.start("body")), match["body"]) for match in found]


def script_of(text: str) -> str:
    """A page's python blocks as one script, on the lines where they stand in the page."""
    lines: list[str] = []
    for before, body in blocks(text, "python"):
        lines += [""] * (before - len(lines)) + body.splitlines()
    return "\n".join(lines) + "\n" if lines else ""


def name_of(item: object) -> str:
    """A readable test id."""
    return item.name if isinstance(item, Module) else str(Path(str(item)).relative_to(CHECKOUT))


@pytest.mark.parametrize("module", [m for m in modules() if ">>>" in m.path.read_text(encoding="utf-8")], ids=name_of)
def test_examples_in_docstrings(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(module.name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("page", [p for p in PAGES if p.is_file() and script_of(p.read_text())], ids=name_of)
def test_python_in_pages(page: Path, tmp_path: Path) -> None:
    """As a reader would run it: a script of its own, beside the examples, where a warning is an error of ours."""
    (tmp_path / "examples").symlink_to(CHECKOUT / "examples")
    script = tmp_path / page.name.replace(".md", ".py")
    script.write_text(script_of(page.read_text(encoding="utf-8")), encoding="utf-8")
    done = python("-W", "error:::__main__", script.name, cwd=tmp_path)
    assert done.returncode == 0, f"{page}, same lines\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_point_at_what_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [match["target"] or match["attribute"] for match in LINK.finditer(FENCE.sub("", text))]
    local = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    missing = [target for target in local if not (page.parent / target).exists()]
    assert missing == []
    commands = [
        match["script"] for _, body in blocks(text, "bash") + blocks(text, "sh") for match in COMMAND.finditer(body)
    ]
    assert [command for command in commands if not (CHECKOUT / command).is_file()] == []


def test_blocks_keep_their_lines() -> None:
    first, second = "```python\na = 1\n```\n", "```python\nassert a == 1\nraise SystemExit(3)\n```\n"
    page = f"# Title\n\n{first}\ntext\n\n```bash\nls\n```\n\n{second}"
    script = script_of(page).splitlines()
    assert script[3] == "a = 1"
    assert script[13:15] == ["assert a == 1", "raise SystemExit(3)"]
    assert "ls" not in script
