"""Builds thingbeam; everything declarative is in pyproject.toml.

The parts of the system are folders of the top level, joined into one package by symlinks in src/thingbeam.
Where symlinks were not materialised (a zip download, some Windows checkouts) the folders are named here instead.
Beam's stager runs `python setup.py sdist`, so this must work without build isolation.
"""

from pathlib import Path

from setuptools import setup

PARTS = ("schemas", "transforms", "io", "pipelines", "runners")
ROOT = Path(__file__).resolve().parent


def subpackages(part: str) -> list[str]:
    """Dotted names of a part and of every package inside it."""
    found = [part]
    for init in sorted((ROOT / part).rglob("__init__.py")):
        relative = init.parent.relative_to(ROOT)
        if len(relative.parts) > 1:
            found.append(".".join(relative.parts))
    return found


folders = {"thingbeam": "src/thingbeam"} | {f"thingbeam.{part}": part for part in PARTS}
packages = ["thingbeam"] + [f"thingbeam.{name}" for part in PARTS for name in subpackages(part)]

linked = all((ROOT / "src" / "thingbeam" / part / "__init__.py").is_file() for part in PARTS)
setup(packages=packages, package_dir={"": "src"} if linked else folders)
