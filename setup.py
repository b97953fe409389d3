"""Builds thingbeam; everything declarative is in pyproject.toml.

The parts of the system are folders of the top level, joined into one package by symlinks in src/thingbeam. Where a
symlink was not materialised (a zip download, some Windows checkouts) the folder of the top level is named instead; in
an unpacked sdist the parts are real folders in src/thingbeam. Beam's stager runs `python setup.py sdist`, so this must
work without build isolation.
"""

from pathlib import Path

from setuptools import setup

PARTS = ("schemas", "transforms", "io", "pipelines", "runners")
ROOT = Path(__file__).resolve().parent
SOURCE = Path("src") / "thingbeam"


def folder_of(part: str) -> Path:
    """Where a part's modules are, relative to this file."""
    return SOURCE / part if (ROOT / SOURCE / part).is_dir() else Path(part)


def packages_of(part: str) -> list[str]:
    """Dotted names of a part and of every package inside it."""
    folder = ROOT / folder_of(part)
    inside = (init.parent.relative_to(folder).parts for init in sorted(folder.rglob("__init__.py")))
    return [".".join(("thingbeam", part, *parts)) for parts in inside]


setup(
    packages=["thingbeam", *(name for part in PARTS for name in packages_of(part))],
    package_dir={"": "src"}
    | {f"thingbeam.{part}": str(folder_of(part)) for part in PARTS if folder_of(part) == Path(part)},
)
