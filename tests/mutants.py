"""The mistakes of tests/mutants.toml, which the tests of the columnar rules must notice."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final, NamedTuple

from structure import CHECKOUT


class Mutant(NamedTuple):
    """One mistake: `old` becomes `new` in a file of transforms/columns."""

    name: str
    file: str
    old: str
    new: str
    why: str

    @property
    def path(self) -> Path:
        """Of the file, below the package."""
        return Path("transforms", "columns", self.file)

    def made_in(self, text: str) -> str:
        """The text with the mistake, which has one place in it."""
        found = text.count(self.old)
        assert found == 1, (
            f"{self.name}: {self.old!r} stands {found} times in {self.file}; bring tests/mutants.toml up to date"
        )
        return text.replace(self.old, self.new)


MUTANTS: Final = [
    Mutant(**entry) for entry in tomllib.loads((CHECKOUT / "tests" / "mutants.toml").read_text())["mutant"]
]
